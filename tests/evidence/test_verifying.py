"""gateway.evidence.verifying: whatever was done to a log, it is found, and where."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import DataError
from gateway.evidence.checkpoints import Checkpoint, read
from gateway.evidence.files import LogFiles
from gateway.evidence.proofs import read_proof
from gateway.evidence.verifying import Asked
from tests.evidence.log_case import LogCase
from tests.evidence.proving import OTHER_SIGNER, SIGNER
from tests.support.rows import rows

Lines = list[bytes]


def rewrite(path: Path, change: Callable[[Lines], Lines]) -> None:
    """Change the lines of a file."""
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def swap(lines: Lines, one: int, other: int) -> Lines:
    """Exchange two lines."""
    lines[one], lines[other] = lines[other], lines[one]
    return lines


def renumber(lines: Lines, without: int) -> Lines:
    """Leave a line out, and number those behind it anew."""
    kept = [line for at, line in enumerate(lines) if at != without]
    return [b'{"n":%d,' % at + line.partition(b",")[2] for at, line in enumerate(kept)]


class Broken(LogCase):
    """A log of ten records in one file, signed after the fourth, the eighth and the tenth."""

    def setUp(self) -> None:
        """Write it."""
        super().setUp()
        log = self.open(checkpoint_records=4)
        log.begin_batch()
        self.write(log, 3)
        log.end_batch()
        self.write(log, 5, 3)
        log.close()
        self.assertEqual(self.found(), [])


@rows(
    change={
        "a record is changed": (
            lambda lines: [line.replace(b"reason 1", b"reason X") for line in lines],
            "decisions.jsonl:3: record 2 was changed: the next one says so",
        ),
        "a link is changed": (
            lambda lines: [line.replace(lines[5][7:30], b"x" * 23) for line in lines],
            "decisions.jsonl:6: is not record 5, but something else",
        ),
        "a record is removed": (
            lambda lines: lines[:3] + lines[4:],
            "decisions.jsonl:4: is record 4: records 3 to 3 are missing before it",
        ),
        "a record is removed, the rest renumbered": (
            lambda lines: renumber(lines, 4),
            "decisions.jsonl:5: record 4 was changed, or is another log's",
        ),
        "two records are exchanged": (
            lambda lines: swap(lines, 6, 7),
            "decisions.jsonl:7: is record 7: records 6 to 6 are missing before it",
        ),
        "a record is there twice": (
            lambda lines: [*lines[:4], lines[3], *lines[4:]],
            "decisions.jsonl:5: is record 3 where 4 should be: moved, or there twice",
        ),
        "the tail is cut": (
            lambda lines: lines[:7],
            "decisions.jsonl:7: ends here, but 10 records were signed: records 7 to 9 are missing",
        ),
        "the tail is cut within a record": (
            lambda lines: [*lines[:7], lines[7][:50]],
            "decisions.jsonl:7: ends here, but 10 records were signed: records 7 to 9 are missing",
        ),
        "the head is cut": (
            lambda lines: lines[2:],
            "decisions.jsonl:1: begins with record 2, where no checkpoint ends: records before it "
            "are missing",
        ),
        "everything is cut": (
            lambda lines: [],
            "the log: ends here, but 10 records were signed: records 0 to 9 are missing",
        ),
        "an empty line": (
            lambda lines: [*lines[:2], b"\n", *lines[2:]],
            "decisions.jsonl:3: is not record 2, but something else",
        ),
        "something before the first": (
            lambda lines: [b"{}\n", *lines],
            "decisions.jsonl:1: is not record 0, but something else",
        ),
        "the last record's link is changed": (
            lambda lines: [*lines[:-1], lines[-1].replace(lines[-1][16:32], b"0" * 16)],
            "decisions.jsonl:10: record 9 was changed, or is another log's",
        ),
        "the last record's content is changed": (
            lambda lines: [*lines[:-1], lines[-1].replace(b'"lost":0', b'"lost":1')],
            "decisions.jsonl:10: record 9 is not what was signed",
        ),
    }
)
class RecordTests(Broken):
    """Whatever is done to records, the first that is broken is named with its line."""

    def check_change(self, change: Callable[[Lines], Lines], finding: str) -> None:
        """It is found, and where."""
        rewrite(self.files.current, change)
        self.assertEqual(self.found(), [finding])


class RewrittenTests(Broken):
    """Who knows the links does not get by either."""

    def test_rewritten(self) -> None:
        """A log that was written anew, links and all, is found by its checkpoints."""
        other = LogFiles(Path(self.mktemp()), "decisions")
        mine, self.folder = self.folder, other.folder
        log = self.open(checkpoint_records=4)
        log.begin_batch()
        self.write(log, 3, 7)
        log.end_batch()
        self.write(log, 5, 3)
        log.close()
        self.folder = mine
        self.files.current.write_bytes(other.current.read_bytes())
        self.assertEqual(self.found(), ["decisions.jsonl:2: record 1 is not what was signed"])

    def test_spliced(self) -> None:
        """The end of another log, of the same key, does not fit behind the begin of this one."""
        other = LogFiles(Path(self.mktemp()), "decisions")
        mine, self.folder = self.folder, other.folder
        self.run_once(8, 100)
        self.folder = mine
        end = other.current.read_bytes().splitlines(keepends=True)[5:]
        rewrite(self.files.current, lambda lines: lines[:5] + end)
        where = "decisions.jsonl:6: record 5 was changed, or is another log's"
        found = self.found()
        self.assertEqual(len(found), 1)
        self.assertIn(
            found[0], (where, "decisions.jsonl:5: record 4 was changed: the next one says so")
        )

    def test_every_bit(self) -> None:
        """No bit of the log or of its checkpoints can be changed unnoticed."""
        chance = random.Random(1)
        for path in (self.files.current, self.files.checkpoints):
            octets = path.read_bytes()
            for at in range(chance.randrange(5), len(octets), 5):
                changed = bytearray(octets)
                changed[at] ^= 1 << chance.randrange(8)
                path.write_bytes(changed)
                self.assertEqual(len(self.found()[:1]), 1, (path, at))
            path.write_bytes(octets)
        self.assertEqual(self.found(), [])


class CheckpointTests(Broken):
    """Checkpoints cannot be changed, left out or borrowed."""

    def entries(self) -> Lines:
        octets = self.files.checkpoints.read_bytes()
        return [bytes(one) for one in read(octets, "file")]

    def test_left_out(self) -> None:
        """A checkpoint that was taken out from between others is missed."""
        entries = self.entries()
        self.files.checkpoints.write_bytes(b"".join([entries[0], *entries[2:]]))
        self.assertIn("does not follow the checkpoint before", self.found()[0])

    def test_missing(self) -> None:
        """A log without checkpoints proves nothing, and is none that a gateway leaves."""
        self.files.checkpoints.unlink()
        self.assertIn("decisions.checkpoints: is missing", self.found()[0])
        self.files.checkpoints.write_bytes(b"")
        self.assertIn("decisions.checkpoints:1: is no whole checkpoint", self.found()[0])

    def test_cut_back(self) -> None:
        """Log and checkpoints, both cut back to an older checkpoint, are whole as far as they go;
        a checkpoint kept elsewhere tells."""
        entries = self.entries()
        newest = self.verify().last
        self.files.checkpoints.write_bytes(b"".join(entries[:2]))
        size = self.verify_size(entries[1])
        rewrite(self.files.current, lambda lines: lines[:size])
        report = self.verify()
        self.assertEqual((report.findings, report.proven), ([], size))
        self.assertIn("that nothing was cut off", report.open[-1])
        report = self.verify(Asked(since=newest))
        self.assertIn("it was cut back", report.findings[0].what)

    def verify_size(self, entry: bytes) -> int:
        return int(entry.split(b"\n")[1])

    def test_since(self) -> None:
        """A log goes on from each of its checkpoints, also when the log has grown."""
        octets = self.files.checkpoints.read_bytes()
        kept = [one.checkpoint(SIGNER.public, "x") for one in read(octets, "x")]
        self.run_once(3, 20)
        for one in kept:
            report = self.verify(Asked(since=one))
            self.assertEqual(report.findings, [])
            self.assertIn("the log goes on from", report.shown[0])
            self.assertIsNotNone(report.consistency)

    def test_another_past(self) -> None:
        """A log whose past is another one than was signed before is found."""
        last = self.verify().last
        assert last is not None
        forged = Checkpoint(
            origin=last.origin, size=5, root=bytes(32), time=last.time, first=0, counts={}
        )
        report = self.verify(Asked(since=forged))
        self.assertIn("is not the log of the checkpoint of 5 records", report.findings[0].what)

    def test_changed(self) -> None:
        """A counter that was changed in a checkpoint breaks its signature."""
        rewrite(
            self.files.checkpoints,
            lambda lines: [line.replace(b"count 8", b"count 9") for line in lines],
        )
        self.assertIn("was not signed like this", self.found()[0])


class SegmentedTests(LogCase):
    """Segments that are missing are missed."""

    def setUp(self) -> None:
        """Write several."""
        super().setUp()
        self.run_once(30, max_segment_bytes=2_000)
        self.segments = self.files.segments()
        self.assertGreater(len(self.segments), 2)

    def test_first(self) -> None:
        """The first one was removed, and no checkpoint says so."""
        self.segments[0].path.unlink()
        self.assertIn(f"records 0 to {self.segments[1].first - 1} are missing", self.found()[0])

    def test_middle(self) -> None:
        """One from between was removed."""
        self.segments[1].path.unlink()
        found = self.found()[0]
        first, behind = self.segments[1].first, self.segments[2].first
        self.assertIn(f"records {first} to {behind - 1} are missing before it", found)

    def test_changed(self) -> None:
        """A record of any segment that was changed is named, also the last of its file."""
        for segment in self.segments:
            octets = segment.path.read_bytes()
            lines = octets.splitlines(keepends=True)
            for at in (0, len(lines) - 1):
                changed = [*lines[:at], lines[at].replace(b"Z", b"Y"), *lines[at + 1 :]]
                segment.path.write_bytes(b"".join(changed))
                place, number = f"{segment.path.name}:{at + 1}: ", segment.first + at
                self.assertTrue(
                    self.found()[0].startswith(f"{place}record {number} "), self.found()
                )
            segment.path.write_bytes(octets)


class ProofTests(LogCase):
    """That a record is in the log is proven on one page."""

    def setUp(self) -> None:
        """Write a log of which much was removed."""
        super().setUp()
        self.run_once(200, max_segment_bytes=2_000, keep_bytes=9_000, checkpoint_records=7)
        self.first = self.verify().first
        self.assertGreater(self.first, 50)

    def test_each(self) -> None:
        """Each record that is there is proven; the proof is checked with the key alone."""
        for index in range(self.first, 202):
            report = self.verify(Asked(record=index))
            assert report.proof is not None
            text = str(report.proof).encode()
            proof = read_proof(text, "proof")
            self.assertEqual(proof.check(SIGNER.public, "proof").size, 202)
            self.assertTrue(proof.record.startswith(b'{"n":%d,' % index))

    def test_text(self) -> None:
        """A record is found by text in it."""
        report = self.verify(Asked(record='"reason 170"'))
        assert report.proof is not None
        self.assertIn(b'"not_carried":"reason 170"', report.proof.record)

    def test_none(self) -> None:
        """A record that was removed, is not there yet, or has no such text is not proven."""
        for record in (0, self.first - 1, 202, 10**12, "reason 170x"):
            report = self.verify(Asked(record=record))
            self.assertIsNone(report.proof)
            self.assertEqual(len(report.findings), 1)

    def test_every_octet(self) -> None:
        """A proof of which anything was changed is refused."""
        report = self.verify(Asked(record=190))
        octets = str(report.proof).encode()
        for at in range(len(octets)):
            changed = bytearray(octets)
            changed[at] ^= 1
            error = self.assertRaises(DataError, self.check, bytes(changed))
            self.assertIn("proof", str(error))
        error = self.assertRaises(DataError, self.check, octets, OTHER_SIGNER.public)
        self.assertIn("bears no signature", str(error))

    def check(self, octets: bytes, key: object = SIGNER.public) -> None:
        assert isinstance(key, type(SIGNER.public))
        read_proof(octets, "proof").check(key, "proof")


class UnsignedTests(LogCase):
    """What is not signed yet is said to be."""

    def test_behind(self) -> None:
        """Records behind the last checkpoint are counted, and their links are looked at."""
        log = self.open()
        self.write(log, 4)
        report = self.verify()
        self.assertEqual((report.findings, report.proven, report.records), ([], 1, 5))
        self.assertIn("records 1 to 4, behind the last checkpoint", report.open[0])
        rewrite(
            self.files.current,
            lambda lines: [line.replace(b"reason 1", b"reason X") for line in lines],
        )
        expected = "decisions.jsonl:3: record 2 was changed: the next one says so"
        self.assertEqual(self.found(), [expected])

    def test_being_written(self) -> None:
        """A log may be verified while it is written to: half a record is said to be that."""
        log = self.open()
        self.write(log, 1)
        copied = self.copy()
        with copied.current.open("ab") as file:
            file.write(b'{"n":2,"af')
        report = self.verify(files=copied)
        self.assertEqual(report.findings, [])
        self.assertIn("10 octets of a record that is not whole", report.open[1])


class NothingTests(SynchronousTestCase):
    """Where there is nothing, nothing is proven."""

    def test_marker(self) -> None:
        """A proof that is none is refused."""
        self.assertRaises(DataError, read_proof, b"", "proof")
        self.assertRaises(DataError, read_proof, b"c2sp.org/tlog-proof@v1\n\n", "proof")
