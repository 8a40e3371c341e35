"""gateway.evidence.decisions: one line a decision, naming nobody."""

from __future__ import annotations

import errno
import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import DataError
from gateway.evidence.decisions import DecisionLog
from gateway.evidence.files import LogFiles
from gateway.evidence.keys import load_key, load_signer
from gateway.evidence.pseudonyms import Pseudonyms
from gateway.evidence.verifying import Asked, verify
from gateway.flow.epoch import Epoch
from gateway.flow.table import Judged
from gateway.model import FlowKey
from tests.evidence.proving import SIGNER, decided, journal, proving
from tests.support.epochs import PING, epoch

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, UTC)
KEY = FlowKey.parse("udp 10.1.0.2:5000 > 192.0.2.1:4001")


def judged(in_force: Epoch, payload: bytes = PING, key: FlowKey = KEY) -> Judged:
    """Judge one datagram."""
    facts = in_force.seen(key, payload)
    return Judged(facts, in_force.judge(facts), 1, len(payload))


class DecisionLogTests(SynchronousTestCase):
    """Decisions are written whole, in order, and without what could name a person."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.epoch = epoch()

    def log(self, key: bytes = b"k" * 32) -> DecisionLog:
        log = DecisionLog(self.folder, Pseudonyms(key), lambda: NOW, proving())
        self.addCleanup(log.close)
        return log

    def records(self) -> list[dict[str, Any]]:
        """Read what was decided: not what the log says of itself."""
        return decided((self.folder / "decisions.jsonl").read_text())

    def test_record(self) -> None:
        """A record has time, flow, facts, evidence, verdict and what was in force."""
        self.assertTrue(self.log().write(self.epoch, judged(self.epoch), PING))
        (record,) = self.records()
        self.assertEqual(record["time"], "2026-11-23T12:00:00.123Z")
        self.assertEqual(record["facts"]["message"], "PPing1_v7")
        self.assertEqual(record["facts"]["to"]["address"], "192.0.2.1")
        self.assertEqual(record["facts"]["to"]["evidence"][0]["value"], "US")
        self.assertEqual(record["verdict"]["action"], "wrap")
        self.assertEqual(record["verdict"]["epoch"], 1)
        self.assertEqual(record["policy"], self.epoch.policy.revision)
        self.assertEqual(record["data"], "fake")

    def test_nobody_is_named(self) -> None:
        """Neither the client's address nor an identifier is in the log, in any spelling."""
        self.log().write(self.epoch, judged(self.epoch), PING)
        octets = (self.folder / "decisions.jsonl").read_bytes()
        for secret in (b"10.1.0.2", b"5000", PING[10:14], b"44332211", b"11223344", b"287454020"):
            self.assertNotIn(secret, octets)

    def test_names(self) -> None:
        """A host name can name a person: what is left of its last two labels is a digest."""
        facts = self.epoch.facts(KEY, None, ("u287454020.ap.example.org", "example.org"))
        self.log().write(self.epoch, Judged(facts, self.epoch.judge(facts)), None)
        (record,) = self.records()
        self.assertRegex(record["facts"]["names"][0], r"^[0-9a-f]{10}\.example\.org$")
        self.assertEqual(record["facts"]["names"][1], "example.org")
        self.assertNotIn(b"287454020", (self.folder / "decisions.jsonl").read_bytes())

    def test_not_carried(self) -> None:
        """What could not be carried out is written down as such."""
        verdict = judged(self.epoch).verdict
        self.assertTrue(self.log().write_not_carried(KEY, verdict, "no exit is up"))
        (record,) = self.records()
        self.assertEqual(record["not_carried"], "no exit is up")
        self.assertEqual(record["flow"], f"udp {record['client']} > 192.0.2.1:4001")

    def test_barred(self) -> None:
        """A name that was not even resolved is written down, as a digest."""
        verdict = judged(self.epoch).verdict
        self.assertTrue(self.log().write_barred(KEY.client, "u1.ap.example.cn", verdict))
        (record,) = self.records()
        self.assertRegex(record["flow"], r"^c-[0-9a-f]{10} > [0-9a-f]{10}\.example\.cn$")

    def test_mode(self) -> None:
        """The log is its owner's to read."""
        self.log()
        self.assertEqual((self.folder / "decisions.jsonl").stat().st_mode & 0o777, 0o600)

    def test_digests(self) -> None:
        """The same identifier and the same client have the same name, under one key only."""
        first, other = (
            self.log(),
            DecisionLog(Path(self.mktemp()), Pseudonyms(b"o" * 32), lambda: NOW, proving()),
        )
        self.addCleanup(other.close)
        for log in (first, first, other):
            log.write(self.epoch, judged(self.epoch), PING)
        one, two = self.records()
        three = decided(other.path.read_text())[0]
        self.assertEqual(one["facts"]["plaintext"], two["facts"]["plaintext"])
        self.assertEqual(one["client"], two["client"])
        self.assertNotEqual(one["client"], three["client"])
        digests = [found["digest"] for found in one["facts"]["plaintext"]]
        self.assertEqual(len(set(digests)), 2)
        others = [found["digest"] for found in three["facts"]["plaintext"]]
        self.assertNotEqual(digests, others)

    def test_appends(self) -> None:
        """A second run goes on behind the first."""
        for _ in range(2):
            log = DecisionLog(self.folder, Pseudonyms(b"k" * 32), lambda: NOW, proving())
            log.write(self.epoch, judged(self.epoch), PING)
            log.close()
        self.assertEqual(len(self.records()), 2)

    def test_full_disk(self) -> None:
        """A record that cannot be written is counted, said once, and does not stop the rest."""
        log = self.log()
        real = journal(log)._file
        journal(log)._file = cast(BinaryIO, _FullDisk())
        one = judged(self.epoch)
        self.assertEqual([log.write(self.epoch, one, PING) for _ in range(3)], [False] * 3)
        journal(log)._file = real
        self.assertTrue(log.write(self.epoch, one, PING))
        self.assertEqual((log.written, log.lost, len(self.records())), (1, 3, 1))

    def test_torn_record(self) -> None:
        """A half-written record does not swallow the next one: it is cut off, and told of."""
        log = self.log()
        real = journal(log)._file
        journal(log)._file = cast(BinaryIO, _TornDisk(real))
        self.assertFalse(log.write(self.epoch, judged(self.epoch), PING))
        journal(log)._file = real
        self.assertTrue(log.write(self.epoch, judged(self.epoch), PING))
        lines = (self.folder / "decisions.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        self.assertEqual([record["n"] for record in records], [0, 1, 2])
        self.assertEqual(records[1]["gap"], {"lost": 1})
        self.assertEqual(records[2]["verdict"]["rule"], "plain")

    def test_torn_and_stuck(self) -> None:
        """Where what was half written cannot even be cut off, nothing is written behind it."""
        log = self.log()
        real = journal(log)._file
        journal(log)._file = cast(BinaryIO, _StuckDisk(real))
        one = judged(self.epoch)
        self.assertEqual([log.write(self.epoch, one, PING) for _ in range(2)], [False] * 2)
        journal(log)._file = real
        self.assertTrue(log.write(self.epoch, one, PING))
        self.assertEqual((log.written, log.lost, len(self.records())), (1, 2, 1))

    def test_batch(self) -> None:
        """What is gathered reaches the file in one piece and in order, when the batch ends."""
        log = self.log()
        writes = _Counted(journal(log)._file)
        journal(log)._file = cast(BinaryIO, writes)
        log.begin_batch()
        verdict = judged(self.epoch).verdict
        self.assertTrue(log.write(self.epoch, judged(self.epoch), PING))
        self.assertTrue(log.write_not_carried(KEY, verdict, "no exit is up"))
        self.assertTrue(log.write_barred(KEY.client, "u1.example.cn", verdict))
        self.assertEqual((log.written, self.records()), (0, []))
        self.assertTrue(log.end_batch())
        kinds = [("not_carried" in record, "policy" in record) for record in self.records()]
        self.assertEqual(kinds, [(False, True), (True, False), (False, False)])
        log.write(self.epoch, judged(self.epoch), PING)
        self.assertEqual((log.written, len(self.records()), writes.count), (4, 4, 2))

    def test_empty_batch(self) -> None:
        """A batch without decisions writes nothing, and nothing failed."""
        log = self.log()
        real = journal(log)._file
        journal(log)._file = cast(BinaryIO, _FullDisk())
        log.begin_batch()
        self.assertEqual((log.flush(), log.end_batch(), log.lost), (True, True, 0))
        journal(log)._file = real

    def test_flush(self) -> None:
        """Within a batch, what was decided so far can be written before something is let go."""
        log = self.log()
        log.begin_batch()
        log.write(self.epoch, judged(self.epoch), PING)
        self.assertTrue(log.flush())
        self.assertEqual(len(self.records()), 1)
        log.write(self.epoch, judged(self.epoch), PING)
        self.assertEqual(len(self.records()), 1)
        self.assertTrue(log.end_batch())
        self.assertEqual(len(self.records()), 2)

    def test_lost_batch(self) -> None:
        """A batch of which anything was lost has failed to its end, and the next one has not."""
        log = self.log()
        real, one = journal(log)._file, judged(self.epoch)
        log.begin_batch()
        log.write(self.epoch, one, PING)
        journal(log)._file = cast(BinaryIO, _FullDisk())
        self.assertFalse(log.flush())
        journal(log)._file = real
        self.assertTrue(log.write(self.epoch, one, PING))
        self.assertFalse(log.end_batch())
        log.begin_batch()
        self.assertTrue(log.write(self.epoch, one, PING))
        self.assertTrue(log.end_batch())
        self.assertEqual((log.written, log.lost, len(self.records())), (2, 1, 2))

    def test_torn_batch(self) -> None:
        """Of a batch that the disk cuts anywhere, each record is counted as what became of it."""
        one = judged(self.epoch)
        log = self.log()
        before = log.path.stat().st_size
        log.write(self.epoch, one, PING)
        size = log.path.stat().st_size - before
        real = journal(log)._file
        for kept in (0, 1, size - 2, size, size + 1, 2 * size - 2, 2 * size, 3 * size - 2):
            written, lost = log.written, log.lost
            journal(log)._file = cast(BinaryIO, _TornDisk(real, kept))
            log.begin_batch()
            for _ in range(3):
                log.write(self.epoch, one, PING)
            self.assertFalse(log.end_batch())
            journal(log)._file = real
            self.assertEqual(log.written, len(self.records()), kept)
            self.assertEqual(log.written - written + log.lost - lost, 3)
            self.assertTrue(log.write(self.epoch, one, PING))
        log.close()
        report = verify(LogFiles(self.folder, "decisions"), SIGNER.public, Asked())
        self.assertEqual(report.findings, [])

    def test_long_batch(self) -> None:
        """A batch that nobody ends does not grow for ever: it is written piece by piece."""
        log = self.log()
        log.begin_batch()
        one = judged(self.epoch)
        for _ in range(1_000):
            log.write(self.epoch, one, PING)
        self.assertGreater(log.written, 0)
        self.assertLess(1_000 - log.written, 400)
        self.assertEqual(len(self.records()), log.written)

    def test_closed_within_a_batch(self) -> None:
        """A clean stop loses nothing of what was gathered."""
        log = self.log()
        log.begin_batch()
        log.write(self.epoch, judged(self.epoch), PING)
        log.close()
        log.close()
        self.assertEqual(len(self.records()), 1)

    def test_no_folder(self) -> None:
        """A folder that cannot be made is our error, with its path."""
        blocker = Path(self.mktemp())
        blocker.write_text("")
        error = self.assertRaises(
            DataError, DecisionLog, blocker / "evidence", Pseudonyms(b"k"), lambda: NOW, proving()
        )
        self.assertIn(str(blocker), str(error))


class _FullDisk:
    """A file on a full disk."""

    def write(self, octets: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _TornDisk:
    """A file on a disk that fills up within a record."""

    def __init__(self, file: Any, kept: int = 20) -> None:
        self.file = file
        self.kept = kept

    def write(self, octets: bytes) -> int:
        return int(self.file.write(octets[: self.kept]))

    def truncate(self, length: int) -> int:
        return int(self.file.truncate(length))


class _StuckDisk(_TornDisk):
    """One on which nothing can be cut off either."""

    def truncate(self, length: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


class _Counted:
    """A file that counts how often it is written to."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.count = 0

    def write(self, octets: bytes) -> int:
        self.count += 1
        return self.file.write(octets)

    def fileno(self) -> int:
        return self.file.fileno()

    def close(self) -> None:
        self.file.close()


class KeyTests(SynchronousTestCase):
    """The pseudonym key is made once and kept to its owner."""

    def test_made_once(self) -> None:
        """The key is made from handed-in chance, kept, and readable by its owner only."""
        folder = Path(self.mktemp())
        key = load_key(folder, lambda size: b"r" * size)
        self.assertEqual(key, b"r" * 32)
        self.assertEqual(load_key(folder, lambda size: b"s" * size), key)
        mode = stat.S_IMODE((folder / "pseudonym.key").stat().st_mode)
        self.assertEqual(mode, 0o600)

    def test_wrong_length(self) -> None:
        """A key of another length is refused."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "pseudonym.key").write_bytes(b"short")
        error = self.assertRaises(DataError, load_key, folder, os.urandom)
        self.assertIn("has 5 octets", str(error))

    def test_signing_key(self) -> None:
        """The signing key is made once and its owner's only; the public key is everybody's."""
        folder = Path(self.mktemp())
        signer = load_signer(folder, lambda size: b"r" * size)
        self.assertEqual(load_signer(folder, lambda size: b"s" * size).public, signer.public)
        self.assertEqual(stat.S_IMODE((folder / "log.key").stat().st_mode), 0o600)
        self.assertEqual((folder / "log.pub").read_text(), f"{signer.public}\n")
