"""The front door for streams.  Owns: accepting, bounding, from an asked-for destination to a relay.
Knows: Twisted's protocols.  Never: the words of a front door's own protocol; those are subclasses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from gateway.errors import AddressError
from gateway.listeners.answers import Failing
from gateway.listeners.destination import Destination, Name
from gateway.listeners.door import Door, Doorkeeper
from gateway.listeners.interfaces import Wiring
from gateway.listeners.reactor import ClientTransport, Port, SocketHost
from gateway.listeners.stream_flow import StreamFlow
from gateway.listeners.stream_relay import StreamRelay
from gateway.listeners.stream_sides import HalfCloseable, Side, is_clean
from gateway.listeners.tally import Drop
from gateway.listeners.timers import Timers
from gateway.model import Action, Endpoint, FlowKey, Transport, Verdict, canonical


class ClientConnection(HalfCloseable):
    """One client's connection, from accepting it to its relay.

    A subclass reads its handshake from `unread`, calls `connect_to` and is the relay's Answers.
    """

    def __init__(self, door: Door) -> None:
        self.door = door
        self.unread = b""
        """What the client said and the handshake has not used; bounded by the subclass."""
        self.is_done = False
        """Whether the client was told no: what else it says is not read."""
        self._is_asked = False
        self._timers = Timers(door.reactor)
        self._relay: StreamRelay | None = None
        self._resolving: Deferred[tuple[bytes, ...]] | None = None
        self._is_counted = False
        self._is_barred = False

    # What a subclass says.

    def opened(self) -> None:
        """The connection is there."""

    def handshake(self) -> None:
        """`unread` grew."""
        raise NotImplementedError

    def accept(self) -> None:
        """Answers API."""
        raise NotImplementedError

    def refuse(self, verdict: Verdict) -> None:
        """Answers API."""
        raise NotImplementedError

    def fail(self, why: Failing) -> None:
        """Answers API."""
        raise NotImplementedError

    # What Twisted says.

    def connectionMade(self) -> None:
        """IProtocol API."""
        self.client = cast(ClientTransport, self.transport)
        self.side = Side(self.client)
        self.door.hold(self)
        full = self._take_place()
        if full is not None:
            self.cut(full)
            return
        self.door.tally.connection()
        self.client.setTcpNoDelay(True)  # voice signalling is small and must not wait
        self.client.setTcpKeepAlive(True)  # a client that vanished keeps no place
        self._timers.after("handshake", self.door.limits.handshake_timeout_s, self._late)
        self.opened()

    def _take_place(self) -> Drop | None:
        """Take a place among the connections; or say why not."""
        try:
            self.source = read_address(self.client.getPeer())
        except AddressError:
            return Drop.UNROUTABLE
        full = self.door.connections.take(self.source)
        self._is_counted = full is None
        return full

    def dataReceived(self, data: bytes) -> None:
        """IProtocol API."""
        if self._relay is not None:
            self._relay.received(self.side, data)
        elif not self.is_done:
            self.unread += data
            if not self._is_asked:
                self.handshake()

    def readConnectionLost(self) -> None:
        """IHalfCloseableProtocol API."""
        if self._relay is not None:
            self._relay.ended(self.side)
        else:
            self.side.end()
            self.side.finish()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """IProtocol API."""
        self._timers.clear()
        self._stop_resolving()
        if self._is_counted:
            self.door.connections.give(self.source)
        if self._relay is not None:
            self._relay.lost(self.side, is_clean(reason))
        self.side.lose()
        is_blocked = self._is_barred or (self._relay is not None and self._relay.is_blocked)
        self.door.streams.gone(self, is_blocked=is_blocked)
        self.door.release(self)

    @property
    def is_carried(self) -> bool:
        """OpenStream API (streams)."""
        return self._relay is not None and self._relay.is_carried

    @property
    def held_len(self) -> int:
        """OpenStream API (streams)."""
        return 0 if self._relay is None else self._relay.held_len

    # What subclasses and the door use.

    def abort(self) -> None:
        """Connection API (door)."""
        self._stop_resolving()
        if self._relay is not None:
            self._relay.abort()
        self.side.abort()

    def rejudge(self) -> None:
        """Connection API (door)."""
        if self._relay is not None:
            self._relay.rejudge()

    def cut(self, why: Drop) -> None:
        """Count, and cut the connection."""
        self.door.tally.drop(why)
        self.is_done = True
        self.abort()

    def say_last(self, answer: bytes) -> None:
        """Say no, and close."""
        self.is_done = True
        self.client.write(answer)
        self.side.finish()

    def handshake_over(self) -> None:
        """Stop its clock."""
        self._timers.cancel("handshake")

    def connect_to(self, destination: Destination) -> None:
        """Judge what the client asked for, and carry the verdict out."""
        self._is_asked = True
        self.door.streams.came(self)
        self.handshake_over()
        if isinstance(destination, Endpoint):
            self._start((destination,), ())
        elif (verdict := self.door.gate.bars(self.source, destination.host)) is not None:
            # Not even asked for: the question itself would tell the name to the network.
            self._is_barred = True
            self.door.tally.drop(Drop.BLOCKED)
            self.refuse(verdict)
        else:
            self._resolve(destination)

    # From a destination to a relay.

    def _late(self) -> None:
        self.cut(Drop.TIMED_OUT)

    def _resolve(self, name: Name) -> None:
        self.side.pauseProducing()
        resolving = self._resolving = self.door.resolver.resolve(name.host)
        clock = cast(IReactorTime, self.door.reactor)
        resolving.addTimeout(self.door.limits.resolve_timeout_s, clock)
        resolving.addCallbacks(self._resolved, lambda _why: self._unresolved(), (name,))

    def _resolved(self, addresses: tuple[bytes, ...], name: Name) -> None:
        if not addresses:
            self._unresolved()
            return
        self._resolving = None
        self.side.resumeProducing()
        candidates = addresses[: self.door.limits.candidates]
        self._start([Endpoint(canonical(a), name.port) for a in candidates], (name.host,))

    def _unresolved(self) -> None:
        if self._resolving is not None:  # else it was given up
            self._resolving = None
            self.door.tally.drop(Drop.UNRESOLVED)
            self.fail(Failing.UNREACHABLE)

    def _stop_resolving(self) -> None:
        resolving, self._resolving = self._resolving, None
        if resolving is not None:
            resolving.cancel()

    def _start(self, endpoints: Sequence[Endpoint], names: tuple[str, ...]) -> None:
        keys = [FlowKey(Transport.TCP, self.source, endpoint) for endpoint in endpoints]
        key, verdict = self._choose(keys, names)
        first, self.unread = self.unread, b""
        flow = StreamFlow(self.door.gate, key, verdict, names, keys[keys.index(key) + 1 :])
        self._relay = StreamRelay(self.door, self.side, self, flow)
        self._relay.start(first)

    def _choose(self, keys: Sequence[FlowKey], names: tuple[str, ...]) -> tuple[FlowKey, Verdict]:
        """Take the first address that is not blocked; else one that may yet be; else a block."""
        judged: list[tuple[FlowKey, Verdict]] = []
        for key in keys:
            judged.append((key, self.door.gate.judge(key, None, names)))
            if judged[-1][1].action is not Action.BLOCK:
                break
        chosen = min(judged, key=lambda each: _rank(each[1]))
        for key, _verdict in judged:
            if key != chosen[0]:
                self.door.gate.forget(key)
        return chosen


def read_address(socket: SocketHost) -> Endpoint:
    """Read the address of a socket's end.

    Raises:  AddressError: it has a zone (fe80::1%eth0): a link's own address, of no use beyond it.
    """
    return Endpoint.of(socket.host, socket.port)


def _rank(verdict: Verdict) -> int:
    if verdict.action is not Action.BLOCK:
        return 0
    return 2 if verdict.settled else 1


class StreamListener(Doorkeeper):
    """A TCP port and the door behind it."""

    def __init__(
        self, address: Endpoint, wiring: Wiring, build: Callable[[Door], ClientConnection]
    ) -> None:
        super().__init__(wiring)
        self._address = address
        self._build = build

    def listen(self) -> Endpoint:
        """Listener API."""
        return self._door.open(*self.ports(Accepting(self._door, self._build)))

    def ports(self, factory: Accepting) -> Sequence[Port]:
        """Open the ports, the first of which is where we say that we listen.

        Raises:  CannotListenError: one that is needed cannot be opened.
        """
        port, interface = self._address.port, self._address.host
        return (self._door.reactor.listenTCP(port, factory, interface=interface),)


class Accepting(Factory[ClientConnection]):
    """Makes each client's connection."""

    noisy = False

    def __init__(self, door: Door, build: Callable[[Door], ClientConnection]) -> None:
        self._door = door
        self._build = build

    def buildProtocol(self, addr: object) -> ClientConnection:
        """IProtocolFactory API."""
        return self._build(self._door)
