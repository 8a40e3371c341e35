"""The console's connections.  Owns: its address, how many may connect, how long and how large a
request may be.
Knows: twisted.web.  Never: what is asked, who may."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, ITransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from gateway.model import Endpoint

_TIMEOUT_S = 30.0
_MAX_CONNECTIONS = 64
_MAX_BODY_LEN = 65_536


class Web:
    """The console on an address."""

    def __init__(self, reactor: Any, address: Endpoint, resource: IResource) -> None:
        """Open nothing yet."""
        self._reactor = reactor
        self._address = address
        site = _Silent(resource, requestFactory=_Request, timeout=_TIMEOUT_S, reactor=reactor)
        self._site = _Bounded(site, reactor)
        self._port: Any = None

    def start(self) -> Endpoint:
        """Listen; give where.

        Raises:  twisted.internet.error.CannotListenError.
        """
        self._port = self._reactor.listenTCP(
            self._address.port, self._site, interface=self._address.host
        )
        host = self._port.getHost()
        return Endpoint.of(host.host, host.port)

    def stop(self) -> Deferred[None] | None:
        """Listen no longer, and cut who is connected."""
        self._site.cut()
        port, self._port = self._port, None
        return None if port is None else port.stopListening()


class _Request(Request):
    """A request that is small, and comes in time."""

    def gotLength(self, length: int | None) -> None:
        """http.Request API: called when the header is read, before the body comes."""
        if length is None or length > _MAX_BODY_LEN:
            self.channel.loseConnection()
            length = 0
        super().gotLength(length)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """http.Request API: called when the whole of it is there."""
        _connection(self).is_served()
        super().requestReceived(command, path, version)

    def finish(self) -> None:
        """http.Request API."""
        connection = _connection(self)
        super().finish()
        connection.waits()


class _Patient(ProtocolWrapper):
    """A connection whose next request has to be whole in time, however it trickles in."""

    _late: IDelayedCall | None = None

    def makeConnection(self, transport: ITransport) -> None:
        """IProtocol API."""
        super().makeConnection(transport)
        self.waits()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # its default
        """IProtocol API."""
        self.is_served()
        super().connectionLost(reason)

    def waits(self) -> None:
        """Cut it unless a request comes."""
        self.is_served()
        self._late = self.factory.reactor.callLater(_TIMEOUT_S, self.cut)

    def cut(self) -> None:
        """End it."""
        self._late = None
        self.abortConnection()

    def is_served(self) -> None:
        """Let it take its time: it is our turn."""
        late, self._late = self._late, None
        if late is not None:
            late.cancel()


def _connection(request: Request) -> _Patient:
    connection = request.channel.transport
    assert isinstance(connection, _Patient), "the site is behind _Bounded"
    return connection


class _Silent(Site):
    """A site that writes nothing down of who asked what."""

    noisy = False

    def log(self, request: object) -> None:
        """HTTPFactory API."""


class _Bounded(WrappingFactory):
    """Serves a few at a time."""

    noisy = False
    protocol = _Patient

    def __init__(self, site: Site, reactor: Any) -> None:
        super().__init__(site)
        self.reactor = reactor

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """IProtocolFactory API: None refuses."""
        return super().buildProtocol(addr) if len(self.protocols) < _MAX_CONNECTIONS else None

    def cut(self) -> None:
        """End every connection."""
        for protocol in tuple(self.protocols):
            protocol.abortConnection()
