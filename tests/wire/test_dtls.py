"""Tests of gateway.wire.dtls."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model import Content, Protocol, Traffic
from gateway.wire import dtls
from tests.support.rows import rows
from tests.wire import captures
from tests.wire.examples import dtls_client_hello, dtls_record


def content(message: str, *names: str) -> Content:
    """Build the content of a DTLS datagram."""
    return Content(Protocol.DTLS, message, Traffic.MEDIA, (), names)


@rows(
    datagram={
        "data": (dtls_record(23, b"x"), "ApplicationData"),
        "two records": (
            dtls_record(20, b"\1") + dtls_record(22, bytes(40), epoch=1),
            "ChangeCipherSpec",
        ),
        "an encrypted handshake": (dtls_record(22, b"\1" * 40, epoch=1), "Handshake"),
        "a HelloVerifyRequest": (dtls_record(22, b"\3" + bytes(20)), "HelloVerifyRequest"),
        "a handshake cut": (dtls_record(22, b"\1\0"), "Handshake"),
        "a connection id": (b"\x19\xfe\xfd" + bytes(40), "ApplicationData"),
    }
)
class RecogniseTests(SynchronousTestCase):
    """Datagrams of records."""

    def check_datagram(self, payload: bytes, message: str) -> None:
        """A datagram that records fill is named after the first."""
        self.assertEqual(dtls.recognise(payload), content(message))

    def test_client_hello(self) -> None:
        """A ClientHello gives the server's name, in spite of its cookie."""
        payload = dtls_client_hello("Voice.Example")
        self.assertEqual(dtls.recognise(payload), content("ClientHello", "voice.example"))

    def test_no_host_name(self) -> None:
        """What stands for a name and is none is not given as one, and may tell anything."""
        payload = dtls_client_hello("voice.example").replace(b"voice.example", b"u 28745402.x ")
        found = dtls.recognise(payload)
        assert found is not None
        self.assertEqual((found.names, found.plaintext), ((), None))

    def test_fragment(self) -> None:
        """A part of a ClientHello is one without names."""
        body = b"\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x20" + bytes(32)
        self.assertEqual(dtls.recognise(dtls_record(22, body)), content("ClientHello"))

    def test_cut_and_tail(self) -> None:
        """Cut anywhere, or with a tail, a datagram is none."""
        payload = dtls_client_hello("voice.example")
        for end in range(len(payload)):
            self.assertIsNone(dtls.recognise(payload[:end]), end)
        self.assertIsNone(dtls.recognise(payload + b"\0"))

    def test_versions(self) -> None:
        """DTLS 1.0, 1.2 and OpenSSL's old number are known, TLS's are not."""
        for version, is_one in (("feff", 1), ("fefd", 1), ("0100", 1), ("0303", 0), ("fefe", 0)):
            payload = b"\x17" + bytes.fromhex(version) + dtls_record(23, b"x")[3:]
            self.assertEqual(dtls.recognise(payload) is not None, bool(is_one), version)

    def test_empty_record(self) -> None:
        """A record without content is none, so no datagram is read for ever."""
        self.assertIsNone(dtls.recognise(dtls_record(23, b"") + dtls_record(23, b"")))


class CaptureTests(SynchronousTestCase):
    """Other people's sessions, outside the project."""

    def test_a_session(self) -> None:
        """Every datagram of a DTLS session is one, from hello to data."""
        found = [
            dtls.recognise(packet.payload)
            for packet in captures.packets(captures.foreign("dtls2.pcap"))
        ]
        self.assertEqual(len(found), 30)
        messages = [content.message for content in found if content]
        self.assertGreaterEqual(len(messages), 29)
        self.assertEqual(messages[0], "ClientHello")
