"""A file's bytes → what it supplies.  Owns: which forms there are, unpacking, MaxMind DB files
and the fused file as sources.  Knows: gzip, tar, maxminddb through geo.
Never: where bytes are from."""

from __future__ import annotations

import io
import struct
import tarfile
import tempfile
import zlib
from datetime import date
from pathlib import Path
from typing import assert_never

from gateway.config.updates import Form
from gateway.errors import DataError
from gateway.geo.bundle import Bundle, decode
from gateway.geo.mmdb import Database, Word
from gateway.model import Axis
from gateway.supply import delegated, tables
from gateway.supply.column import Column, Families, Range, Said, Supply
from gateway.supply.fetched import Fetched
from gateway.supply.fusion import numbers_of, ranges_of
from gateway.supply.registry_table import registry_ranges

MAX_LEN = 256 << 20
"""Octets of a file, unpacked: the largest that publishers have are near 100 MB."""
_MAX_RANGES = 8_000_000
_DBIP = "IP Geolocation by DB-IP (https://db-ip.com)"


def parse(fetched: Fetched) -> Supply:
    """Read what was fetched.

    Raises:  DataError: not whole, not of its form, or without a date.
    """
    said = fetched.said
    data = unpacked(fetched.data, said.package)
    supply = _parsed(data, fetched, said)
    try:
        date.fromisoformat(supply.said.built)
    except ValueError:
        what = "does not say when it was built"
        raise DataError(said.package, what, '"built: DATE" at its source') from None
    return supply


def _parsed(data: bytes, fetched: Fetched, said: Said) -> Supply:
    axis = fetched.axis
    match fetched.form:
        case Form.MMDB:
            assert axis is not None  # the configuration's own check
            return _mmdb(data, said, axis)
        case Form.IPTOASN_COUNTRY:
            supply = _mmdb(data, said, Axis.LOCATION)
            return Supply(supply.said, {Column.AS_COUNTRIES: supply.ranges[Column.LOCATION]})
        case Form.CSV:
            assert axis is not None
            return tables.addresses(data, said, axis)
        case Form.DELEGATED:
            return delegated.parse(data, said)
        case Form.IPTOASN:
            return tables.iptoasn(data, said)
        case Form.OWNERS:
            return tables.owners(data, said)
        case Form.IPTOCC:
            try:
                ranges = registry_ranges(data)
            except (ValueError, LookupError, ArithmeticError, struct.error) as error:
                raise DataError(said.package, str(error), "the library of iptocc") from error
            return Supply(said, {Column.REGISTRATION: ranges})
        case Form.BUNDLE:
            return of_bundle(decode(data, said.package), said)
    assert_never(fetched.form)


def of_bundle(bundle: Bundle, said: Said) -> Supply:
    """Take a fused file as a source of all columns; it is as old as its oldest."""
    built = min((origin.built for origin in bundle.origins), default="")
    said = Said(
        said.name or "bundle",
        built,
        "; ".join(dict.fromkeys(one.licence for one in bundle.origins if one.licence)),
        "; ".join(dict.fromkeys(one.credit for one in bundle.origins if one.credit)),
        said.package,
        said.sha256,
    )
    ranges = (Column.LOCATION, Column.REGISTRATION, Column.NETWORKS)
    numbers = (Column.AS_COUNTRIES, Column.OWNERS)
    return Supply(
        said,
        {column: ranges_of(bundle, column) for column in ranges},
        {column: numbers_of(bundle, column) for column in numbers},
    )


def _mmdb(data: bytes, said: Said, axis: Axis) -> Supply:
    column = Column.NETWORKS if axis is Axis.OPERATOR else Column(axis.value)
    with tempfile.NamedTemporaryFile(suffix=".mmdb") as file:
        file.write(data)
        file.flush()
        try:
            database = Database(Path(file.name), axis)
            families = Families(*(_networks(database, bits, said.package) for bits in (32, 128)))
        except (DataError, OverflowError, RecursionError) as error:
            what = str(error).removeprefix(f"{file.name}: ")
            raise DataError(said.package, what, "a whole MaxMind DB file") from error
    credit = said.credit or (_DBIP if database.kind.startswith("DBIP") else "")
    licence = said.licence or ("CC BY 4.0" if database.kind.startswith("DBIP-") else "")
    name = said.name or database.kind.lower().replace(" ", "-")
    told = Said(name, said.built or database.built, licence, credit, said.package, said.sha256)
    return Supply(told, {column: families})


def _networks(database: Database, bits: int, where: str) -> list[Range]:
    found: list[Range] = []
    for first, last, word in database.networks(bits):
        if value := _value(word):
            found.append(Range(first, last, value))
        if len(found) > _MAX_RANGES:
            raise DataError(where, f"more than {_MAX_RANGES} networks", "fewer")
    return found


def _value(word: Word) -> str | int:
    return word.asn or ("" if word.country == "ZZ" else word.country)


def unpacked(data: bytes, where: str) -> bytes:
    """Unpack gzip, and the one .mmdb file of a tar archive; anything else is as it is.

    Raises:  DataError: cut, corrupt, or too large unpacked.
    """
    if data.startswith(b"\x1f\x8b"):
        data = _gunzipped(data, where)
    if data[257:262] == b"ustar":
        return _member(data, where)
    return data


def _gunzipped(data: bytes, where: str) -> bytes:
    parts, length = [], 0
    while data:  # a gzip file may be several, one after the other (RFC 1952 section 2.2)
        unpacking = zlib.decompressobj(wbits=31)
        try:
            part = unpacking.decompress(data, MAX_LEN - length + 1)
        except zlib.error as error:
            raise DataError(where, str(error), "a whole gzip file") from error
        length += len(part)
        if length > MAX_LEN:
            raise DataError(where, f"more than {MAX_LEN >> 20} MiB unpacked", "less")
        if not unpacking.eof:
            raise DataError(where, "is cut", "a whole gzip file")
        parts.append(part)
        data = unpacking.unused_data.lstrip(b"\0")
    return b"".join(parts)


def _member(data: bytes, where: str) -> bytes:
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            files = [one for one in archive if one.isfile() and one.name.endswith(".mmdb")]
            opened = archive.extractfile(files[0]) if len(files) == 1 else None
            found = b"" if opened is None else opened.read()
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise DataError(where, str(error), "a whole tar archive") from error
    if not found:
        raise DataError(where, f"holds {len(files)} .mmdb files", "one")
    return found
