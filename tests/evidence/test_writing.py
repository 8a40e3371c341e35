"""gateway.evidence.writing: the gateway and the log's writer are killed, one or both, at any time:
all that was handed over is in the log, once and in order."""

from __future__ import annotations

import datetime
import os
import random
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

from gateway.evidence.decisions import DecisionLog
from gateway.evidence.journal import Proving
from gateway.evidence.keys import load_signer
from gateway.evidence.pseudonyms import Pseudonyms
from gateway.evidence.spool import Spool, spool_files
from gateway.evidence.verifying import Asked, verify
from gateway.evidence.writing import WriterProcess
from tests.evidence.log_case import KEY, VERDICT, LogCase

_ROOT = Path(__file__).parents[2]
BATCH = 16
# Who is killed, run after run.
GATEWAY, WRITER, BOTH = "gateway", "writer", "both"
RUNS = (GATEWAY, BOTH, WRITER, BOTH)


def _open(folder: Path) -> DecisionLog:
    means = Proving(signer=load_signer(folder, os.urandom), random=os.urandom)
    now = datetime.datetime.now
    return DecisionLog(folder, Pseudonyms(b"k" * 32), lambda: now(datetime.UTC), means, spools=True)


def _write(folder: Path) -> None:
    """Be a gateway: write batches, and tell of each that it may be let go."""
    run = sys.argv[2]
    log = _open(folder)
    assert isinstance(log._journal, Spool)
    writer = log._journal._spooling.writer
    assert isinstance(writer, WriterProcess)
    assert writer._process is not None
    os.write(1, struct.pack("=I", writer._process.pid))
    for number in range(0, 400_000, BATCH):
        log.begin_batch()
        for one in range(number, number + BATCH):
            log.write_not_carried(KEY, VERDICT, f"run {run} number {one}")
        if log.end_batch():
            os.write(1, struct.pack("=I", number))
        if number % 160 == 0:
            log.tick()
        time.sleep(0.0002)


class KilledTests(LogCase):
    """Processes that are killed."""

    def test_killed(self) -> None:
        """After each kill the next start goes on, verify passes, and what was let go is there."""
        chance = random.Random(5)
        self.folder.mkdir()
        told = []
        for number, who in enumerate(RUNS):
            told.append(self.kill(who, number, chance.randrange(1, 200)))
        log = _open(self.folder)
        log.close()
        self.assertEqual(spool_files(self.files), [])
        public = load_signer(self.folder, os.urandom).public
        self.assertEqual(verify(self.files, public, Asked()).findings, [])
        reasons = self.reasons()
        for number, count in enumerate(told):
            length = sum(one.split()[1] == str(number) for one in reasons)
            self.assertTrue(count <= length <= count + BATCH, (number, RUNS[number], count, length))
        expected = [one for number in range(len(told)) for one in self.of(number, reasons)]
        self.assertEqual(reasons, expected)

    def of(self, run: int, reasons: list[str]) -> list[str]:
        """Give what a run has to have written, by how much is there."""
        length = sum(one.split()[1] == str(run) for one in reasons)
        return [f"run {run} number {number}" for number in range(length)]

    def kill(self, who: str, run: int, batches: int) -> int:
        """Let a process write, kill it or its writer; give how many records it let go."""
        argv = [sys.executable, "-m", __name__, str(self.folder.absolute()), str(run)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=_ROOT) as child:
            assert child.stdout is not None
            writer = struct.unpack("=I", child.stdout.read(4))[0]
            for _ in range(batches):
                child.stdout.read(4)
            if who != GATEWAY:
                os.kill(writer, signal.SIGKILL)
            if who == WRITER:  # another begins with the next tick, and goes on
                for _ in range(150):
                    child.stdout.read(4)
                batches += 150
            child.kill()
            rest = child.stdout.read()
        return (batches + len(rest) // 4) * BATCH


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
