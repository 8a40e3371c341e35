"""gateway.evidence.entries: what was written is read, whole or not at all."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import DataError
from gateway.evidence.entries import (
    COUNTS,
    DECIDED,
    LINE,
    TEXT,
    Decision,
    Destination,
    destination,
    entries,
    frame,
    frames,
    long,
    pack_decision,
)

U32 = st.integers(0, 0xFFFFFFFF)
ASCII = st.text(st.characters(codec="ascii"), max_size=20)
V4, V6 = (st.binary(min_size=length, max_size=length) for length in (4, 16))
DESTINATIONS = (
    st.builds(Destination, U32, V4, V4, V4)
    | st.builds(Destination, U32, V6, V6, V6)
    | st.builds(Destination, U32, V4, st.just(b""), st.just(b""))
)
DECISIONS = st.builds(
    Decision,
    st.integers(0, 1 << 50),
    st.binary(min_size=5, max_size=5),
    st.integers(0, 255),
    st.integers(0, 65_535),
    *[U32] * 5,
    st.binary(max_size=9),
    st.binary(max_size=9),
    DESTINATIONS,
)


def spelled(one: Decision) -> bytes:
    """Write a decision's entry."""
    head = pack_decision(DECIDED, *one[:9], len(one.plaintext), len(one.names))
    return head + destination(one.destination) + one.plaintext + one.names


class FrameTests(SynchronousTestCase):
    """Frames of entries."""

    @settings(deadline=None, max_examples=100)
    @given(st.lists(DECISIONS | st.tuples(st.sampled_from([TEXT, LINE, COUNTS]), ASCII)))
    def test_read(self, said: list[Decision | tuple[bytes, str]]) -> None:
        """What was written comes back, in order."""
        octets = frame([spelled(one) if isinstance(one, Decision) else long(*one) for one in said])
        if not said:
            return
        ((body, end),) = frames(octets, "a test")
        self.assertEqual(end, len(octets))
        read = [
            one if isinstance(one, Decision) else (kind, one) for kind, one in entries(body, "")
        ]
        self.assertEqual(read, said)

    def test_cut(self) -> None:
        """Of a frame that is cut anywhere nothing is read, and those before it are whole."""
        one, two = frame([long(LINE, "one")]), frame([long(LINE, "two")])
        for length in range(len(one + two)):
            read = [body for body, _ in frames((one + two)[:length], "a test")]
            self.assertEqual(read, [long(LINE, "one")] * (length >= len(one)))

    def test_damaged(self) -> None:
        """A frame with any bit changed is refused, or is not whole: it never reads otherwise."""
        whole = frame([long(LINE, "a line"), long(TEXT, "a text")])
        for bit in range(8 * len(whole)):
            octets = bytearray(whole)
            octets[bit // 8] ^= 1 << bit % 8
            try:
                self.assertEqual(list(frames(bytes(octets), "a test")), [])
            except DataError as error:
                self.assertIn("a test", str(error))

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=200))
    def test_anything(self, body: bytes) -> None:
        """Any octets are entries, or an error that says where."""
        for octets in (body, DECIDED + body, LINE + body):
            try:
                list(entries(octets, "a test"))
            except DataError as error:
                self.assertIn("a test", str(error))
