"""What stands before a payload in an HTTP datagram is written and read, however it is spelled."""

from __future__ import annotations

from aioquic._buffer import Buffer
from aioquic.buffer import encode_uint_var
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.tunnel.datagrams import heading, read
from tests.support.rows import rows

_QUARTERS = st.one_of(st.integers(0, 0x4100), st.integers(0, (1 << 62) - 1))


@rows(
    other={
        "another context": (b"\x02\x05x", (8, None)),
        "another context, of two octets": (b"\x02\x40\x05x", (8, None)),
        "context 0 in two octets": (b"\x02\x40\x00x", (8, b"x")),
        "a stream's number in two octets though one would do": (b"\x40\x02\x00x", (8, b"x")),
        "a stream's number in eight octets": (b"\xc0" + bytes(6) + b"\x02\x00x", (8, b"x")),
        "an empty payload": (b"\x02\x00", (8, b"")),
        "no context": (b"\x02", (8, None)),
        "nothing": (b"", None),
        "half a number": (b"\x40", None),
        "a quarter of a number": (b"\x80\x01", None),
    }
)
class DatagramTests(SynchronousTestCase):
    """Writing and reading."""

    def check_other(self, data: bytes, expected: tuple[int, bytes | None] | None) -> None:
        """What is spelled otherwise, or cannot be read, is told apart."""
        self.assertEqual(read(data), expected)

    @settings(deadline=None, max_examples=100)
    @given(_QUARTERS, st.binary(max_size=40))
    def test_round_trip(self, quarter: int, payload: bytes) -> None:
        """What is written is read again, and is as short as the RFC has it."""
        written = heading(quarter * 4)
        self.assertEqual(written, encode_uint_var(quarter) + b"\0")
        self.assertEqual(read(written + payload), (quarter * 4, payload))

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=12))
    def test_noise(self, data: bytes) -> None:
        """Any octets are read as the library's own buffer reads them."""
        buffer = Buffer(data=data)
        try:
            expected: tuple[int, bytes | None] | None = (buffer.pull_uint_var() * 4, None)
        except ValueError:
            expected = None
        if expected is not None:
            try:
                if buffer.pull_uint_var() == 0:
                    expected = expected[0], data[buffer.tell() :]
            except ValueError:
                pass
        self.assertEqual(read(data), expected)
