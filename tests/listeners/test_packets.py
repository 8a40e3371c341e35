"""Conservation: each datagram that came in went somewhere, once, through each listener."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial

from twisted.internet.defer import Deferred

from gateway.errors import CarryError
from gateway.listeners.door import Doorkeeper
from gateway.listeners.forward import UdpForwardListener
from gateway.listeners.limits import Limits
from gateway.listeners.socks5 import Socks5Listener
from gateway.listeners.transparent_udp import TransparentUdp
from gateway.model import Endpoint, FlowKey, Transport, Verdict
from tests.listeners.case import ListenerCase
from tests.listeners.fakes import ALLOW, BLOCK, LOOPBACK, REROUTE, WRAP, FakeCarrier
from tests.listeners.peers import UdpPeer
from tests.listeners.test_socks5_udp import to

EDGE = Endpoint.parse("192.0.2.1:4001")
ELSEWHERE = [Endpoint.parse(f"192.0.2.{at}:4001") for at in range(2, 12)]
CLIENT = Endpoint.parse("192.0.2.200:5000")
NOWHERE = Verdict(REROUTE.action, "nowhere", "", target="no-such-relay")
VERDICTS = (ALLOW, BLOCK, REROUTE, WRAP, NOWHERE)
FLOOD = 240
WAYS = ("allowed", "rerouted", "wrapped", "blocked", "dropped", "held")


class PacketsTests(ListenerCase):
    """A random flood."""

    def setUp(self) -> None:
        """Open ways for every verdict; one exit refuses some of what it is given."""
        super().setUp()
        self.chance = random.Random(11)
        self.exit = FakeCarrier()
        self.routes.carriers["nearest"] = self.exit
        self.relay = self.udp_peer()
        self.routes.relays["us-edge"] = self.relay.at
        self.edge = self.udp_edge(str(EDGE), self.random)
        for one in ELSEWHERE:
            self.gate.on[one] = self.random
            self.routes.fake_reach.to[one] = self.edge.at
        self.said: Counter[str] = Counter()

    def random(self, *_asked: object) -> Verdict:
        """Judge at random, and remember it."""
        verdict = self.chance.choice(VERDICTS)
        self.said[verdict.rule if verdict is NOWHERE else str(verdict.action)] += 1
        return verdict

    def hold_up(self, listener: Doorkeeper) -> dict[str, int]:
        """Demand that the account holds; give it."""
        counts = listener.packets.items()
        packets = {name[9:]: n for name, n in counts if name.startswith("packets: ")}
        self.assertEqual(packets.pop("in"), sum(packets.values()), packets)
        self.assertEqual(set(packets), set(WAYS))
        return packets

    def came(self, listener: Doorkeeper, count: int) -> bool:
        """Say whether so many came in."""
        return listener.packets.get("packets: in") == count

    async def flood(self, client: UdpPeer, listener: Doorkeeper, datagrams: list[bytes]) -> None:
        """Send datagrams, a few at a time, so that loopback loses none."""
        for at, datagram in enumerate(datagrams, 1):
            client.send(datagram, self.at)
            if at % 20 == 0 or at == len(datagrams):
                await self.until(partial(self.came, listener, at))
                self.hold_up(listener)

    async def test_forward(self) -> None:
        """Through a forward, by every verdict; what the exit does not take is dropped."""
        listener = UdpForwardListener(LOOPBACK, EDGE, self.wiring())
        self.at = self.open(listener)
        datagrams = [b"%d" % at for at in range(FLOOD)]
        await self.flood(self.udp_peer(), listener, datagrams[: FLOOD // 2])
        wrapped_before = self.said["wrap"]
        client = self.udp_peer()
        for at, datagram in enumerate(datagrams[FLOOD // 2 :], FLOOD // 2 + 1):
            client.send(datagram, self.at)
            if at % 20 == 0 or at == FLOOD:
                await self.until(partial(self.came, listener, at))
                for flow in self.exit.flows.values():
                    flow.has_room = False
        packets = self.hold_up(listener)
        self.assertEqual(packets["blocked"], self.said["block"] + self.said["nowhere"])
        await self.until(lambda: len(self.edge.got) == packets["allowed"] == self.said["allow"])
        await self.until(lambda: len(self.relay.got) == packets["rerouted"])
        self.assertEqual(packets["wrapped"] + packets["dropped"], self.said["wrap"])
        self.assertGreaterEqual(packets["wrapped"], wrapped_before)

    async def test_socks5(self) -> None:
        """Through an association: also what is malformed, a fragment, a stranger's, one too many,
        and what waits for its name, whose answer comes, or does not."""
        listener = Socks5Listener(LOOPBACK, self.wiring(Limits(session_destinations=6)))
        control = await self.connect(self.open(listener))
        control.say(b"\x05\x01\x00" + b"\x05\x03\x00\x01" + bytes(6))
        await self.until(lambda: control.heard_len == 12)
        self.at = Endpoint(control.heard[6:10], int.from_bytes(control.heard[10:12]))
        later: Deferred[tuple[bytes, ...]] = Deferred()
        never: Deferred[tuple[bytes, ...]] = Deferred()
        self.resolver.names |= {
            "known.example": (ELSEWHERE[0].address,),
            "later.example": later,
            "never.example": never,
        }
        self.gate.barred["barred.example"] = BLOCK
        kinds = [
            *(to(one, b"x") for one in (EDGE, *ELSEWHERE)),
            *(
                to(f"{name}.example", b"x")
                for name in ("known", "later", "never", "barred", "none")
            ),
            b"",
            b"\x00\x00\x07\x01",
        ]
        datagrams = [self.chance.choice(kinds) for _ in range(FLOOD)]
        await self.flood(self.udp_peer(), listener, datagrams)
        self.assertGreater(self.hold_up(listener)["held"], 0)
        later.callback((ELSEWHERE[0].address,))
        never.errback(CarryError("never.example", "no such name"))
        packets = self.hold_up(listener)
        self.assertEqual(packets["held"], 0)
        for way in WAYS[:-1]:
            self.assertGreater(packets[way], 0, way)
        await self.until(lambda: len(self.edge.got) == packets["allowed"])
        await self.until(lambda: len(self.relay.got) == packets["rerouted"])
        sent = sum(len(flow.sent) for flow in self.exit.flows.values())
        self.assertLessEqual(sent, packets["wrapped"])  # a fake's flows give way to newer ones

    async def test_closing(self) -> None:
        """What waits for its name when the association ends is dropped, and not forgotten."""
        listener = Socks5Listener(LOOPBACK, self.wiring())
        control = await self.connect(self.open(listener))
        control.say(b"\x05\x01\x00" + b"\x05\x03\x00\x01" + bytes(6))
        await self.until(lambda: control.heard_len == 12)
        self.at = Endpoint(control.heard[6:10], int.from_bytes(control.heard[10:12]))
        self.resolver.names["never.example"] = Deferred()
        await self.flood(self.udp_peer(), listener, [to("never.example", b"x")] * 5)
        self.assertEqual(self.hold_up(listener)["held"], 5)
        control.close()
        await self.until(lambda: listener.packets["packets: held"] == 0)
        self.assertEqual(self.hold_up(listener)["dropped"], 5)

    async def test_transparent(self) -> None:
        """Of router mode: what is handed over with its verdict, an older one's, and too late."""
        listener = TransparentUdp(self.wiring(), lambda _asked, _client, _payload: True)
        self.addCleanup(listener.stop)
        for at in range(FLOOD):
            key = FlowKey(Transport.UDP, CLIENT, self.chance.choice(ELSEWHERE))
            verdict = self.gate.judge(key, b"x")
            if verdict.action is BLOCK.action:
                continue  # the kernel's to drop
            if at % 10 == 0:
                self.gate.epoch_number += 1
            listener.carry(key, b"x", verdict)
            self.hold_up(listener)
        listener.stop()
        listener.carry(key, b"x", WRAP)
        packets = self.hold_up(listener)
        for way in ("allowed", "rerouted", "wrapped", "blocked", "dropped"):
            self.assertGreater(packets[way], 0, way)
