"""A family's whole address space, cut into numbered segments.  Owns: find, overlay, extent.
Knows: bisection; networks nest or are disjoint (RFC 4632).
Never: what a segment's number means, countries, files."""

from __future__ import annotations

import ipaddress
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

_LOW_64 = (1 << 64) - 1


class Piece(NamedTuple):
    """A range of addresses, as numbers, and what it is worth."""

    first: int
    last: int
    """Inclusive."""
    number: int


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Segments in ascending order without gaps: each begins at its start, ends before the next.

    IPv6 starts are split in two 64-bit columns: a Python integer each would take 20 MB.
    """

    bits: int
    """32 or 128."""
    high: array[int]
    """IPv4: the starts.  IPv6: the upper 64 bits of the starts."""
    low: array[int]
    """IPv6: the lower 64 bits of the starts, nearly all 0.  IPv4: empty."""
    numbers: array[int]
    """What each segment is worth."""

    @classmethod
    def whole(cls, bits: int) -> Partition:
        """Make the partition of one segment, number 0."""
        if bits == 32:
            return cls(bits, array("I", [0]), array("Q"), array("I", [0]))
        return cls(bits, array("Q", [0]), array("Q", [0]), array("I", [0]))

    @property
    def top(self) -> int:
        """The last address, as a number."""
        return (1 << self.bits) - 1

    def find(self, address: int) -> int:
        """Give the position of the segment that holds an address."""
        if self.bits == 32:
            return bisect_right(self.high, address) - 1
        high, low = address >> 64, address & _LOW_64
        position = bisect_right(self.high, high) - 1
        if self.low[position] > low and self.high[position] == high:
            # A /64 that is divided: only there do the lower halves decide.
            position = bisect_right(self.low, low, bisect_left(self.high, high), position + 1) - 1
        return position

    def start(self, position: int) -> int:
        """Give the first address of a segment."""
        if self.bits == 32:
            return self.high[position]
        return self.high[position] << 64 | self.low[position]

    def last(self, position: int) -> int:
        """Give the last address of a segment."""
        if position + 1 < len(self.high):
            return self.start(position + 1) - 1
        return self.top

    def extent(self, position: int, belongs: Callable[[int], bool]) -> tuple[int, int]:
        """Give the first and last address of the run of segments whose numbers belong together."""
        first = last = position
        while first > 0 and belongs(self.numbers[first - 1]):
            first -= 1
        while last + 1 < len(self.numbers) and belongs(self.numbers[last + 1]):
            last += 1
        return self.start(first), self.last(last)

    def overlaid(self, pieces: Iterable[Piece]) -> Partition:
        """Give the partition in which the pieces win over what was there.

        Args:    pieces: ascending and disjoint, as `flattened` gives them.
        """
        result = _Copy(self)
        for piece in pieces:
            result.copy_until(piece.first)
            result.put(piece.first, piece.number)
            result.skip_until(piece.last + 1)
        result.copy_until(self.top + 1)
        return result.partition


class _Copy:
    """A partition in the making, and how far it has come through the old one."""

    def __init__(self, old: Partition) -> None:
        self.old = old
        self.partition = Partition(
            old.bits, array(old.high.typecode), array("Q"), array(old.numbers.typecode)
        )
        self._done = 0

    def _count_before(self, address: int) -> int:
        return self.old.find(address - 1) + 1 if address else 0

    def copy_until(self, address: int) -> None:
        """Take over what starts before an address."""
        old, new, until = self.old, self.partition, self._count_before(address)
        new.high.extend(old.high[self._done : until])
        new.low.extend(old.low[self._done : until])
        new.numbers.extend(old.numbers[self._done : until])
        self._done = until

    def skip_until(self, address: int) -> None:
        """Leave out what starts before an address; the segment it lies in goes on there."""
        self._done = self._count_before(address)
        if address <= self.old.last(self._done - 1):
            self.put(address, self.old.numbers[self._done - 1])

    def put(self, start: int, number: int) -> None:
        """Begin a segment, in place of one that begins at the same address."""
        new = self.partition
        if new.numbers and new.start(len(new.numbers) - 1) == start:
            new.numbers[-1] = number
            return
        if new.bits == 32:
            new.high.append(start)
        else:
            new.high.append(start >> 64)
            new.low.append(start & _LOW_64)
        new.numbers.append(number)


def flattened(pieces: Iterable[Piece]) -> list[Piece]:
    """Make nested networks disjoint: the most specific one wins.

    Walks through them in ascending order with the networks that enclose the place reached on a
    stack; what lies between two inner networks belongs to the innermost that is still open.
    """
    flat: list[Piece] = []
    enclosing: list[Piece] = []
    reached = 0
    for piece in sorted(pieces, key=lambda piece: (piece.first, -piece.last)):
        reached = _close(enclosing, piece.first, reached, flat)
        if enclosing and reached < piece.first:
            flat.append(Piece(reached, piece.first - 1, enclosing[-1].number))
        enclosing.append(piece)
        reached = piece.first
    _close(enclosing, 1 << 128, reached, flat)
    return flat


def _close(enclosing: list[Piece], before: int, reached: int, flat: list[Piece]) -> int:
    while enclosing and enclosing[-1].last < before:
        ended = enclosing.pop()
        if reached <= ended.last:
            flat.append(Piece(reached, ended.last, ended.number))
            reached = ended.last + 1
    return reached


def range_text(first: int, last: int, bits: int) -> str:
    """Write a range as the one CIDR that it is, else as "first-last"."""
    kind = ipaddress.IPv4Address if bits == 32 else ipaddress.IPv6Address
    size = last - first + 1
    if size & (size - 1) == 0 and first % size == 0:
        return f"{kind(first)}/{bits - size.bit_length() + 1}"
    return f"{kind(first)}-{kind(last)}"
