"""The two ends of a relayed stream, as the relay sees them.  Owns: Side, Valve, ServerSide.
Knows: Twisted's producers and half-close.  Never: verdicts."""

from __future__ import annotations

from typing import Protocol, cast

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.listeners.reactor import StreamTransport


class Events(Protocol):
    """Who listens to a side: the relay."""

    def connected(self, server: Side) -> None:
        """The server's side is there."""

    def received(self, side: Side, data: bytes) -> None:
        """Bytes came."""

    def ended(self, side: Side) -> None:
        """The peer will say no more, but may listen."""

    def lost(self, side: Side, was_clean: bool) -> None:
        """The connection is gone."""


class Side:
    """One connection of a relay: what may be done to it, and what became of it.

    It is also the push producer of the other side's transport: bytes of a stalled reader wait in
    its peer's kernel, not in our memory.
    """

    def __init__(self, transport: StreamTransport) -> None:
        self.transport = transport
        self.has_ended = False
        """Whether its peer said its last byte."""
        self.is_lost = False
        self._is_producing_to: Side | None = None

    def pauseProducing(self) -> None:
        """IPushProducer API."""
        if not (self.has_ended or self.is_lost):
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """IPushProducer API."""
        # A transport that has read its end would read it again.
        if not (self.has_ended or self.is_lost):
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """IPushProducer API: the reader is gone; the relay hears of that by itself."""

    def produce_to(self, reader: Side) -> None:
        """Let the reader's full buffer pause this side."""
        if not (self.has_ended or self.is_lost or reader.is_lost):
            reader.transport.registerProducer(self, True)
            self._is_producing_to = reader

    def stop_producing(self) -> None:
        """Let the reader's full buffer pause this side no more."""
        reader, self._is_producing_to = self._is_producing_to, None
        if reader is not None and not reader.is_lost:
            reader.transport.unregisterProducer()

    def end(self) -> None:
        """Note that the peer said its last byte.

        A transport with a producer resumes that one where it should close, so it is taken off.
        """
        self.has_ended = True
        self.stop_producing()

    def lose(self) -> None:
        """Note that the connection is gone."""
        self.is_lost = True
        self.stop_producing()

    def finish(self) -> None:
        """Close it once everything written has left."""
        if not self.is_lost:
            self.transport.loseConnection()

    def abort(self) -> None:
        """Cut it at once."""
        if not self.is_lost:
            self.transport.abortConnection()


# The type is twisted's Protocol; the name Protocol is typing's in this room.
@implementer(IHalfCloseableProtocol)
class HalfCloseable(TwistedProtocol):
    """A protocol whose peer may stop speaking and go on listening."""

    def readConnectionLost(self) -> None:
        """IHalfCloseableProtocol API: the peer stopped speaking."""

    def writeConnectionLost(self) -> None:
        """IHalfCloseableProtocol API: our own end of speech has left; nothing to do."""


class ServerSide(HalfCloseable):
    """The connection to the destination, relay or exit."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self.side: Side | None = None

    def connectionMade(self) -> None:
        """IProtocol API."""
        self.side = Side(cast(StreamTransport, self.transport))
        self._events.connected(self.side)

    def dataReceived(self, data: bytes) -> None:
        """IProtocol API."""
        if self.side is not None:
            self._events.received(self.side, data)

    def readConnectionLost(self) -> None:
        """IHalfCloseableProtocol API."""
        if self.side is not None:
            self._events.ended(self.side)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """IProtocol API."""
        if self.side is not None:
            self._events.lost(self.side, is_clean(reason))


class ServerFactory(Factory[ServerSide]):
    """Builds the one connection of one relay."""

    noisy = False

    def __init__(self, protocol: ServerSide) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: object) -> ServerSide:
        """IProtocolFactory API."""
        return self._protocol


def is_clean(reason: Failure) -> bool:
    """Tell an orderly end from a reset."""
    return isinstance(reason.value, ConnectionDone)
