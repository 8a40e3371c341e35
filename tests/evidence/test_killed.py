"""kill -9 under load: the log is whole as far as it says, and says what is not known."""

from __future__ import annotations

import os
import random
import signal
import struct

from tests.evidence.log_case import KEY, VERDICT, LogCase

KILLS = 20
BATCH = 16
LIMITS = {"max_segment_bytes": 40_000, "checkpoint_records": 100, "keep_bytes": 200_000}


class KilledTests(LogCase):
    """A process that writes as fast as it can is killed, again and again."""

    def test_killed(self) -> None:
        """After each kill the next start goes on, verify passes, and all that was let go before the
        kill is there, once and in order."""
        chance = random.Random(7)
        told = [self.kill_a_writer(chance.randrange(50), run) for run in range(KILLS)]
        self.assertEqual(self.found(), [])
        log = self.open(**LIMITS)
        log.close()
        self.assertEqual(self.found(), [])
        reasons = self.reasons()
        first = int(reasons[0].split()[1])  # older ones were removed by retention
        for run, (count, length) in enumerate(zip(told, self.lengths(reasons), strict=True)):
            if run > first:
                self.assertTrue(count <= length <= count + BATCH, (run, count, length))
                of_run = [one for one in reasons if one.split()[1] == str(run)]
                self.assertEqual(of_run, [f"run {run} number {n}" for n in range(length)])

    def lengths(self, reasons: list[str]) -> list[int]:
        """Count the records of each run."""
        runs = [int(reason.split()[1]) for reason in reasons]
        return [runs.count(run) for run in range(KILLS)]

    def kill_a_writer(self, batches: int, run: int) -> int:
        """Let a process write, kill it, and give how many records it could have let go."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                self.write_for_ever(writing, run)
            finally:
                os._exit(1)
        os.close(writing)
        with os.fdopen(reading, "rb") as told:
            for _ in range(batches):
                told.read(4)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            rest = told.read()
        self.assertEqual(len(rest) % 4, 0)
        return (batches + len(rest) // 4) * BATCH

    def write_for_ever(self, told: int, run: int) -> None:
        """Write batches, and tell of each that it may be let go: as independent a count as a
        pipe."""
        log = self.open(**LIMITS)
        for number in range(0, 100_000, BATCH):
            log.begin_batch()
            for one in range(number, number + BATCH):
                log.write_not_carried(KEY, VERDICT, f"run {run} number {one}")
            if log.end_batch():
                os.write(told, struct.pack("=I", number))
