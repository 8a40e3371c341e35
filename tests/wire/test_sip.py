"""Tests of gateway.wire.sip."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import IdentifierKind, Protocol, Traffic, Transport
from gateway.wire import SIGNATURES, recognise, signature, sip
from tests.support.rows import rows
from tests.wire import captures
from tests.wire.examples import SIP


@rows(
    start={
        "a request": (b"INVITE sip:a@b.example:5060;x=y SIP/2.0\r\n", "INVITE", ("b.example",)),
        "a secure one": (b"BYE sips:b.example SIP/2.0\r\n", "BYE", ("b.example",)),
        "a number": (b"INVITE tel:+15550100 SIP/2.0\r\n", "INVITE", ()),
        "an address": (b"OPTIONS sip:192.0.2.1 SIP/2.0\r\n", "OPTIONS", ()),
        "an answer": (b"SIP/2.0 401 Unauthorized\r\n", "Response", ()),
        "empty lines in front": (b"\r\n\r\nACK sip:b.example SIP/2.0\r\n", "ACK", ("b.example",)),
        "another method": (b"BREW sip:b.example SIP/2.0\r\n", None, ()),
        "HTTP": (b"OPTIONS / HTTP/1.1\r\n", None, ()),
        "a line cut": (b"INVITE sip:b.example SIP/2.", None, ()),
        "nothing": (b"", None, ()),
    }
)
class StartTests(SynchronousTestCase):
    """Start lines."""

    def check_start(self, payload: bytes, message: str | None, names: tuple[str, ...]) -> None:
        """A message is claimed by its whole start line, and is signalling for its host."""
        content = sip.recognise(payload)
        self.assertEqual(content and content.message, message)
        if content is not None:
            self.assertEqual(
                (content.protocol, content.traffic, content.names),
                (Protocol.SIP, Traffic.SIGNALLING, names),
            )


class IdentifierTests(SynchronousTestCase):
    """Who calls whom."""

    def _texts(self, payload: bytes) -> list[tuple[IdentifierKind, bytes]]:
        content = sip.recognise(payload)
        assert content is not None and content.plaintext is not None
        return [(i.kind, payload[i.offset : i.offset + i.length]) for i in content.plaintext]

    def test_register(self) -> None:
        """Parties, call and credentials' user are given where they stand, in order."""
        account, call = IdentifierKind.ACCOUNT, IdentifierKind.SESSION_ID
        self.assertEqual(
            self._texts(SIP),
            [
                (account, b"bob"),
                (account, b"bob"),
                (call, b"843817637684230@998sdasdh09"),
                (account, b"bob"),
                (account, b"+15550100"),
                (account, b"bobby"),
            ],
        )

    def test_request_uri(self) -> None:
        """Whom a call is for stands in its start line."""
        found = self._texts(b"INVITE sip:alice@b.example SIP/2.0\r\nf: <sip:x@y>\r\n")
        self.assertEqual([text for _, text in found], [b"alice", b"x"])

    def test_nothing_found(self) -> None:
        """A message without the fields that each has may carry anything."""
        content = sip.recognise(b"OPTIONS sip:b.example SIP/2.0\r\n\r\nFrom: <sip:a@b>\r\n")
        assert content is not None
        self.assertIsNone(content.plaintext)

    def test_signature(self) -> None:
        """In a flow that was judged by its first datagram each message is looked at."""
        for method in sip.METHODS:
            number = signature(method + b" sip:b.example SIP/2.0\r\n")
            assert number is not None, method
            self.assertTrue(SIGNATURES[number].carries_identifiers)

    @settings(deadline=None, max_examples=150)
    @given(st.text('sip:@;<>" \r\nFrom:i=username', max_size=80))
    def test_any_head(self, text: str) -> None:
        """Whatever a head holds: identifiers inside it, nothing raised."""
        payload = b"ACK sip:b.example SIP/2.0\r\n" + text.encode()
        content = sip.recognise(payload)
        assert content is not None
        for identifier in content.plaintext or ():
            self.assertGreater(identifier.length, 0)
            self.assertLessEqual(identifier.offset + identifier.length, len(payload))


class IncompleteTests(SynchronousTestCase):
    """When to wait for more of a stream."""

    def test_cut(self) -> None:
        """More is wanted until the head is whole, empty lines in front or not."""
        for payload in (SIP, b"\r\n" + SIP, b"SIP/2.0 200 OK\r\n\r\n"):
            for end in range(len(payload)):
                self.assertTrue(sip.incomplete(payload[:end]), end)
            self.assertFalse(sip.incomplete(payload))

    def test_something_else(self) -> None:
        """Nothing is waited for when the line is another protocol's."""
        for payload in (b"INVITE x\r\n", b"GET / HTTP/1.1\r\n", b"SSH-2.0"):
            self.assertFalse(sip.incomplete(payload))


class CaptureTests(SynchronousTestCase):
    """Other people's telephones, outside the project."""

    def test_telephones(self) -> None:
        """Each message names its account, also where greetings came first."""
        for name, least in (("sip.pcap", 50), ("sip_hello.pcapng", 4)):
            seen: Counter[bool] = Counter()
            for packet in captures.packets(captures.foreign(name)):
                if b" SIP/2.0\r\n" in packet.payload or packet.payload.startswith(b"SIP/2.0"):
                    content = recognise(Transport.UDP, packet.payload)
                    self.assertIs(content.protocol, Protocol.SIP)
                    seen[bool(content.plaintext)] += 1
            self.assertEqual(seen[False], 0)
            self.assertGreaterEqual(seen[True], least)
