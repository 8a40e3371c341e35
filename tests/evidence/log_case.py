"""A small log to break.  Owns: writing one, copying it, verifying it.  Never: what is asserted."""

from __future__ import annotations

import datetime
import os
import shutil
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.evidence.decisions import DecisionLog
from gateway.evidence.files import LogFiles
from gateway.evidence.pseudonyms import Pseudonyms
from gateway.evidence.verifying import Asked, Report, verify
from gateway.model import Action, FlowKey, Verdict
from tests.evidence.proving import SIGNER, decided, proving

NOW = datetime.datetime(2026, 11, 23, 12, 0, 0, 0, datetime.UTC)
KEY = FlowKey.parse("udp 10.1.0.2:5000 > 192.0.2.1:4001")
VERDICT = Verdict(Action.BLOCK, "rule", "reason")


class LogCase(SynchronousTestCase):
    """Has a folder for a log."""

    def setUp(self) -> None:
        """Begin with nothing, on a disk that is never waited for."""
        self.patch(os, "fdatasync", lambda descriptor: None)
        self.patch(os, "fsync", lambda descriptor: None)
        self.folder = Path(self.mktemp())
        self.files = LogFiles(self.folder, "decisions")
        self.now = NOW

    def open(self, **limits: Any) -> DecisionLog:
        """Open the log."""
        means = proving(limits.pop("signer", SIGNER), **limits)
        log = DecisionLog(self.folder, Pseudonyms(b"k" * 32), lambda: self.now, means)
        self.addCleanup(log.close)
        return log

    def write(self, log: DecisionLog, count: int, begin: int = 0) -> None:
        """Write records, each different."""
        for number in range(begin, begin + count):
            self.assertTrue(log.write_not_carried(KEY, VERDICT, f"reason {number}"))

    def run_once(self, count: int, begin: int = 0, **limits: Any) -> None:
        """Open the log, write to it, and close it."""
        log = self.open(**limits)
        self.write(log, count, begin)
        log.close()

    def verify(self, asked: Asked | None = None, files: LogFiles | None = None) -> Report:
        """Verify the log."""
        return verify(files or self.files, SIGNER.public, asked or Asked())

    def found(self, files: LogFiles | None = None) -> list[str]:
        """Give what is wrong with the log, by file and line without the folder."""
        files = files or self.files
        report = self.verify(files=files)
        return [str(one).replace(f"{files.folder}/", "") for one in report.findings]

    def copy(self) -> LogFiles:
        """Copy the log."""
        to = Path(self.mktemp())
        shutil.copytree(self.folder, to)
        return LogFiles(to, "decisions")

    def reasons(self) -> list[str]:
        """Give what was written, in order, over all segments."""
        paths = [*(one.path for one in self.files.segments()), self.files.current]
        return [record["not_carried"] for path in paths for record in decided(path.read_text())]
