"""gateway.flow.guard: what shows an identifier by value, or is a probe, is judged as such."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.flow.epoch import Epoch
from gateway.flow.guard import Found, LeakGuard, Lesson
from gateway.flow.table import FlowLimits, FlowTable
from gateway.leaks import Certainty, Finding, Given, Scope, Values, compile_values
from gateway.model import Action, FlowKey, IdentifierKind
from tests.support.epochs import NOISE, PING, STUN, FakeAtlas, FakeObserver
from tests.support.facts import policy
from tests.support.rows import rows

AMERICAN = FlowKey.parse("udp 10.1.0.2:5000 > 192.0.2.1:4001")
OTHER = FlowKey.parse("udp 10.1.0.2:5000 > 192.0.2.2:4001")
CHINESE = FlowKey.parse("udp 10.1.0.2:5000 > 198.51.100.1:4001")
STREAM = FlowKey.parse("tcp 10.1.0.2:5000 > 192.0.2.1:9000")
TEXT = NOISE + b"canary-4711"
NUMBER = bytes.fromhex("01020304")
MANY = bytes(range(64, 192)) * 8
"""A datagram in which one number of 32 bits is no proof."""

POLICY = """
policy: guard
jurisdictions: {china: {location: [CN], registration: [CN], operator: [CN]}}
rules:
- {id: never-ping, when: {traffic: ping, to: china}, action: block}
- {id: plain, when: {plaintext: [given, learned]}, action: {wrap: nearest}}
- {id: rest, when: {}, action: allow}
"""
SWEEPS = """
policy: sweeps
rules:
- {id: elsewhere, when: {traffic: ping}, action: {wrap: nearest}}
- {id: rest, when: {}, action: allow}
"""


def values(*texts: str, kind: IdentifierKind = IdentifierKind.USER_ID) -> Values:
    return compile_values([Given(kind, text) for text in texts])


class GuardCase(SynchronousTestCase):
    """A table with a guard."""

    def setUp(self) -> None:
        self.clock, self.observer, self.guard = Clock(), FakeObserver(), LeakGuard()
        self.turned: list[FlowKey] = []

    def make(self, given: Values | None, text: str = POLICY) -> FlowTable:
        self.text = text
        in_force = Epoch.of(1, policy(text), FakeAtlas(), given)
        limits = FlowLimits()
        table = FlowTable(in_force, self.clock.seconds, limits, self.observer, self.guard)
        table.on_turned.append(self.turned.append)
        return table

    def rule(self, table: FlowTable, key: FlowKey, payload: bytes) -> str:
        return table.judge(key, payload).rule


@rows(
    first={
        "text": ("canary-4711", TEXT),
        "hex": ("hex:0102030405060708", NOISE + bytes(range(1, 9))),
        "a number of 32 bits": ("67305985", NOISE + NUMBER),
        "a pattern's kin, base64": ("canary-4711", NOISE + b"Y2FuYXJ5LTQ3MTE"),
    }
)
class GivenTests(GuardCase):
    """What the operator named is found live, whatever the protocol."""

    def check_first(self, value: str, payload: bytes) -> None:
        """A value in a flow's first datagram decides, and is told once."""
        table = self.make(values(value))
        self.assertEqual(self.rule(table, AMERICAN, payload), "plain")
        self.assertEqual(self.rule(table, AMERICAN, payload), "plain")
        self.assertEqual([leak.found for _, leak in self.observer.leaks], [Found.GIVEN])
        content = self.observer.judged[0].facts.content
        assert content is not None and content.plaintext is not None
        kinds = {one.kind for one in content.plaintext}
        self.assertLessEqual({IdentifierKind.GIVEN, IdentifierKind.USER_ID}, kinds)

    def test_later(self) -> None:
        """A value in a later datagram turns the whole flow, and is told once."""
        table = self.make(values("canary-4711"))
        self.assertEqual(self.rule(table, AMERICAN, NOISE), "rest")
        self.assertEqual(self.rule(table, AMERICAN, TEXT), "plain")
        self.assertEqual(self.rule(table, AMERICAN, NOISE), "plain")
        self.assertEqual(self.rule(table, AMERICAN, STUN), "plain")
        self.assertEqual(self.rule(table, AMERICAN, TEXT), "plain")
        self.assertEqual(len(self.observer.leaks), 1)
        self.assertEqual(self.rule(table, OTHER, NOISE), "rest")

    def test_nothing_given(self) -> None:
        """Without values nothing turns."""
        table = self.make(None)
        self.assertEqual(self.rule(table, AMERICAN, NOISE), "rest")
        self.assertEqual(self.rule(table, AMERICAN, TEXT), "rest")
        self.assertEqual(self.observer.leaks, [])

    def test_chance(self) -> None:
        """Four octets that chance could show turn a flow when they come again in their place."""
        table = self.make(values("67305985"))
        hit = MANY[:100] + NUMBER + MANY[104:]
        elsewhere = MANY[:200] + NUMBER + MANY[204:]
        self.assertEqual(self.rule(table, AMERICAN, NOISE), "rest")
        self.assertEqual(self.rule(table, AMERICAN, hit), "rest")
        self.assertEqual(self.rule(table, AMERICAN, elsewhere), "rest")
        self.assertEqual(self.rule(table, AMERICAN, hit), "plain")

    def test_doubt(self) -> None:
        """A value found in what nobody can read does not say that nothing else is there."""
        text = POLICY.replace(
            "- {id: plain,",
            "- {id: no-tokens, when: {plaintext: token}, action: block}\n- {id: plain,",
        )
        table = self.make(values("canary-4711"), text)
        self.assertEqual(self.rule(table, AMERICAN, NOISE), "no-tokens")
        self.assertEqual(self.rule(table, OTHER, TEXT), "no-tokens")

    def test_reload(self) -> None:
        """A flow that showed a value stays what it is when the policy is loaded again."""
        given = values("canary-4711")
        table = self.make(given)
        self.rule(table, AMERICAN, NOISE)
        self.rule(table, AMERICAN, TEXT)
        table.adopt(Epoch.of(2, policy(self.text), FakeAtlas(), given))
        self.assertEqual(self.rule(table, AMERICAN, NOISE), "plain")

    def test_new_values(self) -> None:
        """Values that were loaded again count for flows that are there."""
        table = self.make(None)
        self.rule(table, AMERICAN, NOISE)
        table.adopt(Epoch.of(2, policy(self.text), FakeAtlas(), values("canary-4711")))
        self.assertEqual(self.rule(table, AMERICAN, NOISE), "rest")
        self.assertEqual(self.rule(table, AMERICAN, TEXT), "plain")

    def test_stream(self) -> None:
        """A value in a stream's first octets decides."""
        table = self.make(values("canary-4711"))
        table.judge(STREAM, None)
        self.assertEqual(self.rule(table, STREAM, b"user=canary-4711\r\n"), "plain")

    def test_known_protocol(self) -> None:
        """A recognised message keeps its own identifiers beside a value."""
        table = self.make(values("287454020"))
        self.rule(table, AMERICAN, PING)
        content = self.observer.judged[0].facts.content
        assert content is not None and content.plaintext is not None
        self.assertEqual(
            [(str(one.kind), one.offset) for one in content.plaintext],
            [("room-id", 6), ("user-id", 10), ("given", 10)],
        )
        self.assertFalse(content.may_show_more)

    def test_required(self) -> None:
        """A flow that cannot be written down as turned is blocked."""
        table = self.make(values("canary-4711"))
        self.rule(table, AMERICAN, NOISE)
        self.observer.can_write = False
        self.assertEqual(table.judge(AMERICAN, TEXT).action, Action.BLOCK)

    def test_no_value_in_sentences(self) -> None:
        """An alarm says where, and never the value."""
        table = self.make(values("canary-4711"))
        self.rule(table, AMERICAN, TEXT)
        ((_, leak),) = self.observer.leaks
        self.assertNotIn("4711", repr(leak))
        self.assertIn("9+11", leak.sentence)


class LearnedTests(GuardCase):
    """What the finder of unnamed identifiers learned counts as an identifier."""

    def lesson(self, octets: bytes) -> Lesson:
        client = AMERICAN.client.address
        to = (AMERICAN.destination,)
        finding = Finding(
            "unnamed", Scope.USER, Certainty.LIKELY, "s", (client,), to, 1, 9, 0.0, 9.0
        )
        return Lesson(finding, {client: octets})

    def test_learned(self) -> None:
        """What was learned of a client turns its flows, and no other client's."""
        self.guard.learns = True
        table = self.make(None)
        stranger = FlowKey.parse("udp 10.1.0.3:5000 > 192.0.2.1:4001")
        for key in (AMERICAN, stranger):
            self.assertEqual(self.rule(table, key, TEXT), "rest")
        self.assertTrue(self.guard.learn(self.lesson(b"4711")))
        self.assertFalse(self.guard.learn(self.lesson(b"4711")))
        table.ask_again(AMERICAN.client.address, [AMERICAN.destination.address])
        self.assertEqual(self.turned, [AMERICAN])
        self.assertEqual(self.rule(table, AMERICAN, TEXT), "plain")
        self.assertEqual(self.rule(table, stranger, TEXT), "rest")
        self.assertEqual([leak.found for _, leak in self.observer.leaks], [Found.LEARNED])

    def test_samples(self) -> None:
        """Samples are taken of what leaves in plaintext, a bounded number, and only if asked."""
        table = self.make(values("canary-4711"))
        self.rule(table, AMERICAN, NOISE)
        self.assertEqual(self.guard.take_samples(), [])
        self.guard.learns = True
        self.rule(table, AMERICAN, NOISE)
        self.rule(table, OTHER, TEXT)
        self.assertEqual([sample[3] for sample in self.guard.take_samples()], [NOISE])
        for _ in range(5_000):
            self.rule(table, AMERICAN, NOISE)
        self.assertEqual(len(self.guard.take_samples()), 2_048)


class SweepTests(GuardCase):
    """Probes are pings, whatever their protocol."""

    def make(self, given: Values | None, text: str = SWEEPS) -> FlowTable:
        return super().make(given, text)

    def test_sweep(self) -> None:
        """From the fourth address on like datagrams are pings, the earlier ones with their next,
        and later rounds from the first."""
        table = self.make(None)
        keys = [FlowKey.parse(f"udp 10.1.0.2:5000 > 198.51.100.{n}:4001") for n in range(1, 6)]
        self.assertEqual(
            [self.rule(table, key, NOISE) for key in keys],
            ["rest", "rest", "rest", "elsewhere", "elsewhere"],
        )
        self.assertEqual(self.turned, keys[:3])
        self.assertEqual([leak.found for _, leak in self.observer.leaks], [Found.SWEEP])
        self.clock.advance(60)
        self.assertEqual(self.rule(table, keys[0], NOISE), "elsewhere")
        later = FlowKey.parse("udp 10.1.0.2:5000 > 198.51.100.99:4001")
        self.assertEqual(self.rule(table, later, NOISE), "elsewhere")

    def test_other_traffic(self) -> None:
        """What is not like the probes is none of them, nor is another client's."""
        table = self.make(None)
        for n in range(1, 6):
            table.judge(FlowKey.parse(f"udp 10.1.0.2:5000 > 198.51.100.{n}:4001"), NOISE)
        self.assertEqual(self.rule(table, CHINESE._replace(client=OTHER.client), MANY), "rest")
        stranger = FlowKey.parse("udp 10.1.0.3:5000 > 198.51.100.1:4001")
        self.assertEqual(self.rule(table, stranger, NOISE), "rest")
