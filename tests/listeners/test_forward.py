"""The fixed forwards, and by them the UDP session and its ways, on real loopback sockets."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.error import CannotListenError

from gateway.errors import CarryError
from gateway.listeners.forward import TcpForwardListener, UdpForwardListener
from gateway.listeners.interfaces import UdpFlow
from gateway.listeners.limits import Limits
from gateway.model import Endpoint, FlowKey, Verdict
from tests.listeners.case import ListenerCase
from tests.listeners.fakes import ALLOW, BLOCK, LOOPBACK, REROUTE, WRAP, FakeCarrier
from tests.listeners.peers import UdpPeer

EDGE = Endpoint.parse("192.0.2.1:4001")


class _Refusing(FakeCarrier):
    """An exit that ends each flow before it is there."""

    def open_udp(
        self,
        destination: Endpoint,
        on_datagram: Callable[[bytes], None],
        on_closed: Callable[[str], None],
    ) -> UdpFlow:
        """Carrier API."""
        flow = super().open_udp(destination, on_datagram, on_closed)
        on_closed("no room")
        return flow


class UdpForwardTests(ListenerCase):
    """A UDP port that stands for one destination."""

    def forward(self, limits: Limits | None = None) -> UdpForwardListener:
        """Open a forward to EDGE."""
        self.listener = UdpForwardListener(LOOPBACK, EDGE, self.wiring(limits))
        self.at = self.open(self.listener)
        return self.listener

    async def said(self, client: UdpPeer, datagram: bytes) -> None:
        """Send a datagram and wait until it was judged."""
        before = len(self.gate.judged)
        client.send(datagram, self.at)
        await self.until(lambda: len(self.gate.judged) > before)

    async def test_allowed(self) -> None:
        """What the policy allows goes there and comes back, and both are counted."""
        edge = self.udp_edge(str(EDGE), ALLOW, echo=b"re:")
        client = self.udp_peer()
        self.forward()
        client.send(b"hello", self.at)
        await self.until(lambda: client.got)
        self.assertEqual(client.got, [(b"re:hello", (self.at.host, self.at.port))])
        self.assertEqual(edge.payloads, [b"hello"])
        self.assertEqual(
            self.listener.counters,
            {"up_packets": 1, "up_bytes": 5, "down_packets": 1, "down_bytes": 8},
        )

    async def test_every_datagram_is_judged(self) -> None:
        """Of one client and one destination, only the datagrams that are allowed pass."""
        edge = self.udp_edge(
            str(EDGE), lambda _key, payload, _names: BLOCK if payload == b"ping" else ALLOW
        )
        client = self.udp_peer()
        self.forward()
        for datagram in (b"audio", b"ping", b"video"):
            client.send(datagram, self.at)
        await self.until(lambda: len(edge.got) == 2)
        self.assertEqual(edge.payloads, [b"audio", b"video"])
        self.assertEqual(self.listener.counters["dropped_blocked"], 1)
        key = FlowKey.parse(f"udp {client.at} > {EDGE}")
        self.assertEqual({judged[0] for judged in self.gate.judged}, {key})

    async def timed(self, verdict: Verdict) -> None:
        """Have a ping answered after a quarter of a second."""
        asks, told = (bytes.fromhex(f"{one}00002112a442") + bytes(12) for one in ("0001", "0101"))
        edge, client = self.udp_edge(str(EDGE), verdict), self.udp_peer()
        self.routes.relays["us-edge"] = edge.at
        self.forward()
        client.send(asks, self.at)
        await self.until(lambda: edge.got)
        self.reactor.clock.advance(0.25)
        edge.send(told, edge.senders.pop())
        await self.until(lambda: client.got)

    async def test_round_trips(self) -> None:
        """An answered ping that went directly tells how long it took."""
        await self.timed(ALLOW)
        self.assertEqual(self.round_trips, [(EDGE, 0.25)])

    async def test_relays_round_trips(self) -> None:
        """A relay's answer tells nothing of the destination."""
        await self.timed(REROUTE)
        self.assertEqual(self.round_trips, [])

    async def test_two_clients_two_ports(self) -> None:
        """Each client has an upstream port of its own, and gets its own answers."""
        edge = self.udp_edge(str(EDGE), ALLOW, echo=b"")
        one, two = self.udp_peer(), self.udp_peer()
        self.forward()
        one.send(b"1", self.at)
        two.send(b"2", self.at)
        await self.until(lambda: one.got and two.got)
        self.assertEqual((one.payloads, two.payloads), ([b"1"], [b"2"]))
        self.assertEqual(len(edge.senders), 2)

    async def test_wrapped(self) -> None:
        """A wrapped datagram goes into the tunnel only; answers come back as from the edge."""
        edge = self.udp_edge(str(EDGE), WRAP)
        exit_ = self.routes.carriers["nearest"] = FakeCarrier()
        client = self.udp_peer()
        self.forward()
        client.send(b"ping", self.at)
        await self.until(lambda: EDGE in exit_.flows)
        flow = exit_.flows[EDGE]
        flow.answer(b"pong")
        await self.until(lambda: client.got)
        self.assertEqual((flow.sent, client.payloads, edge.got), ([b"ping"], [b"pong"], []))

    async def test_tunnel_full(self) -> None:
        """A datagram that the tunnel does not take is dropped and counted, not sent directly."""
        edge = self.udp_edge(str(EDGE), WRAP)
        exit_ = self.routes.carriers["nearest"] = FakeCarrier()
        client = self.udp_peer()
        self.forward()
        await self.said(client, b"one")
        exit_.flows[EDGE].has_room = False
        await self.said(client, b"two")
        self.assertEqual((exit_.flows[EDGE].sent, edge.got), ([b"one"], []))
        self.assertEqual(self.listener.counters["dropped_not_sent"], 1)
        key = FlowKey.parse(f"udp {client.at} > {EDGE}")
        self.assertEqual(self.gate.failed, [(key, "too long for the tunnel")])

    async def test_must_not_be_sent(self) -> None:
        """A datagram that the way out refuses is dropped and written down with the reason; the flow
        goes on."""
        edge = self.udp_edge(str(EDGE), WRAP)
        exit_ = self.routes.carriers["nearest"] = FakeCarrier()
        client = self.udp_peer()
        self.forward()
        await self.said(client, b"one")
        exit_.flows[EDGE].refuses = CarryError("scrub", "no pseudonym")
        await self.said(client, b"two")
        exit_.flows[EDGE].refuses = None
        await self.said(client, b"three")
        self.assertEqual((exit_.flows[EDGE].sent, edge.got), ([b"one", b"three"], []))
        key = FlowKey.parse(f"udp {client.at} > {EDGE}")
        self.assertEqual(self.gate.failed, [(key, "scrub: no pseudonym")])

    async def test_exit_refuses(self) -> None:
        """What waited for an exit that then refused is counted and written down, with its word."""
        self.gate.on[EDGE] = WRAP
        exit_ = self.routes.carriers["nearest"] = FakeCarrier()
        client = self.udp_peer()
        self.forward()
        await self.said(client, b"one")
        exit_.flows[EDGE].unsent = 1
        exit_.flows[EDGE].lose("the exit refused with 403")
        key = FlowKey.parse(f"udp {client.at} > {EDGE}")
        self.assertEqual(self.gate.failed, [(key, "exit: the exit refused with 403")])
        self.assertEqual(self.listener.counters["dropped_not_carried"], 1)

    async def test_tunnel_lost(self) -> None:
        """When the tunnel flow ends, the next datagram opens another; while it is down, none."""
        self.udp_edge(str(EDGE), WRAP)
        exit_ = self.routes.carriers["nearest"] = FakeCarrier()
        client = self.udp_peer()
        self.forward()
        await self.said(client, b"one")
        first = exit_.flows.pop(EDGE)
        first.lose("the exit went away")
        first.answer(b"late")
        exit_.is_up = False
        await self.said(client, b"two")
        self.assertEqual(exit_.flows, {})
        exit_.is_up = True
        await self.said(client, b"three")
        self.assertEqual(exit_.flows[EDGE].sent, [b"three"])
        self.assertEqual(client.got, [])
        self.assertEqual(self.listener.counters["dropped_not_carried"], 1)

    async def test_rerouted(self) -> None:
        """A rerouted datagram goes to the relay, whose answers come as from the edge."""
        edge = self.udp_edge(str(EDGE), REROUTE)
        relay = self.udp_peer(echo=b"relay:")
        self.routes.relays["us-edge"] = relay.at
        client = self.udp_peer()
        self.forward()
        client.send(b"media", self.at)
        await self.until(lambda: client.got)
        self.assertEqual(client.payloads, [b"relay:media"])
        self.assertEqual(edge.got, [])

    async def test_rerouted_to_an_exit(self) -> None:
        """A reroute that names an exit goes through that exit."""
        self.udp_edge(str(EDGE), REROUTE)
        exit_ = self.routes.carriers["us-edge"] = FakeCarrier()
        client = self.udp_peer()
        self.forward()
        await self.said(client, b"media")
        self.assertEqual(exit_.flows[EDGE].sent, [b"media"])

    async def test_not_carried(self) -> None:
        """A verdict that cannot be carried out is a block: the edge gets nothing of it."""
        verdicts = iter((WRAP, REROUTE, ALLOW))
        edge = self.udp_edge(str(EDGE), lambda *_what: next(verdicts))
        client = self.udp_peer()
        self.forward()
        for datagram in (b"to wrap", b"to reroute", b"to send"):
            await self.said(client, datagram)
        await self.until(lambda: edge.got)
        self.assertEqual(edge.payloads, [b"to send"])
        self.assertEqual(self.listener.counters["dropped_not_carried"], 2)

    async def test_must_not_be_dialled(self) -> None:
        """An allowed destination that the reach refuses is blocked."""
        self.gate.on[EDGE] = ALLOW
        client = self.udp_peer()
        self.forward()
        await self.said(client, b"hello")
        self.assertEqual(self.listener.counters, {"dropped_not_carried": 1})
        [(key, reason)] = self.gate.failed
        self.assertEqual(key.destination, EDGE)
        self.assertIn("is not to be dialled", reason)

    async def test_no_sockets(self) -> None:
        """An allowed datagram for which the system has no socket is blocked, a later one is not."""
        edge = self.udp_edge(str(EDGE), ALLOW)
        client = self.udp_peer()
        self.forward()
        self.reactor.has_sockets = False
        await self.said(client, b"one")
        self.assertEqual(self.listener.counters, {"dropped_not_carried": 1})
        self.reactor.has_sockets = True
        client.send(b"two", self.at)
        await self.until(lambda: edge.got)
        self.assertEqual(edge.payloads, [b"two"])

    async def test_tunnel_closes_at_once(self) -> None:
        """A tunnel flow that ends while it is opened carries nothing, and is not used again."""
        self.gate.on[EDGE] = WRAP
        exit_ = self.routes.carriers["nearest"] = _Refusing()
        client = self.udp_peer()
        self.forward()
        await self.said(client, b"ping")
        self.assertEqual(exit_.flows[EDGE].sent, [])
        self.assertEqual(self.listener.counters, {"dropped_not_carried": 1})

    async def test_both_families(self) -> None:
        """An edge that is reached by IPv6 has an IPv6 upstream port, and answers."""
        edge = self.udp_peer(echo=b"re:", host="::1")
        self.gate.on[EDGE] = ALLOW
        self.routes.fake_reach.to[EDGE] = edge.at
        client = self.udp_peer()
        self.forward()
        client.send(b"six", self.at)
        await self.until(lambda: client.got)
        self.assertEqual(client.payloads, [b"re:six"])

    async def test_unsolicited(self) -> None:
        """A datagram from an address that nothing was allowed towards does not pass."""
        edge = self.udp_edge(str(EDGE), ALLOW)
        stranger = self.udp_peer()
        client = self.udp_peer()
        self.forward()
        client.send(b"hello", self.at)
        await self.until(lambda: edge.got)
        [upstream] = edge.senders
        stranger.send(b"boo", ("127.0.0.1", upstream[1]))
        await self.until(lambda: "dropped_unsolicited" in self.listener.counters)
        edge.send(b"answer", ("127.0.0.1", upstream[1]))
        await self.until(lambda: client.got)
        self.assertEqual(client.payloads, [b"answer"])

    async def test_newer_policy(self) -> None:
        """Answers on a way that a newer policy no longer takes do not pass; on one it does, do."""
        verdict = ALLOW
        edge = self.udp_edge(str(EDGE), lambda *_what: verdict)
        client = self.udp_peer()
        self.forward()
        client.send(b"hello", self.at)
        await self.until(lambda: edge.got)
        [upstream] = edge.senders
        self.gate.epoch_number, verdict = 2, BLOCK
        await self.said(client, b"hello")
        edge.send(b"late", ("127.0.0.1", upstream[1]))
        await self.until(lambda: "dropped_stale_verdict" in self.listener.counters)
        self.gate.epoch_number, verdict = 3, ALLOW
        await self.said(client, b"hello")
        edge.send(b"in time", ("127.0.0.1", upstream[1]))
        await self.until(lambda: client.got)
        self.assertEqual(client.payloads, [b"in time"])
        self.assertEqual(edge.senders, {upstream})

    async def test_session_limit(self) -> None:
        """As many clients as the limit pass; a datagram of one more is dropped."""
        edge = self.udp_edge(str(EDGE), ALLOW)
        clients = [self.udp_peer() for _ in range(3)]
        self.forward(Limits(udp_sessions=2))
        for number, client in enumerate(clients):
            client.send(b"%d" % number, self.at)
        await self.until(lambda: "dropped_sessions_full" in self.listener.counters)
        await self.until(lambda: len(edge.got) == 2)
        self.assertEqual(sorted(edge.payloads), [b"0", b"1"])

    async def test_client_share(self) -> None:
        """One client takes its share of the sessions, and the rest is for the others."""
        edge = self.udp_edge(str(EDGE), ALLOW)
        greedy = [self.udp_peer() for _ in range(3)]
        other = self.udp_peer(host="127.0.0.2")
        self.forward(Limits(udp_sessions=4, udp_sessions_per_client=2))
        for client in greedy:
            client.send(b"greedy", self.at)
        await self.until(lambda: "dropped_client_share_full" in self.listener.counters)
        other.send(b"other", self.at)
        await self.until(lambda: b"other" in edge.payloads)
        self.assertEqual(sorted(edge.payloads), [b"greedy", b"greedy", b"other"])

    async def test_blocked_takes_no_place(self) -> None:
        """However many source ports send what is blocked, a client that is allowed has a place."""
        edge = self.udp_edge(str(EDGE), lambda key, payload, _: ALLOW if payload == b"y" else BLOCK)
        client = self.udp_peer()
        self.forward(Limits(udp_sessions=1))
        for _ in range(5):
            await self.said(self.udp_peer(), b"n")
        client.send(b"y", self.at)
        await self.until(lambda: edge.got)
        self.assertEqual(self.listener.counters["dropped_blocked"], 5)
        self.assertNotIn("dropped_sessions_full", self.listener.counters)

    async def test_idle(self) -> None:
        """A client that is silent for the idle time is forgotten, its socket closed; then anew."""
        edge = self.udp_edge(str(EDGE), ALLOW)
        client = self.udp_peer()
        self.forward(Limits(udp_sessions=1, udp_idle_timeout_s=120))
        client.send(b"one", self.at)
        await self.until(lambda: edge.got)
        self.reactor.clock.pump([30] * 3)
        self.assertEqual(self.gate.forgotten, [])
        self.reactor.clock.pump([30])
        self.assertEqual(self.gate.forgotten, [FlowKey.parse(f"udp {client.at} > {EDGE}")])
        other = self.udp_peer()
        other.send(b"two", self.at)
        await self.until(lambda: len(edge.got) == 2)

    async def test_speaking_keeps_alive(self) -> None:
        """A client that speaks within the idle time keeps its upstream port."""
        edge = self.udp_edge(str(EDGE), ALLOW)
        client = self.udp_peer()
        self.forward(Limits(udp_idle_timeout_s=120))
        for count in range(1, 4):
            client.send(b"still here", self.at)
            await self.until(lambda count=count: len(edge.got) == count)  # type: ignore[misc]  # loop
            self.reactor.clock.pump([29] * 4)
        self.assertEqual(len(edge.senders), 1)
        self.assertEqual(self.gate.forgotten, [])

    async def test_stop_closes_tunnels(self) -> None:
        """Stopping closes every tunnel flow and forgets every flow."""
        self.gate.on[EDGE] = WRAP
        exit_ = self.routes.carriers["nearest"] = FakeCarrier()
        client = self.udp_peer()
        self.forward()
        await self.said(client, b"ping")
        await self.listener.stop()
        self.assertTrue(exit_.flows[EDGE].is_closed)
        self.assertEqual(len(self.gate.forgotten), 1)

    async def test_too_big_for_the_socket(self) -> None:
        """A datagram that the network does not take is counted, and the next one passes."""
        edge = self.udp_edge("192.0.2.1:4001", ALLOW)
        client = self.udp_peer()
        self.routes.fake_reach.to[EDGE] = Endpoint.of("127.0.0.1", 0)
        self.forward()
        await self.said(client, b"to port 0")
        self.assertEqual(self.listener.counters, {"dropped_not_sent": 1})
        self.assertEqual((edge.got, len(self.gate.failed)), ([], 1))

    async def test_large_datagram(self) -> None:
        """The largest UDP payload passes whole, both ways."""
        self.udp_edge(str(EDGE), ALLOW, echo=b"")
        client = self.udp_peer()
        self.forward()
        client.send(bytes(65507), self.at)
        await self.until(lambda: client.got)
        self.assertEqual(client.payloads, [bytes(65507)])

    def test_address_taken(self) -> None:
        """A port that is taken is said so at once."""
        taken = self.udp_peer()
        listener = UdpForwardListener(taken.at, EDGE, self.wiring())
        self.assertRaises(CannotListenError, listener.listen)


class TcpForwardTests(ListenerCase):
    """A TCP port that stands for one destination."""

    def forward(self, verdict: Verdict) -> Endpoint:
        """Open a forward to EDGE."""
        self.gate.on[EDGE] = verdict
        return self.open(TcpForwardListener(LOOPBACK, EDGE, self.wiring()))

    async def test_allowed(self) -> None:
        """An allowed stream reaches its destination and is answered."""
        edge = self.tcp_edge(str(EDGE), ALLOW)
        client = await self.connect(self.forward(ALLOW))
        client.say(b"hello")
        await self.until(lambda: edge.peers and edge.peers[0].heard == b"hello")
        edge.peers[0].say(b"welcome")
        await self.until(lambda: client.heard == b"welcome")

    async def test_blocked(self) -> None:
        """A blocked one is reset, and its destination sees no connection."""
        edge = self.tcp_edge(str(EDGE), BLOCK)
        client = await self.connect(self.forward(BLOCK))
        await self.until(lambda: client.is_lost)
        self.assertTrue(client.was_reset)
        self.assertEqual(edge.peers, [])
