"""Stand-ins for what a listener is plugged into.  Owns: a gate with a table, exits, routes, names.
Knows: gateway.listeners.interfaces.  Never: anything off loopback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from twisted.internet import reactor as _real
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint, ITransport
from twisted.internet.protocol import Factory

from gateway.errors import CarryError
from gateway.listeners.interfaces import Carrier, UdpFlow
from gateway.listeners.stream_sides import HalfCloseable
from gateway.model import Action, Endpoint, FlowKey, Verdict
from tests.listeners.peers import FakeTransport

LOOPBACK = Endpoint.of("127.0.0.1", 0)

ALLOW = Verdict(Action.ALLOW, "yes", "A test allows it.")
BLOCK = Verdict(Action.BLOCK, "no", "A test forbids it.")
WRAP = Verdict(Action.WRAP, "wrapped", "A test wraps it.", target="nearest")
REROUTE = Verdict(Action.REROUTE, "rerouted", "A test moves it.", target="us-edge")

Judging = Callable[[FlowKey, bytes | None, tuple[str, ...]], Verdict]


def unsettled(verdict: Verdict) -> Verdict:
    """Make a verdict that waits for the first bytes."""
    return Verdict(
        verdict.action, verdict.rule, verdict.reason, target=verdict.target, settled=False
    )


def by_content(before: Verdict, after: Verdict) -> Judging:
    """Judge by the address first, unsettled, and then by the bytes."""
    return lambda _key, payload, _names: unsettled(before) if payload is None else after


class FakeGate:
    """Answers from a table by destination; what is not in it is blocked."""

    def __init__(self) -> None:
        self.on: dict[Endpoint, Verdict | Judging] = {}
        self.enough_len = 0
        """How many first bytes recognise a stream."""
        self.judged: list[tuple[FlowKey, bytes | None, tuple[str, ...]]] = []
        self.forgotten: list[FlowKey] = []
        self.epoch_number = 1
        self.barred: dict[str, Verdict] = {}
        self.failed: list[tuple[FlowKey, str]] = []
        self.looked_len = 0
        """Octets that were looked at by wants_more."""

    def judge(self, key: FlowKey, payload: bytes | None, names: tuple[str, ...] = ()) -> Verdict:
        """Gate API."""
        self.judged.append((key, payload, names))
        answer = self.on.get(key.destination, BLOCK)
        verdict = answer if isinstance(answer, Verdict) else answer(key, payload, names)
        return replace(verdict, epoch=self.epoch_number)

    def bars(self, client: Endpoint, name: str) -> Verdict | None:
        """Gate API."""
        return self.barred.get(name)

    def not_carried(self, key: FlowKey, reason: str) -> None:
        """Gate API."""
        self.failed.append((key, reason))

    def wants_more(self, first: bytes) -> bool:
        """Gate API."""
        self.looked_len += len(first)
        return len(first) < self.enough_len

    def forget(self, key: FlowKey) -> None:
        """Gate API."""
        self.forgotten.append(key)


class FakeFlow:
    """A tunnel flow that keeps what it is given."""

    def __init__(self, on_datagram: Callable[[bytes], None], on_closed: Callable[[str], None]):
        self.answer = on_datagram
        self.lose = on_closed
        self.sent: list[bytes] = []
        self.is_closed = False
        self.has_room = True
        self.refuses: CarryError | None = None
        self.unsent = 0

    def send(self, payload: bytes) -> bool:
        """UdpFlow API."""
        if self.refuses is not None:
            raise self.refuses
        if self.has_room:
            self.sent.append(payload)
        return self.has_room

    def close(self) -> None:
        """UdpFlow API."""
        self.is_closed = True


class FakeCarrier:
    """An exit: UDP ends here, streams go to a given loopback endpoint."""

    def __init__(self, streams_to: Endpoint | None = None) -> None:
        self.is_up = True
        self.flows: dict[Endpoint, FakeFlow] = {}
        self.streams: list[Endpoint] = []
        self._streams_to = streams_to

    def open_udp(
        self,
        destination: Endpoint,
        on_datagram: Callable[[bytes], None],
        on_closed: Callable[[str], None],
    ) -> UdpFlow:
        """Carrier API."""
        if not self.is_up:
            raise CarryError("exit", "down")
        self.flows[destination] = flow = FakeFlow(on_datagram, on_closed)
        return flow

    def stream_endpoint(self, destination: Endpoint) -> IStreamClientEndpoint:
        """Carrier API."""
        if not self.is_up or self._streams_to is None:
            raise CarryError("exit", "down")
        self.streams.append(destination)
        to = self._streams_to
        return cast(IStreamClientEndpoint, TCP4ClientEndpoint(_real, to.host, to.port))


class SlowCarrier(FakeCarrier):
    """An exit whose streams connect when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.dialled: list[Deferred[object]] = []
        self.given_up = 0

    def stream_endpoint(self, destination: Endpoint) -> IStreamClientEndpoint:
        """Carrier API."""
        return cast(IStreamClientEndpoint, self)

    def connect(self, factory: Factory[HalfCloseable]) -> Deferred[object]:
        """IStreamClientEndpoint API."""

        def cancel(_dialling: Deferred[object]) -> None:
            self.given_up += 1

        self.dialled.append(Deferred(cancel))
        self.factory = factory
        return self.dialled[-1]

    def arrive(self) -> FakeTransport:
        """Connect the last stream."""
        transport = FakeTransport()
        protocol = self.factory.buildProtocol(None)
        assert protocol is not None
        transport.lose = protocol.connectionLost
        protocol.makeConnection(cast(ITransport, transport))
        return transport


class FakeReach:
    """Maps documentation addresses to loopback; nothing else may be dialled."""

    def __init__(self) -> None:
        self.to: dict[Endpoint, Endpoint] = {}

    def address(self, destination: Endpoint) -> Endpoint:
        """Reach API."""
        found = self.to.get(destination, destination)
        if not found.host.startswith("127.") and found.host != "::1":
            raise CarryError("direct", f"{destination} is not to be dialled in a test")
        return found


class FakeRoutes:
    """Ways out by name."""

    def __init__(self) -> None:
        self.fake_reach = FakeReach()
        self.carriers: dict[str | None, Carrier] = {}
        self.relays: dict[str, Endpoint] = {}

    @property
    def reach(self) -> FakeReach:
        """Routes API."""
        return self.fake_reach

    def carrier(self, target: str | None) -> Carrier:
        """Routes API."""
        if target not in self.carriers:
            raise CarryError(str(target), "no such exit")
        return self.carriers[target]

    def rerouted(self, target: str) -> Carrier:
        """Routes API."""
        return self.carrier(target)

    def scrubbed(self, target: str, client: Endpoint) -> Carrier:
        """Routes API."""
        return self.carrier(f"{target} for {client}")

    def relay(self, target: str) -> Endpoint:
        """Routes API."""
        if target not in self.relays:
            raise CarryError(target, "no such relay")
        return self.relays[target]


class FakeResolver:
    """A table of names; a Deferred in it is an answer that is still to come."""

    def __init__(self) -> None:
        self.names: dict[str, tuple[bytes, ...] | Deferred[tuple[bytes, ...]]] = {}
        self.asked: list[str] = []

    def resolve(self, name: str) -> Deferred[tuple[bytes, ...]]:
        """Resolver API."""
        self.asked.append(name)
        found = self.names.get(name)
        if found is None:
            return fail(CarryError(name, "no such name"))
        return found if isinstance(found, Deferred) else succeed(found)
