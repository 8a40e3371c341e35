"""Tests of gateway.wire.stun."""

from __future__ import annotations

import struct
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import Content, Identifier, IdentifierKind, Protocol, Traffic, Transport, pack
from gateway.wire import recognise, stun
from tests.support.rows import rows
from tests.wire import captures
from tests.wire.examples import (
    STUN,
    attribute,
    dtls_client_hello,
    dtls_record,
    peer,
    rtp,
    sdes,
    turn,
)

ACCOUNT = IdentifierKind.ACCOUNT
DOUBTFUL = Content(Protocol.STUN, "Binding Request")


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
        """A message cut behind its cookie, or with a tail, is STUN that may carry anything."""
        for end in range(len(STUN)):
            self.assertEqual(stun.recognise(STUN[:end]), DOUBTFUL if end >= 8 else None, end)
        self.assertEqual(stun.recognise(STUN + b"\0"), DOUBTFUL)

    def test_overlong_attribute(self) -> None:
        """An attribute that is longer than its message may hide anything."""
        self.assertEqual(stun.recognise(turn(1, b"\x00\x06\x00\x09abcd")), DOUBTFUL)

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


class PeerTests(SynchronousTestCase):
    """Where a relay is asked to send."""

    def _addresses(self, *attributes: bytes) -> tuple[bytes, ...]:
        content = stun.recognise(turn(8, b"".join(attributes)))
        assert content is not None
        self.assertEqual((content.traffic, content.plaintext), (Traffic.SIGNALLING, ()))
        return content.addresses

    def test_peers(self) -> None:
        """Peers are unmasked, of both families, each once; a mapped address is its IPv4 one."""
        four, six = pack("192.0.2.1"), pack("2001:db8::1")
        mapped = bytes(10) + b"\xff\xff" + pack("192.0.2.2")
        self.assertEqual(
            self._addresses(peer(four), peer(six), peer(four), peer(mapped)),
            (four, six, pack("192.0.2.2")),
        )

    def test_rfc_5769(self) -> None:
        """The masking is the one of the RFC's sample of an IPv6 address."""
        masked = bytes.fromhex("0002a1470113a9faa5d3f179bc25f4b5bed2b9d9")
        payload = bytes.fromhex("000800182112a442b7e7a701bc34d686fa87dfae") + attribute(
            0x12, masked
        )
        content = stun.recognise(payload)
        assert content is not None
        self.assertEqual(content.addresses, (pack("2001:db8:1234:5678:11:2233:4455:6677"),))

    def test_malformed(self) -> None:
        """A peer of no family, or of the wrong length, may be anybody."""
        for value in (bytes(8), b"\0\1" + bytes(5), b"\0\2" + bytes(6), b"\0"):
            content = stun.recognise(turn(8, attribute(0x12, value)))
            self.assertEqual(content, Content(Protocol.STUN, "CreatePermission Request"))

    def test_bound(self) -> None:
        """Sixteen peers are read; one more makes the message one that cannot be told."""
        for count in (16, 17):
            peers = b"".join(peer(bytes((192, 0, 2, last))) for last in range(count))
            content = stun.recognise(turn(8, peers))
            assert content is not None
            self.assertEqual(len(content.addresses), 16)
            self.assertEqual(content.plaintext, () if count == 16 else None)


@rows(
    inner={
        "a STUN message with a user": (STUN, ((ACCOUNT, 64, 9),)),
        "RTP": (rtp(), ()),
        "an RTCP with a name": (sdes((1, b"u@h")), ((ACCOUNT, 10, 3),)),
        "a DTLS record": (dtls_record(23, b"x"), ()),
        "an unknown protocol": (b"\xff" * 9, None),
        "nothing": (b"", ()),
    }
)
class InsideTests(SynchronousTestCase):
    """What travels inside TURN is looked into, as it would be outside."""

    def check_inner(
        self, inner: bytes, found: tuple[tuple[IdentifierKind, int, int], ...] | None
    ) -> None:
        """What is found inside stands at its place outside; the unknown may carry anything."""
        send = turn(0x16, peer(b"\xc0\0\2\1") + attribute(0x13, inner))
        channel = struct.pack(">HH", 0x4001, len(inner)) + inner
        twice = turn(0x16, attribute(0x13, channel))
        for payload, start in ((send, 36), (channel, 4), (twice, 28)):
            content = recognise(Transport.UDP, payload)
            expected = None
            if found is not None:
                expected = tuple(Identifier(kind, at + start, n) for kind, at, n in found)
            self.assertEqual((content.traffic, content.plaintext), (Traffic.MEDIA, expected))

    def test_depth(self) -> None:
        """Deeper than a relay behind a relay nobody looks."""
        payload = rtp()
        for depth in range(4):
            content = recognise(Transport.UDP, payload)
            self.assertEqual(content.plaintext, () if depth < 3 else None, depth)
            payload = turn(0x16, attribute(0x13, payload))

    def test_names_and_addresses(self) -> None:
        """Names and peers inside count as those outside."""
        hello = dtls_client_hello("a.example")
        content = recognise(Transport.UDP, turn(0x16, attribute(0x13, hello)))
        self.assertEqual(content.names, ("a.example",))
        inner = turn(8, peer(b"\xc0\0\2\1"))
        content = recognise(Transport.UDP, turn(0x16, attribute(0x13, inner)))
        self.assertEqual(content.addresses, (b"\xc0\0\2\1",))


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

    def test_inside(self) -> None:
        """The checks that clients send through their relay carry their users' names."""
        found = Counter(
            bool(content.plaintext)
            for packet in captures.packets(captures.foreign("stun.pcap"))
            if packet.transport is Transport.UDP
            and (content := recognise(Transport.UDP, packet.payload)).message == "Send Indication"
        )
        self.assertGreaterEqual(found[True], 12)
