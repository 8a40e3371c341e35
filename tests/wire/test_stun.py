"""Tests of gateway.wire.stun."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import Identifier, IdentifierKind, Protocol, Traffic, Transport
from gateway.wire import stun
from tests.support.rows import rows
from tests.wire import captures
from tests.wire.examples import STUN, attribute, turn

ACCOUNT = IdentifierKind.ACCOUNT


@rows(
    kind={
        "0001": (0x0001, "Binding Request", Traffic.PING),
        "0011": (0x0011, "Binding Indication", Traffic.PING),
        "0101": (0x0101, "Binding Success Response", Traffic.PING),
        "0111": (0x0111, "Binding Error Response", Traffic.PING),
        "0003": (0x0003, "Allocate Request", Traffic.SIGNALLING),
        "0004": (0x0004, "Refresh Request", Traffic.SIGNALLING),
        "0008": (0x0008, "CreatePermission Request", Traffic.SIGNALLING),
        "0009": (0x0009, "ChannelBind Request", Traffic.SIGNALLING),
        "0016": (0x0016, "Send Indication", Traffic.MEDIA),
        "0017": (0x0017, "Data Indication", Traffic.MEDIA),
        "a method of no RFC": (0x0800, "Method 0x0800 Request", None),
    }
)
class MessageTests(SynchronousTestCase):
    """Messages by type."""

    def check_kind(self, kind: int, message: str, traffic: Traffic | None) -> None:
        """A message is named and classed by its method and class."""
        content = stun.recognise(turn(kind))
        assert content is not None
        self.assertEqual(
            (content.protocol, content.message, content.traffic, content.plaintext),
            (Protocol.STUN, message, traffic, ()),
        )


class IdentifierTests(SynchronousTestCase):
    """What STUN carries in plaintext."""

    def test_rfc_5769(self) -> None:
        """The RFC's sample request carries its user's name, where it stands."""
        content = stun.recognise(STUN)
        assert content is not None
        self.assertEqual(content.plaintext, (Identifier(ACCOUNT, 64, 9),))
        self.assertEqual(STUN[64:73], b"evtj:h6vY")

    def test_empty_name(self) -> None:
        """An empty USERNAME identifies nobody."""
        content = stun.recognise(turn(1, attribute(6, b"")))
        assert content is not None
        self.assertEqual(content.plaintext, ())

    def test_missing_padding(self) -> None:
        """A last attribute without its padding is read all the same."""
        content = stun.recognise(turn(1, attribute(6, b"a:b")[:-1]))
        assert content is not None
        self.assertEqual(content.plaintext, (Identifier(ACCOUNT, 24, 3),))

    def test_cut_and_tail(self) -> None:
        """A message cut anywhere, or with a tail, is none."""
        for end in range(len(STUN)):
            self.assertIsNone(stun.recognise(STUN[:end]), end)
        self.assertIsNone(stun.recognise(STUN + b"\0"))

    def test_overlong_attribute(self) -> None:
        """An attribute that is longer than its message makes it none."""
        self.assertIsNone(stun.recognise(turn(1, b"\x00\x06\x00\x09abcd")))

    @settings(deadline=None, max_examples=200)
    @given(st.integers(0, 0xFFFF), st.binary(max_size=64))
    def test_any_attributes(self, kind: int, attributes: bytes) -> None:
        """Whatever follows the header: a content or none, nothing raised."""
        content = stun.recognise(turn(kind, attributes))
        for identifier in content.plaintext or () if content else ():
            self.assertLessEqual(identifier.offset + identifier.length, 20 + len(attributes))


class ChannelDataTests(SynchronousTestCase):
    """Media through a relay."""

    def test_lengths(self) -> None:
        """ChannelData is claimed with its exact length or padded to four octets only."""
        header = b"\x40\x01\x00\x05"
        for tail, is_one in ((4, False), (5, True), (6, False), (7, False), (8, True), (9, False)):
            self.assertIs(stun.channel_data(header + bytes(tail)) is not None, is_one, tail)

    def test_channels(self) -> None:
        """Only channels 4000 to 4FFF exist."""
        for first, is_one in ((0x3F, False), (0x40, True), (0x4F, True), (0x50, False)):
            payload = bytes((first, 0, 0, 0))
            self.assertIs(stun.channel_data(payload) is not None, is_one)


class StreamTests(SynchronousTestCase):
    """STUN over TCP, bare and framed."""

    def test_both_forms(self) -> None:
        """The first message is found, bare or behind its length, whatever follows."""
        framed = len(STUN).to_bytes(2, "big") + STUN
        for payload, at in ((STUN + STUN, 64), (framed + b"\0\1", 66)):
            content = stun.stream(payload)
            assert content is not None
            self.assertEqual(content.plaintext, (Identifier(ACCOUNT, at, 9),))

    def test_incomplete(self) -> None:
        """More is wanted exactly until the message is whole."""
        framed = len(STUN).to_bytes(2, "big") + STUN
        for payload in (STUN, framed):
            for end in range(len(payload)):
                self.assertTrue(stun.incomplete(payload[:end]), end)
                self.assertIsNone(stun.stream(payload[:end]), end)
            self.assertFalse(stun.incomplete(payload))

    def test_something_else(self) -> None:
        """Nothing is waited for when the cookie is not there."""
        self.assertFalse(stun.incomplete(b"\x00\x01\x00\x08\x21\x12\xa4\x43"))
        self.assertFalse(stun.incomplete(b"GET / HTTP/1.1\r\n"))


class CaptureTests(SynchronousTestCase):
    """Other people's calls, outside the project."""

    def test_udp(self) -> None:
        """What has the cookie is STUN, each TURN flow's messages under their names."""
        seen: Counter[str] = Counter()
        for packet in captures.packets(captures.foreign("stun.pcap")):
            if packet.transport is Transport.UDP and packet.payload[4:8] == stun.MAGIC_COOKIE:
                content = stun.recognise(packet.payload)
                assert content is not None, packet
                seen[content.message] += 1
        self.assertEqual((seen["Binding Request"], seen["Allocate Request"]), (28, 4))

    def test_tcp(self) -> None:
        """Framed ICE and bare TURN are both recognised over TCP."""
        seen = Counter(
            content.message
            for packet in captures.packets(captures.foreign("stun.pcap"))
            if packet.transport is Transport.TCP and (content := stun.stream(packet.payload))
        )
        self.assertEqual((seen["Binding Request"], seen["Allocate Request"]), (6, 4))
