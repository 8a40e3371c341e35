"""Promises of gateway.geo.partition."""

from __future__ import annotations

from array import array

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.geo.partition import Partition, Piece, flattened, range_text
from tests.support.rows import rows

_TOP = {32: (1 << 32) - 1, 128: (1 << 128) - 1}


def _starts(bits: int) -> st.SearchStrategy[list[int]]:
    """Starts that crowd: near each other, and many in one /64."""
    near = st.integers(0, 40)
    far = st.integers(0, _TOP[bits])
    step = st.sampled_from((1 << 64, 1) if bits == 128 else (1, 256))
    crowded = st.builds(lambda number, unit: number * unit, near, step)
    return st.lists(crowded | far, max_size=12).map(lambda found: sorted({0, *found}))


def partition(bits: int, starts: list[int]) -> Partition:
    """Make a partition whose numbers are 0, 1, 2, ..."""
    numbers = array("I", range(len(starts)))
    if bits == 32:
        return Partition(bits, array("I", starts), array("Q"), numbers)
    low = array("Q", [start & (1 << 64) - 1 for start in starts])
    return Partition(bits, array("Q", [start >> 64 for start in starts]), low, numbers)


def slow_find(starts: list[int], address: int) -> int:
    """Find by walking."""
    return max(at for at, start in enumerate(starts) if start <= address)


@st.composite
def _prefixes(draw: st.DrawFn, bits: int) -> Piece:
    length = draw(st.integers(0, bits))
    size = 1 << (bits - length)
    near = draw(st.sampled_from((0, 1 << 24, 1 << 64)))
    address = draw(st.integers(near, near + 300) | st.integers(0, _TOP[bits])) & _TOP[bits]
    first = address // size * size
    return Piece(first, first + size - 1, draw(st.integers(100, 200)))


class PartitionTests(SynchronousTestCase):
    """A segment is found by bisection, whatever the family."""

    @settings(deadline=None, max_examples=300)
    @given(data=st.data(), bits=st.sampled_from((32, 128)))
    def test_finds_what_a_walk_finds(self, data: st.DataObject, bits: int) -> None:
        """Every address is found in the segment in which a walk from the start finds it."""
        starts = data.draw(_starts(bits))
        part = partition(bits, starts)
        for address in {
            *starts,
            *(start - 1 for start in starts if start),
            _TOP[bits],
            data.draw(st.integers(0, _TOP[bits])),
        }:
            self.assertEqual(part.find(address), slow_find(starts, address))

    def test_edges_of_segments(self) -> None:
        """A segment holds its first and its last address, and no others."""
        part = partition(128, [0, 1 << 64, (1 << 64) + 5, 2 << 64])
        self.assertEqual(part.find((1 << 64) - 1), 0)
        self.assertEqual(part.find(1 << 64), 1)
        self.assertEqual(part.find((1 << 64) + 4), 1)
        self.assertEqual(part.find((1 << 64) + 5), 2)
        self.assertEqual(part.find((2 << 64) - 1), 2)
        self.assertEqual((part.start(2), part.last(2)), ((1 << 64) + 5, (2 << 64) - 1))
        self.assertEqual(part.last(3), _TOP[128])

    def test_extent_is_the_widest_run(self) -> None:
        """The run around a segment ends where a segment does not belong to it."""
        part = partition(32, [0, 10, 20, 30])
        self.assertEqual(part.extent(1, lambda number: number in (1, 2)), (10, 29))
        self.assertEqual(part.extent(3, lambda number: number > 0), (10, _TOP[32]))

    @settings(deadline=None, max_examples=300)
    @given(data=st.data(), bits=st.sampled_from((32, 128)))
    def test_overlay_wins_where_it_is(self, data: st.DataObject, bits: int) -> None:
        """Networks laid over win on all their addresses, the most specific one, and only there."""
        starts = data.draw(_starts(bits))
        pieces = data.draw(st.lists(_prefixes(bits), max_size=6, unique_by=lambda p: p[:2]))
        old = partition(bits, starts)
        new = old.overlaid(flattened(pieces))
        edges = {edge for piece in pieces for edge in (piece.first, piece.last)}
        around = {edge + step for edge in {*edges, *starts} for step in (-1, 0, 1)}
        for address in sorted(around & {max(0, min(each, _TOP[bits])) for each in around}):
            covering = [piece for piece in pieces if piece.first <= address <= piece.last]
            narrowest = min(covering, key=lambda piece: piece.last - piece.first, default=None)
            expected = narrowest.number if narrowest else slow_find(starts, address)
            self.assertEqual(new.numbers[new.find(address)], expected, address)
        begun = [new.start(at) for at in range(len(new.numbers))]
        self.assertEqual(begun, sorted(set(begun)), "segments ascend, each once")


@rows(
    text={
        "one network": (0x08080800, 0x080808FF, 32, "8.8.8.0/24"),
        "one address": (1, 1, 32, "0.0.0.1/32"),
        "a range that no network is": (1, 2, 32, "0.0.0.1-0.0.0.2"),
        "all of IPv4": (0, _TOP[32], 32, "0.0.0.0/0"),
        "all of IPv6": (0, _TOP[128], 128, "::/0"),
        "a size that is no power of two": (0, 2, 32, "0.0.0.0-0.0.0.2"),
    }
)
class RangeTextTests(SynchronousTestCase):
    """A range is written as the network that it is."""

    def check_text(self, first: int, last: int, bits: int, expected: str) -> None:
        """CIDR where one fits, else both ends."""
        self.assertEqual(range_text(first, last, bits), expected)
