"""gateway.evidence.journal: signed in time, bounded in size, gone on with after anything."""

from __future__ import annotations

import errno
import json
import os
from datetime import timedelta
from typing import Any, cast

from twisted.internet.defer import Deferred

from gateway.errors import DataError
from gateway.evidence.checkpoints import Checkpoint, read
from gateway.evidence.decisions import DecisionLog
from gateway.evidence.files import LogFiles, logs_of
from gateway.evidence.journal import Journal
from gateway.evidence.pseudonyms import Pseudonyms
from tests.evidence.log_case import KEY, VERDICT, LogCase
from tests.evidence.proving import OTHER_SIGNER, SIGNER, journal, proving


class SignedTests(LogCase):
    """What is written is signed, after a bounded time and a bounded number of records."""

    def checkpoints(self) -> list[Checkpoint]:
        octets = self.files.checkpoints.read_bytes()
        return [one.checkpoint(SIGNER.public, "file") for one in read(octets, "file")]

    def sizes(self) -> list[int]:
        return [one.size for one in self.checkpoints()]

    def test_time(self) -> None:
        """Nothing waits longer than `checkpoint_s` for its signature; nothing new is not signed."""
        log = self.open(checkpoint_s=60)
        self.write(log, 3)
        log.tick()
        self.assertEqual(self.sizes(), [1])
        self.now += timedelta(seconds=60)
        log.tick()
        self.assertEqual(self.sizes(), [1, 4])
        self.now += timedelta(seconds=600)
        log.tick()
        self.assertEqual(self.sizes(), [1, 4])

    def test_records(self) -> None:
        """Many records are signed before their time."""
        log = self.open(checkpoint_records=10)
        self.write(log, 25)
        self.assertEqual(self.sizes(), [1, 11, 21])
        log.close()
        self.assertEqual(self.sizes(), [1, 11, 21, 27])

    def test_counts(self) -> None:
        """A checkpoint says what was counted, and the counts add up."""
        log = DecisionLog(
            self.folder,
            Pseudonyms(b"k"),
            lambda: self.now,
            proving(counting=lambda: {"queue: packets": 7}),
        )
        self.write(log, 3)
        log.write_canary({"expected": "block", "outcome": "block"})
        log.close()
        self.assertEqual(
            dict(self.checkpoints()[-1].counts),
            {
                "decided: canary": 1,
                "decided: not carried": 3,
                "queue: packets": 7,
                "records: in hand": 0,
                "records: lost": 0,
                "records: written": 4,
            },
        )

    def test_counts_unknown(self) -> None:
        """A counter that cannot be read is left out, and the checkpoint is signed all the same."""

        def fails() -> dict[str, int]:
            raise KeyError("counter")

        means = proving(counting=fails)
        log = DecisionLog(self.folder, Pseudonyms(b"k"), lambda: self.now, means)
        log.close()
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 2)
        self.assertEqual(self.sizes(), [1, 2])

    def test_thread(self) -> None:
        """What waits for the disk can be done in a thread; a stop waits for it."""
        asked: list[Any] = []

        def later(function: Any) -> Deferred[Any]:
            asked.append(function)
            return Deferred()

        means = proving(checkpoint_records=5)
        object.__setattr__(means, "in_thread", later)
        log = DecisionLog(self.folder, Pseudonyms(b"k"), lambda: self.now, means)
        self.write(log, 7)
        self.assertEqual(self.sizes(), [])
        asked[0]()
        self.assertEqual(self.sizes(), [1, 6])
        self.write(log, 5, 7)
        log.close()
        self.assertEqual(self.sizes(), [1, 6, 11, 14])
        self.assertEqual(self.found(), [])

    def test_no_checkpoint(self) -> None:
        """While checkpoints cannot be written, records go on, memory is bounded, and all is signed
        later."""
        log = self.open(checkpoint_records=3)
        notary = journal(log)._notary
        real = notary._file
        notary._file = os.open("/dev/full", os.O_WRONLY)
        notary._length = 0
        self.patch(os, "ftruncate", lambda *_: None)
        self.write(log, 100)
        self.assertEqual(len(notary._cuts), 8)
        self.assertLess(len(journal(log)._behind), 10)
        os.close(notary._file)
        notary._file = real
        log.close()
        self.assertEqual((self.found(), self.verify().proven), ([], 102))


class SegmentTests(LogCase):
    """The log is bounded, and what is left of it is proven."""

    def test_size(self) -> None:
        """A full segment is put away under the number of its first record."""
        self.run_once(40, max_segment_bytes=2_000)
        segments = self.files.segments()
        self.assertGreater(len(segments), 3)
        self.assertTrue(all(one.length <= 2_000 for one in segments))
        self.assertEqual(self.reasons(), [f"reason {number}" for number in range(40)])
        report = self.verify()
        self.assertEqual((report.findings, report.proven, report.first), ([], 42, 0))

    def test_age(self) -> None:
        """An old segment is put away too."""
        log = self.open(max_segment_s=3_600)
        self.write(log, 2)
        self.now += timedelta(hours=1)
        self.write(log, 2, 2)
        self.assertEqual([one.first for one in self.files.segments()], [0])
        log.close()
        self.now += timedelta(minutes=59)
        self.run_once(2, max_segment_s=3_600)
        self.assertEqual(len(self.files.segments()), 1)
        self.now += timedelta(minutes=1)
        self.run_once(2, max_segment_s=3_600)  # a start does not make it young again
        self.assertEqual(len(self.files.segments()), 2)
        self.assertEqual((self.found(), len(self.reasons())), ([], 8))

    def test_retention(self) -> None:
        """What retention removes is named by a signed checkpoint, all that is left is proven, and
        the first checkpoint still goes with the last."""
        log = self.open(max_segment_bytes=2_000, keep_bytes=4_000, checkpoint_records=3)
        first = next(read(self.files.checkpoints.read_bytes(), "file"))
        self.write(log, 200)
        log.close()
        self.assertLessEqual(sum(one.length for one in self.files.segments()), 4_000)
        report = self.verify()
        self.assertEqual((report.findings, report.proven), ([], 202))
        self.assertGreater(report.first, 100)
        self.assertIn(f"records 0 to {report.first - 1} were removed by retention", report.open[0])
        kept = list(read(self.files.checkpoints.read_bytes(), "file"))
        self.assertEqual(kept[0].note, first.note)
        self.assertLess(len(kept), 60)

    def test_retention_by_age(self) -> None:
        """Full segments that are too old are removed."""
        log = self.open(max_segment_s=3_600, keep_s=7_200)
        for hour in range(6):
            self.write(log, 1, hour)
            self.now += timedelta(hours=1)
        log.close()
        # The last one is closed by the clock of the test, the files by the host's: they are young.
        self.assertEqual(self.found(), [])
        self.assertGreater(self.verify().first, 0)

    def test_goes_on(self) -> None:
        """Later runs go on with a log of which much was removed."""
        for run in range(5):
            self.run_once(50, run * 50, max_segment_bytes=2_000, keep_bytes=3_000)
            self.assertEqual(self.found(), [])
        self.assertEqual(self.reasons()[-1], "reason 249")

    def test_names(self) -> None:
        """Each worker's log is a log of its own."""
        for name in ("decisions.jsonl", "decisions-8701.jsonl"):
            log = DecisionLog(self.folder, Pseudonyms(b"k"), lambda: self.now, proving(), name)
            self.write(log, 30)
            log.close()
        logs = logs_of(self.folder)
        self.assertEqual([one.stem for one in logs], ["decisions", "decisions-8701"])
        origins = {self.verify(files=one).origin for one in logs}
        self.assertEqual(len(origins), 2)


class RecoveryTests(LogCase):
    """Whatever ended a process, the log goes on behind its last whole record."""

    def begun(self) -> dict[str, Any]:
        """Give what the last begin says."""
        records = [json.loads(line) for line in self.files.current.read_text().splitlines()]
        return cast(dict[str, Any], [one["begin"] for one in records if "begin" in one][-1])

    def test_clean(self) -> None:
        """After a clean stop the next begin says so."""
        self.run_once(3)
        self.run_once(0)
        begin = self.begun()
        self.assertEqual((begin["clean"], begin["records"], begin["checkpoint"]), (True, 5, 5))

    def test_cut_anywhere(self) -> None:
        """A log of which the end is missing, from any octet behind its last checkpoint on, loses
        the record that was cut and no other, and invents none."""
        log = self.open()
        self.write(log, 3)
        octets = self.files.current.read_bytes()
        signed = octets.index(b"\n") + 1
        log.close()
        first = bytes(next(read(self.files.checkpoints.read_bytes(), "file")))
        for end in range(signed, len(octets) + 1):
            self.files.current.write_bytes(octets[:end])
            self.files.checkpoints.write_bytes(first)
            self.run_once(1, 9)
            whole = octets.count(b"\n", 0, end)
            begin, reasons = self.begun(), self.reasons()
            self.assertEqual(begin["records"], whole)
            self.assertEqual((begin["clean"], begin["checkpoint"]), (False, 1))
            self.assertEqual(begin["torn"], end - octets.rfind(b"\n", 0, end) - 1)
            self.assertEqual(reasons, [*(f"reason {n}" for n in range(whole - 1)), "reason 9"])
            self.assertEqual(self.found(), [])

    def test_cut_checkpoint(self) -> None:
        """A checkpoint that was half written is forgotten; its records are signed again."""
        self.run_once(3)
        octets = self.files.checkpoints.read_bytes()
        first = len(bytes(next(read(octets, "file"))))
        records = self.files.current.read_bytes()
        for end in range(first, len(octets), 7):
            self.files.checkpoints.write_bytes(octets[:end])
            self.files.current.write_bytes(records)
            self.run_once(1)
            self.assertEqual(self.found(), [])
            self.assertFalse(self.begun()["clean"])

    def test_between_segments(self) -> None:
        """A process that ended between putting a segment away and beginning the next one."""
        self.run_once(20)
        os.rename(self.files.current, self.files.full(0))
        self.run_once(20, 20)
        self.assertEqual((self.found(), len(self.reasons())), ([], 40))

    def test_signed_and_gone(self) -> None:
        """A log that has less than was signed is set aside, whole, and another one begins, which
        says so; the old one is found broken."""
        self.run_once(3)
        octets = self.files.current.read_bytes()
        self.files.current.write_bytes(octets[: octets.rindex(b"\n", 0, -1) + 1])
        self.run_once(1, 9)
        begin = self.begun()
        self.assertIn("ends with record 3, of 5 that were signed", begin["why"])
        self.assertEqual((self.found(), self.reasons()), ([], ["reason 9"]))
        aside = LogFiles(self.folder / begin["set_aside"], "decisions")
        self.assertIn(aside, logs_of(self.folder))
        self.assertEqual(len(self.found(aside)), 1)

    def test_others(self) -> None:
        """What is no log of ours, or another key's, is set aside."""
        for octets in (b'{"time":"2026-11-23T12:00:00.000Z"}\n', b"\x00" * 100 + b"\n"):
            self.files.current.unlink(missing_ok=True)
            self.folder.mkdir(exist_ok=True)
            self.files.current.write_bytes(octets)
            self.now += timedelta(seconds=1)
            self.run_once(1)
            self.assertEqual(self.found(), [])
            self.files.checkpoints.unlink()
        self.files.current.unlink()
        self.run_once(1, signer=OTHER_SIGNER)
        self.now += timedelta(seconds=1)
        self.run_once(1)
        self.assertIn("bears no signature of this key", self.begun()["why"])
        self.assertEqual(self.found(), [])

    def test_endless_line(self) -> None:
        """A line that does not end is none of ours, and is not read to its end."""
        self.run_once(1)
        copied = self.copy()
        with copied.current.open("ab") as file:
            file.write(b"x" * (3 << 20))
        report = self.verify(files=copied)
        self.assertIn(f"{1 << 20} octets of a record that is not whole", " ".join(report.open))
        self.folder = copied.folder
        self.files = copied
        self.run_once(1)
        self.assertEqual((self.begun()["torn"], self.found()), (3 << 20, []))

    def test_locked(self) -> None:
        """Two processes cannot write one log."""
        self.open()
        error = self.assertRaises(DataError, self.open)
        self.assertIn("another process writes it", str(error))

    def test_full_at_start(self) -> None:
        """On a disk that is full at the start, what the log has to say of itself waits."""
        self.folder.mkdir()
        log = self.open()
        log.close()

        class Full:
            def __init__(self, file: Any) -> None:
                self.file = file

            def write(self, octets: bytes) -> int:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            def __getattr__(self, name: str) -> Any:
                return getattr(self.file, name)

        real = Journal._open
        self.patch(Journal, "_open", lambda journal: Full(real(journal)))
        log = self.open()
        self.assertFalse(log.write_not_carried(KEY, VERDICT, "reason"))
        journal(log)._file = cast(Any, journal(log)._file).file
        self.write(log, 1)
        log.close()
        lines = [json.loads(line) for line in self.files.current.read_text().splitlines()]
        kinds = [list(one)[3] for one in lines]
        self.assertEqual(kinds, ["begin", "end", "begin", "gap", "client", "end"])
        self.assertEqual((lines[3]["gap"], self.found()), ({"lost": 1}, []))
