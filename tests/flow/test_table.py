"""gateway.flow.table: each flow is judged once, and again where its datagrams ask for it."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.flow.table import FlowLimits, FlowTable
from gateway.model import Action, FlowKey
from tests.support.epochs import AUDIO, NOISE, PING, PROMISE, STUN, FakeObserver, epoch
from tests.wire.initials import HANDSHAKE, crypto, initial

AMERICAN = FlowKey.parse("udp 10.1.0.2:5000 > 192.0.2.1:4001")
CHINESE = FlowKey.parse("udp 10.1.0.2:5000 > 198.51.100.1:4001")
STREAM = FlowKey.parse("tcp 10.1.0.2:5000 > 192.0.2.1:80")
HTTP = b"GET / HTTP/1.1\r\nHost: www.example.us\r\n\r\n"


class FlowTableTests(SynchronousTestCase):
    """The verdict is per destination, remembered, and never forgotten open."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.observer = FakeObserver()
        self.table = self.make()

    def make(self, limits: FlowLimits | None = None) -> FlowTable:
        return FlowTable(epoch(), self.clock.seconds, limits or FlowLimits(), self.observer)

    def test_once(self) -> None:
        """A flow's later datagrams take the first one's verdict without a new decision."""
        verdicts = {self.table.judge(AMERICAN, NOISE).action for _ in range(5)}
        self.assertEqual(verdicts, {Action.ALLOW})
        self.assertEqual(len(self.observer.judged), 1)
        self.assertEqual(self.observer.judged[0].packets, 5)
        self.assertEqual(self.observer.judged[0].octets, 5 * len(NOISE))

    def test_destination_by_destination(self) -> None:
        """One client socket towards two destinations gets two verdicts."""
        self.assertEqual(self.table.judge(AMERICAN, STUN).action, Action.ALLOW)
        self.assertEqual(self.table.judge(CHINESE, STUN).action, Action.BLOCK)

    def test_ping_in_an_allowed_flow(self) -> None:
        """A plaintext ping inside an allowed flow is judged by itself, once."""
        self.table.judge(AMERICAN, NOISE)
        for _ in range(3):
            self.assertEqual(self.table.judge(AMERICAN, PING).action, Action.WRAP)
            self.assertEqual(self.table.judge(AMERICAN, NOISE).action, Action.ALLOW)
        self.assertEqual(len(self.observer.judged), 2)
        (flow,) = self.table.flows()
        self.assertEqual([judged.packets for judged in flow.decisions()], [4, 3])

    def test_name_over_two_datagrams(self) -> None:
        """A name that two datagrams of QUIC tell together is judged with the second, each time."""
        first = initial(crypto(0, HANDSHAKE[:40]))
        second = initial(crypto(40, HANDSHAKE[40:]))
        self.table.judge(AMERICAN, first)
        for _ in range(2):
            self.table.judge(AMERICAN, second)
        self.assertEqual(
            [judged.facts.names for judged in self.observer.judged], [(), ("example.com",)]
        )
        self.table.forget(AMERICAN)
        self.table.judge(AMERICAN, second)
        self.assertEqual(self.observer.judged[-1].facts.names, ())

    def test_same_signature_again(self) -> None:
        """A flow that begins with a ping does not judge its second ping again."""
        for _ in range(3):
            self.assertEqual(self.table.judge(AMERICAN, PING).rule, "plain")
        self.assertEqual(len(self.observer.judged), 1)
        self.assertEqual(self.observer.judged[0].packets, 3)

    def test_other_message(self) -> None:
        """Audio in a flow that began with a ping is a decision of its own."""
        self.table.judge(AMERICAN, PING)
        self.table.judge(AMERICAN, AUDIO)
        messages = [one.facts.content and one.facts.content.message for one in self.observer.judged]
        self.assertEqual(messages, ["PPing1_v7", "PAudioData_v3"])

    def test_new_epoch(self) -> None:
        """After a reload, each flow's next packet is judged by the new policy."""
        self.table.judge(AMERICAN, NOISE)
        self.table.judge(AMERICAN, PING)
        forbid = PROMISE.replace("action: allow", "action: block")
        self.table.adopt(epoch(forbid, 2))
        verdict = self.table.judge(AMERICAN, NOISE)
        self.assertEqual((verdict.action, verdict.epoch), (Action.BLOCK, 2))
        self.assertEqual(self.table.judge(AMERICAN, PING).epoch, 2)

    def test_stream(self) -> None:
        """A stream is judged before and after its first octets."""
        self.assertFalse(self.table.judge(STREAM, None).settled)
        verdict = self.table.judge(STREAM, HTTP)
        self.assertTrue(verdict.settled)
        self.assertEqual(verdict.rule, "rest")
        self.assertEqual(len(self.table), 1)

    def test_stream_that_names_itself(self) -> None:
        """A name in a stream's first octets can block what the address alone allowed."""
        self.assertEqual(self.table.judge(STREAM, None).action, Action.ALLOW)
        blocked = self.table.judge(STREAM, HTTP.replace(b"www.example.us", b"ap.example.cn"))
        self.assertEqual(blocked.action, Action.BLOCK)

    def test_new_name(self) -> None:
        """A known flow that is asked for by another name is judged again."""
        self.assertEqual(self.table.judge(AMERICAN, NOISE).action, Action.ALLOW)
        verdict = self.table.judge(AMERICAN, NOISE, ("ap.example.cn",))
        self.assertEqual(verdict.action, Action.BLOCK)

    def test_idle(self) -> None:
        """A flow is remembered for as long as it speaks, and then forgotten."""
        self.table.judge(AMERICAN, NOISE)
        self.clock.advance(299)
        self.table.judge(AMERICAN, NOISE)
        self.clock.advance(299)
        self.table.expire()
        self.assertEqual(len(self.table), 1)
        self.clock.advance(2)
        self.table.expire()
        self.assertEqual(len(self.table), 0)
        self.assertEqual([flow.key for flow in self.observer.gone], [AMERICAN])

    def test_forget(self) -> None:
        """A forgotten flow makes room, and forgetting twice does nothing."""
        table = self.make(FlowLimits(max_flows=1))
        table.judge(AMERICAN, NOISE)
        table.forget(AMERICAN)
        table.forget(AMERICAN)
        self.assertEqual(table.judge(CHINESE, STUN).rule, "never-ping")

    def test_full(self) -> None:
        """At its bound the table blocks new flows, says so, and keeps the old ones."""
        table = self.make(FlowLimits(max_flows=2))
        keys = [FlowKey.parse(f"udp 10.1.0.{n}:5 > 192.0.2.1:4001") for n in range(3)]
        rules = [table.judge(key, NOISE).rule for key in keys]
        self.assertEqual(rules, ["rest", "rest", "flow-limit"])
        self.assertIs(table.judge(keys[2], NOISE).action, Action.BLOCK)
        self.assertEqual(table.judge(keys[0], NOISE).rule, "rest")
        self.assertEqual(self.observer.refusals, ["the flow table is full"] * 2)

    def test_one_clients_flood(self) -> None:
        """One client's flood meets its own bound, and another client gets in."""
        table = self.make(FlowLimits(max_flows_per_client=10))
        flood = [FlowKey.parse(f"udp 10.1.0.2:{n + 1} > 192.0.2.1:4001") for n in range(100)]
        rules = [table.judge(key, NOISE).rule for key in flood]
        self.assertEqual((rules.count("rest"), rules.count("flow-limit")), (10, 90))
        other = FlowKey.parse("udp 10.1.0.3:5 > 192.0.2.1:4001")
        self.assertEqual(table.judge(other, NOISE).rule, "rest")
        self.clock.advance(301)
        table.expire()
        self.assertEqual(table.judge(flood[50], NOISE).rule, "rest")

    def test_evicts(self) -> None:
        """Where the kernel remembers verdicts, a client's flood makes room by its own oldest flow:
        no new flow is blocked for it, and no other client's and no stream's is forgotten."""
        table = self.make(FlowLimits(max_flows=12, max_flows_per_client=10, evicts=True))
        quiet = FlowKey.parse("udp 10.1.0.3:5 > 192.0.2.1:4001")
        table.judge(quiet, NOISE)
        table.judge(STREAM, HTTP)
        flood = [FlowKey.parse(f"udp 10.1.0.2:{n + 1} > 192.0.2.1:4001") for n in range(100)]
        self.assertEqual({table.judge(key, NOISE).rule for key in flood}, {"rest"})
        self.assertEqual({flow.key for flow in table.flows()}, {quiet, STREAM, *flood[-10:]})
        self.assertEqual(self.observer.refusals, [])

    def test_stream_in_a_new_epoch(self) -> None:
        """A stream says its first octets once: the next policy judges it by those, and again by
        what it asked for."""
        self.table.judge(STREAM, HTTP)
        forbid = PROMISE.replace("- {id: rest", "- {id: no-web, when: {protocol: http}, "
                                 "action: block}\n- {id: rest")  # fmt: skip
        self.table.adopt(epoch(forbid, 2))
        self.assertEqual(self.table.judge(STREAM, None).rule, "no-web")
        self.assertTrue(self.table.judge(STREAM, None).settled)

    def test_begins(self) -> None:
        """A new stream of the same five-tuple is not judged by what the old one said."""
        self.table.judge(STREAM, HTTP)
        self.table.begins(STREAM)
        self.assertFalse(self.table.judge(STREAM, None).settled)
        self.table.begins(STREAM)
        self.assertEqual([flow.key for flow in self.observer.gone], [STREAM])

    def test_idle_stream(self) -> None:
        """A stream may be silent for two hours (RFC 5382)."""
        self.table.judge(STREAM, HTTP)
        self.clock.advance(7_440)
        self.table.expire()
        self.assertEqual(len(self.table), 1)
        self.clock.advance(1)
        self.table.expire()
        self.assertEqual(len(self.table), 0)

    def test_barred_name(self) -> None:
        """A name that a block rule speaks of is refused before it is resolved, and told of."""
        verdict = self.table.bars(AMERICAN.client, "ap.example.cn")
        assert verdict is not None
        self.assertEqual((verdict.action, verdict.rule), (Action.BLOCK, "never-ping"))
        self.assertIsNone(self.table.bars(AMERICAN.client, "www.example.us"))
        self.assertEqual(self.observer.names, ["ap.example.cn"])

    def test_not_carried(self) -> None:
        """A verdict that could not be carried out is told once a reason."""
        self.table.judge(AMERICAN, PING)
        for reason in ("no exit is up", "no exit is up", "too long"):
            self.table.not_carried(AMERICAN, reason)
        self.table.not_carried(CHINESE, "no such flow")
        self.assertEqual(self.observer.failures, ["no exit is up", "too long"])

    def test_endless_novelty(self) -> None:
        """A flow of ever other messages is judged each time, and not written down each time."""
        self.table.judge(AMERICAN, NOISE)
        for number in range(200):
            frame = bytes([8, 0, 1, 0, number + 1, 0, 0, 0])
            self.table.judge(AMERICAN, frame)
        self.assertLessEqual(len(self.observer.judged), 70)

    def test_looks_like_one(self) -> None:
        """What has the look of a message with identifiers, and cannot be read, is not let pass with
        the flow: it is judged as what it is."""
        self.table.judge(AMERICAN, NOISE)
        torn = PING[:-3]
        facts = self.table.epoch.seen(AMERICAN, torn)
        self.assertEqual(self.table.judge(AMERICAN, torn).rule, self.table.epoch.judge(facts).rule)

    def test_evidence_required(self) -> None:
        """What had to be written down and could not be is blocked."""
        self.observer.can_write = False
        verdict = self.table.judge(AMERICAN, NOISE)
        self.assertEqual((verdict.action, verdict.rule), (Action.BLOCK, "evidence-required"))
        self.assertEqual(self.table.judge(AMERICAN, NOISE).action, Action.BLOCK)
