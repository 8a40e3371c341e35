"""A new policy comes into force: what goes on, what ends.  On real loopback sockets."""

from __future__ import annotations

from gateway.listeners.forward import UdpForwardListener
from gateway.listeners.limits import Limits
from gateway.model import FlowKey, Verdict
from tests.listeners.case import ListenerCase
from tests.listeners.fakes import (
    ALLOW,
    BLOCK,
    LOOPBACK,
    REROUTE,
    WRAP,
    FakeCarrier,
    Judging,
    SlowCarrier,
    by_content,
    unsettled,
)
from tests.listeners.peers import TcpPeer, UdpPeer
from tests.listeners.stream_case import EDGE, StreamCase


class StreamTests(StreamCase):
    """Streams."""

    def adopt(self, verdict: Verdict | Judging) -> None:
        """Put another policy into force."""
        self.gate.on[EDGE] = verdict
        self.gate.epoch_number += 1
        self.listener.rejudge()

    async def relayed(self, verdict: Verdict | Judging, said: bytes) -> tuple[TcpPeer, TcpPeer]:
        """Open a stream and let the client say something; give its two ends."""
        client, edge = await self.begin(verdict)
        client.say(said)
        return client, await self.heard(edge.peers, said)

    async def test_blocked(self) -> None:
        """An open stream that the new policy blocks is cut at both ends, and counted."""
        client, server = await self.relayed(ALLOW, b"hello")
        self.adopt(BLOCK)
        await self.until(lambda: client.is_lost and server.is_lost)
        self.assertTrue(client.was_reset and server.was_reset)
        self.assertEqual(self.listener.counters["dropped_stale_verdict"], 1)

    async def test_other_way(self) -> None:
        """One that it would send elsewhere is cut too: a stream cannot be moved."""
        client, server = await self.relayed(ALLOW, b"hello")
        self.adopt(WRAP)
        await self.until(lambda: client.is_lost and server.is_lost)

    async def test_wrapped(self) -> None:
        """A wrapped stream that is no longer allowed is cut."""
        beyond = self.tcp_edge("192.0.2.9:1", BLOCK)
        self.routes.carriers["nearest"] = FakeCarrier(streams_to=beyond.at)
        client, _edge = await self.begin(WRAP)
        client.say(b"hello")
        await self.heard(beyond.peers, b"hello")
        self.adopt(BLOCK)
        await self.until(lambda: client.is_lost and beyond.peers[0].is_lost)

    async def test_same_way(self) -> None:
        """A stream whose way stays loses nothing, and is asked about once, by its first bytes."""
        client, server = await self.relayed(by_content(BLOCK, ALLOW), b"media")
        before = len(self.gate.judged)
        self.adopt(by_content(BLOCK, ALLOW))
        self.assertEqual([each[1] for each in self.gate.judged[before:]], [b"media"])
        client.say(b" goes on")
        await self.heard([server], b"media goes on")

    async def test_by_content(self) -> None:
        """A stream that was allowed unseen is judged by the bytes that have passed since."""
        client, server = await self.relayed(ALLOW, b"ping")
        self.adopt(by_content(ALLOW, BLOCK))
        await self.until(lambda: client.is_lost and server.is_lost)
        self.assertEqual(self.gate.judged[-1][1], b"ping")

    async def test_first_bytes_to_come(self) -> None:
        """Where the client said nothing yet and the new policy wants to see it, it is held."""
        client, edge = await self.begin(ALLOW, greeting=b"220 ready")
        await self.heard([client], b"220 ready")
        self.adopt(by_content(ALLOW, BLOCK))
        await self.turn(10)
        self.assertFalse(client.is_lost)
        client.say(b"ping")
        await self.until(lambda: client.is_lost and edge.peers[0].is_lost)
        self.assertEqual(edge.peers[0].heard, b"")

    async def test_holding(self) -> None:
        """Bytes that are held are judged by the new policy, and cut at once if it needs none."""
        self.gate.enough_len = 10
        client, edge = await self.begin(by_content(ALLOW, ALLOW))
        client.say(b"hel")
        await self.until(lambda: self.gate.looked_len)
        self.adopt(BLOCK)
        await self.until(lambda: client.is_lost)
        self.assertEqual(edge.peers, [])

    async def test_holding_no_more(self) -> None:
        """Bytes that the new policy need not see go on at once."""
        self.gate.enough_len = 10
        client, edge = await self.begin(by_content(ALLOW, ALLOW))
        client.say(b"hel")
        await self.until(lambda: self.gate.looked_len)
        self.adopt(ALLOW)
        await self.heard(edge.peers, b"hel")

    async def test_silence_is_no_way_in(self) -> None:
        """A silent client's server is not asked where the new address verdict is a block."""
        client, edge = await self.begin(unsettled(ALLOW), Limits(first_bytes_timeout_s=10))
        await self.until(lambda: self.gate.judged)
        self.adopt(unsettled(BLOCK))
        self.reactor.clock.advance(2)
        await self.turn(10)
        self.assertEqual((edge.peers, client.is_lost), ([], False))

    async def test_connecting(self) -> None:
        """A stream that is being connected is given up."""
        exit_ = self.routes.carriers["nearest"] = SlowCarrier()
        client, _edge = await self.begin(WRAP)
        await self.until(lambda: exit_.dialled)
        self.adopt(BLOCK)
        await self.until(lambda: client.is_lost)
        self.assertEqual(exit_.given_up, 1)

    async def test_connecting_same_way(self) -> None:
        """One whose way stays is connected, and what it says meanwhile is judged if need be."""
        exit_ = self.routes.carriers["nearest"] = SlowCarrier()
        client, _edge = await self.begin(WRAP)
        await self.until(lambda: exit_.dialled)
        self.adopt(by_content(WRAP, BLOCK))
        server = exit_.arrive()
        client.say(b"ping")
        await self.until(lambda: client.is_lost)
        self.assertEqual((server.value(), server.was_aborted), (b"", True))

    async def test_many(self) -> None:
        """Each of many streams is asked about once."""
        self.tcp_edge(str(EDGE), ALLOW)
        first, _edge = await self.begin(ALLOW)
        clients = [first] + [await self.connect(self.at) for _ in range(9)]
        await self.until(lambda: len(self.gate.judged) == 10)
        self.adopt(BLOCK)
        await self.until(lambda: all(client.is_lost for client in clients))
        self.assertEqual(len(self.gate.judged), 20)


class UdpTests(ListenerCase):
    """UDP sessions."""

    async def answered(self, verdict: Verdict | Judging) -> tuple[UdpPeer, UdpPeer]:
        """Open a forward and let a datagram pass; give client and edge."""
        edge = self.udp_edge(str(EDGE), verdict)
        self.listener = UdpForwardListener(LOOPBACK, EDGE, self.wiring())
        self.at = self.open(self.listener)
        client = self.udp_peer()
        client.send(b"hello", self.at)
        await self.until(lambda: edge.got)
        return client, edge

    def adopt(self, verdict: Verdict | Judging) -> None:
        """Put another policy into force."""
        self.gate.on[EDGE] = verdict
        self.gate.epoch_number += 1
        self.listener.rejudge()

    async def test_same_way(self) -> None:
        """A client that only listens loses no answer where its verdict stays."""
        client, edge = await self.answered(ALLOW)
        self.adopt(ALLOW)
        edge.send(b"media", edge.got[0][1])
        await self.until(lambda: client.got)
        self.assertEqual(client.payloads, [b"media"])
        self.assertEqual([each[1] for each in self.gate.judged], [b"hello", b"hello"])

    async def test_blocked(self) -> None:
        """One whose destination is blocked now gets no answer any more, and its socket closes."""
        client, edge = await self.answered(ALLOW)
        self.adopt(BLOCK)
        edge.send(b"media", edge.got[0][1])
        await self.turn(20)
        self.assertEqual(client.got, [])
        client.send(b"again", self.at)
        await self.until(lambda: "dropped_blocked" in self.listener.counters)
        self.assertEqual(edge.payloads, [b"hello"])

    async def test_unconfirmed(self) -> None:
        """Answers on a way that nobody has confirmed yet are dropped and counted."""
        client, edge = await self.answered(ALLOW)
        self.gate.epoch_number += 1
        edge.send(b"media", edge.got[0][1])
        await self.until(lambda: "dropped_stale_verdict" in self.listener.counters)
        self.assertEqual(client.got, [])

    async def test_long_datagram(self) -> None:
        """A way that a very long datagram opened is confirmed by the client's next datagram."""
        client, edge = await self.answered(ALLOW)
        client, other = self.udp_peer(), client
        client.send(bytes(1501), self.at)
        await self.until(lambda: len(edge.got) == 2)
        self.adopt(ALLOW)
        edge.send(b"early", edge.got[1][1])
        await self.until(lambda: "dropped_stale_verdict" in self.listener.counters)
        client.send(b"again", self.at)
        await self.until(lambda: len(edge.got) == 3)
        edge.send(b"in time", edge.got[2][1])
        await self.until(lambda: client.got)
        self.assertEqual((client.payloads, other.got), ([b"in time"], []))
        self.assertEqual(edge.got[1][1], edge.got[2][1])

    async def test_one_way_of_two(self) -> None:
        """Of two ways to one destination, only the one that the new policy takes back ends."""
        wraps: Judging = lambda _key, payload, _names: WRAP if payload == b"ping" else ALLOW  # noqa: E731
        exit_ = self.routes.carriers["nearest"] = FakeCarrier()
        client, edge = await self.answered(wraps)
        client.send(b"ping", self.at)
        await self.until(lambda: EDGE in exit_.flows)
        self.adopt(lambda _key, payload, _names: BLOCK if payload == b"ping" else ALLOW)
        self.assertTrue(exit_.flows[EDGE].is_closed)
        exit_.flows[EDGE].answer(b"pong")
        edge.send(b"media", edge.got[0][1])
        await self.until(lambda: client.got)
        self.assertEqual(client.payloads, [b"media"])

    async def test_rerouted(self) -> None:
        """A destination that is rerouted now is reached through its relay from then on."""
        relay = self.udp_peer(echo=b"relay:")
        self.routes.relays["us-edge"] = relay.at
        client, edge = await self.answered(ALLOW)
        self.adopt(REROUTE)
        edge.send(b"late", edge.got[0][1])
        client.send(b"media", self.at)
        await self.until(lambda: client.got)
        self.assertEqual(client.payloads, [b"relay:media"])

    async def test_place_is_given_back(self) -> None:
        """A session that the new policy leaves nothing holds no place."""
        self.limits = Limits(udp_sessions=1)
        client, edge = await self.answered(ALLOW)
        self.adopt(lambda key, _payload, _names: BLOCK if key.client == client.at else ALLOW)
        other = self.udp_peer()
        other.send(b"other", self.at)
        await self.until(lambda: len(edge.got) == 2)
        self.assertNotIn(FlowKey.parse(f"udp {client.at} > {EDGE}"), self.gate.forgotten)
