"""Tests of gateway.wire.tls."""

from __future__ import annotations

from time import perf_counter

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


def unclear(message: str) -> Content:
    """Build the content of a TLS message that may carry anything."""
    return Content(Protocol.TLS, message, Traffic.OTHER)


class ClientHelloTests(SynchronousTestCase):
    """The first thing a client says."""

    def setUp(self) -> None:
        self.hello = client_hello("Voice.Example")

    def test_name(self) -> None:
        """The server's name is given in lower case; without one there is none."""
        self.assertEqual(tls.recognise(self.hello), content("ClientHello", "voice.example"))
        self.assertEqual(tls.recognise(client_hello(None)), content("ClientHello"))

    def test_names_of_other_kinds(self) -> None:
        """A server_name extension with another kind of name, or what is no host name, names nobody
        and may tell anything."""
        entry = b"\x00\x00\x0dvoice.example"
        for other in (b"\x01\x00\x0dvoice.example", b"\x00\x00\x00" + b"\x01\x00\x0a" + b"x" * 10):
            payload = client_hello("voice.example").replace(entry, other)
            self.assertEqual(tls.recognise(payload), unclear("ClientHello"))
        secret = client_hello("voice.example").replace(b"voice.example", b"a 28745402 x ")
        self.assertEqual(tls.recognise(secret), unclear("ClientHello"))

    def test_several_records(self) -> None:
        """A ClientHello over several records is read as one."""
        for record_len in (len(self.hello) // 60, 50, 200):
            payload = in_records(self.hello, record_len)
            self.assertEqual(tls.recognise(payload), content("ClientHello", "voice.example"))

    def test_too_many_records(self) -> None:
        """A ClientHello over more than 64 records is none, and nobody waits for its end."""
        payload = in_records(self.hello, 1)
        self.assertTrue(tls.incomplete(payload[: 6 * 60]))
        self.assertFalse(tls.incomplete(payload[: 6 * 65]))
        self.assertIsNone(tls.recognise(payload))
        times_s = []
        for _ in range(5):
            start_s = perf_counter()
            tls.incomplete(b"\x16\x03\x01\x00\x01\x01" * 2700)
            times_s.append(perf_counter() - start_s)
        self.assertLess(min(times_s), 0.001)

    def test_minor_version(self) -> None:
        """Servers ignore a record's minor version, and so it does not hide a name."""
        for minor in (0, 5, 255):
            payload = b"\x16\x03" + bytes((minor,)) + self.hello[3:]
            self.assertEqual(tls.recognise(payload), content("ClientHello", "voice.example"))

    def test_records_between(self) -> None:
        """Other records in the midst of a ClientHello do not hide its name, and are odd."""
        first = in_records(self.hello, 50)
        for other in (b"\x15\x03\x03\x00\x02\x01\x00", b"\x14\x03\x03\x00\x01\x01"):
            payload = first[:55] + other + first[55:]
            self.assertTrue(tls.incomplete(payload[:-1]))
            self.assertFalse(tls.incomplete(payload))
            expected = Content(Protocol.TLS, "ClientHello", names=("voice.example",))
            self.assertEqual(tls.recognise(payload), expected)

    def test_version_2(self) -> None:
        """The hello of SSLv2 is none."""
        payload = bytes.fromhex("802e0103010015000000100000") + bytes(35)
        self.assertIsNone(tls.recognise(payload))
        self.assertFalse(tls.incomplete(payload))

    def test_cut(self) -> None:
        """Cut anywhere, a ClientHello tells nothing and more is wanted; whole, it is enough."""
        for payload in (self.hello, in_records(self.hello, 50)):
            for end in range(len(payload)):
                expected = Content(Protocol.TLS, "ClientHello") if end > 5 else None
                self.assertEqual(tls.recognise(payload[:end]), expected, end)
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
        self.assertEqual(tls.recognise(payload), Content(Protocol.TLS, "ClientHello"))

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
        """Records are named by their type, and a server's hello by its own; a client begins with
        no other, so what it holds may be anything."""
        for head, message in (
            ("140303000101", "ChangeCipherSpec"),
            ("15030300020246", "Alert"),
            ("1703030001ff", "ApplicationData"),
        ):
            self.assertEqual(tls.recognise(bytes.fromhex(head)), unclear(message))
        for head, message in (
            ("160303000402000000", "ServerHello"),
            ("1603030004ff000000", "Handshake"),
        ):
            self.assertEqual(tls.recognise(bytes.fromhex(head)), content(message))

    def test_not_records(self) -> None:
        """Another type, version or length is no record, and nothing is waited for."""
        for head in ("180303000101", "16020300010100", "160303ffff01", "160303000001"):
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
