"""gateway.evidence.fragments: fragments become packets, within bounds."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.evidence.fragments import Fragments
from gateway.evidence.frame import Fragment, IpPacket

BODY = bytes(range(200))


def part(start: int, end: int, number: int = 7, size: int = len(BODY)) -> IpPacket:
    """Cut a fragment out of the body."""
    return IpPacket(b"abcd", b"efgh", 17, BODY[start:end], Fragment(number, start, end < size))


class FragmentsTests(SynchronousTestCase):
    """A packet is given with its last fragment, once."""

    @settings(deadline=None, max_examples=60)
    @given(st.sets(st.integers(1, 24), max_size=6), st.integers(0, 1 << 30))
    def test_any_order(self, cuts: set[int], seed: int) -> None:
        """Whatever the cuts and the order, the packet is what it was."""
        edges = [0, *sorted(8 * cut for cut in cuts), len(BODY)]
        parts = [part(*pair) for pair in pairwise(edges)]
        random.Random(seed).shuffle(parts)
        fragments = Fragments()
        *before, whole = [fragments.add(one, 1.0) for one in parts]
        self.assertEqual(before, [None] * len(before))
        self.assertEqual(whole, IpPacket(b"abcd", b"efgh", 17, BODY))

    def test_overlap(self) -> None:
        """Overlapping fragments are refused, and what comes of the packet then (RFC 5722)."""
        fragments = Fragments()
        for one in (part(0, 80), part(72, 160), part(80, 160), part(160, 200)):
            self.assertIsNone(fragments.add(one, 1.0))
        self.assertEqual((fragments.refused, fragments.missing), (1, 0))

    def test_twice(self) -> None:
        """The same fragment seen on two interfaces is one."""
        fragments = Fragments()
        self.assertIsNone(fragments.add(part(0, 80), 1.0))
        self.assertIsNone(fragments.add(part(0, 80), 1.0))
        self.assertIsNotNone(fragments.add(part(80, 200), 1.0))

    def test_lies(self) -> None:
        """A second end, one before the end, odd lengths and giants are refused."""
        for parts in (
            [part(160, 200), part(80, 88, size=88)],
            [part(160, 168), part(80, 88, size=88)],
            [part(0, 81)],
            [part(0, 0)],
            [IpPacket(b"abcd", b"efgh", 17, BODY, Fragment(7, 65_528, False))],
        ):
            fragments = Fragments()
            for one in parts:
                self.assertIsNone(fragments.add(one, 1.0))
            self.assertEqual(fragments.refused, 1)

    def test_bounds(self) -> None:
        """A flood of first fragments, and a minute's silence, are given up and counted."""
        fragments = Fragments()
        for number in range(2_000):
            fragments.add(part(0, 80, number), 1.0)
        self.assertLessEqual(fragments.missing, 1_025)
        fragments.add(part(0, 80, 9_999), 62.0)
        self.assertEqual((fragments.missing, fragments.abandoned), (1, 2_000))
