"""Tests of gateway.wire.wireguard."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import Content, Protocol, Transport
from gateway.wire import recognise, wireguard
from tests.support.rows import rows

INDEX = bytes.fromhex("d837d030")


def data(length: int, counter: int = 7) -> bytes:
    """Build Transport Data of a length."""
    head = b"\4\0\0\0" + INDEX + counter.to_bytes(8, "little")
    return head + b"\x5a" * (length - len(head))


@rows(
    datagram={
        "an initiation": (b"\1\0\0\0" + b"\x5a" * 144, "Handshake Initiation"),
        "a response": (b"\2\0\0\0" + b"\x5a" * 88, "Handshake Response"),
        "a cookie": (b"\3\0\0\0" + b"\x5a" * 60, "Cookie Reply"),
        "an initiation one octet longer": (b"\1\0\0\0" + b"\x5a" * 145, None),
        "an initiation with a reserved octet": (b"\1\0\0\1" + b"\x5a" * 144, None),
        "a keep-alive": (data(32), "Transport Data"),
        "data": (data(128), "Transport Data"),
        "data that fills the link": (data(1452), "Transport Data"),
        "data without padding": (data(129), None),
        "data too short": (data(31), None),
        "data of the last counter": (data(128, 2**40 - 1), "Transport Data"),
        "data of a counter that is none": (data(128, 2**40), None),
        "a type that is none": (b"\5\0\0\0" + b"\x5a" * 144, None),
    }
)
class RecogniseTests(SynchronousTestCase):
    """Messages by type and length."""

    def check_datagram(self, payload: bytes, message: str | None) -> None:
        """A message is named; what it carries, and what for, cannot be told."""
        expected = message and Content(Protocol.WIREGUARD, message, None, None)
        self.assertEqual(wireguard.recognise(payload), expected)
        if expected:
            self.assertEqual(recognise(Transport.UDP, payload), expected)

    @settings(deadline=None, max_examples=100)
    @given(st.sampled_from([b"", b"\1\0\0\0", b"\4\0\0\0"]), st.binary(max_size=200))
    def test_any(self, head: bytes, body: bytes) -> None:
        """Whatever it is: never a claim that it is clear."""
        found = wireguard.recognise(head + body)
        self.assertTrue(found is None or found.plaintext is None)
