"""Both ends of what a listener joins.  Owns: clients and edges on loopback, a transport in memory.
Knows: Twisted's protocols.  Never: anything off loopback."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet import reactor as _real
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.protocol import DatagramProtocol, Factory, connectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from gateway.listeners.reactor import (
    DatagramTransport,
    Port,
    Reactor,
    SocketAddress,
    StreamTransport,
)
from gateway.listeners.stream_sides import HalfCloseable
from gateway.model import Endpoint

REAL = cast(Reactor, _real)


class UdpPeer(DatagramProtocol):
    """A UDP socket on loopback that keeps what it gets; an edge or a client."""

    def __init__(self, echo: bytes | None = None) -> None:
        self.echo = echo
        """What to put before each datagram that is sent back; None: stay silent."""
        self.got: list[tuple[bytes, SocketAddress]] = []

    def bind(self, host: str = "127.0.0.1") -> UdpPeer:
        """Open the socket."""
        self.port: Port = REAL.listenUDP(0, self, interface=host, maxPacketSize=65535)
        at = self.port.getHost()
        self.at = Endpoint.of(at.host, at.port)
        return self

    def datagramReceived(self, datagram: bytes, addr: SocketAddress) -> None:
        """DatagramProtocol API."""
        self.got.append((datagram, addr))
        if self.echo is not None:
            self.send(self.echo + datagram, addr)

    def send(self, datagram: bytes, to: Endpoint | SocketAddress) -> None:
        """Send one datagram."""
        address = (to.host, to.port) if isinstance(to, Endpoint) else to
        cast(DatagramTransport, self.transport).write(datagram, address)

    @property
    def payloads(self) -> list[bytes]:
        """What came, without who sent it."""
        return [datagram for datagram, _addr in self.got]

    @property
    def senders(self) -> set[SocketAddress]:
        """Who sent."""
        return {addr for _datagram, addr in self.got}


class TcpPeer(HalfCloseable):
    """One end of a real connection, that keeps what it hears."""

    def __init__(self) -> None:
        self._heard = bytearray()
        self._left = 0
        self.is_made = self.has_ended = self.is_lost = self.was_reset = False

    def connectionMade(self) -> None:
        """IProtocol API."""
        self.is_made = True

    def dataReceived(self, data: bytes) -> None:
        """IProtocol API."""
        self._heard += data

    @property
    def heard(self) -> bytes:
        """All that came."""
        return bytes(self._heard)

    @property
    def heard_len(self) -> int:
        """Octets that came."""
        return len(self._heard)

    def readConnectionLost(self) -> None:
        """IHalfCloseableProtocol API."""
        self.has_ended = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """IProtocol API."""
        self.is_lost = True
        self.was_reset = not isinstance(reason.value, ConnectionDone)

    def say(self, data: bytes) -> None:
        """Write."""
        cast(StreamTransport, self.transport).write(data)

    def pour(self, total: int) -> None:
        """Write this many octets, as fast as they are taken, and then end."""
        self._left = total
        cast(StreamTransport, self.transport).registerProducer(self, False)

    def resumeProducing(self) -> None:
        """IPullProducer API."""
        chunk, transport = min(self._left, 65536), cast(StreamTransport, self.transport)
        self._left -= chunk
        transport.write(bytes(chunk))
        if not self._left:
            transport.unregisterProducer()
            self.end()

    def stopProducing(self) -> None:
        """IPullProducer API."""

    def end(self) -> None:
        """Say no more, but listen."""
        cast(StreamTransport, self.transport).loseWriteConnection()

    def close(self) -> None:
        """Close both ways."""
        if not self.is_lost and self.is_made:
            cast(StreamTransport, self.transport).abortConnection()


class TcpEdge(Factory[TcpPeer]):
    """A TCP server on loopback."""

    noisy = False

    def __init__(self, greeting: bytes = b"") -> None:
        self.peers: list[TcpPeer] = []
        self._greeting = greeting

    def bind(self, host: str = "127.0.0.1") -> TcpEdge:
        """Open the port."""
        self.port = REAL.listenTCP(0, self, interface=host)
        at = self.port.getHost()
        self.at = Endpoint.of(at.host, at.port)
        return self

    def buildProtocol(self, addr: object) -> TcpPeer:
        """IProtocolFactory API."""
        peer = TcpPeer()
        self.peers.append(peer)
        if self._greeting:
            REAL.callLater(0, peer.say, self._greeting)
        return peer


class FakeTransport(StringTransport):
    """A client's TCP transport in memory, that tells its protocol when it is closed."""

    def __init__(self, is_stalled: bool = False) -> None:
        """Connect.

        Args:    is_stalled: what is written never leaves, so loseConnection never ends.
        """
        super().__init__(
            hostAddress=IPv4Address("TCP", "127.0.0.1", 1080),
            peerAddress=IPv4Address("TCP", "127.0.0.1", 50000),
            lenient=True,
        )
        self.is_closed = False
        self.was_aborted = False
        self.has_ended_writing = False
        self._is_stalled = is_stalled
        self.lose: Callable[[Failure], None] = lambda _reason: None

    def _close(self, reason: Exception) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.lose(Failure(reason))

    def loseConnection(self) -> None:
        """ITransport API."""
        if not self._is_stalled:
            self._close(ConnectionDone())

    def loseWriteConnection(self) -> None:
        """ITCPTransport API."""
        self.has_ended_writing = True

    def abortConnection(self) -> None:
        """ITCPTransport API."""
        self.was_aborted = True
        self._close(ConnectionAborted())

    def setTcpNoDelay(self, enabled: bool) -> None:
        """ITCPTransport API."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """ITCPTransport API."""
