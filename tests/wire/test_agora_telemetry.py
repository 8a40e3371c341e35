"""Tests of gateway.wire.agora_telemetry: quality reports."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import Content, IdentifierKind, Protocol, Traffic
from gateway.wire.agora_telemetry import recognise
from tests.wire import captures
from tests.wire.captures import CHANNEL, CID, UID
from tests.wire.test_agora import found

DOUBTFUL = Content(Protocol.AGORA, "report-edge", None, None)


def varint(value: int) -> bytes:
    """Write a number as protobuf does."""
    octets = bytearray()
    while value > 127:
        octets.append(value & 127 | 128)
        value >>= 7
    return bytes((*octets, value))


def report(number: int, body: bytes, cid: int = 0) -> bytes:
    """Build a report datagram."""
    outer = b"\x08" + varint(number) + b"\x12" + varint(len(body)) + body
    return struct.pack("<HBBIIII", 20 + len(outer), 4, 1, 1, 1795438909, 0, cid) + outer


class ReportTests(SynchronousTestCase):
    """What reports carry."""

    def test_every_report(self) -> None:
        """Wherever user and channel stand in a report, as number or text, they are found."""
        kinds = IdentifierKind
        values = {
            (kinds.USER_ID, varint(UID)),
            (kinds.ROOM_ID, varint(CID)),
            (kinds.ROOM_ID, CID.to_bytes(4, "little")),
            (kinds.ROOM_ID, CHANNEL),
            (kinds.USER_ID, str(UID).encode()),
        }
        met = set()
        for name in (captures.SPEAKER, captures.TOKEN):
            for line in captures.lines(name):
                if line.expected["msg"] == "report-edge":
                    got = found(line.payload, recognise(line.payload))
                    want = {(kind, value) for kind, value in values if value in line.payload}
                    self.assertLessEqual(want, got, line)
                    met |= want
        self.assertEqual(met, values)

    def test_json(self) -> None:
        """Text inside a report is read for what it calls uid and channel; 0 is nobody."""
        text = b'{"rtc.api.join_channel":"room 7","uid":-5,"token":"006x"}'
        body = b"\x52" + varint(len(text)) + text
        payload = report(154, body)
        kinds = IdentifierKind
        self.assertEqual(
            found(payload, recognise(payload)),
            {(kinds.ROOM_ID, b"room 7"), (kinds.USER_ID, b"-5"), (kinds.TOKEN, b"006x")},
        )
        payload = report(154, b'\x52\x09{"uid":0}')
        self.assertEqual(found(payload, recognise(payload)), set())

    def test_header(self) -> None:
        """The room's number in the header is an identifier, and 0 is none."""
        content = recognise(report(1, b"\x50\x01", CID))
        assert content is not None and content.plaintext is not None
        self.assertEqual([i.offset for i in content.plaintext], [16])
        self.assertEqual(content.traffic, Traffic.TELEMETRY)

    def test_cut(self) -> None:
        """A report cut anywhere behind its header is one of which nothing can be told."""
        whole = captures.first("report-edge")
        for end in range(len(whole)):
            cut = struct.pack("<H", end) + whole[2:end] if end > 1 else whole[:end]
            self.assertEqual(recognise(cut), DOUBTFUL if end > 20 else None, end)
        self.assertEqual(recognise(whole[:-16]), DOUBTFUL)
        self.assertIsNone(recognise(whole[:-17]))

    def test_json_alone(self) -> None:
        """Readable JSON where protobuf should be is not called clear."""
        text = b'\x12{"uid":287454020,"channel":"SEEDROOM"}'
        payload = report(1, b"")[2:20] + text
        self.assertEqual(recognise(struct.pack("<H", len(payload) + 2) + payload), DOUBTFUL)

    def test_tail(self) -> None:
        """Octets behind the report may be anything."""
        whole = captures.first("report-edge")
        for told in (0, 1):
            payload = struct.pack("<H", len(whole) + told) + whole[2:] + b"\0"
            self.assertEqual(recognise(payload), DOUBTFUL)

    def test_other_forms(self) -> None:
        """Fields in another order, of another type, or a wire type of none, can be anything;
        another version is no report."""
        whole = report(1, b"\x50\x01")
        for at, octet in ((20, 0x10), (22, 0x10), (24, 0x53), (2, 5), (12, 1)):
            other = whole[:at] + bytes((octet,)) + whole[at + 1 :]
            self.assertEqual(recognise(other), DOUBTFUL if at >= 20 else None, (at, octet))

    def test_fixed_widths(self) -> None:
        """Fields of four and eight octets are passed over."""
        content = recognise(report(1, b"\x55" + bytes(4) + b"\x51" + bytes(8) + b"\x30\x07"))
        assert content is not None and content.plaintext is not None
        self.assertEqual([i.kind for i in content.plaintext], [IdentifierKind.USER_ID])

    def test_endless_number(self) -> None:
        """A number of more than ten octets is not read."""
        for count, is_read in ((9, True), (10, False)):
            content = recognise(report(1, b"\x50" + b"\xff" * count + b"\x01"))
            self.assertEqual(content != DOUBTFUL, is_read)

    @settings(deadline=None, max_examples=200)
    @given(st.integers(0, 600), st.binary(max_size=200))
    def test_any_body(self, number: int, body: bytes) -> None:
        """Whatever a report holds: a content with identifiers inside it, or none."""
        payload = report(number, body)
        content = recognise(payload)
        for identifier in content.plaintext or () if content else ():
            self.assertGreater(identifier.length, 0)
            self.assertLessEqual(identifier.offset + identifier.length, len(payload))
