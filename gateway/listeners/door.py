"""What all flows through one listener share.  Owns: Door, and closing all of it; Doorkeeper: what
every listener does alike.  Knows: Twisted's Deferreds.  Never: a protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from twisted.internet.defer import Deferred, DeferredList

from gateway.errors import CarryError
from gateway.listeners.interfaces import Routes, Wiring
from gateway.listeners.packets import Packets
from gateway.listeners.pipes import Pipes
from gateway.listeners.reactor import Port
from gateway.listeners.shares import Shares
from gateway.listeners.streams import Streams
from gateway.listeners.tally import Drop, Tally
from gateway.model import Endpoint, FlowKey


class Connection(Protocol):
    """What is judged again and ended alike: a client's connection, a relay, UDP sessions."""

    def abort(self) -> None:
        """End it at once; may be called twice."""

    def rejudge(self) -> None:
        """Judge it by the policy in force; may be called twice."""


class Door:
    """One listener's wiring, its counters, its places and what it holds open."""

    def __init__(self, wiring: Wiring) -> None:
        self.reactor = wiring.reactor
        self.gate = wiring.gate
        self._routes = wiring.routes
        self._apart = wiring.apart
        self.resolver = wiring.resolver
        self.on_round_trip = wiring.on_round_trip
        self.limits = limits = wiring.limits
        self.tally = Tally(wiring.reactor)
        self.packets = Packets()
        self.streams = Streams()
        self.connections = Shares(
            limits.connections, limits.connections_per_client, Drop.CONNECTIONS_FULL
        )
        self.sessions = Shares(
            limits.udp_sessions, limits.udp_sessions_per_client, Drop.SESSIONS_FULL
        )
        self.destinations = Shares(
            limits.udp_destinations, limits.udp_destinations_per_client, Drop.DESTINATIONS_FULL
        )
        self.pipes = Pipes(limits.splices)
        self.is_closing = False
        self._ports: list[Port] = []
        self._open: set[Connection] = set()
        self._closings: set[Deferred[None]] = set()
        self._closed: Deferred[None] | None = None

    def routes_of(self, key: FlowKey) -> Routes:
        """Give the ways out of a flow."""
        return self._apart(key) or self._routes

    def not_carried(self, key: FlowKey, error: CarryError) -> None:
        """Count and write down a flow that is blocked because its way is not there."""
        self.tally.not_carried(error)
        self.gate.not_carried(key, str(error))

    def not_sent(self, key: FlowKey, reason: str) -> None:
        """Count and write down a datagram that was let pass and that nobody took."""
        self.tally.drop(Drop.NOT_SENT)
        self.gate.not_carried(key, reason)

    def open(self, *ports: Port) -> Endpoint:
        """Take the ports that clients come to, until it closes; give where the first is bound."""
        self._ports += ports
        host = ports[0].getHost()
        bound = Endpoint.of(host.host, host.port)
        self.tally.where = str(bound)
        return bound

    def rejudge(self) -> None:
        """Judge every connection by the policy in force."""
        for connection in tuple(self._open):
            connection.rejudge()

    def hold(self, connection: Connection) -> None:
        """Remember a connection until it is released: closing the door cuts it."""
        self._open.add(connection)
        if self.is_closing:
            connection.abort()

    def release(self, connection: Connection) -> None:
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
        while self._ports:
            self.shut(self._ports.pop())
        for connection in tuple(self._open):
            connection.abort()
        self.tally.close()
        waits = list(self._closings)
        if self._open:
            self._closed = Deferred()
            waits.append(self._closed)
        return DeferredList(waits, consumeErrors=True).addCallback(lambda _all: None)


class Doorkeeper:
    """The part of the Listener API that is the same for every listener."""

    def __init__(self, wiring: Wiring) -> None:
        self._door = Door(wiring)

    def rejudge(self) -> None:
        """Listener API."""
        self._door.rejudge()

    def stop(self) -> Deferred[None]:
        """Listener API."""
        return self._door.close()

    @property
    def counters(self) -> Mapping[str, int]:
        """Listener API."""
        return self._door.tally.snapshot()

    @property
    def packets(self) -> Mapping[str, int]:
        """Listener API."""
        return {**self._door.packets.counts(), **self._door.streams.counts()}
