"""gateway.canaries: flows that must be held are judged again and again, and one that is not is an
alarm."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gateway import config
from gateway.canaries import BLOCKED, FAILED, HELD, JUDGED, SHADOW, THROUGH, UNSEEN, Canaries
from gateway.canaries.bench import Asked
from gateway.canaries.paths import Canary, Sight
from gateway.core import Core
from gateway.errors import CarryError, InputError
from gateway.flow.epoch import Epoch
from gateway.model import Action, FlowKey, Verdict
from tests.support.bundled import world
from tests.support.epochs import NOISE, PING, FakeObserver

GATEWAY = """\
policy: policy.yaml
listeners: [{kind: socks5, address: "127.0.0.1:0"}]
canaries: {every_s: 60%s}
geo:
  overrides:
  - {network: 192.0.2.0/24, location: US, registration: US, operator: US, reason: a test}
  - {network: 198.51.100.0/24, location: CN, registration: CN, operator: CN, reason: a test}
"""
POLICY = """\
policy: promise
jurisdictions: {china: {location: [CN], registration: [CN], operator: [CN]}}
rules:
- {id: never, when: {to: china}, action: block}
- {id: plain, when: {plaintext: any, to: {not: china}}, action: {wrap: nearest}}
- {id: rest, when: {to: {not: china}}, action: allow}
"""
TO_CHINA = "udp 10.1.0.2:5000 > 198.51.100.1:4001"
TO_AMERICA = "udp 10.1.0.2:5000 > 192.0.2.1:4001"
CASES = f"""\
cases:
- {{note: a ping to China, flow: "{TO_CHINA}", payload: {{hex: "{PING.hex()}"}}, expect: {{action: block}}}}
- {{note: a ping that names somebody, flow: "{TO_AMERICA}", payload: {{hex: "{PING.hex()}"}}, expect: {{action: wrap}}}}
- {{note: the same flow, flow: "{TO_AMERICA}", payload: {{hex: "{NOISE.hex()}"}}, to: {{location: [CN]}}, expect: {{action: block}}}}
- {{note: no canary, flow: "{TO_AMERICA}", payload: {{hex: "000100002112a442000102030405060708090a0b"}}, expect: {{action: allow}}}}
- {{note: a stream, flow: "tcp 10.1.0.2:5000 > 198.51.100.1:443", expect: {{action: block}}}}
"""  # noqa: E501  # a case a line


class CanariesCase(SynchronousTestCase):
    """Has a core and its canaries."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.clock = Clock()
        self.observer = FakeObserver()

    def begin(self, policy: str = POLICY + CASES, flows: str = "") -> Canaries:
        """Start a core and its canaries."""
        (self.folder / "policy.yaml").write_text(policy)
        (self.folder / "gateway.yaml").write_text(GATEWAY % flows)
        loaded = config.load(self.folder / "gateway.yaml")
        self.core = Core(self.clock, loaded, world(), [self.observer])
        self.addCleanup(self.core.stop)
        canaries = Canaries(self.clock, self.core, loaded.canaries)
        canaries.start()
        self.addCleanup(canaries.stop)
        return canaries

    def told(self) -> list[dict[str, Any]]:
        """Give the records of canaries."""
        lines = (self.folder / "evidence" / "decisions.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        return [record["canary"] for record in records if "canary" in record]

    def flow(self, flow: str, action: str) -> str:
        """Spell a canary of the configuration."""
        payload = f'{{hex: "{PING.hex()}"}}'
        return f', flows: [{{flow: "{flow}", payload: {payload}, expect: {{action: {action}}}}}]'


class CanariesTests(CanariesCase):
    """Canaries of a core."""

    def test_cases(self) -> None:
        """Without flows of their own they are the policy's cases that expect block or wrap, but for
        those that say instead of the data where a destination is."""
        canaries = self.begin()
        self.clock.advance(5)
        notes = [one.note for one, outcome, _ in canaries.last]
        self.assertEqual(notes, ["a ping to China", "a ping that names somebody", "a stream"])
        self.assertEqual([outcome for _, outcome, _ in canaries.last], [HELD] * 3)

    def test_again(self) -> None:
        """They are judged soon after the start, every so many seconds, and with each policy."""
        canaries = self.begin()
        self.clock.advance(4.9)
        self.assertEqual(canaries.outcomes[JUDGED, HELD], 0)
        self.clock.advance(0.1)
        self.assertEqual(canaries.outcomes[JUDGED, HELD], 3)
        self.clock.advance(60)
        self.assertEqual(canaries.outcomes[JUDGED, HELD], 6)
        self.successResultOf(self.core.reload())
        self.assertEqual(canaries.outcomes[JUDGED, HELD], 9)
        canaries.stop()
        self.clock.advance(600)
        self.assertEqual(canaries.outcomes[JUDGED, HELD], 9)

    def test_written(self) -> None:
        """Each outcome is a record, with what judged it and what would have been carried."""
        self.begin()
        self.clock.advance(5)
        block, wrap, stream = self.told()
        self.assertEqual(
            block,
            {
                "flow": TO_CHINA,
                "note": "a ping to China",
                "through": "session",
                "expected": "block",
                "action": "block",
                "rule": "never",
                "carried": None,
                "outcome": "held",
            },
        )
        self.assertEqual((wrap["carried"], wrap["action"]), ("wrap", "wrap"))
        self.assertEqual(stream["through"], "table")

    def test_nobody_s(self) -> None:
        """They are no client's: no observer, no flow and no count of decisions knows of them."""
        self.begin()
        self.clock.advance(600)
        self.assertEqual(len(self.core.table), 0)
        self.assertEqual(self.observer.judged, [])
        log = self.core.witness.log
        assert log is not None
        decided = {name for name in log._counted() if name.startswith("decided")}
        self.assertEqual(decided, {"decided: canary", "decided: epoch"})

    def test_through(self) -> None:
        """One that gets through is an alarm, and nothing of it leaves: there is no socket."""
        policy = POLICY.replace("when: {to: china}, action: block", "when: {}, action: allow")
        canaries = self.begin(policy, self.flow(TO_CHINA, "block"))
        with capturedLogs() as logged:
            self.clock.advance(5)
        self.assertEqual([outcome for _, outcome, _ in canaries.last], [THROUGH])
        (record,) = self.told()
        self.assertEqual((record["action"], record["carried"]), ("allow", "allow"))
        (alarm,) = [one for one in logged if one.get("outcome") == THROUGH]
        self.assertEqual((alarm["log_level"], alarm["flow"]), (LogLevel.error, TO_CHINA))

    def test_wrapped_instead(self) -> None:
        """What was to be blocked and is wrapped got through: a wrapped ping is a ping."""
        canaries = self.begin(flows=self.flow(TO_AMERICA, "block"))
        self.clock.advance(5)
        self.assertEqual([outcome for _, outcome, _ in canaries.last], [THROUGH])

    def test_blocked_instead(self) -> None:
        """What was to be wrapped and is blocked leaked nothing."""
        canaries = self.begin(flows=self.flow(TO_CHINA, "wrap"))
        self.clock.advance(5)
        self.assertEqual([outcome for _, outcome, _ in canaries.last], [BLOCKED])

    def test_shadow(self) -> None:
        """Under a policy that only watches, they pass, and it is said why."""
        canaries = self.begin("mode: shadow\n" + POLICY, self.flow(TO_CHINA, "block"))
        self.clock.advance(5)
        self.assertEqual([outcome for _, outcome, _ in canaries.last], [SHADOW])

    def test_failed(self) -> None:
        """A judge that raises is an alarm, and no flow can be judged then."""
        canaries = self.begin()
        self.assertTrue(canaries.is_judging())

        def broken(*_arguments: object) -> None:
            raise ValueError("broken")

        self.patch(Epoch, "judge", broken)
        self.clock.advance(5)
        self.assertEqual({outcome for _, outcome, _ in canaries.last}, {FAILED})
        self.assertFalse(canaries.is_judging())
        self.assertTrue(self.flushLoggedErrors(ValueError))

    def test_probe(self) -> None:
        """To ask whether flows can be judged leaves no trace, whatever the policy says of it."""
        canaries = self.begin(
            POLICY.replace("when: {to: {not: china}}, action: allow", "when: {}, action: allow")
        )
        with capturedLogs() as logged:
            for _ in range(3):
                self.assertTrue(canaries.is_judging())
        self.assertEqual([one["log_format"] for one in logged], [])
        self.assertEqual(self.told(), [])

    def test_none(self) -> None:
        """`flows: []`: none are judged."""
        canaries = self.begin(flows=", flows: []")
        self.clock.advance(600)
        self.assertFalse(canaries.outcomes)

    def test_refused(self) -> None:
        """What is no flow, no payload, or expects to be let pass, is a fault of the file."""
        for flows in (
            self.flow("udp nonsense", "block"),
            self.flow(TO_CHINA, "allow"),
            self.flow(TO_CHINA, "block").replace("3800", "38xx"),
        ):
            with self.assertRaises(InputError):
                self.begin(flows=flows)


class FakePath:
    """A path whose sights a test gives (Path API)."""

    name = "fake"

    def __init__(self) -> None:
        self.rounds: list[list[Asked]] = []
        self.seen: Deferred[list[Sight]] = Deferred()
        self.is_closed = False

    def asked(self, canary: Canary, at: int) -> Asked | None:
        """Path API: all but streams."""
        return None if canary.note == "a stream" else canary.asked

    def send(self, flows: Sequence[Asked]) -> Deferred[list[Sight]]:
        """Path API."""
        self.rounds.append(list(flows))
        self.seen = Deferred()
        return self.seen

    def close(self) -> None:
        """Path API."""
        self.is_closed = True


class SendingTests(CanariesCase):
    """Canaries that are sent, too."""

    def begin(self, policy: str = POLICY + CASES, flows: str = "") -> Canaries:
        """Start a core and its canaries, with a path."""
        canaries = super().begin(policy, flows)
        self.path = FakePath()
        canaries.paths = [self.path]
        return canaries

    def sent(self, canaries: Canaries) -> list[str]:
        """Give the outcomes of the last round that was sent."""
        return [outcome for _, outcome, path in canaries.last if path == "fake"]

    def test_outcomes(self) -> None:
        """What was about to leave counts, and not what a verdict says; who was not let in knows
        nothing; all of it is told of by the path's name."""
        canaries = self.begin()
        block, wrap = (Verdict(action, "rule", "") for action in (Action.BLOCK, Action.WRAP))
        for sights, expected in (
            ((Sight(verdict=block), Sight(verdict=wrap, carried="wrap")), [HELD, HELD]),
            ((Sight(), Sight()), [HELD, BLOCKED]),
            ((Sight(carried="wrap"), Sight(carried="allow")), [THROUGH, THROUGH]),
            ((Sight(verdict=block, carried="out by eth0"), Sight()), [THROUGH, BLOCKED]),
            ((Sight(went_in=False), Sight(went_in=False, error="gone")), [UNSEEN, FAILED]),
        ):
            canaries.judge()
            self.path.seen.callback(list(sights))
            self.assertEqual(self.sent(canaries), expected)
        self.assertEqual([len(flows) for flows in self.path.rounds], [2] * 5)
        told = [one for one in self.told() if one["through"] == "fake"]
        self.assertEqual(told[6]["carried"], "out by eth0")
        self.assertEqual(canaries.outcomes["fake", THROUGH], 3)

    def test_only_held(self) -> None:
        """What the policy does not hold is not sent: its alarm is raised already."""
        policy = POLICY.replace("when: {to: china}, action: block", "when: {}, action: allow")
        self.begin(policy, self.flow(TO_CHINA, "block"))
        self.clock.advance(5)
        self.assertEqual(self.path.rounds, [[]])

    def test_one_round(self) -> None:
        """One round is under way at a time; what comes of one while the policy changes is not
        told, and all are sent again."""
        canaries = self.begin()
        self.clock.advance(5)
        self.clock.advance(600)
        self.assertEqual(len(self.path.rounds), 1)
        before = self.path.seen
        self.successResultOf(self.core.reload())
        self.assertEqual(len(self.path.rounds), 1)
        before.callback([Sight(carried="allow")] * 2)
        self.assertEqual(self.sent(canaries), [])
        self.assertEqual(len(self.path.rounds), 2)
        self.path.seen.callback([Sight(), Sight(carried="wrap")])
        self.assertEqual(self.sent(canaries), [HELD, HELD])

    def test_broken_path(self) -> None:
        """A path that fails is an alarm for each that it should have taken."""
        canaries = self.begin()
        for error in (CarryError("path", "gone"), ValueError("broken")):
            canaries.judge()
            self.path.seen.errback(Failure(error))
            self.assertEqual(self.sent(canaries), [FAILED, FAILED])
        self.assertTrue(self.flushLoggedErrors(ValueError))

    def test_stray(self) -> None:
        """One that nobody watches and that was about to leave is an alarm until the next round."""
        canaries = self.begin()
        key = FlowKey.parse(TO_CHINA)
        with capturedLogs() as logged:
            self.core.apart.took(key, "out by eth0")
        self.assertEqual([one.outcome for one in canaries.last], [THROUGH])
        self.assertEqual([one["log_level"] for one in logged], [LogLevel.error])
        canaries.judge()
        self.path.seen.callback([Sight(), Sight()])
        self.assertNotIn(THROUGH, [one.outcome for one in canaries.last])

    def test_stopped(self) -> None:
        """When it ends a round that is under way ends as well, and none begins."""
        canaries = self.begin()
        self.clock.advance(5)
        self.successResultOf(self.core.reload())
        canaries.stop()
        self.assertTrue(self.path.is_closed)
        self.clock.advance(600)
        self.assertEqual(len(self.path.rounds), 1)
