"""The fused file: five columns of evidence for all addresses.  Owns: bytes ⇄ Bundle.
Knows: xz; its own layout, below.
Never: paths, dates of today, what a place is.

Layout, inside one xz stream; integers are little-endian.
  magic    8 octets
  header   u32 length, then JSON: sources, countries, sections as [name, length]
  sections in the order of the header, each a column:
    asn, as_country, as_operator     a table of AS numbers; entry 0 means none
    location, registration, as       the distinct tuples of evidence
    v4_start, v4_tuple               segments of IPv4: where each begins, which tuple it has
    v6_high, v6_low_at, v6_low, v6_tuple
Starts are stored as differences, and integers by planes (all lowest octets first, and so on),
because xz packs that to half the size.  Countries are octets, numbers into `countries`.
"""

from __future__ import annotations

import json
import lzma
import sys
from array import array
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import accumulate

from gateway.errors import DataError
from gateway.geo.partition import Partition
from gateway.model import Axis

# The last octet is the version of the layout.
_MAGIC = b"RTCGEO\x00\x01"
# The file of 2026-11 is 9 MB unpacked; this stops one that unpacks without end.
_MAX_UNPACKED_LEN = 64 << 20


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one column came from."""

    name: str
    axis: Axis
    built: str
    """ISO date of the source's data."""
    licence: str
    credit: str
    """The sentence that the licence asks for; "" for none."""
    package: str
    """What it was taken from, with its version."""
    sha256: str
    """Of that package or file."""


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """Evidence of all addresses.  A country is a number into `countries`, 0 if there is none."""

    origins: tuple[Origin, ...]
    countries: tuple[str, ...]
    """ISO 3166-1 alpha-2; the first is ""."""
    asn: array[int]
    """AS numbers, ascending; the first is 0."""
    as_country: bytes
    """By position in `asn`: the country of the AS registration."""
    as_operator: bytes
    """By position in `asn`: the jurisdiction of its owner in our own table."""
    location: bytes
    """By tuple."""
    registration: bytes
    as_at: array[int]
    """By tuple: a position in `asn`."""
    v4: Partition
    """Its numbers are tuples."""
    v6: Partition

    @property
    def owners(self) -> Origin | None:
        """The origin of `as_operator`, the table of owners; None: there is none."""
        operator = [one for one in self.origins if one.axis is Axis.OPERATOR]
        return operator[1] if len(operator) > 1 else None


def empty() -> Bundle:
    """Make the bundle that knows nothing of any address."""
    return Bundle(
        origins=(),
        countries=("",),
        asn=array("I", [0]),
        as_country=b"\0",
        as_operator=b"\0",
        location=b"\0",
        registration=b"\0",
        as_at=array("I", [0]),
        v4=Partition.whole(32),
        v6=Partition.whole(128),
    )


def encode(bundle: Bundle) -> bytes:
    """Write the file: the same bundle gives the same bytes."""
    sections = _sections(bundle)
    header = json.dumps(
        {
            "sources": [asdict(origin) for origin in bundle.origins],
            "countries": bundle.countries,
            "sections": [[name, len(content)] for name, content in sections.items()],
        }
    ).encode()
    body = _MAGIC + len(header).to_bytes(4, "little") + header + b"".join(sections.values())
    # No literal context bits and no alignment: neighbours in a plane are unrelated octets.
    packing = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "pb": 0}
    return lzma.compress(body, format=lzma.FORMAT_XZ, filters=[packing])


def decode(data: bytes, path: str) -> Bundle:
    """Read the file.

    Args:    data: the whole file; path: its name, for the error.
    Raises:  DataError: cut, corrupt, or of another version.
    """
    try:
        header, sections = _open(data)
        bundle = _bundle(header, sections)
        _check(bundle)
    except (lzma.LZMAError, ArithmeticError, ValueError, LookupError, TypeError) as exc:
        raise DataError(path, str(exc) or type(exc).__name__, "a file of build-data") from exc
    return bundle


def _sections(bundle: Bundle) -> dict[str, bytes]:
    low_at = array("I", [at for at, low in enumerate(bundle.v6.low) if low])
    return {
        "asn": _planes(_differences(bundle.asn)),
        "as_country": bundle.as_country,
        "as_operator": bundle.as_operator,
        "location": bundle.location,
        "registration": bundle.registration,
        "as": _planes(bundle.as_at),
        "v4_start": _planes(_differences(bundle.v4.high)),
        "v4_tuple": _planes(bundle.v4.numbers),
        "v6_high": _planes(_differences(bundle.v6.high)),
        "v6_low_at": _planes(low_at),
        "v6_low": _planes(array("Q", [bundle.v6.low[at] for at in low_at])),
        "v6_tuple": _planes(bundle.v6.numbers),
    }


def _open(data: bytes) -> tuple[Mapping[str, list[list[object]]], Mapping[str, bytes]]:
    unpacking = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    body = unpacking.decompress(data, max_length=_MAX_UNPACKED_LEN)
    if not unpacking.eof or unpacking.unused_data:
        raise ValueError("cut short, too long, or more follows")
    if not body.startswith(_MAGIC):
        raise ValueError(f"begins with {body[:8]!r}")
    at = 12 + int.from_bytes(body[8:12], "little")
    header = json.loads(body[12:at])
    sections = {}
    for name, length in header["sections"]:
        sections[name] = body[at : at + length]
        at += length
    if at != len(body):
        raise ValueError(f"{len(body)} octets, the header says {at}")
    return header, sections


def _bundle(header: Mapping[str, list[list[object]]], sections: Mapping[str, bytes]) -> Bundle:
    return Bundle(
        origins=tuple(_origin(fields) for fields in header["sources"]),
        countries=tuple(map(str, header["countries"])),
        asn=_ascending(_numbers("I", sections["asn"])),
        as_country=sections["as_country"],
        as_operator=sections["as_operator"],
        location=sections["location"],
        registration=sections["registration"],
        as_at=_numbers("I", sections["as"]),
        v4=Partition(
            32,
            _ascending(_numbers("I", sections["v4_start"])),
            array("Q"),
            _numbers("I", sections["v4_tuple"]),
        ),
        v6=_v6(sections),
    )


def _v6(sections: Mapping[str, bytes]) -> Partition:
    differences = _numbers("Q", sections["v6_high"])
    low = array("Q", bytes(8 * len(differences)))
    inner = _numbers("I", sections["v6_low_at"])
    for at, value in zip(inner, _numbers("Q", sections["v6_low"]), strict=True):
        low[at] = value
    # Within a divided /64 the upper halves are equal, and the lower ones ascend.
    divided = [at for at in inner if at and not differences[at]]
    if differences[1:].count(0) != len(divided) or any(low[at - 1] >= low[at] for at in divided):
        raise ValueError("IPv6 does not ascend")
    high = array("Q", accumulate(differences))
    return Partition(128, high, low, _numbers("I", sections["v6_tuple"]))


def _origin(fields: object) -> Origin:
    if not isinstance(fields, dict):
        raise TypeError("a source is not a mapping")
    return Origin(**{**fields, "axis": Axis(fields["axis"])})


def _check(bundle: Bundle) -> None:
    """Refuse what would answer with the wrong evidence, or with an IndexError later."""
    countries = max(map(max, (bundle.location, bundle.registration, bundle.as_country)))
    tuples, networks = len(bundle.location), len(bundle.asn)
    facts = {
        "a country out of range": max(countries, max(bundle.as_operator)) < len(bundle.countries),
        "columns of unequal length": len(bundle.registration) == len(bundle.as_at) == tuples
        and len(bundle.as_country) == len(bundle.as_operator) == networks,
        "an AS out of range": max(bundle.as_at) < networks,
    }
    for part in (bundle.v4, bundle.v6):
        family = f"IPv{4 if part.bits == 32 else 6}"
        facts[f"{family} of unequal length"] = len(part.high) == len(part.numbers)
        facts[f"{family} tuple out of range"] = max(part.numbers) < tuples
        facts[f"{family} does not begin at 0"] = part.start(0) == 0
    for fault, is_right in facts.items():
        if not is_right:
            raise ValueError(fault)


def _differences(column: array[int]) -> array[int]:
    return array(column.typecode, map(int.__sub__, column, [0, *column[:-1]]))


def _ascending(differences: array[int]) -> array[int]:
    # A sum that is too great for its type overflows, so only equal neighbours do not ascend.
    if 0 in differences[1:]:
        raise ValueError("a column does not ascend")
    return array(differences.typecode, accumulate(differences))


def _planes(column: array[int]) -> bytes:
    raw = _little(column).tobytes()
    return b"".join(raw[plane :: column.itemsize] for plane in range(column.itemsize))


def _numbers(typecode: str, planes: bytes) -> array[int]:
    column: array[int] = array(typecode)
    width = column.itemsize
    raw, count = bytearray(len(planes)), len(planes) // width
    for plane in range(width):
        raw[plane::width] = planes[plane * count : (plane + 1) * count]
    column.frombytes(raw)
    return _little(column)


def _little(column: array[int]) -> array[int]:
    if sys.byteorder == "little":
        return column
    swapped = column[:]
    swapped.byteswap()
    return swapped
