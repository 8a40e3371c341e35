"""gateway.core: policy and data in force, reloaded, and written down."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from gateway import config
from gateway.core import Core
from gateway.errors import DataError, InputError
from gateway.flow.guard import Found
from gateway.model import Action, Endpoint, FlowKey, Transport
from tests.leaks.clients import ALICE, BOB, another, datagrams
from tests.support.bundled import world
from tests.support.epochs import PING, FakeObserver
from tests.wire import captures

GATEWAY = """\
policy: policy.yaml
listeners: [{kind: socks5, address: "127.0.0.1:0"}]
exits:
  - {name: us-east, kind: masque, url: "https://exit.example/{target_host}/{target_port}/", \
ca: ca.pem, certificate: gw.pem, key: gw.key}
geo: {overrides: [{network: 192.0.2.0/24, location: US, reason: a test}]}
"""
POLICY = """\
policy: promise
jurisdictions: {china: {location: [CN], registration: [CN], operator: [CN]}}
rules:
- {id: plain, when: {plaintext: any, to: {not: china}}, action: {wrap: us-east}}
- {id: rest, when: {to: {not: china}}, action: allow, expires: 2026-11-23}
"""
LEARNED = """
rules:
- {id: learned, when: {plaintext: learned}, action: block}
- {id: rest, when: {}, action: allow}
"""
AMERICAN = FlowKey.parse("udp 10.1.0.2:5000 > 192.0.2.1:4001")
NOISE = b"\x7f\x02\x03\x04"


class CoreTests(SynchronousTestCase):
    """The last good epoch stays in force, and what happens is told."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.clock = Clock()
        self.now = datetime(2026, 11, 23, 12, tzinfo=UTC)
        self.observer = FakeObserver()

    def core(self, gateway: str = GATEWAY, policy: str = POLICY) -> Core:
        (self.folder / "gateway.yaml").write_text(gateway)
        (self.folder / "policy.yaml").write_text(policy)
        loaded = config.load(self.folder / "gateway.yaml")
        handed = dataclasses.replace(world(), now=lambda: self.now)
        core = Core(self.clock, loaded, handed, [self.observer])
        core.start()
        self.addCleanup(core.stop)
        return core

    def test_judges(self) -> None:
        """A flow is judged by the policy over the data, told to observers and written down."""
        core = self.core()
        self.assertEqual(core.table.judge(AMERICAN, PING).target, "us-east")
        self.assertEqual(len(self.observer.judged), 1)
        log = (self.folder / "evidence" / "decisions.jsonl").read_text()
        self.assertEqual(log.count('"rule":"plain"'), 1)

    def test_reload(self) -> None:
        """A good policy is a new epoch; a bad one is refused and logged, and changes nothing."""
        core = self.core()
        self.assertEqual(core.table.judge(AMERICAN, NOISE).action, Action.ALLOW)
        (self.folder / "policy.yaml").write_text("policy: closed\n")
        self.assertIs(self.successResultOf(core.reload()), True)
        verdict = core.table.judge(AMERICAN, NOISE)
        self.assertEqual((verdict.action, verdict.epoch), (Action.BLOCK, 2))
        (self.folder / "policy.yaml").write_text("policy: broken\ndefault: open\n")
        self.assertIs(self.successResultOf(core.reload()), False)
        self.assertEqual(core.table.epoch.policy.name, "closed")

    def test_epoch_records(self) -> None:
        """What is in force from when on is in the log, by the hashes that decisions name, also
        where nothing is decided; what was refused is not."""
        core = self.core()
        (self.folder / "policy.yaml").write_text("policy: closed\n")
        self.successResultOf(core.reload())
        (self.folder / "policy.yaml").write_text("policy: broken\ndefault: open\n")
        self.successResultOf(core.reload())
        core.table.judge(AMERICAN, NOISE)
        lines = (self.folder / "evidence" / "decisions.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        entered = [one for one in records if "epoch" in one]
        self.assertEqual(
            [one["epoch"] for one in entered],
            [
                {"number": 1, "name": "promise", "mode": "enforce"},
                {"number": 2, "name": "closed", "mode": "enforce"},
            ],
        )
        (decision,) = (one for one in records if "verdict" in one)
        for revision in ("policy", "data"):
            self.assertEqual(decision[revision], entered[1][revision])
        self.assertNotEqual(entered[0]["policy"], entered[1]["policy"])

    def test_failing_case(self) -> None:
        """A policy that does not do what its cases say is refused, at the case's line: by a reload,
        and at the start."""
        core = self.core()
        case = 'cases: [{flow: "udp 10.1.0.2:5000 > 192.0.2.1:4001", expect: {action: block}}]\n'
        wrong = POLICY + case.replace("expect", "payload: {hex: 7f020304}, expect")
        (self.folder / "policy.yaml").write_text(wrong)
        self.assertIs(self.successResultOf(core.reload()), False)
        (fault,) = core.epochs.last.faults
        self.assertIn("policy.yaml:6:9: this case fails: action is allow", fault)
        error = self.assertRaises(InputError, self.alone, wrong)
        self.assertIn("this case fails", str(error))

    def alone(self, policy: str) -> Core:
        """Make another core, with a folder in which nothing was kept yet."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        return self.core(policy=policy)

    def test_last_good(self) -> None:
        """The last good policy stands in for one that is refused at the start, and the reload that
        follows ends that."""
        self.core().stop()
        core = self.core(policy="policy: broken\ndefault: open\n")
        self.assertEqual(core.table.epoch.policy.name, "promise")
        self.assertIs(core.epochs.is_standing_in, True)
        self.assertIn('"open"', core.epochs.last.faults[0])
        (self.folder / "policy.yaml").write_text("policy: mended\n")
        self.assertIs(self.successResultOf(core.reload()), True)
        self.assertIs(core.epochs.is_standing_in, False)
        self.assertEqual(core.epochs.last.faults, ())

    def test_last_good_does_not_fit(self) -> None:
        """Where the last good policy fits no longer either, the faults are those of the new one."""
        self.core().stop()
        nowhere = GATEWAY.replace("us-east", "us-west")  # the kept one wraps to us-east
        error = self.assertRaises(InputError, self.core, nowhere, "policy: x\ndefault: open\n")
        self.assertNotIn("us-east", str(error))
        self.assertIn('"open"', str(error))

    def test_midnight(self) -> None:
        """An exception stops allowing when its last day is over, without anybody's doing."""
        core = self.core()
        self.assertEqual(core.table.judge(AMERICAN, NOISE).action, Action.ALLOW)
        self.now += timedelta(hours=12)
        self.clock.advance(5)
        self.assertEqual(core.table.judge(AMERICAN, NOISE).action, Action.BLOCK)

    def test_midnight_with_a_broken_policy(self) -> None:
        """It stops allowing at midnight also while the policy's file is broken, or gone."""
        core = self.core()
        (self.folder / "policy.yaml").write_text("policy: broken\ndefault: open\n")
        self.now += timedelta(hours=12)
        self.clock.advance(5)
        self.assertEqual(core.table.judge(AMERICAN, NOISE).action, Action.BLOCK)
        self.assertEqual(core.table.epoch.policy.name, "promise")

    def test_adopted(self) -> None:
        """Whoever carries flows is told of a new epoch."""
        core = self.core()
        told: list[int] = []
        core.on_adopted.append(lambda: told.append(core.table.epoch_number))
        self.successResultOf(core.reload())
        self.assertEqual(told, [2])

    def test_geo_again(self) -> None:
        """A reload reads the overrides again; other changes of the file wait for a restart."""
        core = self.core()
        self.assertEqual(core.table.judge(AMERICAN, NOISE).action, Action.ALLOW)
        (self.folder / "gateway.yaml").write_text(GATEWAY.replace("location: US", "location: CN"))
        self.assertIs(self.successResultOf(core.reload()), True)
        self.assertEqual(core.table.judge(AMERICAN, NOISE).action, Action.BLOCK)

    def test_barred_ways(self) -> None:
        """A relay or an exit that stands where a block rule lets nothing go is refused."""
        rule = "rules:\n- {id: never, when: {traffic: ping, to: china}, action: block}\n"
        barred = POLICY.replace("rules:\n", rule)
        relay = GATEWAY + 'relays: [{name: r, address: "118.190.148.38:8000"}]\n'
        error = self.assertRaises(InputError, self.core, relay, barred)
        self.assertIn('relay "r" stands, or may stand, where rule "never"', str(error))
        away = GATEWAY.replace("exit.example", "118.190.148.38")
        error = self.assertRaises(InputError, self.core, away, barred)
        self.assertIn('exit "us-east" stands where rule "never"', str(error))

    def test_all_at_once(self) -> None:
        """Faults of policy, data and exits are told in one run."""
        gateway = GATEWAY.replace("geo: {", "geo: {sources: [{mmdb: none.mmdb, axis: location}], ")
        error = self.assertRaises(InputError, self.core, gateway, "policy: p\ndefault: open\n")
        self.assertIn("none.mmdb", str(error))
        self.assertIn("open", str(error))

    def test_data_grow_stale(self) -> None:
        """Data older than allowed count as none, and what rests on them is blocked."""
        core = self.core(GATEWAY.replace("geo: {", "geo: {max_age_days: 100, "))
        key = FlowKey.parse("udp 10.1.0.2:5000 > 50.17.126.121:4001")
        self.assertEqual(core.table.judge(key, NOISE).action, Action.ALLOW)
        self.now += timedelta(days=60)
        self.clock.advance(5)
        self.assertEqual(core.table.judge(key, NOISE).action, Action.BLOCK)

    def test_unknown_exit(self) -> None:
        """A wrap to an exit that is not configured is refused at the rule's line."""
        error = self.assertRaises(
            InputError, self.core, policy=POLICY.replace("us-east", "us-west")
        )
        self.assertIn('policy.yaml:4:3: rule "plain": no exit is called "us-west"', str(error))

    def test_wrap_in_plaintext(self) -> None:
        """A wrap to a proxy whose way is plaintext is refused at the rule's line; a reroute, and a
        wrap to one in TLS, are not."""
        proxy = GATEWAY.replace(
            "exits:\n", 'exits:\n  - {name: p, kind: socks5, address: "198.51.100.1:1080"}\n'
        )
        policy = POLICY.replace("us-east", "p")
        error = self.assertRaises(InputError, self.core, proxy, policy)
        says = 'policy.yaml:4:3: rule "plain": a wrap promises encryption, and the way to the proxy'
        self.assertIn(f'{says} "p" is plaintext', str(error))
        self.core(proxy, policy.replace("wrap:", "reroute:"))
        tls = 'kind: http-connect, url: "https://198.51.100.1"'
        self.core(proxy.replace('kind: socks5, address: "198.51.100.1:1080"', tls), policy)

    def test_barred_proxy(self) -> None:
        """A proxy that stands where a block rule lets nothing go is refused; one in plaintext
        also where it perhaps stands there."""
        barring = POLICY + "- {id: never, when: {to: china}, action: block}\n"
        for exit_, says in (
            ('{name: p, kind: socks5, address: "118.190.148.38:1"}', "stands, or may stand, where"),
            ('{name: p, kind: socks5, address: "240.0.0.1:1"}', "stands, or may stand, where"),
            ('{name: p, kind: http-connect, url: "https://118.190.148.38"}', "stands where"),
        ):
            gateway = GATEWAY.replace("exits:\n", f"exits:\n  - {exit_}\n")
            error = self.assertRaises(InputError, self.core, gateway, barring)
            self.assertIn(f'exit "p" {says} rule "never"', str(error))
            self.assertIn("gateway.yaml:4:", str(error))

    def test_no_log(self) -> None:
        """Without a place for evidence the gateway runs, unless evidence is required."""
        (self.folder / "evidence").write_text("a file where the folder should be")
        core = self.core()
        self.assertEqual(core.table.judge(AMERICAN, NOISE).action, Action.ALLOW)
        self.assertRaises(DataError, self.core, GATEWAY + "evidence: {required: true}\n")

    def test_log_later(self) -> None:
        """A log that could not be opened at the start is opened as soon as it can be, and what is
        decided from then on is in it; until then the log for operators says why, once."""
        place = self.folder / "evidence"
        place.write_text("a file where the folder should be")
        with capturedLogs() as logged:
            core = self.core()
            self.clock.pump([5.0] * 3)
        said = [one["reason"] for one in logged if "no decision" in one.get("log_format", "")]
        self.assertEqual(len(said), 1, said)
        place.unlink()
        self.clock.advance(5)
        core.table.judge(AMERICAN, NOISE)
        self.assertIn('"rule":"rest"', (place / "decisions.jsonl").read_text())

    def test_configuration_gone(self) -> None:
        """A configuration that is gone is a refusal; what is in force stays until it is back."""
        core = self.core()
        (self.folder / "gateway.yaml").rename(self.folder / "away")
        self.assertIs(self.successResultOf(core.reload()), False)
        (fault,) = core.epochs.last.faults
        self.assertIn("gateway.yaml", fault)
        self.assertIn("No such file", fault)
        self.assertEqual(core.table.epoch.number, 1)
        (self.folder / "away").rename(self.folder / "gateway.yaml")
        self.assertIs(self.successResultOf(core.reload()), True)
        self.assertEqual(core.epochs.last.faults, ())

    def test_idle_flows(self) -> None:
        """Flows that have gone silent are let go."""
        core = self.core()
        core.table.judge(AMERICAN, NOISE)
        self.clock.pump([5.0] * 61)
        self.assertEqual(len(core.table), 0)
        self.assertEqual([flow.key for flow in self.observer.gone], [AMERICAN])

    def test_leak(self) -> None:
        """A given value turns its flow, is written down without the value, and is a trouble."""
        core = self.core(GATEWAY + "identifiers: {user-id: {values: [canary-4711]}}\n")
        self.assertEqual(core.table.judge(AMERICAN, NOISE).action, Action.ALLOW)
        self.assertEqual(core.table.judge(AMERICAN, b"canary-4711").target, "us-east")
        self.assertEqual(core.witness.leaks[Found.GIVEN], 1)
        self.assertEqual(core.witness.last_leak, self.now)
        log = (self.folder / "evidence" / "decisions.jsonl").read_text()
        (record,) = [json.loads(line) for line in log.splitlines() if '"leak"' in line]
        place = {"offset": 0, "length": 11}
        self.assertEqual(
            record["leak"],
            {
                "found": "given",
                "plaintext": [{"kind": "user-id", **place}, {"kind": "given", **place}],
            },
        )
        self.assertNotIn("4711", log)

    def test_learned(self) -> None:
        """Ids that nobody named are learned from what leaves in plaintext, and turn the flows."""
        core = self.core(
            GATEWAY + "identifiers: {given: {values: [canary-4711]}}\n", "policy: open\n" + LEARNED
        )
        sent = [one for one in datagrams(captures.live(captures.SPEAKER)) if one[3]]
        verdicts = []
        for start_s in (0, 60):
            for time_s, to, payload, _ in sent:
                while self.clock.seconds() < start_s + time_s:
                    self.clock.advance(0.25)
                for client, rewrite in ((ALICE, bytes), (BOB, another(b"\x9a\x7b\x5c\x3d"))):
                    key = FlowKey(Transport.UDP, Endpoint(client, 5000), to)
                    verdicts.append(core.table.judge(key, rewrite(payload)).rule)
            self.clock.advance(40)
        self.assertEqual(set(verdicts[:100]), {"rest"})
        self.assertIn("learned", verdicts[len(verdicts) // 2 :])
        self.assertGreater(core.witness.leaks[Found.LEARNED], 0)
