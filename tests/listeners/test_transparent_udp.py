"""Router mode's datagrams that the kernel cannot carry, on real loopback sockets."""

from __future__ import annotations

from gateway.errors import CarryError
from gateway.listeners.limits import Limits
from gateway.listeners.transparent_udp import TransparentUdp
from gateway.model import Endpoint, FlowKey, Transport, Verdict
from tests.listeners.case import ListenerCase
from tests.listeners.fakes import ALLOW, BLOCK, REROUTE, WRAP, FakeCarrier, Judging
from tests.listeners.peers import UdpPeer

CLIENT = Endpoint.parse("192.0.2.7:5000")
EDGE = Endpoint.parse("198.51.100.1:8000")
SIX = Endpoint.parse("[2001:db8::1]:8000")
KEY = FlowKey(Transport.UDP, CLIENT, EDGE)


class TransparentUdpTests(ListenerCase):
    """Datagrams that come with their verdict."""

    def begin(self, limits: Limits | None = None) -> TransparentUdp:
        """Make one whose exit is a fake, and that answers into a list."""
        self.exit = FakeCarrier()
        self.routes.carriers["nearest"] = self.exit
        self.replies: list[tuple[Endpoint, Endpoint, bytes]] = []
        self.takes = True
        self.refusal: CarryError | None = None
        self.listener = TransparentUdp(self.wiring(limits), self._reply)
        self.addCleanup(lambda: self.assertEqual(self.reactor.clock.getDelayedCalls(), []))
        self.addCleanup(self.listener.stop)
        return self.listener

    def _reply(self, asked: Endpoint, client: Endpoint, payload: bytes) -> bool:
        if self.refusal is not None:
            raise self.refusal
        self.replies.append((asked, client, payload))
        return self.takes

    def edge(self, verdict: Verdict | Judging = ALLOW) -> UdpPeer:
        """Open an edge that answers."""
        return self.udp_edge(str(EDGE), verdict, echo=b"re:")

    def carry(self, verdict: Verdict, payload: bytes = b"ping", key: FlowKey = KEY) -> None:
        """Hand over a datagram as the judge does: judged by the policy in force."""
        self.gate.on[key.destination] = verdict
        judged = self.gate.judge(key, payload)
        self.gate.judged.clear()
        self.listener.carry(key, payload, judged)

    def adopt(self, verdict: Verdict | Judging) -> None:
        """Put another policy into force."""
        self.gate.on[EDGE] = verdict
        self.gate.epoch_number += 1
        self.listener.rejudge()

    def test_wrap(self) -> None:
        """A wrapped datagram goes to the exit, is not judged again, and its answer comes back."""
        self.begin()
        self.carry(WRAP)
        flow = self.exit.flows[EDGE]
        self.assertEqual((flow.sent, self.gate.judged), ([b"ping"], []))
        flow.answer(b"pong")
        self.assertEqual(self.replies, [(EDGE, CLIENT, b"pong")])
        counters = self.listener.counters
        self.assertEqual((counters["up_bytes"], counters["down_packets"]), (4, 1))

    def test_wrap_by_ipv6(self) -> None:
        """An IPv6 flow is carried and answered like any other."""
        self.begin()
        client = Endpoint.parse("[2001:db8::7]:5000")
        self.carry(WRAP, key=FlowKey(Transport.UDP, client, SIX))
        self.exit.flows[SIX].answer(b"pong")
        self.assertEqual(self.replies, [(SIX, client, b"pong")])

    async def test_allow(self) -> None:
        """A datagram that its own content lets go directly does, and is answered as from there."""
        self.begin()
        edge = self.edge()
        self.carry(ALLOW)
        await self.until(lambda: self.replies)
        self.assertEqual(edge.payloads, [b"ping"])
        self.assertEqual(self.replies, [(EDGE, CLIENT, b"re:ping")])

    async def test_reroute(self) -> None:
        """One that is rerouted goes to the relay, and is answered as from where it was sent to."""
        self.begin()
        relay = self.udp_peer(echo=b"re:")
        self.routes.relays["us-edge"] = relay.at
        self.carry(REROUTE)
        await self.until(lambda: self.replies)
        self.assertEqual(self.replies, [(EDGE, CLIENT, b"re:ping")])

    def test_block(self) -> None:
        """One whose verdict is a block goes nowhere, whoever handed it over."""
        self.begin()
        self.carry(BLOCK)
        self.assertEqual(self.exit.flows, {})
        self.assertEqual(self.listener.counters["dropped_not_carried"], 1)

    def test_exit_down(self) -> None:
        """While the exit is down it goes nowhere, is counted and written down."""
        self.begin()
        self.exit.is_up = False
        self.carry(WRAP)
        self.assertEqual(self.listener.counters["dropped_not_carried"], 1)
        self.assertEqual([key for key, _reason in self.gate.failed], [KEY])

    def test_older_verdict(self) -> None:
        """A verdict of another policy than the one in force does not do."""
        self.begin()
        self.gate.on[EDGE] = WRAP
        verdict = self.gate.judge(KEY, b"ping")
        self.gate.epoch_number += 1
        self.listener.carry(KEY, b"ping", verdict)
        self.assertEqual(self.exit.flows, {})
        self.assertEqual(self.listener.counters["dropped_stale_verdict"], 1)

    def test_reply_not_sent(self) -> None:
        """An answer that the system does not take is counted."""
        self.begin()
        self.carry(WRAP)
        self.takes = False
        self.exit.flows[EDGE].answer(b"pong")
        self.assertEqual(self.listener.counters["dropped_not_sent"], 1)
        self.assertNotIn("down_packets", self.listener.counters)

    def test_no_reply_possible(self) -> None:
        """An answer for which no socket can be opened is counted and written down."""
        self.begin()
        self.carry(WRAP)
        self.refusal = CarryError(str(EDGE), "cannot be answered for")
        self.exit.flows[EDGE].answer(b"pong")
        self.assertEqual(self.listener.counters["dropped_not_carried"], 1)
        self.assertEqual([key for key, _reason in self.gate.failed], [KEY])

    def test_reload_same_way(self) -> None:
        """A reload that leaves the way confirms it by the datagram that opened it."""
        self.begin()
        self.carry(WRAP)
        self.adopt(WRAP)
        self.assertEqual([payload for _key, payload, _names in self.gate.judged], [b"ping"])
        self.exit.flows[EDGE].answer(b"pong")
        self.assertEqual(self.replies, [(EDGE, CLIENT, b"pong")])

    def test_reload_block(self) -> None:
        """A reload that forbids it closes the flow; a late answer does not reach the client."""
        self.begin()
        self.carry(WRAP)
        flow = self.exit.flows[EDGE]
        self.adopt(BLOCK)
        flow.answer(b"late")
        self.assertEqual((flow.is_closed, self.replies), (True, []))

    def test_unconfirmed_answer(self) -> None:
        """An answer on a way that the newest policy has not confirmed is dropped."""
        self.begin()
        self.carry(WRAP)
        self.gate.epoch_number += 1
        self.exit.flows[EDGE].answer(b"late")
        self.assertEqual(self.replies, [])
        self.assertEqual(self.listener.counters["dropped_stale_verdict"], 1)

    def test_idle(self) -> None:
        """A client that sends no more is forgotten, and the flow is closed."""
        self.begin(Limits(udp_idle_timeout_s=120))
        self.carry(WRAP)
        self.reactor.clock.pump([30] * 5)
        self.assertTrue(self.exit.flows[EDGE].is_closed)
        self.assertEqual(self.gate.forgotten, [KEY])

    def test_full(self) -> None:
        """A client beyond the bound is not carried; the others are."""
        self.begin(Limits(udp_sessions=1))
        self.carry(WRAP)
        other = FlowKey(Transport.UDP, Endpoint.parse("192.0.2.8:5000"), EDGE)
        self.carry(WRAP, b"other", other)
        self.carry(WRAP, b"again")
        self.assertEqual(self.exit.flows[EDGE].sent, [b"ping", b"again"])
        self.assertEqual(self.listener.counters["dropped_sessions_full"], 1)

    async def test_stop(self) -> None:
        """Once it is stopped flows are closed, and nothing is carried any more."""
        self.begin()
        self.carry(WRAP)
        await self.listener.stop()
        self.assertTrue(self.exit.flows.pop(EDGE).is_closed)
        self.carry(WRAP)
        self.assertEqual(self.exit.flows, {})
        self.assertEqual(self.listener.counters["dropped_not_carried"], 1)
