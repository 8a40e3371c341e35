"""Sets of addresses.  Owns: networks and ranges in text → sorted ranges, and membership.
Knows: RFC 4632 (CIDR).  Never: countries, YAML, files."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from gateway.errors import AddressError
from gateway.model import pack, unpack


class AddressRange(NamedTuple):
    """Neighbouring addresses of one family."""

    size: int
    """Octets of an address: 4 or 16."""
    first: int
    last: int


def address_range(text: str) -> AddressRange:
    """Read "198.51.100.0/24", "2001:db8::/32", "192.0.2.7" or "192.0.2.1-192.0.2.9".

    Raises:  AddressError: not one of these, host bits set, or a range that runs backwards.
    """
    host, slash, prefix_len = text.strip().partition("/")
    if slash:
        return _network(text, _packed(text, host), prefix_len)
    first, _, last = host.partition("-")
    return _between(text, _packed(text, first.strip()), _packed(text, (last or first).strip()))


def _packed(text: str, host: str) -> bytes:
    try:
        return pack(host)
    except AddressError:
        raise AddressError(text, _expected(host)) from None


def _expected(host: str) -> str:
    """Say what was expected instead of what is no address."""
    form = 'a network such as "198.51.100.0/24", an address or a range'
    if "%" in host:
        return f'{form}: a zone means one host only; leave out "%{host.partition("%")[2]}"'
    parts = host.split(".")
    if len(parts) == 4 and all(part.isascii() and part.isdigit() for part in parts):
        plain = ".".join(str(int(part)) for part in parts if len(part) < 10)
        if plain != host and all(len(part) < 10 and int(part) <= 255 for part in parts):
            return f'{form}: leading noughts may be octal; did you mean "{plain}"?'
    return form


def _network(text: str, address: bytes, prefix_len: str) -> AddressRange:
    size = len(address)
    if not (prefix_len.isascii() and prefix_len.isdigit() and len(prefix_len) < 4):
        raise AddressError(text, f"a network: its prefix length must be 0..{size * 8}")
    host_bits = size * 8 - int(prefix_len)
    if host_bits < 0:
        raise AddressError(text, f"a network: its prefix length must be 0..{size * 8}")
    first = int.from_bytes(address, "big")
    mask = (1 << host_bits) - 1
    if first & mask:
        meant = f"{unpack((first & ~mask).to_bytes(size, 'big'))}/{int(prefix_len)}"
        raise AddressError(text, f'a network: host bits are set; did you mean "{meant}"?')
    return AddressRange(size, first, first | mask)


def _between(text: str, first: bytes, last: bytes) -> AddressRange:
    if len(first) != len(last):
        raise AddressError(text, "a range: both ends of one family")
    if first > last:
        meant = f"{unpack(last)}-{unpack(first)}"
        raise AddressError(text, f'a range, the lower end first; did you mean "{meant}"?')
    return AddressRange(len(first), int.from_bytes(first, "big"), int.from_bytes(last, "big"))


Ranges = Sequence[AddressRange]


class AddressSet:
    """An immutable set of addresses; a look-up is one bisection."""

    __slots__ = ("_bounds", "_text")

    def __init__(self, texts: Iterable[str], lists: Mapping[str, Ranges] | None = None) -> None:
        """Make the union of networks and ranges.

        Args:    lists: more of them, by the name of the list that they are from.
        Raises:  AddressError: as address_range.
        """
        lists = lists or {}
        texts = tuple(texts)
        self._text = (*texts, *(f"the networks of {name}" for name in lists))
        self._bounds = _merged(sorted(chain(map(address_range, texts), *lists.values())))

    def union(self, *others: AddressSet) -> AddressSet:
        """Give the set of what is in this one or in another."""
        whole = AddressSet(())
        whole._text = self._text + tuple(text for one in others for text in one._text)
        whole._bounds = _merged(sorted(run for one in (self, *others) for run in one.ranges()))
        return whole

    def ranges(self) -> Iterator[AddressRange]:
        """Give its runs of neighbouring addresses."""
        for size, bounds in self._bounds.items():
            for first, end in _pairs(bounds):
                yield AddressRange(size, first, end - 1)

    def __contains__(self, address: bytes) -> bool:
        bounds = self._bounds[len(address)]
        return bool(bisect_right(bounds, int.from_bytes(address, "big")) & 1)

    def edges(self, octets: int) -> tuple[int, ...]:
        """Give, ascending, where addresses of a length begin to be in the set, or cease to."""
        return tuple(self._bounds[octets])

    def complement(self) -> AddressSet:
        """Give the set of all that is not in this one."""
        whole = AddressSet(())
        whole._text = (f"not {self}",)
        for size, bounds in self._bounds.items():
            edges = [0, *bounds, 1 << 8 * size]
            runs = [run for run in _pairs(edges) if run[0] < run[1]]
            whole._bounds[size] = [edge for run in runs for edge in run]
        return whole

    def covers(self, other: AddressSet) -> bool:
        """Say whether every address of another set is in this one."""
        return all(
            bisect_right(mine, first) & 1 and mine[bisect_right(mine, first)] >= end
            for size, mine in self._bounds.items()
            for first, end in _pairs(other._bounds[size])
        )

    def meets(self, other: AddressSet) -> bool:
        """Say whether some address is in both sets."""
        return any(
            bisect_right(mine, first) & 1 or bisect_left(mine, end) > bisect_right(mine, first)
            for size, mine in self._bounds.items()
            for first, end in _pairs(other._bounds[size])
        )

    def __bool__(self) -> bool:
        return bool(self._text)

    def __str__(self) -> str:
        return ", ".join(self._text)


def _merged(ranges: Iterable[AddressRange]) -> dict[int, list[int]]:
    """Join sorted ranges."""
    # One flat list a family: first, end, first, end, … so that an odd position is inside.
    found: dict[int, list[int]] = {4: [], 16: []}
    for size, first, last in ranges:
        bounds = found[size]
        if bounds and first <= bounds[-1]:
            bounds[-1] = max(bounds[-1], last + 1)
        else:
            bounds += (first, last + 1)
    return found


def _pairs(bounds: list[int]) -> Iterator[tuple[int, int]]:
    return zip(bounds[::2], bounds[1::2], strict=True)
