"""Promises of gateway.geo.bundle."""

from __future__ import annotations

import dataclasses
import json
import lzma
from array import array

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import DataError
from gateway.geo.bundle import Bundle, decode, empty, encode
from gateway.geo.partition import Partition
from tests.geo import worlds
from tests.support.rows import rows

SMALL = worlds.bundle(
    [(0, ("", "", 0)), (1 << 24, ("AU", "AU", 64496)), (1 << 25, ("CN", "", 64497))],
    [
        (0, ("", "", 0)),
        (0x2400 << 112, ("CN", "CN", 64497)),
        ((0x2400 << 112) + 7, ("HK", "CN", 64498)),
        ((0x2400 << 112) + 9, ("CN", "CN", 64497)),
        ((0x2400 << 112) + (1 << 64), ("SG", "SG", 64500)),
    ],
)

WHOLE = encode(SMALL)


def columns(bundle: Bundle) -> list[object]:
    """Everything in a bundle, as values that can be compared."""
    fields = [getattr(bundle, field.name) for field in dataclasses.fields(bundle)]
    parts = [[each.high, each.low, each.numbers] for each in (bundle.v4, bundle.v6)]
    return [each for each in fields if not isinstance(each, Partition)] + parts


def repacked(bundle: Bundle, **changes: object) -> bytes:
    """Write a bundle with some columns changed."""
    return encode(dataclasses.replace(bundle, **changes))  # type: ignore[arg-type]  # of tests


def refused(data: bytes) -> str:
    """Read what must be refused, and give the sentence."""
    try:
        decode(data, "some.xz")
    except DataError as error:
        assert error.path == "some.xz"
        return str(error)
    raise AssertionError("it was read")


@rows(
    refuses={
        "no data": (b"", "some.xz: cut short"),
        "not xz": (b"PK\3\4 something else", "some.xz: "),
        "another magic": (lzma.compress(b"RTCGEO\0\2" + bytes(99)), "begins with"),
        "a header that is not JSON": (lzma.compress(b"RTCGEO\0\1\4\0\0\0[[[["), "some.xz: "),
        "a header without fields": (lzma.compress(b"RTCGEO\0\1\2\0\0\0{}"), "sections"),
        "more after the end": (WHOLE + b"\0", "more follows"),
        "unpacking without end": (lzma.compress(bytes(65 << 20)), "too long"),
        "a country out of range": (repacked(SMALL, as_operator=b"\xff" * 6), "a country out of"),
        "an AS out of range": (repacked(SMALL, as_at=array("I", [99] * 6)), "an AS out of range"),
        "columns of unequal length": (repacked(SMALL, location=b"\0"), "unequal length"),
        "a tuple out of range": (
            repacked(SMALL, v4=Partition(32, array("I", [0]), array("Q"), array("I", [77]))),
            "IPv4 tuple out of range",
        ),
        "segments without numbers": (
            repacked(SMALL, v4=Partition(32, array("I", [0]), array("Q"), array("I", [0, 0]))),
            "IPv4 of unequal length",
        ),
        "a gap at the beginning": (
            repacked(SMALL, v4=Partition(32, array("I", [5]), array("Q"), array("I", [0]))),
            "IPv4 does not begin at 0",
        ),
        "the same IPv4 start twice": (
            repacked(SMALL, v4=Partition(32, array("I", [0, 0]), array("Q"), array("I", [0, 1]))),
            "does not ascend",
        ),
        "the same IPv6 start twice": (
            repacked(
                SMALL,
                v6=Partition(
                    128, array("Q", [0, 1, 1]), array("Q", [0, 3, 3]), array("I", [0] * 3)
                ),
            ),
            "IPv6 does not ascend",
        ),
    }
)
class BundleTests(SynchronousTestCase):
    """The fused file is read as it was written, or refused."""

    def check_refuses(self, data: bytes, expected: str) -> None:
        """A file that would answer wrongly is refused with a sentence."""
        self.assertIn(expected, refused(data))

    def test_round_trip(self) -> None:
        """Every column of a file comes back, a divided /64 too."""
        self.assertEqual(columns(decode(WHOLE, "a")), columns(SMALL))
        self.assertEqual(columns(decode(encode(empty()), "a")), columns(empty()))

    def test_same_bytes(self) -> None:
        """The same bundle gives the same bytes."""
        self.assertEqual(WHOLE, encode(decode(WHOLE, "a")))

    def test_cut_anywhere(self) -> None:
        """A file that is cut short is refused, wherever the cut is."""
        for length in range(len(WHOLE)):
            self.assertIn("some.xz", refused(WHOLE[:length]))

    def test_cut_anywhere_before_packing(self) -> None:
        """So is one whose content was cut before it was packed."""
        body = lzma.decompress(WHOLE)
        for length in range(len(body)):
            refused(lzma.compress(body[:length], preset=0))

    @settings(deadline=None, max_examples=200)
    @given(at=st.integers(0, len(WHOLE) - 1), flip=st.integers(1, 255))
    def test_flipped_bits(self, at: int, flip: int) -> None:
        """A file with a changed octet is refused: xz sums all that it holds."""
        damaged = bytearray(WHOLE)
        damaged[at] ^= flip
        refused(bytes(damaged))

    @settings(deadline=None, max_examples=300)
    @given(data=st.data())
    def test_any_content(self, data: st.DataObject) -> None:
        """Content that was changed before it was packed gives a bundle or DataError."""
        body = bytearray(lzma.decompress(WHOLE))
        for at in data.draw(st.lists(st.integers(0, len(body) - 1), min_size=1, max_size=4)):
            body[at] = data.draw(st.integers(0, 255))
        try:
            read = decode(lzma.compress(bytes(body), preset=0), "some.xz")
        except DataError:
            return
        for part in (read.v4, read.v6):
            starts = [part.start(at) for at in range(len(part.numbers))]
            self.assertEqual(starts, sorted(set(starts)))
            self.assertLess(max(part.numbers), len(read.location))

    def test_header_says_where_from(self) -> None:
        """The header names each source, its axis, licence, date and hash."""
        body = lzma.decompress(WHOLE)
        header = json.loads(body[12 : 12 + int.from_bytes(body[8:12], "little")])
        for source in header["sources"]:
            expected = {"name", "axis", "built", "licence", "credit", "package", "sha256"}
            self.assertEqual(set(source), expected)
