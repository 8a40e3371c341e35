"""The states of a relayed stream, on real loopback sockets behind the TCP forward."""

from __future__ import annotations

from dataclasses import replace

from gateway.listeners.forward import TcpForwardListener
from gateway.listeners.limits import Limits
from gateway.model import Endpoint, Verdict
from tests.listeners.fakes import (
    ALLOW,
    BLOCK,
    LOOPBACK,
    REROUTE,
    WRAP,
    FakeCarrier,
    Judging,
    by_content,
    unsettled,
)
from tests.listeners.peers import TcpEdge, TcpPeer
from tests.listeners.stream_case import EDGE, StreamCase


class HoldingTests(StreamCase):
    """A stream whose address does not decide."""

    async def test_held_until_judged(self) -> None:
        """The destination sees not even a connection before the first bytes are judged."""
        self.gate.enough_len = 6
        client, edge = await self.begin(by_content(ALLOW, ALLOW))
        client.say(b"hel")
        await self.until(lambda: self.gate.judged)
        await self.turn(20)
        self.assertEqual(edge.peers, [])
        client.say(b"lo!")
        await self.heard(edge.peers, b"hello!")
        self.assertEqual([payload for _key, payload, _names in self.gate.judged], [None, b"hello!"])

    async def test_blocked_by_content(self) -> None:
        """First bytes that are forbidden cut the stream; the destination sees no connection."""
        client, edge = await self.begin(by_content(ALLOW, BLOCK))
        client.say(b"ping")
        await self.until(lambda: client.is_lost)
        self.assertTrue(client.was_reset)
        self.assertEqual((edge.peers, self.listener.counters["dropped_blocked"]), ([], 1))

    async def test_allowed_by_content(self) -> None:
        """First bytes may also allow what the address alone would not."""
        client, edge = await self.begin(by_content(BLOCK, ALLOW))
        client.say(b"media")
        await self.heard(edge.peers, b"media")

    async def test_way_by_content(self) -> None:
        """The way is the one that the content asks for."""
        client, edge = await self.begin(by_content(ALLOW, REROUTE))
        relay = self.tcp_edge("192.0.2.9:1", BLOCK)
        self.routes.relays["us-edge"] = relay.at
        client.say(b"media")
        await self.heard(relay.peers, b"media")
        self.assertEqual(edge.peers, [])

    async def test_not_carried(self) -> None:
        """Content whose way is not there cuts the stream, and is not sent directly."""
        client, edge = await self.begin(by_content(ALLOW, WRAP))
        client.say(b"media")
        await self.until(lambda: client.is_lost)
        self.assertEqual((edge.peers, self.listener.counters["dropped_not_carried"]), ([], 1))

    async def test_first_bytes_limit(self) -> None:
        """A stream that is not recognised within the limit is judged by that much, and no more."""
        self.gate.enough_len = 10**6
        client, edge = await self.begin(by_content(ALLOW, ALLOW), Limits(first_bytes_len=1000))
        client.say(bytes(999))
        await self.turn(20)
        self.assertEqual(edge.peers, [])
        client.say(bytes(2))
        await self.heard(edge.peers, bytes(1001))
        self.assertEqual(self.gate.judged[-1][1], bytes(1000))

    async def test_first_bytes_late(self) -> None:
        """First bytes that do not become enough in time cut the stream; they are never judged."""
        self.gate.enough_len = 10
        client, edge = await self.begin(by_content(BLOCK, ALLOW), Limits(first_bytes_timeout_s=10))
        client.say(b"slow")
        await self.turn(20)
        self.reactor.clock.advance(9.9)
        self.assertFalse(client.is_lost)
        self.reactor.clock.advance(0.2)
        await self.until(lambda: client.is_lost)
        self.assertEqual((edge.peers, len(self.gate.judged)), ([], 1))
        self.assertEqual(self.listener.counters["dropped_incomplete"], 1)

    async def test_silent_where_blocked(self) -> None:
        """A client that is silent where the address says block is cut when its time is over."""
        client, edge = await self.begin(unsettled(BLOCK), Limits(first_bytes_timeout_s=10))
        await self.until(lambda: self.gate.judged)
        self.reactor.clock.advance(9.9)
        await self.turn(10)
        self.assertFalse(client.is_lost)
        self.reactor.clock.advance(0.2)
        await self.until(lambda: client.is_lost)
        self.assertEqual(edge.peers, [])

    async def test_client_says_all_at_once(self) -> None:
        """A client that speaks too little and ends is judged by that, and passed on whole."""
        self.gate.enough_len = 10
        client, edge = await self.begin(by_content(BLOCK, ALLOW))
        client.say(b"all")
        client.end()
        peer = await self.until_ended(edge)
        self.assertEqual(peer.heard, b"all")

    async def until_ended(self, edge: TcpEdge) -> TcpPeer:
        """Wait until the edge heard the client's end."""
        await self.until(lambda: edge.peers and edge.peers[0].has_ended)
        return edge.peers[0]

    async def test_client_says_nothing_and_ends(self) -> None:
        """A client that only listens gets what the server says, if the address allows it."""
        client, edge = await self.begin(unsettled(ALLOW), greeting=b"220 ready")
        client.end()
        await self.until_ended(edge)
        await self.heard([client], b"220 ready")

    async def test_client_says_nothing_where_blocked(self) -> None:
        """A client that ends without a word where the address says block is cut."""
        client, edge = await self.begin(unsettled(BLOCK))
        client.end()
        await self.until(lambda: client.is_lost)
        self.assertEqual(edge.peers, [])

    async def test_client_leaves(self) -> None:
        """A client that leaves while its bytes are held is forgotten."""
        self.gate.enough_len = 10
        client, edge = await self.begin(by_content(ALLOW, ALLOW))
        client.say(b"hel")
        await self.until(lambda: self.gate.judged)
        client.close()
        await self.until(lambda: self.gate.forgotten)
        self.assertEqual(edge.peers, [])


class ServerFirstTests(StreamCase):
    """A protocol in which the server speaks first."""

    async def silent(
        self, verdict: Verdict | Judging, limits: Limits | None = None
    ) -> tuple[TcpPeer, TcpEdge]:
        """Let the client be silent until the server's word has reached it."""
        client, edge = await self.begin(verdict, limits, greeting=b"220 ready")
        await self.until(lambda: self.gate.judged)
        self.reactor.clock.advance(1)
        await self.heard([client], b"220 ready")
        return client, edge

    async def test_both_speak(self) -> None:
        """The server's word passes; the client's answer is judged, and then passes."""
        client, edge = await self.silent(by_content(ALLOW, ALLOW))
        client.say(b"EHLO")
        await self.heard(edge.peers, b"EHLO")
        self.assertEqual(self.gate.judged[-1][1], b"EHLO")

    async def test_answer_is_held(self) -> None:
        """The client's answer is held until it is enough to judge."""
        self.gate.enough_len = 4
        client, edge = await self.silent(by_content(ALLOW, ALLOW))
        client.say(b"EH")
        await self.turn(20)
        self.assertEqual(edge.peers[0].heard, b"")
        client.say(b"LO")
        await self.heard(edge.peers, b"EHLO")

    async def test_answer_is_late(self) -> None:
        """An answer that does not become enough in time cuts both sides, and is never judged."""
        self.gate.enough_len = 4
        client, edge = await self.silent(by_content(ALLOW, ALLOW), Limits(first_bytes_timeout_s=10))
        self.reactor.clock.advance(60)
        client.say(b"EH")
        await self.turn(20)
        self.reactor.clock.advance(9.9)
        self.assertEqual(len(self.gate.judged), 1)
        self.reactor.clock.advance(0.2)
        await self.until(lambda: client.is_lost and edge.peers[0].is_lost)
        self.assertEqual((edge.peers[0].heard, len(self.gate.judged)), (b"", 1))

    async def test_blocked_answer(self) -> None:
        """A forbidden answer cuts both sides; the server gets nothing of it."""
        client, edge = await self.silent(by_content(ALLOW, BLOCK))
        client.say(b"ping")
        await self.until(lambda: client.is_lost and edge.peers[0].is_lost)
        self.assertEqual((edge.peers[0].heard, client.was_reset), (b"", True))

    async def test_changed_verdict(self) -> None:
        """An answer that asks for another way cuts both sides: a stream cannot be moved."""
        self.routes.relays["us-edge"] = Endpoint.of("127.0.0.1", 1)
        client, edge = await self.silent(by_content(ALLOW, REROUTE))
        client.say(b"media")
        await self.until(lambda: client.is_lost and edge.peers[0].is_lost)
        self.assertEqual(edge.peers[0].heard, b"")
        self.assertEqual(self.listener.counters["dropped_changed_verdict"], 1)

    async def test_other_target(self) -> None:
        """Another target is another way, too."""
        relay = self.tcp_edge("192.0.2.9:1", BLOCK, greeting=b"220 ready")
        self.routes.relays["us-edge"] = relay.at
        client, edge = await self.silent(by_content(REROUTE, replace(REROUTE, target="eu-edge")))
        client.say(b"media")
        await self.until(lambda: client.is_lost and relay.peers[0].is_lost)
        self.assertEqual((relay.peers[0].heard, edge.peers), (b"", []))

    async def test_not_yet_silent(self) -> None:
        """Before the silence is over the server is not asked."""
        _client, edge = await self.begin(unsettled(ALLOW), greeting=b"220 ready")
        await self.until(lambda: self.gate.judged)
        self.reactor.clock.advance(0.9)
        await self.turn(20)
        self.assertEqual(edge.peers, [])

    async def test_client_ends_without_a_word(self) -> None:
        """A client that has only listened may end: the server hears that."""
        client, edge = await self.silent(by_content(ALLOW, BLOCK))
        client.end()
        await self.until(lambda: edge.peers[0].has_ended)
        edge.peers[0].say(b", bye")
        await self.until(lambda: client.heard == b"220 ready, bye")

    async def test_client_ends_too_early_to_judge(self) -> None:
        """What was held when the client ended is judged, then passed on with the end."""
        self.gate.enough_len = 10
        client, edge = await self.silent(by_content(ALLOW, ALLOW))
        client.say(b"QUIT")
        client.end()
        await self.until(lambda: edge.peers[0].has_ended)
        self.assertEqual(edge.peers[0].heard, b"QUIT")


class ConnectingTests(StreamCase):
    """From the verdict to the connection."""

    async def test_wrapped(self) -> None:
        """A wrapped stream goes through the exit."""
        beyond = self.tcp_edge("192.0.2.9:1", BLOCK)
        exit_ = self.routes.carriers["nearest"] = FakeCarrier(streams_to=beyond.at)
        client, edge = await self.begin(WRAP)
        client.say(b"hello")
        await self.heard(beyond.peers, b"hello")
        self.assertEqual((edge.peers, exit_.streams), ([], [EDGE]))

    async def test_exit_down(self) -> None:
        """While the exit is down a wrapped stream is cut, and never goes directly."""
        exit_ = self.routes.carriers["nearest"] = FakeCarrier()
        exit_.is_up = False
        client, edge = await self.begin(WRAP)
        await self.until(lambda: client.is_lost)
        self.assertEqual(edge.peers, [])
        self.assertEqual(self.listener.counters["dropped_not_carried"], 1)

    async def test_refused(self) -> None:
        """A destination that refuses: the client is cut."""
        gone = self.tcp_edge("192.0.2.9:1", BLOCK)
        client, _edge = await self.begin(BLOCK)
        await self.until(lambda: client.is_lost)
        self.gate.on[EDGE] = ALLOW
        self.routes.fake_reach.to[EDGE] = gone.at
        stopping = gone.port.stopListening()
        assert stopping is not None
        await stopping
        client = await self.connect(self.at)
        await self.until(lambda: client.is_lost)
        self.assertEqual(self.listener.counters["dropped_not_connected"], 1)

    async def test_ipv6(self) -> None:
        """A destination that is reached by IPv6 is connected by IPv6."""
        six = TcpEdge().bind("::1")
        self.addCleanup(self.close_edge, six)
        self.gate.on[EDGE] = ALLOW
        self.routes.fake_reach.to[EDGE] = six.at
        self.listener = TcpForwardListener(LOOPBACK, EDGE, self.wiring())
        client = await self.connect(self.open(self.listener))
        client.say(b"six")
        await self.heard(six.peers, b"six")

    async def test_early_bytes(self) -> None:
        """What the client says while we connect is passed on in order."""
        client, edge = await self.begin(ALLOW)
        for letter in b"early bytes":
            client.say(bytes((letter,)))
        await self.heard(edge.peers, b"early bytes")
