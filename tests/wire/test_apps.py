"""Tests of the recognisers of single apps: discord, telegram, whatsapp, zoom."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import Content, IdentifierKind, Protocol, Traffic, Transport
from gateway.wire import discord, recognise, stun, telegram, wants_more, whatsapp, zoom
from tests.support.rows import rows
from tests.wire.examples import attribute, rtp, sender_report, turn

UDP, TCP = Transport.UDP, Transport.TCP
SSRC, PORT = bytes.fromhex("0000ace3"), b"\x6f\x74"
MARK = b"\xff" * 12
TAG = bytes(range(16))
HELLO = bytes.fromhex("57410502 00010e 128b020a20") + b"\x5a" * 60
ROUTED = bytes.fromhex("45440001 000004 08090802") + HELLO


def in_zoom(kind: int, length: int, inner: bytes, direction: int = 0) -> bytes:
    """Build a datagram of Zoom's media servers."""
    server = b"\5\0\1" + b"\x11" * 4 + bytes((direction,))
    return server + bytes((kind,)) + b"\x22" * (length - 1) + inner


@rows(
    datagram={
        "Discord's discovery": (
            b"\0\1\0\x46" + SSRC + bytes(64) + PORT,
            Content(Protocol.DISCORD, "IP Discovery", Traffic.SIGNALLING, ()),
        ),
        "with an address": (
            b"\0\1\0\x46" + SSRC + b"user 287454020".ljust(64, b"\0") + PORT,
            Content(Protocol.DISCORD, "IP Discovery", Traffic.SIGNALLING),
        ),
        "its answer": (
            b"\0\2\0\x46" + SSRC + b"192.0.2.1".ljust(64, b"\0") + PORT,
            Content(Protocol.DISCORD, "IP Discovery Response", Traffic.SIGNALLING),
        ),
        "Discord's discovery, cut": (b"\0\1\0\x46" + SSRC + bytes(64), None),
        "another type": (b"\0\3\0\x46" + SSRC + bytes(66), None),
        "Discord's probe": (
            bytes.fromhex("1337cafe 0e000000"),
            Content(Protocol.DISCORD, "Probe", Traffic.PING, ()),
        ),
        "a probe whose count may be none": (
            bytes.fromhex("1337cafe 44332211"),
            Content(Protocol.DISCORD, "Probe", Traffic.PING),
        ),
        "a probe with a tail": (bytes.fromhex("1337cafe 0e000000 00"), None),
        "another eight octets": (bytes.fromhex("1337caff 0e000000"), None),
        "Telegram's ping": (
            TAG + MARK + b"\xff" * 4,
            Content(Protocol.TELEGRAM, "Reflector Ping", Traffic.PING),
        ),
        "Telegram's question for its address": (
            TAG + MARK + b"\xfe\xff\xff\xff" + bytes(8),
            Content(Protocol.TELEGRAM, "Reflector Self Info", Traffic.PING),
        ),
        "a ping with a tail": (TAG + MARK + b"\xff" * 5, None),
        "another question": (TAG + MARK + b"\xfd\xff\xff\xff" + bytes(8), None),
        "nothing but ones": (b"\xff" * 32, None),
        "Zoom's audio": (
            in_zoom(15, 19, rtp()),
            Content(Protocol.ZOOM, "Audio", Traffic.MEDIA),
        ),
        "Zoom's video, from its server": (
            in_zoom(16, 24, rtp(98), 4),
            Content(Protocol.ZOOM, "Video", Traffic.MEDIA),
        ),
        "Zoom's screen": (
            in_zoom(13, 27, rtp(99)),
            Content(Protocol.ZOOM, "Screen", Traffic.MEDIA),
        ),
        "Zoom's RTCP": (
            in_zoom(33, 16, sender_report()),
            Content(Protocol.ZOOM, "RTCP", Traffic.MEDIA),
        ),
        "no RTP behind it": (in_zoom(15, 19, b"\x5a" * 60), None),
        "no known media": (in_zoom(17, 19, rtp()), None),
        "no direction": (in_zoom(15, 19, rtp(), 1), None),
        "no media": (b"\5" + bytes(7), None),
    }
)
class DatagramTests(SynchronousTestCase):
    """Datagrams of one app."""

    def check_datagram(self, payload: bytes, expected: Content | None) -> None:
        """It is named; it is clear only where all of it was read."""
        one = (discord.recognise, telegram.recognise, zoom.recognise)
        found = [content for content in (ask(payload) for ask in one) if content]
        self.assertEqual(found, [expected] if expected else [])
        if expected:
            self.assertEqual(recognise(UDP, payload), expected)

    @settings(deadline=None, max_examples=200)
    @given(
        st.sampled_from(
            [b"", b"\0\1\0\x46", b"\x13\x37\xca\xfe", TAG + MARK, b"\5\0\0\0\0\0\0\0\x0f"]
        ),
        st.binary(max_size=120),
    )
    def test_any(self, head: bytes, body: bytes) -> None:
        """Whatever the octets: a content or none, nothing raised."""
        for ask in (discord.recognise, telegram.recognise, zoom.recognise):
            found = ask(head + body)
            self.assertTrue(found is None or not found.plaintext)


class WhatsAppTests(SynchronousTestCase):
    """WhatsApp's connection for messages, and the token of its calls."""

    def test_stream(self) -> None:
        """Both beginnings are known, and cannot be told to be clear."""
        expected = Content(Protocol.WHATSAPP, "ClientHello", Traffic.SIGNALLING)
        for payload in (HELLO, ROUTED):
            self.assertEqual(recognise(TCP, payload), expected)

    def test_cut(self) -> None:
        """Cut within its head, it is not known, and more is wanted."""
        for payload, head_len in ((HELLO, 7), (ROUTED, 18)):
            for end in range(head_len):
                self.assertIsNone(whatsapp.recognise(payload[:end]), end)
                self.assertTrue(wants_more(payload[:end]), end)
            self.assertIsNotNone(whatsapp.recognise(payload[:head_len]))
            self.assertFalse(wants_more(payload[:head_len]))

    def test_others(self) -> None:
        """Another version, or what only begins with the same letters, is none; nobody waits."""
        for payload in (b"WALLET 1\r\n", b"WA\x09\2\0\1\x0e", b"WA\5\x10\0\1\x0e", b"EDIT x\r\n"):
            self.assertIsNone(whatsapp.recognise(payload), payload)
            self.assertFalse(whatsapp.incomplete(payload), payload)
        long = b"ED\0\1\0\1\0" + bytes(256) + HELLO
        self.assertIsNone(whatsapp.recognise(long))
        self.assertFalse(whatsapp.incomplete(long))

    @settings(deadline=None, max_examples=100)
    @given(st.sampled_from([b"", b"WA", b"ED\0\1\0\0"]), st.binary(max_size=80))
    def test_any(self, head: bytes, body: bytes) -> None:
        """Whatever the octets: nothing is raised, and what is known is not waited for."""
        found = whatsapp.recognise(head + body)
        self.assertFalse(found is not None and whatsapp.incomplete(head + body))

    def test_relay_token(self) -> None:
        """What a call shows to each of its relays is a token."""
        found = stun.recognise(turn(0x0003, attribute(0x4000, b"\x5a" * 102)))
        assert found is not None and found.plaintext is not None
        kinds = [(one.kind, one.offset, one.length) for one in found.plaintext]
        self.assertEqual(kinds, [(IdentifierKind.TOKEN, 24, 102)])
