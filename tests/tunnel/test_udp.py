"""UDP flows through a tunnel, client and exit together on loopback."""

from __future__ import annotations

from twisted.internet.protocol import DatagramProtocol

from gateway.errors import CarryError
from gateway.model import Action, Endpoint, FlowKey, Verdict
from gateway.tunnel.means import ExitLimits
from tests.tunnel.world import (
    LOOPBACK,
    Binder,
    Forwarder,
    MappedReach,
    ScriptedGate,
    UdpEcho,
    World,
    ignore,
    send,
    until,
)


class UdpFlowTests(World):
    """CONNECT-UDP there and back."""

    async def test_a_datagram_and_its_answer_pass(self) -> None:
        """What a client sends arrives at its destination, and the answer comes back."""
        await self._echo("127.0.0.1")

    async def test_ipv6(self) -> None:
        """A destination may be an IPv6 address."""
        await self._echo("::1")

    async def test_round_trips(self) -> None:
        """A ping's answer tells what it took, and what of that was the way to the exit; what was
        not asked, and answers of other datagrams, tell nothing."""
        _, at = self.exit()
        target = self.udp(Binder())
        told: list[tuple[Endpoint, float, float]] = []
        bounds: list[tuple[Endpoint, float, float]] = []
        tunnel, _ = self.tunnel(
            at,
            on_round_trip=lambda *one: told.append(one),
            on_bound=lambda *one: bounds.append(one),
        )
        await until(lambda: tunnel.up, "up")
        got: list[bytes] = []
        answered: list[int] = []
        flow = tunnel.open_udp(target, got.append, ignore)
        flow.on_ping_answered = lambda: answered.append(len(got))
        ask = bytes.fromhex("000100002112a442") + bytes(12)
        for payload in (ask, b"\0\2" + ask[2:], ask):
            flow.send(payload)
        await until(lambda: len(got) == 3, "three answers")
        self.assertEqual(len(told), 1)  # the same ping twice is one: who knows which was answered
        ((endpoint, total_s, near_s),) = told
        self.assertEqual(endpoint, target)
        self.assertTrue(0 < total_s < 30 and 0 < near_s < 30)
        ((bound, bound_s, least_s),) = bounds
        self.assertEqual((bound, bound_s), (target, total_s))
        self.assertTrue(0 <= least_s < near_s)  # an acknowledgement may have waited
        self.assertEqual(len(answered), 1)

    async def _echo(self, host: str, stem: str = "exit", at: Endpoint = LOOPBACK) -> None:
        gate, echo = ScriptedGate(), UdpEcho()
        _, at = self.exit(gate, stem=stem, at=at)
        target = self.udp(echo, host)
        tunnel, _ = self.tunnel(at)
        await until(lambda: tunnel.up, "up")
        got: list[bytes] = []
        flow = tunnel.open_udp(target, got.append, ignore)
        for number in range(5):
            self.assertTrue(flow.send(b"ping %d" % number))
        await until(lambda: len(got) == 5, "five echoes")
        self.assertEqual(sorted(got), [b"ping %d" % number for number in range(5)])
        key, payload = gate.asked[0]
        self.assertEqual((key.destination, payload), (target, None))
        self.assertEqual([asked for _, asked in gate.asked[1:]], got)

    async def test_ipv6_to_the_exit(self) -> None:
        """The exit itself may be reached by IPv6."""
        await self._echo("127.0.0.1", stem="exit-v6", at=Endpoint.of("::1", 0))

    async def test_two_flows_at_once_keep_their_answers_apart(self) -> None:
        """Each flow gets the answers of its own destination, and no other's."""
        _, at = self.exit()
        targets = [self.udp(UdpEcho(prefix)) for prefix in (b"a:", b"b:")]
        tunnel, _ = self.tunnel(at)
        await until(lambda: tunnel.up, "up")
        got: list[list[bytes]] = [[], []]
        flows = [
            tunnel.open_udp(target, mine.append, ignore)
            for target, mine in zip(targets, got, strict=True)
        ]
        for _ in range(10):
            for flow in flows:
                flow.send(b"x")
        await until(lambda: all(len(mine) == 10 for mine in got), "all echoes")
        self.assertEqual([set(mine) for mine in got], [{b"a:x"}, {b"b:x"}])

    async def test_only_the_destination_itself_is_heard(self) -> None:
        """A datagram from anybody else to the exit's socket does not reach the client."""
        exit_, at = self.exit()
        echo = UdpEcho()
        target = self.udp(echo)
        tunnel, _ = self.tunnel(at)
        await until(lambda: tunnel.up, "up")
        got: list[bytes] = []
        tunnel.open_udp(target, got.append, ignore).send(b"hello")
        await until(lambda: got, "the echo")
        stranger = DatagramProtocol()
        self.udp(stranger)
        send(stranger, b"boo", echo.received[0][1])
        await until(lambda: exit_.counters.get("datagrams_of_strangers"), "the stranger")
        self.assertEqual(got, [b"hello"])

    async def test_the_gate_judges_the_destination_and_a_stand_in_is_dialled(self) -> None:
        """Reach changes where the exit dials, not what its policy sees."""
        asked_for = Endpoint.of("198.51.100.9", 4001)
        gate, echo = ScriptedGate(), UdpEcho()
        stand_in = self.udp(echo)
        _, at = self.exit(gate, reach=MappedReach({asked_for: stand_in}))
        tunnel, _ = self.tunnel(at)
        await until(lambda: tunnel.up, "up")
        got: list[bytes] = []
        tunnel.open_udp(asked_for, got.append, ignore).send(b"join")
        await until(lambda: got, "the echo")
        self.assertEqual({key.destination for key, _ in gate.asked}, {asked_for})

    async def test_a_refusal_of_the_exits_policy_closes_the_flow(self) -> None:
        """A blocked destination is a 403 that tells the rule, and no socket is opened."""
        blocked = Verdict(Action.BLOCK, "never-there", 'a "promise"')
        exit_, at = self.exit(ScriptedGate(lambda key, payload: blocked))
        tunnel, _ = self.tunnel(at)
        await until(lambda: tunnel.up, "up")
        reasons: list[str] = []
        flow = tunnel.open_udp(Endpoint.of("192.0.2.1", 9), ignore, reasons.append)
        await until(lambda: reasons, "the refusal")
        self.assertIn("403", reasons[0])
        self.assertIn("http_request_denied", reasons[0])
        self.assertIn("never-there", reasons[0])
        self.assertFalse(flow.send(b"late"))
        self.assertEqual(exit_.counters["sockets"], 0)

    async def test_each_datagram_is_judged(self) -> None:
        """Of a flow that is open, a datagram that the policy blocks is dropped and counted."""

        def answer(key: FlowKey, payload: bytes | None) -> Verdict:
            is_bad = payload is not None and b"secret" in payload
            return Verdict(Action.BLOCK if is_bad else Action.ALLOW, "plain", "a test")

        exit_, at = self.exit(ScriptedGate(answer))
        echo = UdpEcho()
        target = self.udp(echo)
        tunnel, _ = self.tunnel(at)
        await until(lambda: tunnel.up, "up")
        got: list[bytes] = []
        flow = tunnel.open_udp(target, got.append, ignore)
        for payload in (b"one", b"secret", b"two"):
            flow.send(payload)
        await until(lambda: len(got) == 2, "two echoes")
        self.assertEqual([payload for payload, _ in echo.received], [b"one", b"two"])
        self.assertEqual(exit_.counters["datagrams_blocked"], 1)

    async def test_an_unsettled_request_waits_for_its_first_datagram(self) -> None:
        """Where the address does not decide, the datagram does."""

        def answer(key: FlowKey, payload: bytes | None) -> Verdict:
            if payload is None:
                return Verdict(Action.BLOCK, "content", "not seen yet", settled=False)
            return Verdict(Action.ALLOW if payload == b"good" else Action.BLOCK, "content", "seen")

        _, at = self.exit(ScriptedGate(answer))
        echo = UdpEcho()
        target = self.udp(echo)
        tunnel, _ = self.tunnel(at)
        await until(lambda: tunnel.up, "up")
        got: list[bytes] = []
        flow = tunnel.open_udp(target, got.append, ignore)
        flow.send(b"bad")
        flow.send(b"good")
        await until(lambda: got, "the echo")
        self.assertEqual([payload for payload, _ in echo.received], [b"good"])

    async def test_a_datagram_too_long_is_dropped_and_the_next_passes(self) -> None:
        """A datagram that no packet holds is refused and counted, and stops nothing behind it."""
        _, at = self.exit()
        target = self.udp(UdpEcho())
        tunnel, _ = self.tunnel(at)
        await until(lambda: tunnel.up, "up")
        got: list[bytes] = []
        flow = tunnel.open_udp(target, got.append, ignore)
        self.assertFalse(flow.send(bytes(1150)))  # before the exit's 200
        flow.send(b"first")
        await until(lambda: got, "the first echo")
        self.assertFalse(flow.send(bytes(1150)))
        self.assertFalse(flow.send(bytes(65507)))
        self.assertTrue(flow.send(bytes(1149)))
        self.assertTrue(flow.send(b"small"))
        await until(lambda: len(got) == 3, "the later echoes")
        self.assertEqual(got[1:], [bytes(1149), b"small"])
        self.assertEqual(tunnel.counters["datagrams_too_long"], 3)

    async def test_a_flood_stays_bounded(self) -> None:
        """10,000 datagrams before the exit's answer, and 10,000 in one turn, meet a bound."""
        _, at = self.exit()
        target = self.udp(UdpEcho())
        tunnel, _ = self.tunnel(at)
        await until(lambda: tunnel.up, "up")
        got: list[bytes] = []
        flow = tunnel.open_udp(target, got.append, ignore)
        for number in range(10_000):
            self.assertTrue(flow.send(b"%d" % number))
        self.assertEqual(tunnel.counters["datagrams_overflowed"], 10_000 - 64)
        await until(lambda: len(got) == 64, "the newest")
        self.assertEqual(sorted(got)[0], b"9936")
        before = tunnel.counters["datagrams_overflowed"]
        for number in range(10_000):
            flow.send(b"%d" % number)
        overflowed = tunnel.counters["datagrams_overflowed"] - before
        self.assertEqual(overflowed, 10_000 - 256)
        await until(lambda: b"9999" in got, "the newest of all")

    async def test_nothing_opens_while_the_tunnel_is_down(self) -> None:
        """A flow through a tunnel that is not up is refused at once: it is never sent plainly."""
        nobody = DatagramProtocol()
        tunnel, _ = self.tunnel(self.udp(nobody))
        with self.assertRaises(CarryError) as raised:
            tunnel.open_udp(Endpoint.of("192.0.2.1", 9), ignore, ignore)
        self.assertIn("us-east: the tunnel is down", str(raised.exception))

    async def test_an_idle_flow_ends(self) -> None:
        """A flow that is silent for the exit's limit is closed, and the gateway is told."""
        exit_, at = self.exit(limits=ExitLimits(udp_idle_s=0.2))
        target = self.udp(UdpEcho())
        tunnel, _ = self.tunnel(at)
        await until(lambda: tunnel.up, "up")
        reasons: list[str] = []
        tunnel.open_udp(target, lambda payload: None, reasons.append).send(b"x")
        await until(lambda: reasons, "the end")
        self.assertEqual(exit_.counters["flows_idle"], 1)
        await until(lambda: exit_.counters["sockets"] == 0, "the socket closed")

    async def test_a_closed_flow_frees_the_exits_socket(self) -> None:
        """When the gateway closes a flow its socket at the exit is closed too."""
        exit_, at = self.exit()
        tunnel, _ = self.tunnel(at)
        await until(lambda: tunnel.up, "up")
        target = Endpoint.of("127.0.0.1", 9)
        flows = [tunnel.open_udp(target, ignore, ignore) for _ in range(20)]
        await until(lambda: exit_.counters["sockets"] == 20, "twenty sockets")
        for flow in flows:
            flow.close()
            self.assertFalse(flow.send(b"late"))
        await until(lambda: exit_.counters["sockets"] == 0, "no socket")

    async def test_the_exits_limit_of_flows_is_an_error_not_a_queue(self) -> None:
        """More flows than the exit takes are refused at once, until one is closed."""
        _, at = self.exit(limits=ExitLimits(max_flows=3))
        tunnel, _ = self.tunnel(at)
        await until(lambda: tunnel.up, "up")
        target = Endpoint.of("127.0.0.1", 9)
        flows = [tunnel.open_udp(target, ignore, ignore) for _ in range(3)]
        with self.assertRaises(CarryError) as raised:
            tunnel.open_udp(target, ignore, ignore)
        self.assertIn("takes no more flows", str(raised.exception))
        for flow in flows:
            flow.close()

        def opens() -> bool:
            try:
                tunnel.open_udp(target, ignore, ignore)
            except CarryError:
                return False
            return True

        await until(opens, "room for one more")

    async def test_the_wire_carries_no_plaintext(self) -> None:
        """Nothing of a payload or of its destination is to be found in the packets."""
        _, at = self.exit()
        target = self.udp(UdpEcho())
        forwarder = Forwarder(at)
        tunnel, _ = self.tunnel(self.udp(forwarder))
        await until(lambda: tunnel.up, "up")
        got: list[bytes] = []
        flow = tunnel.open_udp(target, got.append, ignore)
        flow.send(b"PING user=424242 room=harbour")
        await until(lambda: got, "the echo")
        wire = b"".join(forwarder.packets)
        self.assertGreater(len(wire), 2400)
        for secret in (b"424242", b"harbour", b"PING", b"connect-udp", str(target.port).encode()):
            self.assertNotIn(secret, wire)
