"""gateway.console.metrics and counts: what happened, as Prometheus reads it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway import config
from gateway.console.metrics import Metrics
from gateway.console.status import Door, Process, status
from gateway.core import Core
from gateway.counts import NOWHERE, OTHERS, Counts
from gateway.flow.guard import leak_of
from gateway.flow.table import Judged
from gateway.model import Axis, Facts, FlowKey, Identifier, IdentifierKind, Place
from tests.support.bundled import world
from tests.support.epochs import PING

GATEWAY = """\
policy: policy.yaml
listeners: [{kind: socks5, address: "127.0.0.1:0"}]
geo: {overrides: [{network: 192.0.2.0/24, location: US, reason: a test}]}
"""
POLICY = """\
policy: promise
jurisdictions: {us: {location: [US]}}
rules:
- {id: watched, when: {to: us}, action: block, mode: shadow}
- {id: pings, when: {traffic: ping, to: us}, action: allow}
- {id: never, when: {port: 9}, action: block}
"""
TO_US = FlowKey.parse("udp 10.1.0.2:5000 > 192.0.2.1:4001")
TO_NOBODY = FlowKey.parse("udp 10.1.0.2:5000 > 10.9.9.9:4001")


class Way:
    """An exit that is up."""

    up = True
    sentence = "up"
    rtt_s = 0.25

    def __init__(self) -> None:
        self.counters = {"keys_changed": 2}


class Chosen:
    """A choice among exits."""

    chosen = "b"
    changes = 3
    moved = 4


class Numbers(SynchronousTestCase):
    """A core with a policy, counted."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        (self.folder / "gateway.yaml").write_text(GATEWAY)
        (self.folder / "policy.yaml").write_text(POLICY)
        self.counts = Counts()
        loaded = config.load(self.folder / "gateway.yaml")
        self.core = Core(Clock(), loaded, world(), [self.counts])
        self.addCleanup(self.core.stop)
        door = Door("socks5", "127.0.0.1:1080", {"blocked": 3})
        ways = {"a": Way(), "b": Way()}
        process = Process(self.core, (door,), ways, None, nearest=Chosen())
        began = datetime(2026, 11, 23, 11, tzinfo=UTC)
        self.metrics = Metrics(
            lambda: status(process, began),
            lambda: self.core.table.epoch,
            lambda: self.counts,
            world().now,
        )

    def numbers(self) -> dict[str, float]:
        """Read the exposition as Prometheus does: name{label="value"} → number."""
        text = self.metrics.exposition().decode()
        found = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(
                    f"{name}={value}" for name, value in sorted(sample.labels.items())
                )
                found[f"{sample.name}{{{labels}}}"] = sample.value
        return found


class MetricsTests(Numbers):
    """What is counted is told, and nothing else."""

    def test_leaks(self) -> None:
        """Leaks are counted by how they were found, and those of persons are a trouble."""
        for host in range(1, 5):
            self.core.table.judge(FlowKey.parse(f"udp 10.1.0.2:5 > 192.0.2.{host}:4001"), bytes(40))
        leak = leak_of((Identifier(IdentifierKind.LEARNED, 4, 4),))
        self.assertEqual(self.numbers()["gateway_healthy{}"], 1.0)
        self.core.witness.leaked(FlowKey.parse("udp 10.1.0.2:5 > 192.0.2.1:4001"), leak)
        numbers = self.numbers()
        self.assertEqual(numbers["gateway_leaks_total{found=sweep,kind=none}"], 1.0)
        self.assertEqual(numbers["gateway_leaks_total{found=learned,kind=learned}"], 1.0)
        self.assertEqual(numbers["gateway_healthy{}"], 0.0)

    def test_decisions(self) -> None:
        """Decisions are counted by action and traffic, by country, and by rule; shadow apart."""
        self.core.table.judge(TO_US, PING)
        self.core.table.judge(TO_NOBODY, PING)
        found = self.numbers()
        for name, count in {
            "gateway_decisions_total{action=allow,traffic=ping}": 1,
            "gateway_decisions_total{action=block,traffic=ping}": 1,
            "gateway_contacts_total{action=allow,country=US}": 1,
            f"gateway_contacts_total{{action=block,country={NOWHERE}}}": 1,
            "gateway_rule_hits_total{rule=pings}": 1,
            "gateway_rule_hits_total{rule=never}": 0,
            "gateway_rule_hits_total{rule=default}": 1,
            "gateway_flows{}": 2,
            "gateway_log_records_written_total{}": 3,
            "gateway_listener_events_total{kind=blocked,listener=socks5 127.0.0.1:1080}": 3,
            "gateway_exit_up{exit=a}": 1,
            "gateway_exit_rtt_seconds{exit=a}": 0.25,
            "gateway_exit_events_total{exit=a,kind=keys_changed}": 2,
            "gateway_nearest_exit{exit=a}": 0,
            "gateway_nearest_exit{exit=b}": 1,
            "gateway_nearest_changes_total{}": 3,
            "gateway_nearest_flows_moved_total{}": 4,
            "gateway_healthy{}": 1,
            "gateway_start_time_seconds{}": datetime(2026, 11, 23, 11, tzinfo=UTC).timestamp(),
        }.items():
            self.assertEqual(found.get(name), count, name)
        watched = "gateway_shadow_decisions_total{action=block,rule=watched}"
        self.assertEqual(found[watched], 2)  # nowhere is perhaps there

    def test_data(self) -> None:
        """Each source has an age, and says whether it still counts."""
        found = self.numbers()
        ages = {name: age for name, age in found.items() if name.startswith("gateway_data_age")}
        self.assertGreaterEqual(len(ages), 3)
        for name, age in ages.items():
            self.assertTrue(0 < age < 120 * 86400, (name, age))

    def test_reload(self) -> None:
        """Rules are counted anew when a policy comes into force; decisions go on being counted."""
        self.core.table.judge(TO_US, PING)
        self.successResultOf(self.core.reload())
        found = self.numbers()
        self.assertEqual(found["gateway_rule_hits_total{rule=pings}"], 0)
        self.assertEqual(found["gateway_decisions_total{action=allow,traffic=ping}"], 1)
        self.assertEqual(found["gateway_policy_epoch{}"], 2)

    def test_refused(self) -> None:
        """A refused load is a number that an alarm can watch."""
        (self.folder / "policy.yaml").write_text("policy: broken\ndefault: open\n")
        self.successResultOf(self.core.reload())
        found = self.numbers()
        self.assertEqual(found["gateway_last_load_accepted{}"], 0)
        self.assertEqual(found["gateway_healthy{}"], 0)

    def test_names_nobody(self) -> None:
        """No client and no destination is in it."""
        self.core.table.judge(TO_US, PING)
        text = self.metrics.exposition().decode()
        self.assertNotIn("10.1.0.2", text)
        self.assertNotIn("192.0.2.1", text)

    def test_bounded(self) -> None:
        """However many countries a source makes up, the places are few."""
        verdict = self.core.table.judge(TO_US, PING)
        for number in range(1000):
            place = Place({Axis.LOCATION: (f"X{number}",)})
            judged = Judged(Facts(TO_US, place), verdict)
            self.counts.decided(self.core.table.epoch, judged, None)
        self.assertLessEqual(len(self.counts.places), 401)
        self.assertGreater(self.counts.places[OTHERS, "allow"], 500)
