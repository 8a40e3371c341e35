"""gateway.evidence.spool, transcribing, writing: what is spooled is in the log, once and in order,
whatever is interrupted when."""

from __future__ import annotations

import errno
import json
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.errors import DataError
from gateway.evidence import spool as spool_module
from gateway.evidence import writing
from gateway.evidence.decisions import DecisionLog
from gateway.evidence.journal import Journal
from gateway.evidence.pseudonyms import Pseudonyms
from gateway.evidence.spool import Spool, spool_files
from gateway.evidence.transcribing import Transcriber, drain, origin_of
from gateway.flow.table import Judged
from gateway.model import UNKNOWN, FlowKey
from tests.evidence.log_case import KEY, VERDICT, LogCase
from tests.evidence.proving import proving
from tests.support.epochs import epoch

EPOCHS = epoch(), epoch()


class NoWriter:
    """Writes nothing: a test does."""

    def look(self) -> None:
        """LogWriter API."""

    def wait(self, is_done: Callable[[], bool], at_most_s: float) -> bool:
        """LogWriter API: no time passes."""
        return is_done()

    def stop(self) -> None:
        """LogWriter API."""


class SpoolCase(LogCase):
    """Has a log that is spooled."""

    def setUp(self) -> None:
        """Begin with no process."""
        super().setUp()
        self.patch(writing, "WriterProcess", lambda files, limits: NoWriter())
        self.patch(writing, "_LOCKED_S", 0.0)
        self.chance = b"r"

    def spooled(self, counts: dict[str, int] | None = None) -> DecisionLog:
        """Open the log."""
        means = replace(
            proving(counting=lambda: counts or {}), random=lambda length: self.chance * length
        )
        log = DecisionLog(self.folder, Pseudonyms(b"k" * 32), lambda: self.now, means, spools=True)
        self.addCleanup(log.close)
        return log

    def spool(self, log: DecisionLog) -> Spool:
        """Give a log's spool."""
        assert isinstance(log._journal, Spool)
        return log._journal

    def killed(self, log: DecisionLog) -> None:
        """Let go of the spool without a word, as a process does that is killed."""
        spool = self.spool(log)
        log._is_closed = True
        os.close(spool._file)
        spool._file = -1

    def transcriber(self) -> tuple[Journal, Transcriber]:
        """Begin to copy, as the writer does."""
        journal, transcriber = writing._opened(
            self.files, lambda: self.now, proving(), sets_aside=False
        )
        self.addCleanup(journal.close)
        return journal, transcriber

    def copy_all(self) -> Transcriber:
        """Copy all that is there, as the writer does."""
        journal, transcriber = self.transcriber()
        while transcriber.step():
            pass
        journal.close()
        transcriber.close()
        return transcriber

    def own(self) -> list[dict[str, Any]]:
        """Give the log's own records."""
        paths = [*(one.path for one in self.files.segments()), self.files.current]
        records = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
        return [one for one in records if {"begin", "gap", "end"} & set(one)]


class SpooledTests(SpoolCase):
    """From decisions to the log."""

    def test_same(self) -> None:
        """What is spooled makes the same log as what is written at once, octet by octet."""
        expected = ""
        flows = [FlowKey.parse(f"udp 10.1.0.{n % 7}:5000 > 192.0.2.{n}:4001") for n in range(90)]
        for is_spooled in (False, True):
            self.folder = Path(self.mktemp())
            self.files = type(self.files)(self.folder, "decisions")
            log = self.spooled() if is_spooled else self.open()
            for number, flow in enumerate(flows):
                if number % 10 == 0:
                    log.begin_batch()
                in_force = EPOCHS[number // 50]
                facts = in_force.facts(flow, UNKNOWN)
                self.assertTrue(log.write(in_force, Judged(facts, in_force.judge(facts)), b""))
                log.write_not_carried(flow, VERDICT, f"number {number}")
                if number % 10 == 9:
                    self.assertTrue(log.end_batch())
            log.close()
            if is_spooled:
                self.assertFalse(self.files.current.stat().st_size)
                self.copy_all()
                self.assertEqual(self.files.current.read_text(), expected)
            else:
                expected = self.files.current.read_text()
        self.assertEqual(self.found(), [])

    def test_removed(self) -> None:
        """A file of the spool goes once what is in it is signed, and not before."""
        log = self.spooled()
        self.write(log, 3)
        journal, transcriber = self.transcriber()
        self.killed(log)
        while transcriber.step():
            if transcriber._done:
                break
            self.assertEqual(len(spool_files(self.files)), 1)
        self.assertEqual((journal.size, journal.signed), (4, 4))
        transcriber.sign()
        self.assertEqual(spool_files(self.files), [])
        transcriber.close()

    def test_signed_at_once(self) -> None:
        """The first records of a process are signed as soon as they are copied."""
        log = self.spooled({"seen": 1})
        journal, transcriber = self.transcriber()
        self.assertTrue(transcriber.step())
        self.assertEqual((journal.size, journal.signed), (1, 0))
        transcriber.sign()
        self.assertEqual((journal.size, journal.signed), (1, 1))
        last = self.verify().last
        assert last is not None
        self.assertEqual(last.counts["seen"], 1)
        self.write(log, 1)
        self.assertTrue(transcriber.step())
        transcriber.sign()
        self.assertEqual((journal.size, journal.signed), (2, 1))

    def test_rolls(self) -> None:
        """A full file is followed by another that can be read without it."""
        log = self.spooled()
        object.__setattr__(self.spool(log)._spooling, "max_len", 600)
        self.write_decisions(log, 12)
        self.assertGreater(len(spool_files(self.files)), 2)
        self.copy_all()
        log.close()
        self.copy_all()
        self.assertEqual(self.ports(), list(range(12)))
        self.assertEqual((self.found(), spool_files(self.files)), ([], []))

    def write_decisions(self, log: DecisionLog, count: int) -> None:
        """Write decisions, each to another port."""
        for port in range(count):
            flow = FlowKey.parse(f"udp 10.1.0.2:5000 > 192.0.2.1:{port}")
            facts = EPOCHS[0].facts(flow, UNKNOWN)
            self.assertTrue(log.write(EPOCHS[0], Judged(facts, EPOCHS[0].judge(facts)), None))

    def ports(self) -> list[int]:
        """Give the ports of the log's decisions."""
        lines = map(json.loads, self.files.current.read_text().splitlines())
        return [int(one["flow"].rpartition(":")[2]) for one in lines if "flow" in one]

    def test_interrupted(self) -> None:
        """The writer is killed after any number of steps, also in the middle of what it read: each
        record is in the log once, and in order."""
        chance = random.Random(3)
        log = self.spooled()
        object.__setattr__(self.spool(log)._spooling, "max_len", 900)
        done = 0
        for _ in range(40):
            count = chance.randrange(4)
            self.write(log, count, done)
            done += count
            journal, transcriber = self.transcriber()
            self.patch(journal, "_append", _partly(journal, chance))
            for _ in range(chance.randrange(4)):
                transcriber.step()
            # Killed: nothing is signed, nothing is closed in order.
            journal.close(signs=False)
            for one in transcriber._done:
                os.close(one.descriptor)
            if transcriber._open is not None:
                os.close(transcriber._open.descriptor)
        log.close()
        self.copy_all()
        self.assertEqual(self.reasons(), [f"reason {number}" for number in range(done)])
        self.assertEqual(self.found(), [])

    def test_full_disk(self) -> None:
        """What cannot be spooled is lost, counted and told; what follows is whole."""
        log, real = self.spooled(), os.write
        self.write(log, 2)
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        for refusal in (full, 5):

            def write(file: int, octets: bytes, refusal: OSError | int = refusal) -> int:
                if isinstance(refusal, OSError):
                    raise refusal
                return real(file, octets[:refusal])

            self.patch(os, "write", write)
            self.assertFalse(log.write_not_carried(KEY, VERDICT, "lost"))
            self.patch(os, "write", real)
        self.write(log, 1, 2)
        log.close()
        self.copy_all()
        self.assertEqual(self.reasons(), ["reason 0", "reason 1", "reason 2"])
        self.assertEqual([one["gap"] for one in self.own() if "gap" in one], [{"lost": 2}])
        self.assertEqual(self.found(), [])
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    def test_log_full(self) -> None:
        """A log that takes no more is tried again, and then has all records in order."""
        log = self.spooled()
        self.write(log, 5)
        journal, transcriber = self.transcriber()
        real = journal._append
        self.patch(journal, "_append", lambda octets, count: 0)
        self.assertTrue(transcriber.step())
        self.assertTrue(transcriber.is_stuck)
        self.assertFalse(transcriber.step())
        self.patch(journal, "_append", real)
        self.write(log, 1, 5)
        log.close()
        while transcriber.step():
            pass
        journal.close()
        transcriber.close()
        self.assertEqual(self.reasons(), [f"reason {number}" for number in range(6)])

    def test_far_behind(self) -> None:
        """While the log is too far behind decisions are lost, and told; then they are written."""
        self.patch(spool_module, "_MAX_FILES", 3)
        log = self.spooled()
        object.__setattr__(self.spool(log)._spooling, "max_len", 1)
        written = [log.write_not_carried(KEY, VERDICT, f"reason {n}") for n in range(5)]
        self.assertEqual(written, [True, True, True, False, False])
        self.assertIn("too far behind", self.spool(log).reason)
        self.copy_all()
        self.write(log, 1, 5)
        log.close()
        self.copy_all()
        self.assertEqual(self.reasons(), ["reason 0", "reason 1", "reason 2", "reason 5"])
        self.assertEqual([one["gap"] for one in self.own() if "gap" in one], [{"lost": 2}])

    def test_counts(self) -> None:
        """Checkpoints say what the process counted that decided, and it adds up."""
        log = self.spooled({"listener: in": 7})
        self.write(log, 3)
        log.tick()
        self.write(log, 1, 3)
        log.close()
        self.copy_all()
        last = self.verify().last
        assert last is not None
        counts = last.counts
        self.assertEqual(counts["listener: in"], 7)
        self.assertEqual((counts["decided: not carried"], counts["records: written"]), (4, 4))
        self.assertEqual(counts["records: lost"] + counts["records: in hand"], 0)


def _partly(journal: Journal, chance: random.Random) -> Callable[[bytes, int], int]:
    """Write only some of what is handed over."""
    real = journal._append

    def append(octets: bytes, count: int) -> int:
        some = chance.randrange(count + 1)
        lines = octets.splitlines(keepends=True)[:some]
        return real(b"".join(lines), some) if some else 0

    return append


class TakenOverTests(SpoolCase):
    """What the next start finds."""

    def test_killed(self) -> None:
        """All that was handed over before a kill is in the log before the next process begins, and
        its beginning says so."""
        log = self.spooled({"seen": 5})
        self.write(log, 3)
        log.tick()
        self.killed(log)
        self.assertEqual(len(spool_files(self.files)), 1)
        again = self.spooled()
        self.assertEqual(self.reasons(), ["reason 0", "reason 1", "reason 2"])
        last = self.verify().last
        assert last is not None
        self.assertEqual((last.size, last.counts["seen"]), (4, 5))
        again.close()
        self.copy_all()
        begins = [one["begin"] for one in self.own() if "begin" in one]
        self.assertEqual([one["clean"] for one in begins], [True, False])
        self.assertEqual((begins[1]["records"], begins[1]["checkpoint"]), (4, 4))
        self.assertEqual(begins[0]["log"], begins[1]["log"])
        self.assertEqual(self.found(), [])

    def test_verify(self) -> None:
        """Verify says that some of what was decided may not be in the log yet."""
        log = self.spooled()
        self.write(log, 1)
        journal, transcriber = self.transcriber()
        self.assertTrue(transcriber.step())
        journal.cut()
        self.assertIn("may not be in the log yet", " ".join(self.verify().open))
        log.close()
        while transcriber.step():
            transcriber.sign()
        self.assertNotIn("may not be in the log yet", " ".join(self.verify().open))
        transcriber.close()

    def test_closed_but_not_copied(self) -> None:
        """A process that stopped as it should did so, though its writer was killed before."""
        log = self.spooled()
        self.write(log, 1)
        log.close()
        self.spooled().close()
        self.copy_all()
        begins = [one["begin"] for one in self.own() if "begin" in one]
        self.assertEqual([one["clean"] for one in begins], [True, True])

    def test_torn(self) -> None:
        """What is cut off anywhere leaves the records that are whole, and is told of."""
        log = self.spooled()
        self.write(log, 2)
        (file,) = spool_files(self.files)
        two = file.path.stat().st_size
        self.write(log, 1, 2)
        self.killed(log)
        octets, folder = file.path.read_bytes(), self.folder
        for length in (*range(0, len(octets), 7), two, len(octets)):
            self.folder = Path(self.mktemp())
            self.folder.mkdir()
            self.files = type(self.files)(self.folder, "decisions")
            (self.folder / file.path.name).write_bytes(octets[:length])
            self.spooled().close()
            self.copy_all()
            expected = [f"reason {number}" for number in range(3)]
            found = self.reasons()
            self.assertEqual(found, expected[: len(found)])
            self.assertEqual(len(found) >= 2, length >= two)
            begin = self.own()[-2 if len(self.own()) > 1 else -1]["begin"]
            self.assertFalse(begin["clean"] and length not in (0,))
            self.assertEqual(self.found(), [])
        self.assertTrue(folder.exists())

    def test_damaged(self) -> None:
        """A spool that is not what was written is set aside whole, and the log says so."""
        log = self.spooled()
        self.write(log, 2)
        self.killed(log)
        (file,) = spool_files(self.files)
        octets = bytearray(file.path.read_bytes())
        octets[-3] ^= 1
        file.path.write_bytes(octets)
        self.spooled().close()
        self.copy_all()
        aside = file.path.with_suffix(".spool-set-aside")
        self.assertEqual(aside.read_bytes(), octets)
        begin = next(one["begin"] for one in self.own() if "begin" in one and one["n"])
        self.assertEqual((begin["spool_set_aside"], begin["clean"]), ([aside.name], False))
        self.assertEqual(self.found(), [])

    def test_of_another_log(self) -> None:
        """A spool of another log is not copied into this one."""
        log = self.spooled()
        self.write(log, 1)
        self.killed(log)
        (file,) = spool_files(self.files)
        octets = file.path.read_bytes()
        file.path.unlink()
        self.chance = b"x"
        self.spooled().close()
        self.copy_all()
        file.path.write_bytes(octets)
        journal, transcriber = self.transcriber()
        (aside,) = drain(transcriber)
        self.assertEqual((aside.read_bytes(), journal.size), (octets, 2))
        transcriber.close()

    def test_locked(self) -> None:
        """Two processes cannot write one log, be it by its spool or by itself."""
        log = self.spooled()
        with self.assertRaises(DataError) as caught:
            self.spooled()
        self.assertIn("another process writes it", str(caught.exception))
        self.killed(log)
        journal, _ = self.transcriber()
        with self.assertRaises(DataError) as caught:
            self.spooled()
        self.assertIn("another process writes it", str(caught.exception))
        journal.close()

    def test_name(self) -> None:
        """A log that has no checkpoint yet keeps the name that its spool has."""
        log = self.spooled()
        origin = origin_of(self.files)
        self.assertEqual(origin, log._journal.begins["log"])
        self.killed(log)
        self.chance = b"x"
        self.assertEqual(self.spooled()._journal.begins["log"], origin)
