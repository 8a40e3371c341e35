"""The decision log.  Owns: one line a decision, appended to a file, singly or in batches.
Knows: what a full disk does to a write.  Never: what a record says; payload octets."""

from __future__ import annotations

import datetime
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from twisted.logger import Logger

from gateway.errors import DataError
from gateway.evidence.lines import Lines
from gateway.evidence.pseudonyms import KEY_LEN, Pseudonyms
from gateway.flow.epoch import Epoch
from gateway.flow.table import Judged
from gateway.model import Endpoint, FlowKey, Verdict

_log = Logger(namespace="gateway.evidence")

# A batch is written at this length, whoever may still want to add to it: some 200 records.
_MAX_BATCH_LEN = 256 * 1024


NAME = "decisions.jsonl"


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
        name: str = NAME,
    ) -> None:
        """Open the log.

        Args:    now: the time of day, UTC.  name: the file's.
        Raises:  DataError: the directory or file cannot be made or written.
        """
        self.path = directory / name
        self._lines = Lines(pseudonyms, now)
        self._waiting: list[str] = []
        self._waiting_len = 0
        self._is_batch = False
        self._is_batch_whole = True
        self._failing = False
        self._torn = False
        self.written = 0
        self.lost = 0
        try:
            directory.mkdir(parents=True, exist_ok=True)
            # Unbuffered: a record is on its way to the disk before its packet is on its way out.
            # Its owner's only: who was where is in it, if under other names.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._file: BinaryIO = os.fdopen(os.open(self.path, flags, 0o600), "ab", buffering=0)
        except OSError as error:
            raise DataError(str(self.path), str(error.strerror), "a writable file") from error

    def write(self, epoch: Epoch, judged: Judged, payload: bytes | None) -> bool:
        """Append one decision; False if it could not be written (a full disk).

        In a batch True says only that it was gathered.
        """
        return self._add(self._lines.decided(epoch, judged, payload))

    def write_not_carried(self, key: FlowKey, verdict: Verdict, reason: str) -> bool:
        """Append that a verdict could not be carried out, and so was a block."""
        return self._add(self._lines.not_carried(key, verdict, reason))

    def write_barred(self, client: Endpoint, name: str, verdict: Verdict) -> bool:
        """Append that a name was refused before it was resolved."""
        return self._add(self._lines.barred(client, name, verdict))

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

    def close(self) -> None:
        """Write what was gathered, and close the file.  May be called twice."""
        if not self._file.closed:
            self._hand_over()
            self._file.close()

    def _add(self, line: str) -> bool:
        self._waiting.append(line)
        self._waiting_len += len(line)
        if self._is_batch and self._waiting_len < _MAX_BATCH_LEN:
            return True
        return self._hand_over()

    def _hand_over(self) -> bool:
        """Write the records that wait; those that cannot be written are lost, and counted."""
        if not self._waiting:
            return True
        count, octets = len(self._waiting), "".join(self._waiting).encode("ascii")
        self._waiting.clear()
        self._waiting_len = 0
        try:
            written = self._append(octets)
        except OSError as error:
            return self._fail(error, count)
        self.written += written
        if written < count:
            return self._fail(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), count - written)
        self._failing = False
        return True

    def _append(self, octets: bytes) -> int:
        """Append lines, and say how many of them are whole in the file."""
        if self._torn:  # what was half written must not swallow the next
            octets = b"\n" + octets
        done = octets[: self._file.write(octets)]
        whole = done.count(b"\n") - (self._torn and done != b"")
        if done:
            self._torn = not done.endswith(b"\n")
        return whole

    def _fail(self, error: OSError, lost: int) -> bool:
        self.lost += lost
        self._is_batch_whole = not self._is_batch
        if not self._failing:
            self._failing = True
            _log.error(
                "decision log {path} cannot be written: {reason}",
                path=str(self.path),
                reason=error.strerror,
            )
        return False


def load_key(directory: Path, random: Callable[[int], bytes]) -> bytes:
    """Read the pseudonym key of a directory, or make one that only its owner can read.

    Raises:  DataError: the file cannot be read or made, or has another length.
    """
    path = directory / "pseudonym.key"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(random(KEY_LEN))
        key = path.read_bytes()
    except OSError as error:
        raise DataError(
            str(path), str(error.strerror), f"a key file of {KEY_LEN} octets"
        ) from error
    if len(key) != KEY_LEN:
        raise DataError(str(path), f"has {len(key)} octets", f"{KEY_LEN}")
    return key
