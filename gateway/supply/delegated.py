"""The registries' own statistics.  Owns: a delegated-extended file → registrations, AS countries.
Knows: RIR statistics exchange format (version 2 and 2.3), which ends without a mark: its summary
lines count the records, so that a file that is cut is noticed.  Never: which of the five are
there."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter

from gateway.errors import DataError
from gateway.supply.column import Column, Families, Range, Said, Supply
from gateway.supply.text import country, day_of, lines_of

REGISTRIES = ("afrinic", "apnic", "arin", "lacnic", "ripencc")
"""The five; a file of "nro" holds them all."""

CREDIT = "Registration data by the Number Resource Organization and the RIRs (https://nro.net)"
_FORM = "a delegated-extended statistics file of a registry"
_KINDS = ("asn", "ipv4", "ipv6")
_GIVEN = ("allocated", "assigned")
_NUMBER = re.compile(r"[0-9]{1,10}")


def parse(data: bytes, said: Said) -> Supply:
    """Read one file.

    Raises:  DataError: not of this form, cut, or a record that is none.
    """
    lines = lines_of(data, said.package)
    reading = _Reading(said.package)
    for number, line in enumerate(lines, 1):
        if line and not line.startswith("#"):
            try:
                reading.take(line.split("|"))
            except ValueError as error:
                raise DataError(f"{said.package}:{number}", str(error), _FORM) from error
    return reading.supply(said)


class _Reading:
    """One file, line by line."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.registry = ""
        self.built = ""
        self.announced: dict[str, int] = {}
        self.seen: Counter[str] = Counter()
        self.families = Families([], [])
        self.asns: dict[int, str] = {}

    def take(self, fields: list[str]) -> None:
        """Take one line.

        Raises:  ValueError: it is none of this form.
        """
        if not self.registry:
            self._header(fields)
        elif len(fields) == 6 and fields[5] == "summary":
            self.announced[fields[2]] = _number(fields[4])
        else:
            self._record(fields)

    def _header(self, fields: list[str]) -> None:
        if len(fields) != 7 or not fields[0].startswith("2"):
            raise ValueError("no header VERSION|REGISTRY|SERIAL|RECORDS|FIRST|LAST|OFFSET")
        if fields[1] not in (*REGISTRIES, "nro"):
            raise ValueError(f"{fields[1]!r} is no registry")
        # The last day that the file tells of; some leave it empty and date the serial.
        self.registry, self.built = fields[1], day_of(fields[5] or fields[2])

    def _record(self, fields: list[str]) -> None:
        if len(fields) < 7 or fields[2] not in _KINDS:
            raise ValueError(f"{'|'.join(fields)[:80]!r} is no record")
        _, code, kind, start, size, _, status, *_ = fields
        self.seen[kind] += 1
        if status not in _GIVEN or not (found := country(code)):
            return  # available, reserved: nobody's
        if kind == "asn":
            self._networks(_number(start), _number(size), found)
        elif kind == "ipv4":
            first, count = int(ipaddress.IPv4Address(start)), _number(size)
            last = first + count - 1
            if not count or last >= 1 << 32:
                raise ValueError(f"{start} and {count} addresses are no range")
            self.families.v4.append(Range(first, last, found))
        else:
            network = ipaddress.IPv6Network((start, _number(size)))
            first, last = int(network.network_address), int(network.broadcast_address)
            self.families.v6.append(Range(first, last, found))

    def _networks(self, first: int, count: int, found: str) -> None:
        # The largest block ever given has some thousand numbers.
        if not 0 < count <= 1 << 16 or first + count > 1 << 32:
            raise ValueError(f"AS{first} and {count} numbers are no range")
        self.asns.update(dict.fromkeys(range(first, first + count), found))

    def supply(self, said: Said) -> Supply:
        """Give what was read, if it was all of it.

        Raises:  DataError: the summaries count other records.
        """
        if not self.registry:
            raise DataError(self.where, "is empty", _FORM)
        for kind in _KINDS:
            if self.announced.get(kind) != self.seen[kind]:
                counted = f"{self.seen[kind]} {kind} records"
                told = self.announced.get(kind, "no number of")
                raise DataError(self.where, counted, f"{told} as its summary says: it is cut")
        return Supply(
            Said(
                said.name or "nro",
                self.built,
                said.licence or "CC BY 4.0",
                said.credit or CREDIT,
                said.package,
                said.sha256,
            ),
            {Column.REGISTRATION: self.families},
            {Column.AS_COUNTRIES: self.asns},
            self.registry,
        )


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text[:20]!r} is no number")
    return int(text)
