"""The table inside the package iptocc.  Owns: its library file → registrations.
Knows: the layout of its two tables.  Never: running it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from gateway.supply.column import Families, Range

_BUCKETS = 65536  # iptocc cuts both families by their upper 16 bits
_NONE = 0xFF  # its "no country" and "empty bucket"


def registry_ranges(library: bytes) -> Families:
    """Read iptocc's two tables of RIR delegations out of its library file.

    Each table has one dictionary of about 240 country codes in a row, which nothing else has.
    """
    dictionaries = [match.start() for match in re.finditer(rb"(?:[A-Z]{2}){150,}", library)]
    if len(dictionaries) != 2:
        raise ValueError(f"{len(dictionaries)} dictionaries of countries, expected 2")
    table = _Table(library)
    return Families(list(table.v4(dictionaries[0])), sorted(table.v6(dictionaries[1])))


class _Table:
    """Little-endian columns, one after the other, each after its count."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def u32(self, at: int) -> int:
        return int.from_bytes(self.data[at : at + 4], "little")

    def code(self, dictionary: int, number: int) -> str:
        return self.data[dictionary + 2 * number : dictionary + 2 * number + 2].decode("ascii")

    def v4(self, dictionary: int) -> Iterator[Range]:
        """Join the transitions of all buckets to ranges."""
        start, number = 0, _NONE
        for address, following in (*self._v4_transitions(dictionary), (1 << 32, _NONE)):
            if following != number or address == 1 << 32:
                if number != _NONE and address > start:
                    yield Range(start, address - 1, self.code(dictionary, number))
                start, number = address, following

    def _v4_transitions(self, dictionary: int) -> Iterator[tuple[int, int]]:
        """Give (address, country from there on).

        A bucket's word says in its upper two bits: 0 mixed (its number), 1 one country, 2 empty.
        """
        at = dictionary + 2 * self.u32(dictionary - 4)
        mixed = self.u32(at)
        begins = struct.unpack_from(f"<{mixed + 1}I", self.data, at + 4)
        initial = at + 4 + 4 * (mixed + 1)
        count = self.u32(initial + mixed)
        offsets = struct.unpack_from(f"<{count}H", self.data, initial + mixed + 4)
        codes = initial + mixed + 4 + 2 * count
        words = struct.unpack_from(f"<{_BUCKETS}I", self.data, dictionary - 4 - 4 * _BUCKETS)
        for bucket, word in enumerate(words):
            number = word & 0x3FFFFFFF
            if word >> 30:
                yield bucket << 16, number & 0xFF if word >> 30 == 1 else _NONE
                continue
            yield bucket << 16, self.data[initial + number]
            for place in range(begins[number], begins[number + 1]):
                yield bucket << 16 | offsets[place], self.data[codes + place]

    def v6(self, dictionary: int) -> Iterator[Range]:
        """Read the entries of all buckets: u32 offset in units of 2**80, u8 length, u8 country.

        Length 0 means an entry of the side table: u128 first, u128 last, u8 country.
        """
        start, count = self._v6_start(dictionary)
        side = dictionary + 2 * self.u32(dictionary - 4) + 4
        entries = side + 33 * self.u32(side - 4) + 4
        begins = struct.unpack_from(f"<{count + 1}I", self.data, start + _BUCKETS + 4)
        for bucket in range(_BUCKETS):
            number = self.data[start + bucket]
            if number == _NONE:
                continue
            for place in range(begins[number], begins[number + 1]):
                offset, length, country = struct.unpack_from("<IBB", self.data, entries + 6 * place)
                first = bucket << 112 | offset << 80
                last = first | (1 << (128 - length)) - 1
                if not length:
                    first, last, country = self._side(side + 33 * offset)
                yield Range(first, last, self.code(dictionary, country))

    def _side(self, at: int) -> tuple[int, int, int]:
        entry = self.data[at : at + 33]
        return (
            int.from_bytes(entry[:16], "little"),
            int.from_bytes(entry[16:32], "little"),
            entry[32],
        )

    def _v6_start(self, dictionary: int) -> tuple[int, int]:
        """Find where the IPv6 table begins: where its indices end at its dictionary."""
        for start in range(dictionary - _BUCKETS, max(0, dictionary - (4 << 20)), -1):
            count = self.u32(start + _BUCKETS)
            if not 0 < count < _NONE:
                continue
            at = start + _BUCKETS + 4 + 4 * (count + 1) + 514 * count
            for _ in range(2):  # the deeper indices: count, keys, 257 pairs each
                at += 4 + self.u32(at) * (2 + 4 * 257)
                if at > dictionary:
                    break
            if at == dictionary - 4:
                return start, count
        raise ValueError("no IPv6 table before its dictionary of countries")
