"""The stand-in edge.  Owns: loopback sockets that answer for a capture's destinations.
Knows: the capture's conversations.  Never: dialling anything."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import Any

from twisted.internet import error
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import (
    IListeningPort,
    ITCPTransport,
    IUDPTransport,
)
from twisted.internet.protocol import DatagramProtocol, Protocol, ServerFactory

from gateway.demo.conversation import Conversation
from gateway.errors import CarryError
from gateway.model import Endpoint, Transport

_LOOPBACK = "127.0.0.1"
# Tries to find a port number that is free for UDP and TCP both.
_TRIES = 50


class StandIn:
    """Stands in for every destination of a capture, each at a loopback port of its own.

    It is also the demo's only `Reach`: what is neither loopback nor a destination of the capture
    is not dialled, so nothing leaves loopback, whatever machine this runs on.
    """

    def __init__(self, conversations: Iterable[Conversation]) -> None:
        self._doors: dict[Endpoint, _Door] = {}
        for conversation in conversations:
            destination = conversation.key.destination
            self._doors.setdefault(destination, _Door(destination)).learn(conversation)
        self._ports: list[IListeningPort] = []

    def listen(self, reactor: Any) -> None:
        """Open every door.

        Raises:  CarryError: no free ports.
        """
        for door in self._doors.values():
            self._ports += door.listen(reactor)

    def address(self, destination: Endpoint) -> Endpoint:
        """Give the loopback endpoint that stands in for a destination.

        Raises:  CarryError: no door stands in for it.
        """
        if destination.host.startswith("127."):
            return destination
        door = self._doors.get(destination)
        if door is None or not door.port:
            raise CarryError(str(destination), "nobody stands in for it in this demo")
        return Endpoint.of(_LOOPBACK, door.port)

    def arrived(self) -> Counter[Endpoint]:
        """Count the datagrams and stream connections with content that arrived, by destination."""
        return Counter({to: door.count for to, door in self._doors.items() if door.count})

    def octets(self) -> Iterable[bytes]:
        """Give everything that arrived."""
        for door in self._doors.values():
            yield from door.octets

    def stop(self) -> Deferred[list[tuple[bool, object]]]:
        """Close every door."""
        return DeferredList([maybeDeferred(port.stopListening) for port in self._ports])


class _Door:
    """One destination's sockets and answers."""

    def __init__(self, destination: Endpoint) -> None:
        self.destination = destination
        self.port = 0
        self.count = 0
        self.octets: list[bytes] = []
        self.answers: dict[bytes, deque[tuple[bytes, ...]]] = {}
        self.streams: list[list[tuple[bytes, tuple[bytes, ...]]]] = []

    def learn(self, conversation: Conversation) -> None:
        pairs = conversation.answers()
        if conversation.key.transport is Transport.TCP:
            self.streams.append(pairs)
            return
        for asked, answered in pairs:
            self.answers.setdefault(asked, deque()).append(answered)

    def listen(self, reactor: Any) -> tuple[IListeningPort, IListeningPort]:
        factory = _StreamFactory(self)
        for _ in range(_TRIES):
            stream_port = reactor.listenTCP(0, factory, interface=_LOOPBACK)
            self.port = stream_port.getHost().port
            try:
                datagram_port = reactor.listenUDP(self.port, _Datagrams(self), _LOOPBACK, 65_535)
                return stream_port, datagram_port
            except error.CannotListenError:
                stream_port.stopListening()
        raise CarryError(str(self.destination), "no loopback port is free for UDP and TCP both")


class _Datagrams(DatagramProtocol):
    """Answers datagrams as the captured destination did."""

    transport: IUDPTransport

    def __init__(self, door: _Door) -> None:
        self.door = door

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """DatagramProtocol API."""
        self.door.count += 1
        self.door.octets.append(datagram)
        waiting = self.door.answers.get(datagram)
        if waiting:
            # The same payload may be sent often; its last answer serves all that come after.
            answered = waiting.popleft() if len(waiting) > 1 else waiting[0]
            for payload in answered:
                self.transport.write(payload, addr)


class _StreamFactory(ServerFactory["_Stream"]):
    """Answers every stream of one door."""

    noisy = False

    def __init__(self, door: _Door) -> None:
        self.door = door

    def buildProtocol(self, addr: object) -> _Stream:
        """ServerFactory API."""
        return _Stream(self.door)


class _Stream(Protocol):
    """Answers a stream as the captured destination did."""

    transport: ITCPTransport

    def __init__(self, door: _Door) -> None:
        self.door = door
        self.received = b""
        self.pairs: list[tuple[bytes, tuple[bytes, ...]]] | None = None

    def dataReceived(self, data: bytes) -> None:
        """Protocol API."""
        if not self.received:
            self.door.count += 1
        self.door.octets.append(data)
        self.received += data
        if self.pairs is None:
            self.pairs = self._script()
        while self.pairs and self.received.startswith(self.pairs[0][0]):
            asked, answered = self.pairs.pop(0)
            self.received = self.received[len(asked) :]
            for payload in answered:
                self.transport.write(payload)

    def _script(self) -> list[tuple[bytes, tuple[bytes, ...]]] | None:
        for pairs in self.door.streams:
            if pairs and self.received.startswith(pairs[0][0]):
                return list(pairs)
        return None
