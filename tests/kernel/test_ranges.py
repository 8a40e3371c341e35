"""Ranges have one form."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import DataError
from gateway.kernel.ranges import merge, spell
from tests.support.rows import rows

_LAST4, _LAST6 = (1 << 32) - 1, (1 << 128) - 1


@rows(
    merge={
        "apart": (((10, 20), (30, 40)), ((10, 20), (30, 40))),
        "in disorder": (((30, 40), (10, 20)), ((10, 20), (30, 40))),
        "overlapping": (((10, 20), (15, 40)), ((10, 40),)),
        "one in another": (((10, 40), (15, 20)), ((10, 40),)),
        "adjacent": (((10, 20), (21, 40)), ((10, 40),)),
        "one address between": (((10, 20), (22, 40)), ((10, 20), (22, 40))),
        "none": ((), ()),
        "everything": (((0, _LAST4), (5, 6)), ((0, _LAST4),)),
    },
    refused={
        "backwards": ((20, 10),),
        "negative": ((-1, 10),),
        "past the end": ((0, _LAST4 + 1),),
    },
    spelled={
        "IPv4": (0xC0000200, 0xC00002FF, 4, "192.0.2.0-192.0.2.255"),
        "one IPv4 address": (0xC0000201, 0xC0000201, 4, "192.0.2.1"),
        "IPv6": (0x20010DB8 << 96, (0x20010DB8 << 96) + 1, 16, "2001:db8::-2001:db8::1"),
        "all of IPv6": (0, _LAST6, 16, "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    },
)
class RangesTests(SynchronousTestCase):
    """Merging and spelling."""

    def check_merge(
        self, given_: tuple[tuple[int, int], ...], merged: tuple[tuple[int, int], ...]
    ) -> None:
        """Ranges become ascending and apart"""
        self.assertEqual(merge(given_, 4), merged)

    def check_refused(self, one: tuple[int, int]) -> None:
        """What is no range is refused"""
        error = self.assertRaises(DataError, merge, [one], 4)
        self.assertIn("denied ranges", str(error))

    def check_spelled(self, first: int, last: int, octets: int, text: str) -> None:
        """A range is written as nft reads it"""
        self.assertEqual(spell(first, last, octets), text)

    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted)))
    def test_same_addresses(self, pairs: list[list[int]]) -> None:
        """Merging keeps exactly the addresses, and merging again changes nothing."""
        merged = merge([(first, last) for first, last in pairs], 4)
        before = {n for first, last in pairs for n in range(first, last + 1)}
        self.assertEqual({n for first, last in merged for n in range(first, last + 1)}, before)
        self.assertEqual(merge(merged, 4), merged)
        gaps = [b[0] - a[1] for a, b in pairwise(merged)]
        self.assertTrue(all(gap > 1 for gap in gaps))
