"""Batches of decisions, from the flow table to the file: nothing is let go unwritten."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway import config
from gateway.core import Core
from gateway.evidence.decisions import DecisionLog
from gateway.model import Action, FlowKey
from tests.evidence.proving import decided, journal
from tests.support.bundled import world

GATEWAY = """\
policy: policy.yaml
listeners: [{kind: socks5, address: "127.0.0.1:0"}]
geo: {overrides: [{network: 192.0.2.0/24, location: US, reason: a test}]}
"""
POLICY = """\
policy: promise
jurisdictions: {china: {location: [CN], registration: [CN], operator: [CN]}}
rules: [{id: rest, when: {to: {not: china}}, action: allow}]
"""
BEFORE = FlowKey.parse("udp 10.1.0.2:5000 > 192.0.2.1:4001")
FLOWS = [FlowKey.parse(f"udp 10.1.0.2:5001 > 192.0.2.{host}:4001") for host in range(5)]
NOISE = b"\x7f\x02\x03"  # too short for a probe of a sweep


class FullDisk:
    """A file on a full disk."""

    def write(self, octets: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class BatchTests(SynchronousTestCase):
    """A batch's decisions are written before its verdicts are carried out, or they are not."""

    def core(self, required: str) -> Core:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        (self.folder / "policy.yaml").write_text(POLICY)
        (self.folder / "gateway.yaml").write_text(
            f"{GATEWAY}evidence: {{path: evidence, required: {required}}}\n"
        )
        core = Core(Clock(), config.load(self.folder / "gateway.yaml"), world())
        self.addCleanup(core.stop)
        return core

    def log(self, core: Core) -> DecisionLog:
        log = core.witness.log
        assert log is not None
        return log

    def count(self) -> int:
        return len(decided((self.folder / "evidence" / "decisions.jsonl").read_text()))

    def judge(self, core: Core, flows: list[FlowKey]) -> set[Action]:
        return {core.table.judge(key, NOISE).action for key in flows}

    def test_written(self) -> None:
        """A batch is written when it ends, and what follows is written one by one again."""
        core = self.core("true")
        core.witness.begin_batch()
        self.assertEqual(self.judge(core, FLOWS), {Action.ALLOW})
        self.assertEqual(self.count(), 0)
        self.assertTrue(core.end_batch())
        self.assertEqual((self.count(), len(core.table)), (5, 5))
        self.judge(core, [BEFORE])
        self.assertEqual(self.count(), 6)

    def test_lost(self) -> None:
        """Evidence is required: a batch that cannot be written lets nothing go, and its flows are
        judged and written down again; flows from before stay."""
        core = self.core("true")
        self.judge(core, [BEFORE])
        log = self.log(core)
        real = journal(log)._file
        core.witness.begin_batch()
        self.judge(core, [BEFORE, *FLOWS])
        journal(log)._file = cast(BinaryIO, FullDisk())
        self.assertFalse(core.witness.flush())
        journal(log)._file = real
        self.assertFalse(core.end_batch())
        self.assertEqual([flow.key for flow in core.table.flows()], [BEFORE])
        core.witness.begin_batch()
        self.assertEqual(self.judge(core, FLOWS), {Action.ALLOW})
        self.assertTrue(core.end_batch())
        self.assertEqual(self.count(), 6)

    def test_lost_but_not_required(self) -> None:
        """Evidence is not required: what cannot be written is counted, and its verdicts stand."""
        core = self.core("false")
        log = self.log(core)
        real = journal(log)._file
        journal(log)._file = cast(BinaryIO, FullDisk())
        core.witness.begin_batch()
        self.judge(core, FLOWS)
        self.assertTrue(core.witness.flush())
        self.assertTrue(core.end_batch())
        journal(log)._file = real
        self.assertEqual((log.lost, len(core.table)), (5, 5))

    def test_one_by_one(self) -> None:
        """Outside of a batch a decision that cannot be written is a block at once."""
        core = self.core("true")
        log = self.log(core)
        real = journal(log)._file
        journal(log)._file = cast(BinaryIO, FullDisk())
        self.assertEqual(self.judge(core, FLOWS), {Action.BLOCK})
        journal(log)._file = real

    def test_no_log(self) -> None:
        """Where no log could be opened and none is required, batches go through."""
        core = self.core("false")
        core.witness.close()
        core.witness.log = None
        core.witness.begin_batch()
        self.judge(core, FLOWS)
        self.assertTrue(core.witness.flush())
        self.assertTrue(core.end_batch())
