"""Signing the log.  Owns: the work of a checkpoint: disk, signature, what retention removes then.
Knows: threads: this may be done in one.  Never: records; when it is time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from twisted.logger import Logger

from gateway.errors import DataError
from gateway.evidence import checkpoints
from gateway.evidence.checkpoints import Checkpoint, Entry
from gateway.evidence.files import LogFiles, Segment
from gateway.evidence.notes import Signer
from gateway.evidence.tree import Stretch

_log = Logger(namespace="gateway.evidence")

# Checkpoints that wait for a disk that does not take them; no more are asked for then.
_MAX_WAITING = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What the next checkpoint is about."""

    since: Stretch
    leaves: Sequence[bytes]
    """Behind `since`: the records since the checkpoint before are both."""
    time: str
    first: int
    """The first record that is kept: older segments are removed once this is signed."""
    counts: Mapping[str, int]
    descriptor: int
    """The segment, open: it is on the disk before it is signed."""


class Notary:
    """Signs what it is told of, in order."""

    def __init__(self, files: LogFiles, signer: Signer, origin: str, signed: Stretch) -> None:
        """Go on behind what was signed.  Raises: OSError."""
        self._files = files
        self._signer = signer
        self._origin = origin
        self._signed = signed
        self._cuts: deque[Cut] = deque()
        self._turn = Lock()
        self._is_failing = False
        self._file = self._open()
        self._length = os.fstat(self._file).st_size

    def add(self, cut: Cut) -> None:
        """Take a cut over, and its descriptor; `work` signs it."""
        self._cuts.append(cut)

    @property
    def is_behind(self) -> bool:
        """Whether so much waits that nothing may be added."""
        return len(self._cuts) >= _MAX_WAITING

    @property
    def signed(self) -> int:
        """Records that were signed, and are on the disk."""
        return self._signed.end

    @property
    def has_work(self) -> bool:
        """Whether anything waits to be signed."""
        return bool(self._cuts)

    def work(self) -> None:
        """Sign all that waits; what cannot be written waits on.  Any thread, one at a time."""
        with self._turn:
            try:
                while self._cuts:
                    cut = self._cuts[0]
                    self._sign(cut)
                    self._cuts.popleft()
                    os.close(cut.descriptor)
                    self._remove(cut.first)
                self._is_failing = False
            except OSError as error:
                self._fail(error.strerror or str(error))

    def close(self) -> None:
        """Sign all that waits, and close the file.  What cannot be signed never is."""
        self.work()
        for cut in self._cuts:
            os.close(cut.descriptor)
        self._cuts.clear()
        os.close(self._file)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        return os.open(self._files.checkpoints, flags, 0o600)

    def _sign(self, cut: Cut) -> None:
        # 1. The records, so that what is signed is there even if the host dies now.
        os.fdatasync(cut.descriptor)
        since = cut.since.then(Stretch.of(cut.since.end, cut.leaves))
        signed = self._signed.then(since)
        checkpoint = Checkpoint(
            origin=self._origin,
            size=signed.end,
            root=signed.root(),
            time=cut.time,
            first=cut.first,
            counts=cut.counts,
        )
        # 2. The checkpoint.
        self._append(checkpoints.sign(self._signer, checkpoint, since))
        self._signed = signed

    def _append(self, entry: Entry) -> None:
        octets = bytes(entry)
        os.ftruncate(self._file, self._length)  # if an earlier one was half written and stuck
        try:
            if os.write(self._file, octets) < len(octets):
                raise OSError(0, "the disk is full")
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, self._length)
            raise
        self._length += len(octets)

    def _remove(self, first: int) -> None:
        """Remove what is not kept, after a checkpoint said so."""
        removed = [one for one in self._files.segments() if one.first < first]
        for segment in removed:
            segment.path.unlink()
        if removed:
            self._thin(first, removed)

    def _thin(self, first: int, removed: Sequence[Segment]) -> None:
        """Keep, of the checkpoints on records that were removed, those at segments' ends, and the
        first of all: the others could be held against nothing."""
        path = self._files.checkpoints
        try:
            entries = list(checkpoints.read(path.read_bytes(), str(path)))
        except DataError as error:
            self._fail(str(error))
            return
        ends = {one.first for one in removed}
        is_kept = [
            at == 0
            or entry.since.end >= first
            or entry.since.end <= min(ends)
            or entry.since.end in ends
            for at, entry in enumerate(entries)
        ]
        octets = b"".join(map(bytes, checkpoints.thin(entries, is_kept)))
        new = path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC
        before, after = self._file, os.open(new, flags, 0o600)
        try:
            with os.fdopen(os.dup(after), "wb") as file:
                file.write(octets)
            os.fsync(after)
            os.replace(new, path)
        except OSError:
            os.close(after)
            raise
        self._file, self._length = after, len(octets)
        os.close(before)

    def _fail(self, reason: str) -> None:
        if not self._is_failing:
            _log.error(
                "{path}: no checkpoint can be written: {reason}",
                path=str(self._files.checkpoints),
                reason=reason,
            )
        self._is_failing = True
