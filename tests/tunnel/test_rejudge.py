"""A new policy comes into force at an exit: what goes on, what ends."""

from __future__ import annotations

from typing import cast

from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import Action, FlowKey, Verdict
from gateway.tunnel.client import Tunnel
from gateway.tunnel.exit import Exit
from gateway.tunnel.means import Refusals
from tests.tunnel.test_tcp import Echo, Talker
from tests.tunnel.world import ScriptedGate, UdpEcho, World, pause, until


def block(key: FlowKey, payload: bytes | None) -> Verdict:
    """Block everything."""
    return Verdict(Action.BLOCK, "none", "a test")


def no_pings(key: FlowKey, payload: bytes | None) -> Verdict:
    """Block pings; before anything is seen, allow for the time being."""
    action = Action.BLOCK if payload is not None and payload.startswith(b"ping") else Action.ALLOW
    return Verdict(action, "no-pings", "a test", settled=payload is not None)


class RejudgeTests(World):
    """Flows that are open when the policy changes."""

    async def up(self) -> tuple[Exit, Tunnel]:
        """Start an exit that allows everything, and a tunnel to it."""
        self.gate = ScriptedGate()
        exit_, at = self.exit(self.gate)
        tunnel, _ = self.tunnel(at)
        await until(lambda: tunnel.up, "up")
        return exit_, tunnel

    async def stream(self, tunnel: Tunnel, said: bytes) -> Talker:
        """Open a stream to an echo; let something go there and back."""
        factory = cast(IProtocolFactory, Factory.forProtocol(Talker))
        talker = await tunnel.stream_endpoint(self.tcp(Echo)).connect(factory)
        assert isinstance(talker, Talker)
        if said:
            talker.tcp.write(said)
            await until(lambda: talker.heard == said, "the echo")
        return talker

    async def test_a_stream_that_is_blocked_now_ends(self) -> None:
        """A stream is cut at both ends, and its socket closed."""
        exit_, tunnel = await self.up()
        talker = await self.stream(tunnel, b"hello")
        self.gate.answer = block
        exit_.rejudge()
        await until(lambda: talker.lost, "the end")
        await until(lambda: exit_.counters["sockets"] == 0, "the socket closed")
        self.assertEqual(exit_.counters["flows_forbidden"], 1)

    async def test_a_stream_is_judged_by_its_first_octets(self) -> None:
        """Of two streams, the one ends whose octets, which have passed, are forbidden now."""
        exit_, tunnel = await self.up()
        bad, good = await self.stream(tunnel, b"ping 1"), await self.stream(tunnel, b"media")
        self.gate.answer = no_pings
        exit_.rejudge()
        await until(lambda: bad.lost, "the end")
        good.tcp.write(b" goes on")
        await until(lambda: good.heard == b"media goes on", "the echo")
        self.assertIsNone(good.lost)

    async def test_a_stream_that_said_nothing_yet_is_held(self) -> None:
        """What the new policy wants to see of it is judged when it comes."""
        exit_, tunnel = await self.up()
        talker = await self.stream(tunnel, b"")
        self.gate.answer = no_pings
        exit_.rejudge()
        talker.tcp.write(b"ping")
        await until(lambda: talker.lost, "the end")
        self.assertEqual(talker.heard, b"")

    async def test_a_udp_flow_that_is_blocked_now_ends(self) -> None:
        """No answer comes on it any more; the gateway is told, and the socket is closed."""
        exit_, tunnel = await self.up()
        ends: list[str] = []
        got: list[bytes] = []
        flow = tunnel.open_udp(self.udp(UdpEcho()), got.append, ends.append)
        flow.send(b"hello")
        await until(lambda: got, "the echo")
        self.gate.answer = block
        exit_.rejudge()
        await until(lambda: ends, "the end")
        await until(lambda: exit_.counters["sockets"] == 0, "the socket closed")

    async def test_a_udp_flow_is_judged_by_its_first_datagram(self) -> None:
        """Of two flows, the one goes on whose first datagram is allowed still."""
        exit_, tunnel = await self.up()
        got: list[bytes] = []
        ends: tuple[list[str], list[str]] = [], []
        for payload, mine in zip((b"ping", b"media"), ends, strict=True):
            flow = tunnel.open_udp(self.udp(UdpEcho()), got.append, mine.append)
            flow.send(payload)
        await until(lambda: len(got) == 2, "both echoes")
        self.gate.answer = no_pings
        exit_.rejudge()
        await until(lambda: ends[0], "the end of one")
        self.assertTrue(flow.send(b"more"))
        await until(lambda: b"more" in got, "the echo")
        self.assertEqual(ends[1], [])

    async def test_flows_that_ended_are_not_asked_about(self) -> None:
        """Nothing is kept of flows that are over."""
        exit_, tunnel = await self.up()
        talker = await self.stream(tunnel, b"hello")
        flow = tunnel.open_udp(self.udp(UdpEcho()), lambda _: None, lambda _: None)
        await until(lambda: exit_.counters["sockets"] == 2, "both sockets")
        talker.tcp.loseConnection()
        flow.close()
        await until(lambda: exit_.counters["sockets"] == 0, "no socket")
        await pause(0.01)
        asked = len(self.gate.asked)
        exit_.rejudge()
        self.assertEqual(len(self.gate.asked), asked)

    async def test_what_waited_for_a_refusal_is_told(self) -> None:
        """Datagrams that were taken before the exit refused are known to be unsent."""
        exit_, tunnel = await self.up()
        self.gate.answer = block
        ends: list[str] = []
        flow = tunnel.open_udp(self.udp(UdpEcho()), lambda _: None, ends.append)
        self.assertTrue(flow.send(b"one") and flow.send(b"two"))
        await until(lambda: ends, "the refusal")
        self.assertEqual((flow.unsent, exit_.counters["requests_refused"]), (2, 1))


class RefusalsTests(SynchronousTestCase):
    """The line about gateways that are refused."""

    def test_once_a_second(self) -> None:
        """However many knock, there is one line a second, with their number."""
        events: list[LogEvent] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        clock = Clock()
        refusals = Refusals(clock.seconds, "exit-1")
        for wait_s in (0, 0.5, 0.4, 0.1, 0.5):
            clock.advance(wait_s)
            refusals.note(("192.0.2.1", 1), "no client certificate")
        self.assertEqual([event["count"] for event in events], [1, 3])
