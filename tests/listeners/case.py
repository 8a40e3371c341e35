"""The case that listeners' tests are made of.  Owns: a reactor whose time is a Clock, ListenerCase.
Knows: trial.  Never: anything off loopback."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet import reactor as _real
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from gateway.listeners.interfaces import Listener, Resolver, Routes, Wiring
from gateway.listeners.limits import Limits
from gateway.listeners.reactor import (
    DelayedCall,
    Port,
    StreamEndpoint,
)
from gateway.model import Endpoint, Verdict
from tests.listeners.fakes import FakeGate, FakeResolver, FakeRoutes, Judging
from tests.listeners.peers import REAL, TcpEdge, TcpPeer, UdpPeer


class ClockedReactor:
    """Real sockets, a Clock's time."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.listenTCP = REAL.listenTCP
        self.adoptStreamPort = REAL.adoptStreamPort
        self.has_sockets = True
        self.connectTCP: object = getattr(_real, "connectTCP")  # noqa: B009  # mypy: zope has no self

    def listenUDP(
        self,
        port: int,
        protocol: DatagramProtocol,
        interface: str = "",
        maxPacketSize: int = 8192,
    ) -> Port:
        """IReactorUDP API."""
        if not self.has_sockets:
            raise CannotListenError(interface, port, OSError("too many open files"))
        return REAL.listenUDP(port, protocol, interface=interface, maxPacketSize=maxPacketSize)

    def seconds(self) -> float:
        """IReactorTime API."""
        return self.clock.seconds()

    def callLater(
        self, delay: float, callable: Callable[..., object], /, *args: object
    ) -> DelayedCall:
        """IReactorTime API."""
        return cast(DelayedCall, self.clock.callLater(delay, callable, *args))


class ListenerCase(TestCase):
    """A test with a gate, routes and a resolver around a listener on loopback."""

    timeout = 15

    def setUp(self) -> None:
        """Make the world; its clock stands still until a test moves it."""
        self.gate = FakeGate()
        self.routes = FakeRoutes()
        self.resolver = FakeResolver()
        self.reactor = ClockedReactor()
        self.limits = Limits()
        self.round_trips: list[tuple[Endpoint, float]] = []

    def wiring(self, limits: Limits | None = None) -> Wiring:
        """Give what a listener takes."""
        return Wiring(
            reactor=self.reactor,
            gate=self.gate,
            routes=cast(Routes, self.routes),
            resolver=cast(Resolver, self.resolver),
            limits=limits or self.limits,
            on_round_trip=lambda to, took_s: self.round_trips.append((to, took_s)),
        )

    def open(self, listener: Listener) -> Endpoint:
        """Open a listener until the test ends; every timer must then be gone too."""
        at = listener.listen()
        self.addCleanup(lambda: self.assertEqual(self.reactor.clock.getDelayedCalls(), []))
        # Before and after: nothing is lost on the way, and nothing is held when all is closed.
        self.addCleanup(self.check_balance, listener, is_closed=True)
        self.addCleanup(listener.stop)
        self.addCleanup(self.check_balance, listener, is_closed=False)
        return at

    def check_balance(self, listener: Listener, *, is_closed: bool) -> None:
        """Assert that each packet, stream and octet that came in is somewhere, once."""
        counts = listener.packets
        for kind in ("packets", "streams", "octets"):
            ways = {name: n for name, n in counts.items() if name.startswith(f"{kind}: ")}
            came = ways.pop(f"{kind}: in", 0)
            self.assertEqual(came, sum(ways.values()), counts)
            if is_closed:
                self.assertEqual(ways.get(f"{kind}: held", 0), 0, counts)

    def udp_peer(self, echo: bytes | None = None, host: str = "127.0.0.1") -> UdpPeer:
        """Open a UDP socket until the test ends."""
        peer = UdpPeer(echo).bind(host)
        self.addCleanup(peer.port.stopListening)
        return peer

    def udp_edge(self, name: str, verdict: Verdict | Judging, echo: bytes | None = None) -> UdpPeer:
        """Open an edge that is reached as the documentation endpoint `name`."""
        edge = self.udp_peer(echo)
        self.routes.fake_reach.to[Endpoint.parse(name)] = edge.at
        self.gate.on[Endpoint.parse(name)] = verdict
        return edge

    def tcp_edge(self, name: str, verdict: Verdict | Judging, greeting: bytes = b"") -> TcpEdge:
        """Open a TCP edge that is reached as the documentation endpoint `name`."""
        edge = TcpEdge(greeting).bind()
        self.addCleanup(self.close_edge, edge)
        self.routes.fake_reach.to[Endpoint.parse(name)] = edge.at
        self.gate.on[Endpoint.parse(name)] = verdict
        return edge

    async def close_edge(self, edge: TcpEdge) -> None:
        """Close a TCP edge and its connections."""
        stopping = edge.port.stopListening()
        if stopping is not None:
            await stopping
        for peer in edge.peers:
            peer.close()
        await self.until(lambda: all(peer.is_lost for peer in edge.peers if peer.is_made))

    async def connect(self, to: Endpoint) -> TcpPeer:
        """Connect a client until the test ends."""
        peer = TcpPeer()
        endpoint = cast(StreamEndpoint, TCP4ClientEndpoint(_real, to.host, to.port))
        await endpoint.connect(_One(peer))

        async def close() -> None:
            peer.close()
            await self.until(lambda: peer.is_lost)

        self.addCleanup(close)
        return peer

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the reactor turn until it is so; trial's timeout ends a wait in vain."""
        while not condition():
            await self.turn()

    async def turn(self, times: int = 1) -> None:
        """Let the reactor look at its sockets."""
        for _ in range(times):
            await deferLater(cast(IReactorTime, _real), 0.001, lambda: None)


class _One(Factory[TcpPeer]):
    noisy = False

    def __init__(self, peer: TcpPeer) -> None:
        self._peer = peer

    def buildProtocol(self, addr: object) -> TcpPeer:
        """IProtocolFactory API."""
        return self._peer
