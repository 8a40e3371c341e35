"""The sockets of an exit that is an interface.  Owns: its UDP flows, its TCP connections.
Knows: Twisted's tcp.Client and udp.Port, SO_BINDTODEVICE by link.Link.
Never: policy, connect() on a UDP socket: one ICMP error would make epoll close it."""

from __future__ import annotations

import errno
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, cast

from twisted.internet.error import ConnectionLost, MessageLengthError
from twisted.internet.protocol import ClientFactory, DatagramProtocol
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.tcp import Client, Connector
from twisted.python.failure import Failure

from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.tunnel.link import Link, Readers
from gateway.tunnel.means import Sockets
from gateway.tunnel.reactor import Address, Clock, DatagramTransport, DelayedCall

# Twisted cuts what is longer than its default of 8192; a UDP payload has at most 65507 octets.
_READ_OCTETS = 65535

# The interface has no way to the destination, as sendto(2) tells it; other errors are one
# datagram's: a full buffer, a firewall's refusal, a WireGuard peer without a key for it.
_NO_WAY = (errno.ENODEV, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL)


class _Port(Protocol):
    """IListeningPort of a socket."""

    def getHandle(self) -> socket.socket: ...
    def stopListening(self) -> object: ...


class Reactor(Clock, Readers, Protocol):
    """IReactorTime, IReactorFDSet and IReactorSocket; Twisted's TCP transports get it too."""

    def adoptDatagramPort(
        self, fd: int, family: int, protocol: DatagramProtocol, maxPacketSize: int
    ) -> _Port: ...


class Bound(Protocol):
    """A socket that is bound to the interface, and what is done with it."""

    @property
    def bound(self) -> socket.socket | None:
        """The socket; None: it is closed."""

    def cut(self, reason: str) -> None:
        """End it because of the interface."""


@dataclass(frozen=True, slots=True)
class Means:
    """What the flows of one exit share."""

    reactor: Reactor
    name: str
    """The exit's."""
    link: Link
    counters: Counter[str] = field(default_factory=Counter)
    open: set[Bound] = field(default_factory=set)
    """Those that end when the interface does."""
    sockets: Sockets = field(default_factory=Sockets)

    def fault(self, bound: socket.socket) -> str | None:
        """Say why nothing may be sent by a socket just now; None: it may.

        Where an address goes, the kernel would take another interface's in its place; a renamed
        interface it lets send on.  So what has changed is looked at before the next datagram, not
        in the reactor's next turn.
        """
        link = self.link
        if not link.is_changing:
            return None
        return link.fault() or link.lacks(bound.family) or link.lost(bound)


def family_of(destination: Endpoint) -> socket.AddressFamily:
    """Give the family of a destination's address."""
    return socket.AF_INET if len(destination.address) == 4 else socket.AF_INET6


class BoundFlow(DatagramProtocol):
    """One destination's datagrams.  Made by InterfaceExit.open_udp."""

    noisy = False

    def __init__(
        self,
        means: Means,
        destination: Endpoint,
        on_datagram: Callable[[bytes], None],
        on_closed: Callable[[str], None],
    ) -> None:
        """Open its socket.

        Raises:  OSError: there is none that is bound to the interface.
        """
        self.unsent = 0
        """Datagrams that it took and dropped because the interface had no way for them."""
        self._means = means
        self._on_datagram = on_datagram
        self._on_closed = on_closed
        self._doom: DelayedCall | None = None
        family = family_of(destination)
        # As recvfrom(2) spells it.
        self._address = socket.inet_ntop(family, destination.address), destination.port
        with means.link.open(family, socket.SOCK_DGRAM) as opened:  # its copy is adopted
            opened.bind(("" if family == socket.AF_INET else "::", 0))
            self._port: _Port | None = means.reactor.adoptDatagramPort(
                opened.fileno(), family, self, _READ_OCTETS
            )
        means.open.add(self)

    @property
    def bound(self) -> socket.socket | None:
        """Bound API."""
        return None if self._port is None else self._port.getHandle()

    def send(self, payload: bytes) -> bool:
        """Send one datagram.

        Returns: False if it was dropped, which is counted: too long, not taken by the kernel, or
                 the flow is closed.  Where the interface has no way for it the flow ends, in the
                 reactor's next turn, and it is unsent.
        """
        bound = self.bound
        if bound is None:
            self._means.counters["datagrams_without_flow"] += 1
            return False
        fault = self._means.fault(bound)
        return self._write(payload) if fault is None else self._give_up(fault)

    def close(self) -> None:
        """End the flow; on_closed is not called."""
        self._means.open.discard(self)
        doom, self._doom = self._doom, None
        if doom is not None and doom.active():
            doom.cancel()
        port, self._port = self._port, None
        if port is not None:
            port.stopListening()

    def cut(self, reason: str) -> None:
        """Bound API: on_closed is called."""
        if self._port is not None:
            self.close()
            self._on_closed(reason)

    def _write(self, payload: bytes) -> bool:
        try:
            cast(DatagramTransport, self.transport).write(payload, self._address)
        except MessageLengthError:
            self._means.counters["datagrams_too_long"] += 1
            return False
        except OSError as error:
            if error.errno in _NO_WAY:
                return self._give_up(f"{self._means.link.interface}: {error.strerror}")
            self._means.counters["datagrams_unsendable"] += 1
            return False
        return True

    def _give_up(self, reason: str) -> bool:
        self.unsent += 1
        self._means.counters["datagrams_unsendable"] += 1
        if self._doom is None:  # not at once: a sender does not expect its end inside its own call
            self._doom = self._means.reactor.callLater(0, self.cut, reason)
        return True

    # --- what the network tells (DatagramProtocol)

    def startProtocol(self) -> None:
        """DatagramProtocol API."""
        self._means.sockets.opened(self)

    def stopProtocol(self) -> None:
        """DatagramProtocol API."""
        self._means.sockets.closed(self)
        self.cut("the system closed the socket")

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """DatagramProtocol API: pass on what comes from the destination itself, nothing else."""
        if self._port is None:
            return
        if addr == self._address:
            self._on_datagram(datagram)
        else:
            self._means.counters["datagrams_of_strangers"] += 1


class Dialler:
    """The part of IReactorTCP that Twisted's endpoints use: their sockets are ours."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory[TwistedProtocol],
        timeout: float = 30,
        bindAddress: object = None,
    ) -> Connector:
        """IReactorTCP API."""
        connector = _Connector(self._means, host, port, factory, timeout)
        connector.connect()
        return connector


class _Transport(Protocol):
    """Client, as far as its connector uses it."""

    def failIfNotConnected(self, error: Exception, /) -> object: ...
    def connectionLost(self, reason: Failure, /) -> object: ...


class _Connector(Connector):
    """One attempt, and then its connection."""

    def __init__(
        self,
        means: Means,
        host: str,
        port: int,
        factory: ClientFactory[TwistedProtocol],
        timeout: float,
    ) -> None:
        super().__init__(host, port, factory, timeout, None, means.reactor)
        self.bound: socket.socket | None = None
        self._means = means

    def open(self, family: socket.AddressFamily) -> socket.socket:
        """Open its socket.

        Raises:  OSError: there is none that is bound to the interface.
        """
        self.bound = self._means.link.open(family, socket.SOCK_STREAM)
        self._means.open.add(self)
        self._means.sockets.opened(self)
        return self.bound

    def cut(self, reason: str) -> None:
        """Bound API: its protocol, or who waits for one, gets the reason; the peer gets a reset."""
        transport = cast("_Transport | None", self.transport)  # mypy: Twisted has not typed it
        if transport is None:
            return
        if self.state == "connecting":
            transport.failIfNotConnected(CarryError(self._means.name, reason))
        else:
            # What abortConnection does, but for the reason that it gives.
            lost = Failure(ConnectionLost(reason))  # type: ignore[no-untyped-call]  # likewise
            transport.connectionLost(lost)

    def give_up_if_lost(self) -> bool:
        """End the attempt if the interface carries nothing any more since its socket was opened."""
        fault = None if self.bound is None else self._means.fault(self.bound)
        if fault is not None:
            self.cut(fault)
        return fault is not None

    def _makeTransport(self) -> Client:
        """BaseConnector API."""
        # bindAddress None: the kernel takes an address of the interface.
        return _BoundClient(  # type: ignore[no-untyped-call]  # Twisted has not typed it
            self.host, self.port, None, self, self.reactor
        )

    def connectionFailed(self, reason: Failure) -> None:
        """IConnector API, for the transport."""
        self._release()
        super().connectionFailed(reason)

    def connectionLost(self, reason: Failure) -> None:
        """IConnector API, for the transport."""
        self._release()
        super().connectionLost(reason)

    def _release(self) -> None:
        self.bound = None
        self._means.open.discard(self)
        self._means.sockets.closed(self)


class _BoundClient(Client):
    """Twisted's TCP transport, whose socket is bound before it connects."""

    def createInternetSocket(self) -> socket.socket:
        """Client API: an OSError becomes the attempt's ConnectBindError."""
        return cast(_Connector, self.connector).open(self.addressFamily)

    def resolveAddress(self) -> None:
        """Client API: the attempt begins, in the turn after its socket was opened."""
        connector = getattr(self, "connector", None)  # Twisted deletes it when the attempt is over
        if not (isinstance(connector, _Connector) and connector.give_up_if_lost()):
            super().resolveAddress()  # type: ignore[no-untyped-call]  # Twisted has not typed it
