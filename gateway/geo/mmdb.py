"""The user's own databases.  Owns: reading one MaxMind DB file for one axis.
Knows: maxminddb, whose reader takes every database type (geoip2's take only their own).
Never: the bundled data, staleness, places."""

from __future__ import annotations

import hashlib
import ipaddress
import mmap
import re
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import maxminddb

from gateway.errors import DataError
from gateway.geo.tree import Tree
from gateway.model import Axis
from gateway.regular import open_regular

_COUNTRY = re.compile(r"[A-Z]{2}")

# The reader in Python: that in C (libmaxminddb 1.12, maxminddb 3.2) writes beyond its memory on
# damaged files, and ends the process (tests/geo/test_mmdb.py has such files).
_READER = maxminddb.MODE_MMAP
# What Python raises on octets that are not what they are read as; InvalidDatabaseError and
# RecursionError are a RuntimeError.
_CORRUPT = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, struct.error)


class Word(NamedTuple):
    """What a database says of one address."""

    country: str = ""
    """ISO 3166-1 alpha-2; "" if it does not say."""
    asn: int = 0
    """0 if it does not say."""
    fault: str = ""
    """A sentence, if the file is corrupt at that place."""


class Database:
    """One open file.

    Raises:  DataError: missing, unreadable, or not of this format.
    """

    def __init__(self, path: Path, axis: Axis) -> None:
        self.path = path
        self.axis = axis
        try:
            with open_regular(path) as file:
                self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                self._octets = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._reader = maxminddb.open_database(path, _READER)
            metadata = self._reader.metadata()
            built = datetime.fromtimestamp(metadata.build_epoch, UTC)
        except (OSError, *_CORRUPT) as exc:
            raise DataError(str(path), str(exc), "a MaxMind DB file") from exc
        self.kind = str(metadata.database_type)
        """What its maker calls such files: "GeoLite2-Country"."""
        self.name = path.name.removesuffix(".mmdb")
        self.built = built.date().isoformat()
        self._has_ipv6 = metadata.ip_version == 6

    def word(self, address: bytes) -> Word:
        """Look an address up.  A file that is corrupt there gives a fault, never an exception."""
        return self._look_up(address)[0]

    def word_with_network(self, address: bytes) -> tuple[Word, str]:
        """Look an address up, with the network (CIDR) that the record is about."""
        word, length = self._look_up(address)
        return word, str(ipaddress.ip_network((address, length), strict=False))

    def networks(self, bits: int) -> Iterator[tuple[int, int, Word]]:
        """Give (first, last, word) of every network of a family that the file has a record on.

        Args:    bits: 32 or 128.
        Raises:  DataError: the file is corrupt.
        """
        metadata = self._reader.metadata()
        words: dict[int, Word] = {}
        try:
            tree = Tree(
                self._octets, node_count=metadata.node_count, record_size=metadata.record_size
            )
            for first, last, pointer in tree.leaves(bits, has_ipv6=self._has_ipv6):
                word = words.get(pointer)
                if word is None:  # one of hundreds of records, not of a million networks
                    address = ipaddress.ip_address(first.to_bytes(bits // 8))
                    record = self._reader.get_with_prefix_len(address)[0]
                    word = words[pointer] = _read(record, self.axis)
                yield first, last, word
        except _CORRUPT as exc:
            raise DataError(str(self.path), str(exc), "a MaxMind DB file") from exc

    def _look_up(self, address: bytes) -> tuple[Word, int]:
        ip = ipaddress.ip_address(address)
        if ip.version == 6 and not self._has_ipv6:
            return Word(), ip.max_prefixlen
        try:
            record, length = self._reader.get_with_prefix_len(ip)
        except _CORRUPT as exc:
            return Word(fault=f"{self.name} is corrupt ({exc})"), ip.max_prefixlen
        return _read(record, self.axis), length


def _read(record: object, axis: Axis) -> Word:
    if axis is Axis.LOCATION:
        return Word(_country(record, "country") or _code(_field(record, "country_code")))
    if axis is Axis.REGISTRATION:
        return Word(_country(record, "registered_country") or _country(record, "country"))
    return Word(asn=_asn(record) or _asn(_field(record, "traits")))


def _country(record: object, name: str) -> str:
    return _code(_field(_field(record, name), "iso_code"))


def _code(code: object) -> str:
    return code if isinstance(code, str) and _COUNTRY.fullmatch(code) else ""


def _asn(record: object) -> int:
    number = _field(record, "autonomous_system_number")
    return number if isinstance(number, int) and 0 < number < 1 << 32 else 0


def _field(record: object, name: str) -> object:
    return record.get(name) if isinstance(record, dict) else None
