"""The spool.  Owns: entries handed to the operating system, cheaply, for another process to make
the log's records of.  Knows: what a full disk does to a write.  Never: what an entry says.

A spool is a row of files; each can be read alone, and says with which record of the log it begins.
So whoever copies them into the log knows by the log's length alone how far it has come, whenever it
was interrupted.  A file is removed once a checkpoint has what is in it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from twisted.logger import Logger

from gateway.errors import DataError
from gateway.evidence.entries import COUNTS, HEAD, LINE, frame, long
from gateway.evidence.files import LogFiles

_log = Logger(namespace="gateway.evidence")

_SUFFIX = ".spool"
# A file's length: some 60,000 decisions.
_MAX_LEN = 8 << 20
# And of its texts, which both sides remember.
_MAX_TEXTS = 16_384
# Files that wait for the log: two million decisions, two gigabytes of log.
_MAX_FILES = 16
# The reactor waits so long for a log that is that far behind; then decisions are lost.
_PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """One file of a spool."""

    path: Path
    number: int
    """Of its first record in the log."""


def spool_files(files: LogFiles) -> list[SpoolFile]:
    """Give the files of a log's spool, the oldest first.  Raises: OSError."""
    pattern = re.compile(re.escape(files.stem) + r"\.([0-9]{16})" + re.escape(_SUFFIX))
    found = []
    for entry in os.scandir(files.folder):
        named = pattern.fullmatch(entry.name)
        if named is not None:
            found.append(SpoolFile(Path(entry.path), int(named[1])))
    return sorted(found, key=lambda one: one.number)


class LogWriter(Protocol):
    """The process that copies the spool into the log."""

    def look(self) -> None:
        """See that it runs."""

    def wait(self, is_done: Callable[[], bool], at_most_s: float) -> bool:
        """Wait until something is done, and say whether it is."""

    def stop(self) -> None:
        """Have it copy all that is there, and end; wait for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooling:
    """What a spool needs."""

    origin: str
    """The log's."""
    size: int
    """Records of the log."""
    begins: Mapping[str, object]
    """What the log's next record has to say."""
    writer: LogWriter
    counting: Callable[[], Mapping[str, int]]
    """What the process counted since it started."""
    max_len: int = _MAX_LEN
    """Octets of a file."""


class Spool:
    """A log's records on their way: the face of a journal (decisions.Sink)."""

    def __init__(self, files: LogFiles, spooling: Spooling, on_begin: Callable[[], None]) -> None:
        """Begin the first file.

        Args:    on_begin: called when texts have to be told again.
        Raises:  DataError: it cannot be made.
        """
        self._files = files
        self._spooling = spooling
        self._on_begin = on_begin
        self._size = spooling.size
        self._entries: list[bytes] = []
        self._texts = 0
        self.waiting = 0
        """Records that wait."""
        self.reason = ""
        """Why the last write failed."""
        self.begins = spooling.begins
        self._counted: Mapping[str, int] = {}
        self._has_given_up = False
        self._file = -1
        self._length = 0
        try:
            self._begin()
        except OSError as error:
            where = str(self._files.current.with_suffix(_SUFFIX))
            raise DataError(where, str(error.strerror), "a writable file") from error

    def say(self, entry: bytes) -> None:
        """Take a text that the next entries rest on."""
        self._texts += 1
        self._entries.append(entry)

    def gather(self, line: str) -> None:
        """Take a record, a line of JSON text; `hand_over` writes it."""
        self.gather_entries([long(LINE, line)], 1)

    def gather_entries(self, pieces: list[bytes], count: int) -> None:
        """Take so many records' entries, in pieces; `hand_over` writes them."""
        self._entries += pieces
        self.waiting += count

    def hand_over(self) -> int:
        """Write the records that wait, all or none; what cannot be written is forgotten.

        Returns: how many were written; where not all, `reason` says why.
        """
        entries, count = self._entries, self.waiting
        self._entries, self.waiting = [], 0
        try:
            if self._file < 0:
                self._begin()
            self._append(entries)
        except OSError as error:
            self.reason = error.strerror or str(error)
            self._end()
            return 0
        self._size += count
        if self._length >= self._spooling.max_len or self._texts >= _MAX_TEXTS:
            self._end()
            with contextlib.suppress(OSError):  # then the next record tries, and says why
                self._begin()
        return count

    def cut(self) -> None:
        """Tell what was counted so far: checkpoints say so."""
        try:
            counted = self._spooling.counting()
        except Exception:  # a counter that fails is not known, and the others are as they were
            _log.failure("counters cannot be read")
            return
        if counted != self._counted and self._file >= 0 and not self._entries:
            try:
                self._append([long(COUNTS, json.dumps(counted))])
            except OSError as error:
                self.reason = error.strerror or str(error)
                self._end()
            else:
                self._counted = counted

    def sign_if_many(self) -> None:
        """Do nothing: who writes the log signs it."""

    def tick(self) -> None:
        """See that the log is being written; call it every few seconds."""
        self._spooling.writer.look()
        self.cut()

    def close(self) -> None:
        """Tell what was counted, and have all of it written to the log.  May be called twice."""
        self.cut()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._spooling.writer.stop()

    def _append(self, entries: list[bytes]) -> None:
        octets = frame(entries)
        done = os.write(self._file, octets)
        if done < len(octets):
            with contextlib.suppress(OSError):  # a frame that is not whole is no frame
                os.ftruncate(self._file, self._length)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._length += done

    def _begin(self) -> None:
        """Begin another file.  Raises: OSError."""
        self._make_room()
        path = self._files.folder / f"{self._files.stem}.{self._size:016}{_SUFFIX}"
        # One of the same name has no record; who reads it may go on doing so.
        path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        self._file, self._length = os.open(path, flags, 0o600), 0
        try:
            # Who reads it can tell by the lock whether there may be more of it.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            head = {"log": self._spooling.origin, "records": self._size}
            self._append([long(HEAD, json.dumps(head))])
        except OSError:
            os.close(self._file)
            self._file = -1
            path.unlink(missing_ok=True)
            raise

    def _make_room(self) -> None:
        """Wait for a log that is far behind.  Raises: OSError: it does not come nearer."""

        def is_near() -> bool:
            return len(spool_files(self._files)) < _MAX_FILES

        patience_s = 0.0 if self._has_given_up else _PATIENCE_S
        self._has_given_up = not self._spooling.writer.wait(is_near, patience_s)
        if self._has_given_up:
            raise OSError(errno.EAGAIN, "the process that writes the log is too far behind")

    def _end(self) -> None:
        """End this file: what comes next begins another, and tells its texts again."""
        if self._file >= 0:
            os.close(self._file)
        self._file, self._texts = -1, 0
        self._on_begin()
