"""deploy/grafana and deploy/prometheus: they ask for metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SkipTest

from gateway.canaries import Canaries
from gateway.console.status import Door, Process
from gateway.document import parse
from tests.support.bundled import ROOT
from tests.support.console import TO_NOBODY, TO_US, ConsoleCase
from tests.support.epochs import PING

RULES = ROOT / "deploy" / "prometheus" / "gateway.rules.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "gateway.json"

_NAME = re.compile(r"\bgateway_[a-z_]+")
# {exit="…",instance=~"…"} behind a name, and what is summed up by.
_LABELS = re.compile(r"(gateway_[a-z_]+)\{([^}]*)\}")
_GIVEN = {"instance", "job"}
"""Labels that Prometheus itself puts on."""

JUMP = """\
rule_files: [{rules}]
evaluation_interval: 1m
tests:
- interval: 1m
  input_series:
  - {{series: 'gateway_decisions_total{{instance="a",action="block",traffic="ping"}}',
      values: '0+60x1500 90000+600x100'}}
  - {{series: 'gateway_decisions_total{{instance="a",action="allow",traffic="ping"}}',
      values: '0+600x1600'}}
  - {{series: 'gateway_exit_up{{instance="a",exit="us"}}', values: '1x1540 0x60'}}
  alert_rule_test:
  - {{eval_time: 1499m, alertname: GatewayBlockedShareJumps, exp_alerts: []}}
  - {{eval_time: 1530m, alertname: GatewayBlockedShareJumps, exp_alerts: [{{
      exp_labels: {{severity: ticket, instance: a}}, exp_annotations: {{
        summary: "a blocks 50% of what it decides",
        description: "A new policy, new data, or an app that goes new ways. `gateway diff` \
compares policies and data."}}}}]}}
  - {{eval_time: 1540m, alertname: GatewayExitDown, exp_alerts: []}}
"""


class Way:
    """An exit that was measured."""

    up = True
    sentence = "up"
    rtt_s = 0.02
    counters = {"opened": 1}


class MonitoringTests(ConsoleCase):
    """What is shipped for Prometheus and Grafana."""

    def setUp(self) -> None:
        super().setUp()
        door = Door("socks5", "127.0.0.1:1080", {"blocked": 1})
        canaries = Canaries(self.reactor, self.core, self.core.config.canaries)
        canaries.outcomes["judged", "held"] = 1
        process = Process(self.core, (door,), {"us": Way()}, None, canaries=canaries)
        self.patch(self.attendance, "_process", lambda: process)
        self.core.table.judge(TO_US, PING)
        self.core.table.judge(TO_NOBODY, PING)
        self.core.table.not_carried(TO_US, "a test")
        self.core.witness.refused(TO_US, "a test")
        self.labels: dict[str, set[str]] = {}
        text = self.ask("GET", "/metrics").body.decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self.labels.setdefault(sample.name, set()).update(sample.labels)

    def check(self, expression: str) -> None:
        """Hold the names and labels of an expression against what is exposed."""
        names = _NAME.findall(expression)
        self.assertNotEqual(names, [], expression)
        for name in names:
            self.assertIn(name, self.labels, expression)
        for name, labels in _LABELS.findall(expression):
            asked = set(re.findall(r"(\w+)\s*[=!]~?", labels)) - _GIVEN
            self.assertEqual(asked - self.labels[name], set(), expression)
        for by in re.findall(r"by \(([^)]*)\)", expression):
            known = set().union(*(self.labels[name] for name in names)) | _GIVEN
            self.assertEqual({one.strip() for one in by.split(",")} - known, set(), expression)

    def test_alerts(self) -> None:
        """Each alert asks for what there is, and tells a person what it is."""
        document: Any = parse(RULES.read_text(), "rules").value
        rules = [rule for group in document["groups"] for rule in group["rules"]]
        alerts = {rule["alert"]: rule for rule in rules if "alert" in rule}
        recorded = {rule["record"] for rule in rules if "record" in rule}
        self.assertGreaterEqual(len(alerts), 7)
        for name, rule in alerts.items():
            self.assertLessEqual({"summary", "description"}, set(rule["annotations"]), name)
            if name != "GatewaySilent":  # Prometheus' own
                expression = rule["expr"]
                for one in recorded:
                    expression = expression.replace(one, "gateway_healthy")
                self.check(expression)
        for rule in rules:
            if "record" in rule:
                self.check(rule["expr"])

    def test_dashboard(self) -> None:
        """Each panel asks for what there is; panels neither share an id nor lie on each other."""
        board = json.loads(DASHBOARD.read_text())
        seen: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            for target in panel["targets"]:
                self.check(target["expr"])
            at = panel["gridPos"]
            columns, lines = range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
            cells = {(x, y) for x in columns for y in lines}
            self.assertEqual(cells & seen, set(), panel["title"])
            self.assertLessEqual(at["x"] + at["w"], 24)
            seen |= cells
        self.assertEqual(len({panel["id"] for panel in board["panels"]}), len(board["panels"]))
        asked = {name for target in _targets(board) for name in _NAME.findall(target)}
        self.assertGreater(len(asked), 12)
        for one in board["annotations"]["list"]:
            self.check(one["expr"])

    def test_bites(self) -> None:
        """A metric or a label that there is not is found."""
        self.assertRaises(self.failureException, self.check, "gateway_nonesuch > 0")
        self.assertRaises(self.failureException, self.check, 'gateway_exit_up{way="us"} == 0')

    def test_promtool(self) -> None:
        """Prometheus' own tool takes the rules, and the blocked share's jump raises its alert, and
        nothing does before."""
        promtool = shutil.which("promtool")
        if promtool is None:
            raise SkipTest("promtool is not installed (Debian: prometheus)")
        with tempfile.TemporaryDirectory() as folder:
            tests = Path(folder) / "tests.yaml"
            tests.write_text(JUMP.format(rules=RULES))
            run = subprocess.run(
                [promtool, "test", "rules", str(tests)], capture_output=True, text=True, timeout=60
            )
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)


def _targets(board: Any) -> Iterator[str]:
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
