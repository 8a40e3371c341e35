"""Router mode's local proxy, on real loopback sockets.

Loopback has no rules that send another destination's connections here, so a reactor that says so
stands in for them; the real ones are the lab's."""

from __future__ import annotations

import errno
import socket
import struct
from typing import cast

from twisted.internet import reactor as _real
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import TCP6ClientEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import ITransport

from gateway.listeners import transparent_tcp
from gateway.listeners.door import Door
from gateway.listeners.limits import Limits
from gateway.listeners.reactor import StreamEndpoint
from gateway.listeners.transparent_tcp import TransparentConnection, TransparentTcpListener
from gateway.model import Endpoint
from tests.listeners.case import ListenerCase
from tests.listeners.fakes import ALLOW, BLOCK, by_content
from tests.listeners.peers import FakeTransport, TcpEdge, TcpPeer
from tests.support.rows import rows

EDGE = Endpoint.parse("192.0.2.1:443")


class _Asking(FakeTransport):
    """A client's connection that the kernel sent here."""

    def __init__(self, asked: str, peer: str = "198.51.100.7") -> None:
        super().__init__()
        six = ":" in asked
        kind = IPv6Address if six else IPv4Address
        self.hostAddr = kind("TCP", "2001:db8:1::1" if six else "10.1.0.1", 7000)
        self.peerAddr = kind("TCP", peer, 50000)
        self.family = socket.AF_INET6 if six else socket.AF_INET
        self._asked = asked

    def getHandle(self) -> _Asking:
        """ITCPTransport API: a socket, as far as it is asked."""
        return self

    def getsockopt(self, level: int, option: int, length: int) -> bytes:
        """socket API: SO_ORIGINAL_DST (linux/netfilter_ipv4.h)."""
        assert option == 80, option
        if self.family == socket.AF_INET6:
            assert (level, length) == (socket.IPPROTO_IPV6, 28)
            octets = socket.inet_pton(socket.AF_INET6, self._asked)
            return struct.pack("=H", 10) + struct.pack("!H4x16s4x", 443, octets)
        assert (level, length) == (socket.SOL_IP, 16)
        return struct.pack("=H", 2) + struct.pack("!H4s8x", 443, socket.inet_aton(self._asked))


@rows(
    loops={
        "IPv4": ("127.0.0.1",),
        "another loopback address": ("127.9.9.9",),
        "IPv6": ("::1",),
        "IPv4 in IPv6": ("::ffff:127.0.0.1",),
    },
    unroutable={
        "the destination": ("fe80::1", "2001:db8::7"),
        "the client": ("2001:db8::1", "fe80::7%eth0"),
    },
)
class TransparentConnectionTests(ListenerCase):
    """Whose flow a connection is."""

    def connection(self, transport: _Asking) -> TransparentConnection:
        """Let a client come."""
        self.door = Door(self.wiring())
        self.addCleanup(self.door.close)
        connection = TransparentConnection(self.door)
        transport.lose = connection.connectionLost
        connection.makeConnection(cast(ITransport, transport))
        return connection

    async def test_carried(self) -> None:
        """The flow that is judged is the client's, to where it wanted to go; and it is carried."""
        edge = self.tcp_edge(str(EDGE), ALLOW)
        transport = _Asking("192.0.2.1")
        connection = self.connection(transport)
        connection.dataReceived(b"hello")
        await self.until(lambda: edge.peers and edge.peers[0].heard == b"hello")
        self.assertEqual(
            [str(key) for key, _payload, _names in self.gate.judged],
            ["tcp 198.51.100.7:50000 > 192.0.2.1:443"],
        )
        edge.peers[0].say(b"welcome")
        await self.until(lambda: transport.value() == b"welcome")

    async def test_held(self) -> None:
        """Where content decides nothing is dialled before it has."""
        edge = self.tcp_edge(str(EDGE), by_content(ALLOW, BLOCK))
        transport = _Asking("192.0.2.1")
        self.connection(transport).dataReceived(b"ping")
        await self.turn(10)
        self.assertEqual((edge.peers, transport.was_aborted), ([], True))

    def test_blocked(self) -> None:
        """A destination that is blocked is refused by a reset."""
        transport = _Asking("192.0.2.9")
        self.connection(transport)
        self.assertTrue(transport.was_aborted)
        self.assertEqual(self.door.tally.snapshot()["dropped_blocked"], 1)

    def check_loops(self, asked: str) -> None:
        """A connection to the proxy's own place is cut, and judged by nobody."""
        transport = _Asking(asked)
        self.connection(transport)
        self.assertEqual((transport.was_aborted, self.gate.judged), (True, []))
        self.assertEqual(self.door.tally.snapshot()["dropped_loop"], 1)

    def check_unroutable(self, asked: str, peer: str) -> None:
        """An address that is good on its own link only is no flow's, and its connection is cut."""
        transport = _Asking(asked, peer)
        self.connection(transport)
        self.assertEqual((transport.was_aborted, self.gate.judged), (True, []))
        self.assertEqual(self.door.tally.snapshot()["dropped_unroutable"], 1)


class TransparentTcpListenerTests(ListenerCase):
    """The two sockets."""

    def begin(self, limits: Limits | None = None) -> Endpoint:
        """Open the proxy."""
        self.listener = TransparentTcpListener(self.wiring(limits))
        return self.open(self.listener)

    async def connect6(self, port: int) -> TcpPeer:
        """Connect by IPv6, until the test ends."""
        factory = TcpEdge()
        endpoint = cast(StreamEndpoint, TCP6ClientEndpoint(_real, "::1", port))
        await endpoint.connect(factory)
        peer = factory.peers[0]
        self.addCleanup(peer.close)
        return peer

    async def test_both_families(self) -> None:
        """It listens on one port of both families; who comes there by himself is cut."""
        at = self.begin()
        self.assertEqual(at.host, "0.0.0.0")
        four, six = await self.connect(at), await self.connect6(at.port)
        await self.until(lambda: four.is_lost and six.is_lost)
        self.assertTrue(four.was_reset and six.was_reset)
        self.assertEqual(self.listener.counters["dropped_loop"], 2)
        self.assertEqual(self.gate.judged, [])

    async def test_without_ipv6(self) -> None:
        """On a host without IPv6 it listens by IPv4."""
        refuse = OSError(errno.EADDRNOTAVAIL, "cannot assign requested address")
        original = transparent_tcp._open

        def open_(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
            if family == socket.AF_INET6:
                raise transparent_tcp._cannot(host, port, refuse)
            return original(family, host, port)

        self.patch(transparent_tcp, "_open", open_)
        four = await self.connect(self.begin())
        await self.until(lambda: four.is_lost)
        self.assertEqual(self.listener.counters["dropped_loop"], 1)

    def test_port_is_taken(self) -> None:
        """A port that is taken by IPv6 is left for another; after some it gives up."""
        ports: list[int] = []
        original = transparent_tcp._open
        taken = OSError(errno.EADDRINUSE, "address already in use")
        self.left = 2

        def open_(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
            if family == socket.AF_INET6:
                ports.append(port)
                self.left -= 1
                if self.left >= 0:
                    raise transparent_tcp._cannot(host, port, taken)
            return original(family, host, port)

        self.patch(transparent_tcp, "_open", open_)
        at = self.begin()
        self.assertEqual((len(ports), ports[-1]), (3, at.port))
        self.left = 1000
        ports.clear()
        error = self.assertRaises(CannotListenError, TransparentTcpListener(self.wiring()).listen)
        self.assertIn("no port is free for both", str(error))
        self.assertEqual(len(ports), 16)

    async def test_stop(self) -> None:
        """Once it is stopped nobody listens there."""
        at = self.begin()
        await self.listener.stop()
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family) as one:
                self.assertEqual(one.connect_ex((host, at.port)), errno.ECONNREFUSED)
