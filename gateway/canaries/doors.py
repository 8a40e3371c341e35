"""Canaries as clients of the listeners.  Owns: real sockets to each listener, and what becomes of
what is sent by them.  Knows: Twisted's reactor, the listeners' protocols.
Never: an outcome; what is sent on: a canary's ways out lead nowhere (listeners.nowhere)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol

from gateway.canaries import dialogue
from gateway.canaries.bench import Asked
from gateway.canaries.calls import PATIENCE_S, Call, Waiting
from gateway.canaries.dialogue import Turn
from gateway.canaries.paths import Canary, Sight
from gateway.core import Core
from gateway.errors import CarryError
from gateway.flow.apart import Watch
from gateway.listeners.socks5_wire import write_datagram_header
from gateway.model import Endpoint, Transport

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}
# A datagram waits in a socket of this host until its reactor turns.
_DATAGRAM_S = 5.0
# So long after its client has gone a flow may still end.
_AFTER_S = 1.0
_FIRST_PORT = 40_000


@dataclass(frozen=True, slots=True)
class Front:
    """One listener, as a client knows it."""

    kind: Literal["socks5", "http-connect", "forward"]
    at: Endpoint
    transport: Transport = Transport.TCP
    """Of a forward: what it carries."""
    to: Endpoint | None = None
    """Of a forward: the one place where it leads."""
    users: Mapping[str, str] | None = None


class DoorPath:
    """A path through one listener (Path API)."""

    def __init__(self, reactor: Any, core: Core, front: Front) -> None:
        self._reactor = reactor
        self._core = core
        self._front = front
        self._host = _ANY.get(front.at.host, front.at.host)
        self._near = Endpoint.of(self._host, front.at.port)
        self.name = f"{front.kind} {front.at}"
        self._watched: list[tuple[Endpoint, Watch]] = []
        # A forward has a session for each client's port; this one is nobody else's, for good.
        self._own: Any = None
        self._leaving: list[Any] = []

    def asked(self, canary: Canary, at: int) -> Asked | None:
        """Path API: without the names, which would have to be resolved."""
        key, payload = canary.asked.key, canary.asked.payload
        if not self._carries(key.transport, payload) or self._front.to not in (
            None,
            key.destination,
        ):
            return None
        client = Endpoint.of(self._host, _FIRST_PORT + at)
        return Asked(key._replace(client=client), payload)

    def _carries(self, transport: Transport, payload: bytes | None) -> bool:
        if transport is Transport.UDP and payload is None:
            return False
        if self._front.kind == "socks5":
            return transport.has_ports
        return transport is self._front.transport

    def send(self, flows: Sequence[Asked]) -> Deferred[list[Sight]]:
        """Path API."""
        return Deferred.fromCoroutine(self._send(flows))

    async def _send(self, flows: Sequence[Asked]) -> list[Sight]:
        datagrams = [one for one in flows if one.key.transport is Transport.UDP]
        try:
            seen = dict(zip(map(id, datagrams), await self._datagrams(datagrams), strict=True))
            return [seen.get(id(one)) or await self._stream(one) for one in flows]
        finally:
            # Before a port is another client's: nothing of it is remembered.
            watched, self._watched = self._watched, []
            leaving = self._reactor.callLater(_AFTER_S, self._leave, watched)
            self._leaving = [*(one for one in self._leaving if one.active()), leaving]

    def _watch(self, client: Endpoint) -> Watch:
        watch = self._core.apart.watch(client)
        self._watched.append((client, watch))
        return watch

    def _leave(self, watched: Sequence[tuple[Endpoint, Watch]]) -> None:
        for client, watch in watched:
            for key in watch.keys:
                self._core.table.forget(key)
            if self._own is None:
                self._core.apart.leave(client)

    # Datagrams.

    async def _datagrams(self, flows: Sequence[Asked]) -> list[Sight]:
        if not flows:
            return []
        if self._front.kind != "socks5":
            if self._own is None:
                self._own = self._socket()
            return [await self._datagram(self._own, one, self._near, b"") for one in flows]
        control = Call(self._reactor, self._near)
        try:
            turns = dialogue.socks5(dialogue.ASSOCIATE, Endpoint(bytes(4), 0), self._front.users)
            relay = dialogue.relay_of(await control.hear(turns))
            return [await self._relayed(one, relay) for one in flows]
        except CarryError as error:
            return [_not_in(control, error)] * len(flows)
        finally:
            control.end()

    async def _relayed(self, asked: Asked, relay: Endpoint) -> Sight:
        port = self._socket()
        try:
            head = write_datagram_header(asked.key.destination)
            return await self._datagram(port, asked, relay, head)
        finally:
            await port.stopListening()

    def _socket(self) -> Any:
        sender = DatagramProtocol()
        sender.noisy = False
        try:
            return self._reactor.listenUDP(0, sender, interface=self._host)
        except CannotListenError as error:
            raise CarryError("no socket", str(error.socketError)) from error

    async def _datagram(self, port: Any, asked: Asked, to: Endpoint, head: bytes) -> Sight:
        assert asked.payload is not None, "a datagram"
        watch = self._watch(Endpoint.of(self._host, port.getHost().port))
        seen = Waiting(self._reactor)
        watch.on_seen = seen.end_soon
        port.write(head + asked.payload, (to.host, to.port))
        await seen.within(_DATAGRAM_S)
        for key in watch.keys:
            self._core.table.forget(key)  # the next one of a forward is the first of its flow, too
        return _sight(watch)

    # Streams.

    def _turns(self, to: Endpoint) -> Sequence[Turn]:
        if self._front.kind == "socks5":
            return dialogue.socks5(dialogue.CONNECT, to, self._front.users)
        return dialogue.http_connect(to) if self._front.kind == "http-connect" else ()

    async def _stream(self, asked: Asked) -> Sight:
        call = Call(self._reactor, self._near)
        watch = self._watch(call.client)
        watch.on_seen = lambda: call.over.end_soon() if watch.ways else None
        try:
            await call.hear(self._turns(asked.key.destination))
            if asked.payload is not None:
                call.say_last(asked.payload)
            else:
                watch.on_seen = call.over.end_soon
            if not (watch.ways or (watch.keys and asked.payload is None)):
                await call.over.within(PATIENCE_S)
            return _sight(watch)
        except CarryError as error:
            return _sight(watch) if watch.keys else _not_in(call, error)
        finally:
            call.end()

    def close(self) -> None:
        """Path API."""
        for one in self._leaving:
            if one.active():
                one.cancel()  # the listeners end, and their flows with them
        if self._own is not None:
            self._own.stopListening()


def _not_in(call: Call, error: CarryError) -> Sight:
    """A listener that is full takes nobody for now; one that is not there is broken."""
    return Sight(went_in=False, error=None if call.is_reached else error.what)


def _sight(watch: Watch) -> Sight:
    return Sight(bool(watch.keys), watch.verdict, watch.way)
