"""Tests of gateway.wire.agora: frames in datagrams and streams."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import Content, IdentifierKind, Protocol, Traffic
from gateway.wire import agora
from tests.support.rows import rows
from tests.wire import captures
from tests.wire.captures import CHANNEL, CID, UID, Line

_CID = CID.to_bytes(4, "little")
_UID = UID.to_bytes(4, "little")
_VENDOR = b"0123456789abcdef0123456789abcdef"


def frame(svc: int, uri: int, body: bytes) -> bytes:
    """Build a frame."""
    return struct.pack("<HHH", 6 + len(body), svc, uri) + body


def found(payload: bytes, content: Content | None) -> set[tuple[IdentifierKind, bytes]]:
    """Give what the identifiers of a content stand on."""
    assert content is not None and content.plaintext is not None
    return {(i.kind, payload[i.offset : i.offset + i.length]) for i in content.plaintext}


def expected(line: Line) -> set[tuple[IdentifierKind, bytes]]:
    """Give the identifiers that the independent decoder read, as they stand in the bytes."""
    told, kinds = line.expected, IdentifierKind
    values: list[tuple[IdentifierKind, bytes]] = []
    if told.get("cid"):
        values.append((kinds.ROOM_ID, told["cid"].to_bytes(4, "little")))
    if told.get("uid"):
        values.append((kinds.USER_ID, told["uid"].to_bytes(4, "little")))
    if "channel" in told:
        values.append((kinds.ROOM_ID, told["channel"].encode()))
    if told["msg"].startswith("PLogin") and "detail" in told:
        values.append((kinds.ROOM_ID, told["detail"]["14"].encode()))
        values.append((kinds.SESSION_ID, told["detail"]["5"].encode()))
        told = {**told, "appid_or_token": told["detail"]["21"]}
    if "appid_at" in told:
        told = {**told, "appid_or_token": _VENDOR.decode()}
        assert line.payload[told["appid_at"] :].startswith(_VENDOR)
    if vendor := told.get("appid_or_token"):
        kind = kinds.TOKEN if vendor.startswith("006") else kinds.APP_ID
        values.append((kind, vendor.encode()))
    return set(values)


TRAFFIC = {
    "PPing1_v7": Traffic.PING,
    "PPong1_v7": Traffic.PING,
    "PPing2_v2": Traffic.PING,
    "PAudioData_v3": Traffic.MEDIA,
    "PBroadcastPacket3": Traffic.MEDIA,
    "report-edge": Traffic.TELEMETRY,
}


@rows(capture={f"capture {name}": (name,) for name in captures.LIVE})
class CaptureTests(SynchronousTestCase):
    """Every line of the independent decoder, of all captures of the plaintext SDK."""

    def check_capture(self, name: str) -> None:
        """Each datagram and segment is named, classed and searched as the other decoder did."""
        lines = captures.lines(name)
        self.assertGreater(len(lines), 150)
        for line in lines:
            content = (agora.stream if line.expected["l4"] == "tcp" else agora.datagram)(
                line.payload
            )
            assert content is not None, line
            message = line.expected["msg"]
            self.assertEqual(
                (content.protocol, content.message, content.traffic),
                (Protocol.AGORA, message, TRAFFIC.get(message, Traffic.SIGNALLING)),
            )
            self.assertLessEqual(expected(line), found(line.payload, content), line)


class CompletenessTests(SynchronousTestCase):
    """Nothing that identifies somebody is overlooked."""

    def test_every_occurrence(self) -> None:
        """Wherever user, room or channel stand in a datagram, an identifier says so."""
        values = (_CID, _UID, CHANNEL, str(UID).encode(), _VENDOR)
        checked = 0
        for line in captures.lines(captures.SPEAKER):
            content = agora.datagram(line.payload)
            assert content is not None and content.plaintext is not None
            spans = {(i.offset, i.length) for i in content.plaintext}
            for value in values:
                at = line.payload.find(value)
                while at >= 0:
                    checked += 1
                    self.assertIn((at, len(value)), spans, line)
                    at = line.payload.find(value, at + 1)
        self.assertGreater(checked, 1500)

    def test_order(self) -> None:
        """Identifiers come by offset, each once."""
        for line in captures.lines(captures.TOKEN):
            content = agora.datagram(line.payload)
            assert content is not None and content.plaintext is not None
            offsets = [identifier.offset for identifier in content.plaintext]
            self.assertEqual(offsets, sorted(set(offsets)))


class DatagramTests(SynchronousTestCase):
    """One frame a datagram."""

    def test_length_field(self) -> None:
        """A known message that is one octet shorter or longer than it says stays that message, and
        nobody can tell what it is for or carries."""
        for name in ("PPing1_v7", "PCreateChannelAndGetAddrs_v5", "PLoginVos_v7"):
            whole = captures.first(name)
            self.assertIsNotNone(agora.datagram(whole))
            for payload in (whole[:-1], whole + b"\0", b"\0\0" + whole[2:], whole[:6]):
                self.assertEqual(agora.datagram(payload), Content(Protocol.AGORA, name))

    def test_several_frames(self) -> None:
        """Frames behind one another in one datagram are all read, as in a stream."""
        ping, join = captures.first("PPing1_v7"), captures.first("PCreateChannelAndGetAddrs_v5")
        content = agora.datagram(ping + join)
        assert content is not None
        self.assertEqual((content.message, content.traffic), ("PPing1_v7", None))
        self.assertLess({(IdentifierKind.ROOM_ID, CHANNEL)}, found(ping + join, content))
        self.assertEqual(agora.datagram(ping + ping).traffic, Traffic.PING)  # type: ignore[union-attr]  # not None

    def test_resembling(self) -> None:
        """A frame of a kind not met yet is claimed where its length fits, or nearly."""
        whole = frame(1, 99, bytes(20))
        join = captures.first("PCreateChannelAndGetAddrs_v5")
        for payload, message in (
            (whole + b"\0", "svc1/uri99"),
            (whole[:-1], "svc1/uri99"),
            (whole + join, "svc1/uri99"),
            (whole + frame(0, 98, bytes(40)), "svc1/uri99"),
            (frame(2, 99, bytes(8)), "svc2/uri99"),
            (frame(1, 300, bytes(8)), "svc1/uri300"),
            (frame(7, 1023, b""), "svc7/uri1023"),
        ):
            self.assertEqual(agora.resembles(payload), Content(Protocol.AGORA, message))

    def test_not_resembling(self) -> None:
        """What a few bits only speak for is none."""
        whole = frame(1, 99, bytes(200))
        join = captures.first("PCreateChannelAndGetAddrs_v5")
        for payload in (
            whole[:-17],
            whole + bytes(17),
            frame(8, 99, b""),
            frame(2, 99, b"") + b"\0",
            frame(1, 1024, b""),
            frame(1, 0, b""),
            frame(256, 1, b""),
            b"\x06\x00\x01\x00\x01",
            b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8" + join,
        ):
            self.assertIsNone(agora.resembles(payload), payload.hex())
            self.assertIsNone(agora.datagram(payload), payload.hex())

    def test_nothing_assigned(self) -> None:
        """A cid or uid of 0 identifies nobody."""
        for cid, uid, kinds in (
            (0, 0, []),
            (CID, 0, [IdentifierKind.ROOM_ID]),
            (0, UID, [IdentifierKind.USER_ID]),
        ):
            payload = frame(1, 146, struct.pack("<II", cid, uid) + bytes(42))
            content = agora.datagram(payload)
            assert content is not None and content.plaintext is not None
            self.assertEqual([i.kind for i in content.plaintext], kinds)

    def test_unknown_uri(self) -> None:
        """Of a frame without a name only its form is claimed, not what it is for or carries."""
        content = agora.datagram(frame(1, 200, b"\x5a" * 40))
        self.assertEqual(content, Content(Protocol.AGORA, "svc1/uri200", None, None))

    def test_not_ours(self) -> None:
        """Another service, uri 0 or a large uri are not claimed."""
        for svc, uri in ((2, 146), (256, 146), (1, 0), (1, 256), (1, 0x9201)):
            self.assertIsNone(agora.datagram(frame(svc, uri, bytes(20))), (svc, uri))

    def test_malformed_body(self) -> None:
        """A frame whose body ends too early is named, and nobody can tell what it carries."""
        for uri, svc in ((42, 0), (71, 1), (54, 0), (146, 1), (43, 0)):
            content = agora.datagram(frame(svc, uri, b"\x01\x02\x03"))
            assert content is not None
            self.assertIsNone(content.plaintext, uri)
            self.assertIsNotNone(content.traffic)

    @settings(deadline=None, max_examples=150)
    @given(st.integers(0, 1), st.integers(0, 255), st.binary(max_size=400))
    def test_any_body(self, svc: int, uri: int, body: bytes) -> None:
        """Whatever a frame holds: a content with identifiers inside it, nothing raised."""
        payload = frame(svc, uri, body)
        for content in (agora.datagram(payload), agora.stream(payload)):
            for identifier in content.plaintext or () if content else ():
                self.assertGreater(identifier.length, 0)
                self.assertLessEqual(identifier.offset + identifier.length, len(payload))


class StreamTests(SynchronousTestCase):
    """Frames in TCP."""

    def setUp(self) -> None:
        self.join = captures.first("PCreateChannelAndGetAddrs_v5")
        self.ping = captures.first("PPing1_v7")

    def test_concatenated(self) -> None:
        """Frames in one segment: the first one's name, the identifiers of all, in their places."""
        payload = self.join + self.ping
        content = agora.stream(payload)
        assert content is not None
        self.assertEqual(content.message, "PCreateChannelAndGetAddrs_v5")
        self.assertIn((IdentifierKind.ROOM_ID, CHANNEL), found(payload, content))
        self.assertIn((IdentifierKind.ROOM_ID, _CID), found(payload, content))

    def test_cut(self) -> None:
        """A frame cut anywhere behind its header is named, and never called free of identifiers."""
        for end in range(6, len(self.join)):
            content = agora.stream(self.join[:end])
            assert content is not None
            self.assertEqual(content.message, "PCreateChannelAndGetAddrs_v5")
            self.assertIsNone(content.plaintext)

    def test_incomplete(self) -> None:
        """More is wanted until the frame is whole, its message known or not."""
        for end in range(len(self.join)):
            self.assertTrue(agora.incomplete(self.join[:end]), end)
        self.assertFalse(agora.incomplete(self.join))
        unnamed = frame(1, 200, bytes(40))
        for end in range(len(unnamed)):
            self.assertTrue(agora.incomplete(unnamed[:end]), end)
            self.assertIsNone(agora.stream(unnamed[:end]), end)
        self.assertFalse(agora.incomplete(unnamed))
        for other in (frame(2, 200, bytes(40)), frame(1, 256, bytes(40)), frame(1, 0, bytes(40))):
            self.assertFalse(agora.incomplete(other[:20]))
        self.assertFalse(agora.incomplete(struct.pack("<HHH", 16385, 1, 200)))

    def test_incomplete_second(self) -> None:
        """More is wanted while a later frame is cut; a frame too short to be one ends the wait."""
        self.assertTrue(agora.incomplete(self.join + self.ping[:20]))
        self.assertTrue(agora.incomplete(self.join + self.ping[:3]))
        self.assertFalse(agora.incomplete(self.join + b"\xff\xff"))
        self.assertFalse(agora.incomplete(self.join + self.ping))
        self.assertFalse(agora.incomplete(b"\x05\x00" + self.join[2:20]))
        self.assertFalse(agora.incomplete(self.ping * 100 + self.ping[:20]))

    def test_unknown_uri(self) -> None:
        """A frame without a name is claimed where it ends with the bytes, or a known one follows;
        what it carries nobody can tell."""
        unnamed = frame(0, 99, bytes(20))
        self.assertIsNotNone(agora.stream(unnamed))
        self.assertIsNone(agora.stream(unnamed + b"\0"))
        content = agora.stream(unnamed + self.join)
        self.assertEqual(content, Content(Protocol.AGORA, "svc0/uri99"))

    def test_left_over(self) -> None:
        """Octets behind the last frame may be anything."""
        content = agora.stream(self.join + b"\xff")
        assert content is not None
        self.assertEqual((content.traffic, content.plaintext), (Traffic.SIGNALLING, None))

    def test_many_empty_frames(self) -> None:
        """A segment of thousands of frames costs a bounded effort, and is not called clear."""
        for count in (32, 33, 1000):
            content = agora.stream(frame(1, 3, bytes(8)) * count)
            assert content is not None
            self.assertEqual(content.plaintext, () if count == 32 else None)
