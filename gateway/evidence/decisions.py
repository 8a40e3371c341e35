"""The decision log.  Owns: one record a decision, singly or in batches; what the log says of
itself.  Knows: what is lost when a record cannot be written.  Never: what a record says; payload
octets; whether records are written to the log at once, or by another process."""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from twisted.logger import Logger

from gateway.evidence.direct import Direct
from gateway.evidence.files import LogFiles
from gateway.evidence.journal import Proving
from gateway.evidence.pseudonyms import Pseudonyms
from gateway.evidence.recording import Recorder
from gateway.evidence.spool import Spool
from gateway.evidence.writing import spooling
from gateway.flow.epoch import Epoch
from gateway.flow.guard import Leak
from gateway.flow.table import Judged
from gateway.model import Endpoint, FlowKey, Verdict

_log = Logger(namespace="gateway.evidence")

# So many records are written, whoever may still want to add to them: some 250 kB of log.
_MAX_BATCH = 256

NAME = "decisions.jsonl"


class Sink(Protocol):
    """Where records go."""

    begins: Mapping[str, object]
    """What the first record has to say."""
    reason: str
    """Why the last write failed."""

    @property
    def waiting(self) -> int:
        """Records that wait."""

    def say(self, entry: bytes) -> None:
        """Take a text that entries rest on."""

    def gather(self, line: str) -> None:
        """Take a record, a line of JSON text."""

    def gather_entries(self, pieces: list[bytes], count: int) -> None:
        """Take so many decisions' entries, in pieces."""

    def hand_over(self) -> int:
        """Hand what waits to the operating system; give how many records of it are there."""

    def cut(self) -> None:
        """Have what was written signed."""

    def sign_if_many(self) -> None:
        """Have what was written signed, if it is much."""

    def tick(self) -> None:
        """Do what is due; called every few seconds."""

    def close(self) -> None:
        """Have everything written and signed."""


class DecisionLog:
    """Appends decisions to a file of a folder.

    Each record is handed to the operating system before `write` returns.  Between `begin_batch` and
    `end_batch` records are gathered and written together, which costs a system call less for each:
    who gathers lets nothing go that was decided meanwhile before `flush` or `end_batch` said True.
    """

    def __init__(
        self,
        directory: Path,
        pseudonyms: Pseudonyms,
        now: Callable[[], datetime.datetime],
        proving: Proving,
        name: str = NAME,
        *,
        spools: bool = False,
    ) -> None:
        """Open the log, and go on behind its last whole record.

        Args:    now: the time of day, UTC.  name: the file's.
                 spools: what is decided is spooled, and a process of its own writes the log.
        Raises:  DataError: the directory or file cannot be made or written.
        """
        files = LogFiles(directory, name.removesuffix(".jsonl"))
        self.path = files.current
        self._decided: Counter[str] = Counter()
        self._judged: list[tuple[Judged, bytes | None]] = []
        """Decisions that wait, and go by one epoch."""
        self._epoch: Epoch | None = None
        self._counting = proving.counting
        self._is_batch = False
        self._is_batch_whole = True
        self._failing = False
        self._is_closed = False
        self.written = 0
        """Records of this process, but for the log's own."""
        self.lost = 0
        self._untold = 0
        """Records that were lost, and no record says so yet."""
        self._own: list[str] = []
        """Kinds of the log's own records among those that wait: they come first."""
        self._in_hand = 0
        """Records, but for the log's own, that are being written."""
        self._lines = Recorder(pseudonyms, now, self._say)
        self._journal: Sink | Direct
        if spools:
            means = spooling(files, now, proving, self._counted)
            self._journal = Spool(files, means, self._lines.begin)
        else:
            counted = dataclasses.replace(proving, counting=self._counted)
            self._journal = Direct(files, now, counted, self._lines.begin)
        self._begins: Mapping[str, object] | None = self._journal.begins
        if not self._begins["clean"]:
            _log.warn(
                "{path}: the process before did not stop as it should; it left {records} records",
                path=str(self.path),
                records=self._begins["records"],
            )
        self._owes = True
        """Whether records of the log's own are due."""
        self._gather_own()
        if self._hand_over():
            self._journal.cut()  # from here on a log without a checkpoint is one that was robbed

    def _say(self, entry: bytes) -> None:
        self._journal.say(entry)

    def write(self, epoch: Epoch, judged: Judged, payload: bytes | None) -> bool:
        """Append one decision; False if it could not be written (a full disk).

        In a batch True says only that it was gathered.
        """
        if epoch is not self._epoch:
            self._gather_judged()
            self._epoch = epoch
        self._judged.append((judged, payload))
        if self._is_batch and len(self._judged) < _MAX_BATCH:
            return True
        return self._hand_over()

    def write_not_carried(self, key: FlowKey, verdict: Verdict, reason: str) -> bool:
        """Append that a verdict could not be carried out, and so was a block."""
        self._decided["not carried"] += 1
        return self._add(self._lines.not_carried(key, verdict, reason))

    def write_barred(self, client: Endpoint, name: str, verdict: Verdict) -> bool:
        """Append that a name was refused before it was resolved."""
        self._decided["barred"] += 1
        return self._add(self._lines.barred(client, name, verdict))

    def write_leak(self, key: FlowKey, leak: Leak) -> bool:
        """Append that a flow shows identifiers by value, or is one of a sweep."""
        self._decided["leak"] += 1
        return self._add(self._lines.leaked(key, leak))

    def write_canary(self, outcome: Mapping[str, object]) -> bool:
        """Append what became of a flow that the gateway sent itself."""
        self._decided["canary"] += 1
        return self._add(self._lines.event("canary", outcome))

    def write_epoch(self, epoch: Epoch) -> bool:
        """Append that a policy with its data came into force."""
        self._decided["epoch"] += 1
        return self._add(self._lines.entered(epoch))

    def begin_batch(self) -> None:
        """Gather records from now on."""
        self._is_batch = self._is_batch_whole = True

    def flush(self) -> bool:
        """Write what was gathered; False if any record since `begin_batch` could not be."""
        self._hand_over()
        return self._is_batch_whole

    def end_batch(self) -> bool:
        """Write what was gathered, and from now on each record by itself; False as `flush`."""
        is_whole = self.flush()
        self._is_batch, self._is_batch_whole = False, True
        return is_whole

    def tick(self) -> None:
        """Sign what was written, if it is time; call it every few seconds."""
        self._hand_over()
        self._journal.tick()

    def close(self) -> None:
        """Write what was gathered, say that this is the end, sign it, and close the files.  May be
        called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        self._hand_over()
        self._gather_own()
        self._gather("end", {"lost": self.lost})
        self._hand_over()
        self._journal.close()

    def _add(self, line: str) -> bool:
        self._gather_judged()
        if self._owes and not self._journal.waiting:
            self._gather_own()
        self._journal.gather(line)
        if self._is_batch and self._journal.waiting < _MAX_BATCH:
            return True
        return self._hand_over()

    def _gather_judged(self) -> None:
        """Gather the decisions that wait."""
        judged, epoch = self._judged, self._epoch
        if judged and epoch is not None:
            self._judged = []
            if self._owes and not self._journal.waiting:
                self._gather_own()
            self._journal.gather_entries(self._lines.entries(epoch, judged), len(judged))

    def _gather_own(self) -> None:
        """Gather what the log owes its reader, before anything else."""
        if self._begins is not None:
            self._gather("begin", self._begins)
        if self._untold:
            self._gather("gap", {"lost": self._untold})

    def _gather(self, kind: str, account: Mapping[str, object]) -> None:
        self._own.append(kind)
        self._journal.gather(self._lines.event(kind, account))

    def _hand_over(self) -> bool:
        """Write the records that wait; those that cannot be written are lost, and counted."""
        self._gather_judged()
        count, own = self._journal.waiting, self._own
        if not count:
            return True
        self._own, self._in_hand = [], count - len(own)
        written = self._journal.hand_over()
        self._in_hand = 0
        self.written += max(written - len(own), 0)
        self._told(own[:written])
        if written < count:
            self._fail(count - max(written, len(own)))
        else:
            self._failing = False
        self._journal.sign_if_many()
        return written == count

    def _told(self, kinds: list[str]) -> None:
        if "begin" in kinds:
            self._begins = None
        if "gap" in kinds:
            self._untold = 0
        self._owes = bool(self._untold) or self._begins is not None

    def _fail(self, lost: int) -> None:
        self.lost += lost
        self._untold += lost
        self._owes = True
        self._is_batch_whole = not self._is_batch
        if not self._failing:
            self._failing = True
            _log.error(
                "decision log {path} cannot be written: {reason}",
                path=str(self.path),
                reason=self._journal.reason,
            )

    def _counted(self) -> Mapping[str, int]:
        """Count for a checkpoint: what was decided was written, or is being written, or is lost."""
        kinds = [*self._decided.items(), *self._lines.actions.items()]
        decided = {f"decided: {kind}": count for kind, count in kinds}
        records = {
            "records: written": self.written,
            "records: in hand": self._in_hand,
            "records: lost": self.lost,
        }
        return {**self._counting(), **decided, **records}
