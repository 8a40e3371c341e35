"""From the spool into the log.  Owns: copying records, each once, whatever was interrupted when.
Knows: spool files, the journal.  Never: deciding; a record that is not in the spool."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from twisted.logger import Logger

from gateway.errors import DataError
from gateway.evidence.entries import COUNTS, HEAD, TEXT, Decision, entries, frames
from gateway.evidence.files import LogFiles
from gateway.evidence.journal import Journal
from gateway.evidence.spelling import Spelling
from gateway.evidence.spool import SpoolFile, spool_files

_log = Logger(namespace="gateway.evidence")

_READ_LEN = 1 << 20
# What a file says of itself ends before this.
_HEAD_LEN = 4_096
# Handed to the operating system together.
_MAX_BATCH_LEN = 256 * 1024


class _Done(NamedTuple):
    """A file that was copied whole."""

    file: SpoolFile
    descriptor: int
    """Open, so that no other file gets its number meanwhile."""
    size: int
    """The log's records then: it may go once they are signed."""


class _Open:
    """The file that is being copied."""

    def __init__(self, file: SpoolFile) -> None:
        self.file = file
        self.descriptor = os.open(file.path, os.O_RDONLY)
        self.unread = b""
        self.spelling = Spelling(str(file.path))
        self.has_head = False

    def read(self) -> bool:
        """Read on; False: there is nothing more for now."""
        octets = os.read(self.descriptor, _READ_LEN)
        self.unread += octets
        return bool(octets)

    def is_written_no_more(self) -> bool:
        """Say whether who wrote it has let go of it."""
        return not _is_locked(self.descriptor)


def is_held(file: SpoolFile) -> bool:
    """Say whether a process still writes a file.  Raises: OSError."""
    with file.path.open("rb") as opened:
        return _is_locked(opened.fileno())


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


class Transcriber:
    """Copies a log's spool into its journal."""

    def __init__(self, files: LogFiles, journal: Journal, origin: str) -> None:
        """Begin with the oldest file; records that the journal has already are passed over.

        Args:    origin: the log's.
        """
        self._files, self._journal, self._origin = files, journal, origin
        self._open: _Open | None = None
        self._skip = 0
        self._lines: deque[str] = deque()
        """Gathered, and not yet written."""
        self._done: list[_Done] = []
        self.counts: Mapping[str, int] = {}
        """What the process that decided counted last."""
        self._has_signed = False
        self.copied = 0
        """Records."""
        self.last = ""
        """The last of them."""
        self.torn_len = 0
        """Octets of a frame that was not whole."""

    @property
    def is_stuck(self) -> bool:
        """Whether the journal could not be written: the same records are tried again."""
        return bool(self._lines)

    def step(self) -> bool:
        """Copy some of what is there; False: there was nothing, or the journal takes nothing.

        Raises:  OSError; DataError: what is there is no spool of this log.
        """
        if self._lines:
            return self._hand_over()
        if self._open is None and not self._next():
            return False
        assert self._open is not None, "there is a file"
        # The order matters: what was written before it was let go of is read.
        is_last_look = self._open.is_written_no_more()
        has_more = self._open.read()
        if has_more:
            self._copy(self._open)
        elif is_last_look:
            self._finish(self._open)
        return has_more or is_last_look

    def sign(self) -> None:
        """Have the journal sign if it is time, and remove what was signed; call it often."""
        if self.copied and not self._has_signed:
            # From here on a log without a checkpoint is one that was robbed.
            self._has_signed = True
            self._journal.cut()
        self._journal.sign_if_many()
        self._journal.tick()
        self._remove()

    def set_aside(self) -> Path:
        """Leave the file that cannot be copied there, under another name.  Raises: OSError."""
        assert self._open is not None, "one cannot be copied"
        aside = self._open.file.path.with_suffix(".spool-set-aside")
        os.replace(self._open.file.path, aside)
        os.close(self._open.descriptor)
        self._open = None
        self._lines.clear()
        return aside

    def close(self) -> None:
        """Remove what was signed, and let go of the spool."""
        self._remove()
        for one in self._done:
            os.close(one.descriptor)
        self._done.clear()
        if self._open is not None:
            os.close(self._open.descriptor)
            self._open = None

    def _next(self) -> bool:
        """Open the oldest file that was not copied."""
        for file in spool_files(self._files):
            opened = _Open(file)
            if not any(
                os.path.sameopenfile(opened.descriptor, one.descriptor) for one in self._done
            ):
                self._open = opened
                return True
            os.close(opened.descriptor)
        return False

    def _copy(self, source: _Open) -> None:
        where = str(source.file.path)
        done = 0
        try:
            for body, end in frames(source.unread, where):
                for kind, said in entries(body, where):
                    self._take(source, kind, said)
                done = end
        finally:  # what is before a fault is whole
            source.unread = source.unread[done:]
            self._hand_over()

    def _take(self, source: _Open, kind: bytes, said: str | Decision) -> None:
        if isinstance(said, Decision):
            self._put(source.spelling.line(said))
        elif not source.has_head and kind != HEAD:
            raise DataError(str(source.file.path), "does not say what spool it is", "that, first")
        elif kind == TEXT:
            source.spelling.take(said)
        elif kind == COUNTS:
            self.counts = json.loads(said)
        elif kind == HEAD:
            self._begin(source, said)
        else:
            self._put(said)

    def _begin(self, source: _Open, head: str) -> None:
        origin, number = _head(head)
        done = self._journal.size - number
        if origin != self._origin or done < 0 or (done and self.copied):
            what = f"goes on behind record {number} of {origin or 'no log'}"
            expected = f"record {self._journal.size} of {self._origin}"
            raise DataError(str(source.file.path), what, expected)
        self._skip, source.has_head = done, True

    def _put(self, line: str) -> None:
        if self._skip:
            self._skip -= 1
        else:
            self._lines.append(line)

    def _hand_over(self) -> bool:
        """Write what was read; what cannot be written is tried again."""
        journal, lines = self._journal, self._lines
        while lines:
            for line in lines:
                journal.gather(line)
                if journal.waiting_len >= _MAX_BATCH_LEN:
                    break
            count = journal.waiting
            written = journal.hand_over()
            for _ in range(written):
                self.last = lines.popleft()
            self.copied += written
            if written < count:
                return False
        return True

    def _finish(self, source: _Open) -> None:
        self.torn_len += len(source.unread)
        self._skip = 0
        self._done.append(_Done(source.file, source.descriptor, self._journal.size))
        self._open = None
        if self._journal.size > self._journal.signed:
            self._journal.cut()

    def _remove(self) -> None:
        """Remove what was copied and signed; the last one too, when it is written no more."""
        for one in [one for one in self._done if one.size <= self._journal.signed]:
            try:
                # Another of the same name, without a record, may have taken its place.
                if os.path.samestat(one.file.path.stat(), os.fstat(one.descriptor)):
                    one.file.path.unlink()
            except FileNotFoundError:
                pass
            os.close(one.descriptor)
            self._done.remove(one)


def origin_of(files: LogFiles) -> str:
    """Give the log that a spool is of; "": there is none, or it does not say.  Raises: OSError."""
    for file in spool_files(files):
        with file.path.open("rb") as opened, contextlib.suppress(DataError):
            for body, _ in frames(opened.read(_HEAD_LEN), str(file.path)):
                for kind, said in entries(body, str(file.path)):
                    if kind == HEAD and isinstance(said, str):
                        return _head(said)[0]
    return ""


def _head(head: str) -> tuple[str, int]:
    """Read which log a file is of, and with which record it begins; "", -1: it does not say."""
    try:
        told = json.loads(head)
        return str(told["log"]), int(told["records"])
    except (ValueError, KeyError, TypeError):
        return "", -1


def drain(transcriber: Transcriber) -> list[Path]:
    """Copy all that is there; what cannot be copied is set aside.

    Returns: what was set aside.
    Raises:  OSError: the journal takes no more.
    """
    aside: list[Path] = []
    while True:
        try:
            if not transcriber.step():
                break
        except DataError as error:
            aside.append(transcriber.set_aside())
            _log.error("{reason}; it is {path} now", reason=str(error), path=str(aside[-1]))
    if transcriber.is_stuck:
        raise OSError(0, "what was spooled cannot be written to the log")
    return aside
