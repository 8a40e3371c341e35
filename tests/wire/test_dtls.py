"""Tests of gateway.wire.dtls."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model import Content, Protocol, Traffic
from gateway.wire import dtls
from tests.support.rows import rows
from tests.wire import captures
from tests.wire.examples import dtls_client_hello, dtls_record


def content(message: str, *names: str, hides_name: bool = False) -> Content:
    """Build the content of a DTLS datagram."""
    return Content(Protocol.DTLS, message, Traffic.MEDIA, (), names, hides_name=hides_name)


@rows(
    datagram={
        "data": (dtls_record(23, b"x"), "ApplicationData"),
        "two records": (
            dtls_record(20, b"\1") + dtls_record(22, bytes(40), epoch=1),
            "ChangeCipherSpec",
        ),
        "an encrypted handshake": (dtls_record(22, b"\1" * 40, epoch=1), "Handshake"),
        "a HelloVerifyRequest": (dtls_record(22, b"\3" + bytes(20)), "HelloVerifyRequest"),
        "a record, then one of DTLS 1.3 with its short header": (
            dtls_record(22, b"\2" + bytes(40)) + b"\x2e\0\1\0\x20" + b"\x5a" * 32,
            "ServerHello",
        ),
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
        """A part of a ClientHello has no names, and may hide one; so may a handshake cut short."""
        body = b"\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x20" + bytes(32)
        expected = content("ClientHello", hides_name=True)
        self.assertEqual(dtls.recognise(dtls_record(22, body)), expected)
        expected = content("Handshake", hides_name=True)
        self.assertEqual(dtls.recognise(dtls_record(22, b"\1\0")), expected)

    def test_short_header_alone(self) -> None:
        """DTLS 1.3's short header begins like noise, and alone it is none."""
        self.assertIsNone(dtls.recognise(b"\x2e\0\1\0\x20" + b"\x5a" * 32))

    def test_srtp(self) -> None:
        """A ClientHello that asks for keys for SRTP says so (RFC 5764)."""
        use_srtp = bytes.fromhex("000e0005000200010000")[:9]
        body = b"\xfe\xfd" + bytes(32) + b"\0\0" + b"\0\2\xc0\x2b" + b"\1\0"
        body += len(use_srtp).to_bytes(2, "big") + use_srtp
        length = len(body).to_bytes(3, "big")
        payload = dtls_record(22, b"\1" + length + bytes(5) + length + body)
        self.assertEqual(dtls.recognise(payload), content("ClientHello for SRTP"))

    def test_malformed_hello(self) -> None:
        """A ClientHello that cannot be read to its end may tell anything."""
        length = (40).to_bytes(3, "big")
        payload = dtls_record(22, b"\1" + length + bytes(5) + length + b"\xff" * 40)
        found = dtls.recognise(payload)
        assert found is not None
        self.assertEqual((found.plaintext, found.hides_name), (None, True))

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
