"""Tests of gateway.wire.agora_messages: the bodies."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from gateway.model import IdentifierKind
from gateway.wire import agora
from gateway.wire.agora_messages import MESSAGES
from tests.wire import captures
from tests.wire.test_agora import found, frame


def string(text: bytes) -> bytes:
    """Build a string."""
    return struct.pack("<H", len(text)) + text


class MessageTests(SynchronousTestCase):
    """What the messages carry beside cid and uid."""

    def test_names(self) -> None:
        """No two messages share a name, so a name in a log tells the frame."""
        names = [message.name for message in MESSAGES.values()]
        self.assertEqual(len(names), len(set(names)))

    def test_sdk_configuration(self) -> None:
        """The request that every start sends tells app, device, installation and session."""
        payload = captures.first("PAPCdsTdsReq")
        kinds = sorted(kind.value for kind, _ in found(payload, agora.datagram(payload)))
        self.assertEqual(kinds, ["app-id", "device-id", "device-id", "device-id", "session-id"])

    def test_app_id_or_token(self) -> None:
        """What stands in the app id's place is a token if it is one, of version 006 or 007."""
        app_id, token = b"0" * 32, IdentifierKind.TOKEN
        for vendor, kind in (
            (app_id, IdentifierKind.APP_ID),
            (b"006" + app_id + b"IAC", token),
            (b"007eJxTYBBbsMMnKq7p9Hf/HcIX5kyT1ZZ", token),
        ):
            payload = frame(0, 28, string(vendor))
            self.assertEqual(found(payload, agora.datagram(payload)), {(kind, vendor)})

    def test_inner_broadcast(self) -> None:
        """A user's id repeated in the frame inside a broadcast is found, and 0 is not."""
        seen = 0
        for line in captures.lines(captures.SPEAKER):
            if line.expected["msg"] == "PBroadcastPacket3" and len(line.payload) > 100:
                content = agora.datagram(line.payload)
                assert content is not None and content.plaintext is not None
                self.assertEqual([i.offset for i in content.plaintext], [6, 10, 34])
                seen += 1
        self.assertGreater(seen, 5)

    def test_other_broadcast(self) -> None:
        """A broadcast of another inner form repeats nothing."""
        ids = struct.pack("<II", 7, 8)
        for inner in (b"\x08\0\0\0" + b"\x05\0" + bytes(30), b"\x09\0\0\0" + bytes(32)):
            body = ids + bytes(6) + struct.pack("<H", len(inner) + 2) + inner
            content = agora.datagram(frame(1, 97, body))
            assert content is not None and content.plaintext is not None
            self.assertEqual([i.offset for i in content.plaintext], [6, 10])

    def test_probe(self) -> None:
        """The last-mile probe's request carries its session's id."""
        session = b"E9DDBB4B702648E59BAB954876244468"
        payload = frame(0, 67, bytes(24) + string(session) + bytes(2))
        self.assertEqual(
            found(payload, agora.datagram(payload)), {(IdentifierKind.SESSION_ID, session)}
        )

    def test_login_cut(self) -> None:
        """A login whose map is cut anywhere is named, and nobody can tell what it carries."""
        whole = captures.first("PLoginVos_v7")
        for end in range(6, len(whole)):
            content = agora.datagram(struct.pack("<H", end) + whole[2:end])
            assert content is not None
            self.assertEqual((content.message, content.plaintext), ("PLoginVos_v7", None), end)

    def test_empty_strings(self) -> None:
        """A join without channel and app id carries no identifier of them."""
        body = bytes(8) + string(b"") * 3 + bytes(2) + bytes(4)
        content = agora.datagram(frame(0, 42, body))
        assert content is not None
        self.assertEqual(content.plaintext, ())
