"""Tests of gateway.wire.stun_stream: STUN and TURN over TCP."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from gateway.model import Content, Identifier, IdentifierKind, Protocol, Transport, pack
from gateway.wire import recognise, stun_stream
from tests.wire import captures
from tests.wire.examples import STUN, peer, rtp, turn

ACCOUNT = IdentifierKind.ACCOUNT
FRAMED = len(STUN).to_bytes(2, "big") + STUN


def stream(payload: bytes) -> Content | None:
    """Recognise a stream whose parts are recognised as datagrams are."""
    return stun_stream.stream(payload, lambda part: recognise(Transport.UDP, part))


class StreamTests(SynchronousTestCase):
    """STUN over TCP, bare and framed."""

    def test_both_forms(self) -> None:
        """Messages are found, bare or behind their length, whatever follows."""
        for payload, places in (
            (STUN + STUN, (64, 64 + len(STUN))),
            (FRAMED + FRAMED, (66, 66 + len(FRAMED))),
            (FRAMED + b"\0\1", (66,)),
        ):
            content = stream(payload)
            assert content is not None
            self.assertEqual(content.plaintext, tuple(Identifier(ACCOUNT, at, 9) for at in places))

    def test_incomplete(self) -> None:
        """More is wanted exactly until the message is whole."""
        for payload, start in ((STUN, 0), (FRAMED, 2)):
            for end in range(len(payload)):
                self.assertTrue(stun_stream.incomplete(payload[:end]), end)
                expected = Content(Protocol.STUN, "Binding Request")
                self.assertEqual(stream(payload[:end]), expected if end >= start + 8 else None, end)
            self.assertFalse(stun_stream.incomplete(payload))

    def test_something_else(self) -> None:
        """Nothing is waited for when the cookie is not there."""
        self.assertFalse(stun_stream.incomplete(b"\x00\x01\x00\x08\x21\x12\xa4\x43"))
        self.assertFalse(stun_stream.incomplete(b"GET / HTTP/1.1\r\n"))

    def test_all_messages(self) -> None:
        """Peers and users of later messages count; ChannelData among them is read, padded."""
        channel = b"\x40\x01\x00\xad" + rtp() + b"\x5a" + bytes(3)
        payload = turn(3) + turn(8, peer(b"\xc0\0\2\1")) + channel + STUN
        content = stream(payload)
        assert content is not None
        self.assertEqual(
            (content.message, content.addresses), ("Allocate Request", (pack("192.0.2.1"),))
        )
        self.assertEqual(content.plaintext, (Identifier(ACCOUNT, len(payload) - 44, 9),))

    def test_unknown_tail(self) -> None:
        """Without identifiers, what follows and cannot be told may carry some."""
        self.assertEqual(getattr(stream(turn(3)), "plaintext", None), ())
        for tail in (b"\xff" * 30, STUN[:7], turn(3) * 16):
            content = stream(turn(3) + tail)
            assert content is not None
            self.assertIsNone(content.plaintext)


class CaptureTests(SynchronousTestCase):
    """Other people's calls, outside the project."""

    def test_tcp(self) -> None:
        """Framed ICE and bare TURN are both recognised over TCP."""
        seen = Counter(
            content.message
            for packet in captures.packets(captures.foreign("stun.pcap"))
            if packet.transport is Transport.TCP and (content := stream(packet.payload))
        )
        self.assertEqual((seen["Binding Request"], seen["Allocate Request"]), (6, 4))
