"""A log to report on.  Owns: writing one, running the command on it.  Never: what is asserted."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.evidence.decisions import DecisionLog
from gateway.flow.table import FlowLimits, FlowTable
from gateway.model import Endpoint, FlowKey, Verdict
from tests.evidence.log_case import VERDICT, LogCase
from tests.evidence.proving import SIGNER
from tests.support.epochs import NOISE, PING, STUN, epoch

AMERICA = "192.0.2.1:4001"
CHINA = "198.51.100.1:4001"
NOWHERE = "203.0.113.9:4001"
"""What no source places."""


class Writing:
    """Has a flow table write to a log."""

    def __init__(self, log: DecisionLog) -> None:
        self._log = log
        self._ports = 5000
        self.table = FlowTable(epoch(), lambda: 0.0, FlowLimits(), self)

    def decided(self, epoch: Any, judged: Any, payload: bytes | None) -> bool:
        """Observer API."""
        return self._log.write(epoch, judged, payload)

    def __getattr__(self, name: str) -> Any:
        return lambda *_arguments: None

    def judge(self, to: str, payload: bytes | None) -> FlowKey:
        """Judge a flow of its own."""
        self._ports += 1
        key = FlowKey.parse(f"udp 10.1.0.2:{self._ports} > {to}")
        self.table.judge(key, payload)
        return key


class ReportCase(LogCase):
    """Has a log of two days, and the command that reports on it."""

    def setUp(self) -> None:
        """Write it."""
        super().setUp()
        log = self.open()
        writing = Writing(log)
        for _ in range(3):
            writing.judge(CHINA, PING)
        for payload in (PING, PING, STUN, None):
            key = writing.judge(AMERICA, payload)
        writing.judge(NOWHERE, NOISE)
        self.now += datetime.timedelta(days=1)
        writing.judge(AMERICA, STUN)
        log.write_not_carried(key, VERDICT, "us-east: the exit is down")
        log.write_barred(Endpoint.parse("10.1.0.2:1"), "ap.example.cn", Verdict(*VERDICT_PARTS))
        log.write_canary(CANARY)
        log.close()
        (self.folder / "log.pub").write_text(f"{SIGNER.public}\n")

    def lines(self) -> list[str]:
        """Give the log's records, in order."""
        paths = [*(one.path for one in self.files.segments()), self.files.current]
        return [line for path in paths for line in path.read_text().splitlines()]

    def gateway(self, *arguments: str | Path) -> Result:
        """Report on the log."""
        runner = CliRunner()
        return runner.invoke(main, ["report", str(self.folder), *map(str, arguments)])

    def account(self, *arguments: str) -> dict[str, Any]:
        """Report on the log as JSON."""
        result = self.gateway("--json", *arguments)
        assert result.stdout, repr(result.exception or result.stderr)
        account: dict[str, Any] = json.loads(result.stdout)
        return account


VERDICT_PARTS = (VERDICT.action, "no-names", "names of the vendor in China")
CANARY = {
    "flow": "udp 192.0.2.9:1 > 198.51.100.1:4001",
    "through": "policy",
    "expected": "block",
    "action": "block",
    "rule": "never-ping",
    "outcome": "held",
}
