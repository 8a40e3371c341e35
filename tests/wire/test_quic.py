"""Tests of gateway.wire.quic."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import Content, Protocol, Traffic
from gateway.wire import quic
from tests.support.rows import rows
from tests.wire.examples import QUIC

NEGOTIATION = bytes.fromhex("80000000000000") + b"\0\0\0\1" * 4


def version(number: str, first: int = 0xC0) -> bytes:
    """Give the example's datagram in another version and of another type."""
    return bytes((first,)) + bytes.fromhex(number) + QUIC[5:]


@rows(
    header={
        "version 1": (QUIC, "Initial"),
        "version 1, greased bit": (version("00000001", 0x80), "Initial"),
        "version 1, 0-RTT": (version("00000001", 0xD0)[:17] + QUIC[16:], "0-RTT"),
        "version 1, Retry": (version("00000001", 0xF0), "Retry"),
        "version 2": (version("6b3343cf", 0xD0), "Initial"),
        "version 2, Retry": (version("6b3343cf", 0xC0), "Retry"),
        "draft 29": (version("ff00001d"), "Initial"),
        "draft 34": (version("ff000022"), "Initial"),
        "draft 35, which never was": (version("ff000023"), None),
        "draft 22, before the lengths moved": (version("ff000016"), None),
        "gQUIC Q050": (version("51303530"), "Initial"),
        "gQUIC Q046": (bytes.fromhex("c35130343650") + bytes(30), "Initial"),
        "version negotiation": (NEGOTIATION, "Version Negotiation"),
        "version negotiation, cut": (NEGOTIATION[:-1], None),
        "a version nobody knows": (version("12345678"), None),
        "a short header": (b"\x40" + QUIC[1:], None),
    }
)
class RecogniseTests(SynchronousTestCase):
    """Long headers."""

    def check_header(self, payload: bytes, message: str | None) -> None:
        """A long header of a known version is claimed, and named by its type."""
        want = message and Content(Protocol.QUIC, message, Traffic.OTHER, ())
        self.assertEqual(quic.recognise(payload), want)

    def test_lengths(self) -> None:
        """An id of 21 octets, or a packet longer than its datagram, is none."""
        self.assertIsNone(quic.recognise(QUIC[:5] + b"\x15" + bytes(1200)))
        self.assertIsNotNone(quic.recognise(QUIC[:5] + b"\x14" + bytes(1200)))
        self.assertIsNone(quic.recognise(QUIC[:-1]))
        self.assertIsNone(quic.recognise(QUIC[:20]))

    @settings(deadline=None, max_examples=200)
    @given(
        st.sampled_from([QUIC[:5], version("6b3343cf")[:5], version("51303436")[:5], b"\x80" * 5]),
        st.binary(max_size=64),
    )
    def test_any_body(self, head: bytes, body: bytes) -> None:
        """Whatever follows a version: a content or none, nothing raised."""
        content = quic.recognise(head + body)
        self.assertTrue(content is None or content.protocol is Protocol.QUIC)
