"""SOCKS 5 messages: whole, cut at every octet, with a tail, and garbage."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import WireError
from gateway.listeners.destination import Destination, Name, read_host
from gateway.listeners.socks5_wire import (
    Datagram,
    Method,
    Reply,
    Request,
    read_credentials,
    read_datagram,
    read_greeting,
    read_request,
    write_credentials_answer,
    write_datagram_header,
    write_greeting,
    write_reply,
)
from gateway.model import Endpoint
from tests.support.rows import rows

V4 = Endpoint.parse("192.0.2.1:443")
V6 = Endpoint.parse("[2001:db8::1]:443")
_V4 = b"\x01\xc0\x00\x02\x01\x01\xbb"
_V6 = b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x01\xbb"
_MAPPED = b"\x04" + bytes(10) + b"\xff\xff\xc0\x00\x02\x01\x01\xbb"
_NAME = b"\x03\x0bExample.org\x01\xbb"
_LITERAL = b"\x03\x09192.0.2.1\x01\xbb"


@rows(
    request={
        "CONNECT to IPv4": (b"\x05\x01\x00" + _V4, 1, V4),
        "CONNECT to IPv6": (b"\x05\x01\x00" + _V6, 1, V6),
        "CONNECT to IPv4 spelt as IPv6": (b"\x05\x01\x00" + _MAPPED, 1, V4),
        "CONNECT to a name": (b"\x05\x01\x00" + _NAME, 1, Name("example.org", 443)),
        "CONNECT to a name that is an address": (b"\x05\x01\x00" + _LITERAL, 1, V4),
        "BIND": (b"\x05\x02\x00" + _V4, 2, V4),
        "UDP ASSOCIATE": (b"\x05\x03\x00\x01" + bytes(6), 3, Endpoint.parse("0.0.0.0:0")),
    },
    host={
        "a name": (b"edge-1.Example.ORG", Name("edge-1.example.org", 1)),
        "a name with a final dot": (b"example.org.", Name("example.org", 1)),
        "a name with an underscore": (b"_sip.example.org", Name("_sip.example.org", 1)),
        "an IPv4 address": (b"192.0.2.1", Endpoint.parse("192.0.2.1:1")),
        "an IPv6 address": (b"2001:db8::1", Endpoint.parse("[2001:db8::1]:1")),
        "a label of 63": (b"a" * 63 + b".org", Name("a" * 63 + ".org", 1)),
    },
    no_host={
        "empty": (b"",),
        "a dot": (b".",),
        "an empty label": (b"a..b",),
        "a space": (b"a b",),
        "NUL": (b"a\x00.example.org",),
        "not ASCII": ("é.example.org".encode(),),
        "a short address": (b"127.1",),
        "an address as one number": (b"2130706433",),
        "an address in hexadecimal": (b"0x7f.0x1",),
        "a zone": (b"fe80::1%eth0",),
        "a label of 64": (b"a" * 64 + b".org",),
        "254 octets": (b".".join([b"a" * 62] * 4) + b".ab",),
    },
)
class MessageTests(SynchronousTestCase):
    """What clients send."""

    def check_request(self, data: bytes, command: int, destination: Destination) -> None:
        """A request is read whole, whatever follows, and not before"""
        expected = Request(command, destination, destination.port, len(data))
        self.assertEqual(read_request(data), expected)
        self.assertEqual(read_request(data + b"tail"), expected)
        for cut in range(len(data)):
            self.assertIsNone(read_request(data[:cut]))
        # A datagram has the same address behind RSV and FRAG; cut, it is malformed.
        datagram = b"\x00\x00\x07" + data[3:]
        self.assertEqual(read_datagram(datagram + b"tail"), Datagram(7, destination, len(datagram)))
        for cut in range(len(datagram)):
            self.assertRaises(WireError, read_datagram, datagram[:cut])

    def check_host(self, text: bytes, destination: Destination) -> None:
        """A host is read in its one form"""
        self.assertEqual(read_host(text, 1), destination)

    def check_no_host(self, text: bytes) -> None:
        """What is neither an address nor a name is refused"""
        error = self.assertRaises(WireError, read_host, text, 1)
        self.assertIn("an IPv4 or IPv6 address or a host name", str(error))

    def test_greeting(self) -> None:
        """A greeting is read whole, whatever follows, and not before."""
        data = b"\x05\x02\x00\x02"
        self.assertEqual(read_greeting(data + b"tail"), (b"\x00\x02", 4))
        for cut in range(len(data)):
            self.assertIsNone(read_greeting(data[:cut]))
        self.assertRaises(WireError, read_greeting, b"\x04\x01")

    def test_credentials(self) -> None:
        """User name and password are read whole, whatever follows, and not before."""
        data = b"\x01\x05alice\x06secret"
        self.assertEqual(read_credentials(data + b"tail"), (b"alice", b"secret", len(data)))
        for cut in range(len(data)):
            self.assertIsNone(read_credentials(data[:cut]))
        self.assertRaises(WireError, read_credentials, b"\x05")

    def test_unknown_address_type(self) -> None:
        """An address type that does not exist is told apart from a message that is not whole."""
        request = read_request(b"\x05\x01\x00\x02")
        assert request is not None
        self.assertEqual(request.destination, Reply.ADDRESS_TYPE_NOT_SUPPORTED)
        self.assertRaises(WireError, read_datagram, b"\x00\x00\x00\x02" + bytes(20))

    def test_no_name(self) -> None:
        """A request for what is no host is read all the same: an association needs its port."""
        data = b"\x05\x03\x00\x03\x010\x04\xd2"
        self.assertEqual(read_request(data), Request(3, Reply.HOST_UNREACHABLE, 1234, len(data)))

    def test_reserved(self) -> None:
        """A datagram whose reserved octets are set is malformed."""
        self.assertRaises(WireError, read_datagram, b"\x00\x01\x00" + _V4)

    def test_answers(self) -> None:
        """Answers are what RFC 1928 and RFC 1929 say."""
        self.assertEqual(write_greeting(Method.NOT_ACCEPTABLE), b"\x05\xff")
        self.assertEqual(write_credentials_answer(True), b"\x01\x00")
        self.assertEqual(write_credentials_answer(False), b"\x01\x01")
        self.assertEqual(write_reply(Reply.NOT_ALLOWED), b"\x05\x02\x00\x01" + bytes(6))
        self.assertEqual(write_reply(Reply.SUCCEEDED, V6), b"\x05\x00\x00" + _V6)

    @given(st.binary(max_size=64), st.booleans())
    @settings(deadline=None, max_examples=300)
    def test_garbage(self, data: bytes, is_socks: bool) -> None:
        """Of any octets come a value, a wait, or WireError: nothing else."""
        data = b"\x05" + data if is_socks else data
        for read in (read_greeting, read_credentials, read_request, read_datagram):
            try:
                read(data)
            except WireError:
                continue

    @given(
        st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)),
        st.integers(0, 65535),
        st.binary(max_size=20),
    )
    @settings(deadline=None, max_examples=100)
    def test_header_there_and_back(self, address: bytes, port: int, payload: bytes) -> None:
        """The header that we write says the endpoint that we read."""
        endpoint = Endpoint(address, port)
        header = read_datagram(write_datagram_header(endpoint) + payload)
        destination = header.destination
        assert isinstance(destination, Endpoint)
        self.assertEqual(destination.host.removeprefix("::ffff:"), destination.host)
        self.assertEqual((header.fragment, destination.port), (0, port))
        self.assertEqual(header.length, 4 + len(address) + 2)
