"""What this room needs of Twisted, as types.  Owns: the Protocols that stand for its interfaces.
Knows: IReactorTime, IReactorTCP, IReactorUDP, IReactorSocket, ITCPTransport, IUDPTransport.
Never: which reactor."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol

SocketAddress = tuple[str, int]
"""Address text, as the kernel spells it, and port: how Twisted names the peer of a datagram."""


class DelayedCall(Protocol):
    """IDelayedCall."""

    def cancel(self) -> None: ...


class SocketHost(Protocol):
    """IPv4Address and IPv6Address."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...


class Port(Protocol):
    """IListeningPort."""

    def getHost(self) -> SocketHost: ...
    def stopListening(self) -> Deferred[None] | None: ...


class Clock(Protocol):
    """IReactorTime."""

    def seconds(self) -> float: ...

    def callLater(
        self, delay: float, callable: Callable[..., object], /, *args: object
    ) -> DelayedCall: ...


class Reactor(Clock, Protocol):
    """What it must provide; Twisted's own TCP endpoints get it too."""

    def listenTCP(
        self, port: int, factory: object, backlog: int = ..., interface: str = ...
    ) -> Port: ...

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: int, factory: object, /
    ) -> Port: ...

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str = ..., maxPacketSize: int = ...
    ) -> Port: ...


class StreamTransport(Protocol):
    """The part of ITCPTransport, IPushProducer and IConsumer that the relay uses."""

    def write(self, data: bytes, /) -> object: ...
    def loseConnection(self) -> object: ...
    def loseWriteConnection(self) -> object: ...
    def abortConnection(self) -> object: ...
    def pauseProducing(self) -> object: ...
    def resumeProducing(self) -> object: ...
    def registerProducer(self, producer: object, streaming: bool, /) -> object: ...
    def unregisterProducer(self) -> object: ...


class ClientTransport(StreamTransport, Protocol):
    """What a client's connection has besides."""

    def getPeer(self) -> SocketHost: ...
    def getHost(self) -> SocketHost: ...
    def getHandle(self) -> socket.socket: ...
    def setTcpNoDelay(self, enabled: bool, /) -> object: ...
    def setTcpKeepAlive(self, enabled: bool, /) -> object: ...


class DatagramTransport(Protocol):
    """IUDPTransport, never connected."""

    def write(self, packet: bytes, addr: SocketAddress, /) -> object: ...


class StreamEndpoint(Protocol):
    """IStreamClientEndpoint."""

    def connect(self, protocolFactory: object, /) -> Deferred[object]: ...
