"""What all flows through one listener share.  Owns: Door, and closing all of it.
Knows: Twisted's Deferreds.  Never: a protocol."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred, DeferredList

from gateway.listeners.interfaces import Wiring
from gateway.listeners.reactor import Port
from gateway.listeners.tally import Allowance, Tally


class Abortable(Protocol):
    """A connection that is open."""

    def abort(self) -> None:
        """Cut it at once; may be called twice."""


class Door:
    """One listener's wiring, its counters, its allowances and what it holds open."""

    def __init__(self, wiring: Wiring) -> None:
        self.reactor = wiring.reactor
        self.gate = wiring.gate
        self.routes = wiring.routes
        self.resolver = wiring.resolver
        self.limits = wiring.limits
        self.tally = Tally(wiring.reactor.seconds)
        self.connections = Allowance(wiring.limits.connections)
        self.sessions = Allowance(wiring.limits.udp_sessions)
        self.destinations = Allowance(wiring.limits.udp_destinations)
        self.is_closing = False
        self._open: set[Abortable] = set()
        self._closings: set[Deferred[None]] = set()
        self._closed: Deferred[None] | None = None

    def hold(self, connection: Abortable) -> None:
        """Remember a connection until it is released: closing the door cuts it."""
        self._open.add(connection)
        if self.is_closing:
            connection.abort()

    def release(self, connection: Abortable) -> None:
        """Forget a connection that is gone."""
        self._open.discard(connection)
        if self._closed is not None and not self._open:
            closed, self._closed = self._closed, None
            closed.callback(None)

    def shut(self, port: Port) -> None:
        """Stop a port; closing the door waits for it."""
        closing = port.stopListening()
        if closing is not None:
            self._closings.add(closing)
            closing.addBoth(self._shut, closing)

    def _shut(self, result: None, closing: Deferred[None]) -> None:
        self._closings.discard(closing)

    def close(self) -> Deferred[None]:
        """Cut everything; fires when the last connection and port are gone."""
        self.is_closing = True
        for connection in tuple(self._open):
            connection.abort()
        waits = list(self._closings)
        if self._open:
            self._closed = Deferred()
            waits.append(self._closed)
        return DeferredList(waits, consumeErrors=True).addCallback(lambda _all: None)
