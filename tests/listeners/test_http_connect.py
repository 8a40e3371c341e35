"""The HTTP CONNECT front door: heads in memory, a tunnel on real loopback sockets."""

from __future__ import annotations

from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.interfaces import ITransport

from gateway.errors import WireError
from gateway.listeners.answers import Failing
from gateway.listeners.destination import Destination, Name
from gateway.listeners.door import Door
from gateway.listeners.http_connect import (
    MAX_HEAD_LEN,
    HttpConnectConnection,
    HttpConnectListener,
    read_authority,
    read_head,
)
from gateway.model import Endpoint, pack
from tests.listeners.case import ListenerCase
from tests.listeners.fakes import ALLOW, BLOCK, LOOPBACK, WRAP
from tests.listeners.peers import FakeTransport
from tests.support.rows import rows

EDGE = Endpoint.parse("192.0.2.1:443")
HEAD = (
    b"CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\nProxy-Connection: keep-alive\r\n\r\n"
)
LINE = b"CONNECT a.example:1 HTTP/1.1\r\n"


def head(first: bytes) -> bytes:
    """Make a head of a request line."""
    return first + b"\r\nHost: example.org\r\n\r\n"


@rows(
    refusals={
        "blocked": (HEAD, b"403 Forbidden", b"Blocked by the rule no: A test forbids it.\n"),
        "another method": (head(b"GET http://example.org/ HTTP/1.1"), b"405", b"Only CONNECT.\n"),
        "no port": (head(b"CONNECT example.org HTTP/1.1"), b"400", b"expected host:port.\n"),
        "port 0": (head(b"CONNECT example.org:0 HTTP/1.1"), b"400", b"expected host:port.\n"),
        "port 65536": (head(b"CONNECT example.org:65536 HTTP/1.1"), b"400", b"host:port.\n"),
        "IPv6 without brackets": (head(b"CONNECT 2001:db8::1:443 HTTP/1.1"), b"400", b"port.\n"),
        "IPv4 in brackets of colons": (head(b"CONNECT [::::]:443 HTTP/1.1"), b"400", b"name.\n"),
        "a name in brackets": (head(b"CONNECT [abc]:443 HTTP/1.1"), b"400", b"brackets.\n"),
        "HTTP/2": (head(b"CONNECT example.org:443 HTTP/2.0"), b"400", b"HTTP/1.1.\n"),
        "not HTTP": (b"\x16\x03\x01\x02\x00\r\n\r\n", b"400", b"METHOD TARGET HTTP/1.1.\n"),
        "a bad header": (LINE + b"no colon\r\n\r\n", b"400", b"VALUE.\n"),
        "a folded header": (
            b"CONNECT a.example:1 HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
            b"400",
            b"VALUE.\n",
        ),
        "an unknown name": (head(b"CONNECT a.example:443 HTTP/1.1"), b"502", b"reached.\n"),
        "a short address": (head(b"CONNECT 127.1:443 HTTP/1.1"), b"400", b"host name.\n"),
        "too long": (
            b"CONNECT a.example:1 HTTP/1.1\r\nA: " + b"x" * MAX_HEAD_LEN,
            b"400",
            b"octets.\n",
        ),
    },
    authorities={
        "a name": (b"Example.org:443", Name("example.org", 443)),
        "IPv4": (b"192.0.2.1:1", Endpoint.parse("192.0.2.1:1")),
        "IPv6": (b"[2001:DB8::1]:65535", Endpoint.parse("[2001:db8::1]:65535")),
        "IPv4 spelt as IPv6": (b"[::ffff:192.0.2.1]:443", EDGE),
    },
    failures={
        "not carried": (Failing.NOT_CARRIED, b"502 Bad Gateway"),
        "refused": (Failing.REFUSED, b"502 Bad Gateway"),
        "unreachable": (Failing.UNREACHABLE, b"502 Bad Gateway"),
        "timed out": (Failing.TIMED_OUT, b"504 Gateway Timeout"),
    },
)
class HeadTests(ListenerCase):
    """From the request line to the answer."""

    def begin(self) -> None:
        """Connect."""
        self.door = Door(self.wiring())
        self.transport = FakeTransport()
        self.connection = HttpConnectConnection(self.door)
        self.transport.lose = self.connection.connectionLost
        self.connection.makeConnection(cast(ITransport, self.transport))

    def say(self, data: bytes) -> bytes:
        """Say something; give all that was answered so far."""
        if not self.transport.is_closed:
            self.connection.dataReceived(data)
        return cast(bytes, self.transport.value())

    def check_refusals(self, request: bytes, status: bytes, end: bytes) -> None:
        """A request that cannot be served gets its status and one sentence, then is closed"""
        for pieces in ([request], [bytes((octet,)) for octet in request]):
            self.begin()
            for piece in pieces:
                self.say(piece)
            answer = self.say(b"")
            self.assertTrue(answer.startswith(b"HTTP/1.1 " + status), answer)
            self.assertTrue(answer.endswith(end), answer)
            fields, _, body = answer.partition(b"\r\n\r\n")
            self.assertIn(b"Content-Length: %d\r\n" % len(body), fields + b"\r\n")
            self.assertTrue(self.transport.is_closed)
            self.door.close()
            self.assertEqual(self.reactor.clock.getDelayedCalls(), [])

    def check_authorities(self, target: bytes, destination: Destination) -> None:
        """A target is read in its one form"""
        self.assertEqual(read_authority(target), destination)

    def check_failures(self, why: Failing, status: bytes) -> None:
        """A stream that is not connected says why"""
        self.begin()
        self.connection.fail(why)
        self.assertTrue(self.say(b"").startswith(b"HTTP/1.1 " + status))

    def test_allow_field(self) -> None:
        """A refused method is told which one is allowed (RFC 9110 section 15.5.6)."""
        self.begin()
        self.assertIn(b"\r\nAllow: CONNECT\r\n", self.say(head(b"OPTIONS * HTTP/1.1")))

    def test_not_carried(self) -> None:
        """A verdict that cannot be carried out is a bad gateway."""
        self.gate.on[EDGE] = WRAP
        self.begin()
        self.assertTrue(self.say(HEAD).startswith(b"HTTP/1.1 502 Bad Gateway\r\n"))

    def test_head_limit(self) -> None:
        """A head of the greatest length is read; one octet more is refused."""
        short = LINE + b"A: \r\n\r\n"
        longest = short.replace(b"A: ", b"A: " + b"x" * (MAX_HEAD_LEN - len(short)))
        found = read_head(longest + b"tail")
        assert found is not None
        self.assertEqual(found.length, MAX_HEAD_LEN)
        self.assertRaises(WireError, read_head, longest.replace(b"A: ", b"A: x"))
        self.assertIsNone(read_head(longest[:-1]))

    @given(st.one_of(st.binary(max_size=80), st.binary(max_size=40).map(lambda b: b"CONNECT " + b)))
    @settings(deadline=None, max_examples=200)
    def test_garbage(self, data: bytes) -> None:
        """Of any octets come an answer or a wait, and no exception."""
        self.begin()
        self.say(data)
        self.say(b"\r\n\r\n")
        self.connection.abort()
        self.assertTrue(self.transport.is_closed)


class TunnelTests(ListenerCase):
    """A tunnel, with sockets."""

    async def test_tunnel(self) -> None:
        """An allowed tunnel answers 200; what follows the head goes first."""
        edge = self.tcp_edge(str(EDGE), ALLOW)
        client = await self.connect(self.open(HttpConnectListener(LOOPBACK, self.wiring())))
        client.say(HEAD + b"hello")
        await self.until(lambda: edge.peers and edge.peers[0].heard == b"hello")
        edge.peers[0].say(b"welcome")
        answer = b"HTTP/1.1 200 Connection established\r\n\r\n"
        await self.until(lambda: client.heard == answer + b"welcome")

    async def test_name(self) -> None:
        """A name is resolved here, and judged with each address."""
        edge = self.tcp_edge(str(EDGE), ALLOW)
        self.resolver.names["example.org"] = (pack("192.0.2.1"),)
        client = await self.connect(self.open(HttpConnectListener(LOOPBACK, self.wiring())))
        client.say(b"CONNECT example.org:443 HTTP/1.1\r\n\r\nhello")
        await self.until(lambda: edge.peers and edge.peers[0].heard == b"hello")
        self.assertEqual(self.gate.judged[0][2], ("example.org",))

    async def test_blocked(self) -> None:
        """A blocked tunnel answers 403, and its destination sees no connection."""
        edge = self.tcp_edge(str(EDGE), BLOCK)
        client = await self.connect(self.open(HttpConnectListener(LOOPBACK, self.wiring())))
        client.say(HEAD)
        await self.until(lambda: client.has_ended)
        self.assertTrue(client.heard.startswith(b"HTTP/1.1 403 Forbidden\r\n"))
        self.assertEqual(edge.peers, [])
