"""The journal.  Owns: records linked, appended to a file of bounded size, and signed in time.
Knows: what a full disk does to a write.  Never: what a record says."""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from gateway.errors import DataError
from gateway.evidence.files import LogFiles, LogLimits, Segment, first_kept
from gateway.evidence.links import link, linked
from gateway.evidence.notary import Cut, Notary
from gateway.evidence.notes import Signer
from gateway.evidence.recovery import Found, begun_at, recover, set_aside
from gateway.evidence.tree import Stretch, leaf_hash

_log = Logger(namespace="gateway.evidence")


def _nothing() -> Mapping[str, int]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proving:
    """What a log needs to be proven."""

    signer: Signer
    random: Callable[[int], bytes]
    """As os.urandom: a new log's name."""
    limits: LogLimits = field(default_factory=LogLimits)
    counting: Callable[[], Mapping[str, int]] = _nothing
    """What the process counted since it started, by name, for checkpoints; what is not known is
    left out."""
    in_thread: Callable[..., Deferred[Any]] = maybeDeferred
    """Calls what waits for the disk."""
    origin: str = ""
    """The log's, if no checkpoint says it yet; "": it is made up."""


class Journal:
    """Appends records, each with its number and the link to the one before."""

    def __init__(
        self,
        files: LogFiles,
        now: Callable[[], datetime.datetime],
        proving: Proving,
        *,
        sets_aside: bool = True,
    ) -> None:
        """Open it, and go on behind its last whole record; what cannot be gone on with is set aside
        whole, or, if it is not to be, an error.

        Args:    now: the time of day, UTC.
        Raises:  DataError: it cannot be made or written, or another process writes it.
        """
        self._files = files
        self._sets_aside = sets_aside
        self._now = now
        self._proving = proving
        self._waiting: list[bytes] = []
        self._leaves: list[bytes] = []
        """Of what waits."""
        self.waiting_len = 0
        """Octets."""
        self.reason = ""
        """Why the last write failed."""
        self._is_torn = False
        self._set_aside: Mapping[str, str] = {}
        try:
            files.folder.mkdir(parents=True, exist_ok=True)
            self._file = self._open()
            try:
                self._go_on(self._recover())
            except BaseException:
                self._file.close()
                raise
        except OSError as error:
            raise DataError(str(files.current), str(error.strerror), "a writable file") from error

    def _open(self) -> BinaryIO:
        # Unbuffered: a record is on its way to the disk before its packet is on its way out.
        # Its owner's only: who was where is in it, if under other names.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        file = os.fdopen(os.open(self._files.current, flags, 0o600), "ab", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise OSError(error.errno, "another process writes it") from error
        return file

    def _recover(self) -> Found:
        files = self._files
        try:
            return recover(files, self._proving.signer.public)
        except DataError as error:
            if not self._sets_aside:
                raise
            aside = set_aside(files, self._now().isoformat(timespec="microseconds"))
            _log.error(
                "{reason}; that log is in {folder} now, and another one begins",
                reason=str(error),
                folder=str(aside),
            )
            self._set_aside = {"set_aside": aside.name, "why": str(error)}
            self._file.close()
            self._file = self._open()
            return Found()

    def _go_on(self, found: Found) -> None:
        self._size, self._after = found.size, found.after
        self._gathered_after = found.after
        self._full, self._begin, self._first = list(found.full), found.begin, found.first
        self._length = os.fstat(self._file.fileno()).st_size
        self._cut_at = self._now()
        self._begun_at = begun_at(self._files) or self._cut_at
        self._since, self._behind = Stretch(found.signed.end, found.signed.end), found.leaves
        signer = self._proving.signer
        origin = (
            found.origin
            or self._proving.origin
            or f"{signer.public.name}/{self._files.stem}/{self._proving.random(8).hex()}"
        )
        self._notary = Notary(self._files, signer, origin, found.signed)
        self.begins: Mapping[str, object] = {
            "log": origin,
            "records": found.size,
            "checkpoint": found.signed.end,
            "clean": found.is_clean,
            "torn": found.torn_len,
            **self._set_aside,
        }
        """What its first record has to say: how many records were there, how many of them were
        signed, whether the process before stopped as it should, and the octets of a record that was
        not whole."""

    def gather(self, line: str) -> None:
        """Take a record, a line of JSON text; `hand_over` writes it."""
        number = self._size + len(self._waiting)
        record = linked(number, self._gathered_after, line)
        leaf = leaf_hash(record)
        self._gathered_after = link(leaf)
        self._waiting.append(record)
        self._leaves.append(leaf)
        self.waiting_len += len(record)

    @property
    def size(self) -> int:
        """Records that were written."""
        return self._size

    @property
    def signed(self) -> int:
        """Records that were signed, and are on the disk."""
        return self._notary.signed

    @property
    def waiting(self) -> int:
        """Records that wait."""
        return len(self._waiting)

    def hand_over(self) -> int:
        """Write the records that wait; what cannot be written is forgotten.

        Returns: how many were written whole, the first ones; where not all, `reason` says why.
        """
        if not self._waiting:
            return 0
        octets, leaves = b"".join(self._waiting), self._leaves
        self._waiting, self._leaves, self.waiting_len = [], [], 0
        whole = self._append(octets, len(leaves))
        if whole:
            self._after = link(leaves[whole - 1])
            self._behind += leaves[:whole]
            self._size += whole
        self._gathered_after = self._after
        return whole

    def _append(self, octets: bytes, count: int) -> int:
        """Append so many records, and say how many of them are whole in the file."""
        try:
            if self._is_torn:
                self._mend()
            self._make_room(len(octets))
            done = self._file.write(octets)
        except OSError as error:
            self.reason = error.strerror or str(error)
            return 0
        if done == len(octets):
            self._length += done
            return count
        kept = octets.rfind(b"\n", 0, done) + 1
        self._length += kept
        self.reason = os.strerror(errno.ENOSPC)
        self._is_torn = kept < done
        with contextlib.suppress(OSError):  # nothing is written before it is done
            self._mend()
        return octets.count(b"\n", 0, kept)

    def _mend(self) -> None:
        """Cut off what was half written, so that it does not swallow the next record."""
        self._file.truncate(self._length)
        self._is_torn = False

    def _make_room(self, length: int) -> None:
        """Begin another segment, if this one is full or old."""
        limits = self._proving.limits
        is_full = self._length + length > limits.max_segment_bytes
        age_s = (self._now() - self._begun_at).total_seconds()
        if not self._length or not (is_full or age_s >= limits.max_segment_s):
            return
        if self._notary.is_behind:
            return
        full, before = self._files.full(self._begin), self._file
        os.rename(self._files.current, full)
        try:
            self._file = self._open()
        except OSError:
            os.rename(full, self._files.current)
            raise
        now = self._now()
        self._full.append(Segment(full, self._begin, self._length, now.timestamp()))
        self._begin, self._length, self._begun_at = self._size, 0, now
        # Its end is signed as such: what retention leaves can be proven without it.
        self.cut(before.fileno())
        before.close()

    def sign_if_many(self) -> None:
        """Sign what was written, if it is much."""
        if len(self._behind) >= self._proving.limits.checkpoint_records:
            self.cut()

    def tick(self) -> None:
        """Sign what was written, if it is time; call it every few seconds."""
        age_s = abs((self._now() - self._cut_at).total_seconds())
        if age_s >= self._proving.limits.checkpoint_s and self._size > self._since.begin:
            self.cut()
        elif self._notary.has_work:
            self._work()

    def cut(self, descriptor: int | None = None) -> None:
        """Have all that was written signed.

        Args:    descriptor: of the segment that has it; None: of the one that is written to.
        """
        if self._notary.is_behind:
            self._fold()
            return
        now = self._now()
        self._full, self._first = self._keep(now)
        cut = Cut(
            since=self._since,
            leaves=self._behind,
            time=now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            first=self._first,
            counts=self._counted(),
            descriptor=os.dup(self._file.fileno() if descriptor is None else descriptor),
        )
        self._since, self._behind, self._cut_at = Stretch(self._size, self._size), [], now
        self._notary.add(cut)
        self._work()

    def _fold(self) -> None:
        """Keep what waits to be signed in little room."""
        self._since = self._since.then(Stretch.of(self._since.end, self._behind))
        self._behind = []

    def _keep(self, now: datetime.datetime) -> tuple[list[Segment], int]:
        first = first_kept(self._full, self._begin, self._proving.limits, now.timestamp())
        first = max(first, self._first)
        return [one for one in self._full if one.first >= first], first

    def _counted(self) -> Mapping[str, int]:
        try:
            counts = self._proving.counting()
            # A checkpoint is lines of text.
            return {name: count for name, count in counts.items() if name.isprintable()}
        except Exception:  # a counter that fails is not known, and the checkpoint is due
            _log.failure("counters cannot be read")
            return {}

    def _work(self) -> None:
        done = self._proving.in_thread(self._notary.work)
        done.addErrback(lambda why: _log.failure("signing the log failed", why))

    def close(self, *, signs: bool = True) -> None:
        """Write what waits, sign everything, and close the files.  May be called twice.

        Args:    signs: False: what is not signed stays so.
        """
        if self._file.closed:
            return
        self.hand_over()
        self._notary.work()  # what waited for a disk leaves room for the last one
        if signs and self._size > self._since.begin:
            self.cut()
        self._notary.close()
        self._file.close()
