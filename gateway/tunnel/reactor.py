"""What this room needs of Twisted's reactor.  Owns: the Protocols that stand for it.
Knows: IReactorTime, IReactorUDP, IProtocol and their kin.  Never: which reactor it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure

from gateway.model import Endpoint

Address = tuple[str, int]
"""Host text (RFC 5952, as the kernel writes it) and port: how Twisted names a UDP peer."""


class DelayedCall(Protocol):
    """IDelayedCall."""

    def cancel(self) -> None: ...
    def active(self) -> bool: ...


class Clock(Protocol):
    """IReactorTime: seconds since the epoch, and calls that are made later."""

    def seconds(self) -> float: ...
    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object
    ) -> DelayedCall: ...


class Port(Protocol):
    """IListeningPort."""

    def getHost(self) -> object: ...
    def stopListening(self) -> object: ...


class NameResolver(Protocol):
    """IHostnameResolver."""

    def resolveHostName(
        self, resolutionReceiver: object, hostName: str, portNumber: int = 0
    ) -> object: ...


class Reactor(Clock, Protocol):
    """Clock and IReactorUDP; it is also handed on to Twisted's own TCP endpoints."""

    @property
    def nameResolver(self) -> NameResolver: ...

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 8192
    ) -> Port: ...


class Producer(Protocol):
    """IPushProducer."""

    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def stopProducing(self) -> None: ...


class ByteProtocol(Protocol):
    """IProtocol."""

    def makeConnection(self, transport: object, /) -> object: ...
    def dataReceived(self, data: bytes, /) -> object: ...
    def connectionLost(self, reason: Failure, /) -> object: ...


class HalfCloseable(Protocol):
    """IHalfCloseableProtocol."""

    def readConnectionLost(self) -> object: ...
    def writeConnectionLost(self) -> object: ...


class ByteFactory(Protocol):
    """IProtocolFactory."""

    def buildProtocol(self, addr: object, /) -> ByteProtocol | None: ...


class DatagramTransport(Protocol):
    """IUDPTransport, unconnected."""

    def write(self, packet: bytes, addr: Address) -> object: ...


def interface_towards(destination: Endpoint) -> str:
    """Give the interface to open a socket on: what goes to loopback does not listen beyond it."""
    address = destination.address
    if len(address) == 4:
        return "127.0.0.1" if address[0] == 127 else ""
    return "::1" if address == bytes(15) + b"\1" else "::"
