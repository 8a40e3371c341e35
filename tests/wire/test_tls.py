"""Tests of gateway.wire.tls."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import Content, Protocol, Traffic
from gateway.wire import tls
from tests.wire import captures
from tests.wire.examples import client_hello, in_records


def content(message: str, *names: str) -> Content:
    """Build the content of a TLS message."""
    return Content(Protocol.TLS, message, Traffic.OTHER, (), names)


class ClientHelloTests(SynchronousTestCase):
    """The first thing a client says."""

    def setUp(self) -> None:
        self.hello = client_hello("Voice.Example")

    def test_name(self) -> None:
        """The server's name is given in lower case; without one there is none."""
        self.assertEqual(tls.recognise(self.hello), content("ClientHello", "voice.example"))
        self.assertEqual(tls.recognise(client_hello(None)), content("ClientHello"))

    def test_names_of_other_kinds(self) -> None:
        """A server_name extension with another kind of name, or an empty one, names nobody."""
        entry = b"\x00\x00\x0dvoice.example"
        for other in (b"\x01\x00\x0dvoice.example", b"\x00\x00\x00" + b"\x01\x00\x0a" + b"x" * 10):
            payload = client_hello("voice.example").replace(entry, other)
            self.assertEqual(tls.recognise(payload), content("ClientHello"))

    def test_several_records(self) -> None:
        """A ClientHello over several records is read as one."""
        for record_len in (1, 3, 50, 200):
            payload = in_records(self.hello, record_len)
            self.assertEqual(tls.recognise(payload), content("ClientHello", "voice.example"))

    def test_cut(self) -> None:
        """Cut anywhere, a ClientHello is not claimed and more is wanted; whole, it is enough."""
        for payload in (self.hello, in_records(self.hello, 50)):
            for end in range(len(payload)):
                self.assertIsNone(tls.recognise(payload[:end]), end)
                self.assertTrue(tls.incomplete(payload[:end]), end)
            self.assertFalse(tls.incomplete(payload))

    def test_tail(self) -> None:
        """What follows a whole ClientHello changes nothing."""
        payload = self.hello + b"\x14\x03\x03\x00\x01\x01" + b"early data"
        self.assertEqual(tls.recognise(payload), content("ClientHello", "voice.example"))

    def test_never_whole(self) -> None:
        """Nothing is waited for when another record follows a part of a ClientHello."""
        payload = in_records(self.hello, 50)[:55] + b"\x17\x03\x03\x00\x05hello"
        self.assertFalse(tls.incomplete(payload))
        self.assertIsNone(tls.recognise(payload))

    @settings(deadline=None, max_examples=100)
    @given(st.binary(max_size=300))
    def test_any_body(self, body: bytes) -> None:
        """Whatever a ClientHello holds: a content or none, nothing raised."""
        length = len(body)
        head = b"\x16\x03\x01" + (length + 4).to_bytes(2, "big")
        payload = head + b"\x01" + length.to_bytes(3, "big") + body
        self.assertIn(tls.recognise(payload) is None, (True, False))
        self.assertFalse(tls.incomplete(payload))


class RecordTests(SynchronousTestCase):
    """Other records."""

    def test_kinds(self) -> None:
        """Records are named by their type, and a server's hello by its own."""
        for head, message in (
            ("140303000101", "ChangeCipherSpec"),
            ("15030300020246", "Alert"),
            ("1703030001ff", "ApplicationData"),
            ("160303000402000000", "ServerHello"),
            ("1603030004ff000000", "Handshake"),
        ):
            self.assertEqual(tls.recognise(bytes.fromhex(head)), content(message))

    def test_not_records(self) -> None:
        """Another type, version or length is no record, and nothing is waited for."""
        for head in ("180303000101", "16020300010100", "1603050001ff", "160303ffff01"):
            self.assertIsNone(tls.recognise(bytes.fromhex(head)), head)
            self.assertFalse(tls.incomplete(bytes.fromhex(head)), head)


class CaptureTests(SynchronousTestCase):
    """Real clients, outside the project."""

    def test_of_3_4_1(self) -> None:
        """The encrypted SDK's ClientHellos name no host, or its secure edge."""
        names = set()
        for packet in captures.packets(captures.live(captures.ENCRYPTED)):
            if packet.sequence:
                found = tls.recognise(packet.payload)
                assert found is not None
                names.add(found.names)
        self.assertEqual(names, {(), ("secure-edge.sd-rtn.com",)})
