"""The log's writer.  Owns: the process that makes the log's records of the spool, from both sides.
Knows: processes, the clock.  Never: deciding."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger

from gateway.errors import DataError
from gateway.evidence.files import LogFiles, LogLimits
from gateway.evidence.journal import Journal, Proving
from gateway.evidence.spool import Spooling, spool_files
from gateway.evidence.transcribing import Transcriber, drain, is_held, origin_of

_log = Logger(namespace="gateway.evidence")

# What was decided is in the log so long later at most, if there is time.
_PAUSE_S = 0.1
# A full disk is tried again.
_STUCK_S = 1.0
# A writer whose gateway was killed copies what is there; who comes next waits for it.
_LOCKED_S = 30.0
# At the stop a writer that has only what is left over gets so long.
_PATIENCE_S = 2.0
# A million decisions are copied in so long (systemd waits 30 s); what is not, at the next start.
_STOP_S = 20.0
# A flood of new flows is judged first and written later: the writer has what is left over, and
# 1.5 % of a core at least.  Far behind, it gets more (Spool._make_room).
_NICE = 19

Now = Callable[[], datetime.datetime]
Counts = Mapping[str, int]


def take_over(files: LogFiles, now: Now, proving: Proving) -> tuple[str, int, Mapping[str, object]]:
    """Make the log whole with what the process before left in its spool.

    Returns: the log's origin, its records, and what its next record has to say.
    Raises:  DataError: it cannot be made or written, or another process writes it.
    """
    try:
        files.folder.mkdir(parents=True, exist_ok=True)
        if any(is_held(file) for file in spool_files(files)):
            raise DataError(str(files.current), "another process writes it", "a writable file")
        journal, transcriber = _opened(files, now, proving, sets_aside=True)
        try:
            aside = drain(transcriber)
            begins = _begins(journal, transcriber, [path.name for path in aside])
            journal.close(signs=bool(transcriber.copied))
            return str(begins["log"]), journal.size, begins
        finally:
            journal.close(signs=False)
            transcriber.close()
    except OSError as error:
        raise DataError(str(files.current), str(error.strerror), "a writable file") from error


def _opened(
    files: LogFiles, now: Now, proving: Proving, *, sets_aside: bool
) -> tuple[Journal, Transcriber]:
    """Open a log, and begin to copy its spool; wait if another process still does.

    Raises:  DataError.
    """
    means = dataclasses.replace(
        proving,
        counting=lambda: transcriber.counts,
        in_thread=maybeDeferred,
        origin=origin_of(files),
    )
    end_s = time.monotonic() + _LOCKED_S
    while True:
        try:
            journal = Journal(files, now, means, sets_aside=sets_aside)
            break
        except DataError as error:
            if "another process" not in str(error) or time.monotonic() > end_s:
                raise
        time.sleep(0.02)
    transcriber = Transcriber(files, journal, str(journal.begins["log"]))
    return journal, transcriber


def _begins(journal: Journal, transcriber: Transcriber, aside: list[str]) -> Mapping[str, object]:
    """Give what the next record says: of the log, with what was copied into it now."""
    begins = dict(journal.begins)
    begins["records"], begins["checkpoint"] = journal.size, journal.signed
    torn_len = begins["torn"] = int(str(begins["torn"])) + transcriber.torn_len
    if transcriber.copied:
        begins["clean"] = "end" in json.loads(transcriber.last) and not torn_len
    if torn_len or aside:
        begins["clean"] = False
    return {**begins, "spool_set_aside": aside} if aside else begins


class WriterProcess:
    """The gateway's side: keeps a writer running (spool.LogWriter)."""

    def __init__(self, files: LogFiles, limits: LogLimits) -> None:
        """Start none yet."""
        self._files = files
        self._argv = [
            # -P: no module of the working directory stands in for one of ours.
            *(sys.executable, "-P", "-m", "gateway", "log-writer"),
            *("--folder", str(files.folder), "--log", files.stem),
            *("--limits", json.dumps(dataclasses.asdict(limits))),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.restarts = -1
        """Times that it was started again."""

    def look(self) -> None:
        """LogWriter API: start it, if it does not run."""
        if self._process is not None and self._process.poll() is None:
            return
        if self._process is not None:
            status = self._process.returncode
            _log.error("the log's writer has ended ({status}); another starts", status=status)
            self._let_go(self._process)
        self.restarts += 1
        self._start(is_quick=False)

    def _start(self, *, is_quick: bool) -> None:
        argv = [*self._argv, "--quick"] if is_quick else self._argv
        try:
            self._process = subprocess.Popen(argv, stdin=subprocess.PIPE)
        except OSError as error:
            self._process = None
            _log.error("the log's writer cannot start: {reason}", reason=str(error))

    def wait(self, is_done: Callable[[], bool], at_most_s: float) -> bool:
        """LogWriter API."""
        end_s = time.monotonic() + at_most_s
        while not is_done():
            if time.monotonic() >= end_s:
                return False
            self.look()
            time.sleep(0.01)
        return True

    def stop(self) -> None:
        """LogWriter API: what it has not copied then stays for the next start."""
        if self._process is None:
            return
        if self._ended(self._process, _PATIENCE_S):
            return
        # On a busy host what is left over is nothing.  One that is killed has lost nothing.
        self._process.kill()
        self._process.wait()
        self._start(is_quick=True)
        if self._process is not None and not self._ended(self._process, _STOP_S):
            _log.error("the log's writer is not done; the next start goes on with it")
            self._process.kill()
            self._process.wait()

    def _ended(self, process: subprocess.Popen[bytes], within_s: float) -> bool:
        """Have a process end; False: it does not, or has left something."""
        self._let_go(process)
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return not spool_files(self._files)

    def _let_go(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()


def write(
    files: LogFiles, proving: Proving, now: Now, alive: int, *, is_quick: bool = False
) -> None:
    """Be the writer: copy what is spooled until who spools is gone, and all is copied.

    Args:    alive: a descriptor that ends when who spools does.
             is_quick: as quickly as can be, and not with what is left over.
    Raises:  DataError: this log cannot be gone on with; OSError.
    """
    # Set aside it is at a start only: here the gateway would not know what is in it.
    journal, transcriber = _opened(files, now, proving, sets_aside=False)
    is_over = False
    if not is_quick:
        with contextlib.suppress(OSError):  # a sandbox may forbid it: then it takes its share
            os.nice(_NICE)
    try:
        while True:
            has_more = transcriber.step()
            transcriber.sign()
            if has_more:
                continue
            if is_over:
                break
            pause_s = _STUCK_S if transcriber.is_stuck else _PAUSE_S
            is_over = bool(select.select([alive], [], [], pause_s)[0])
    finally:
        journal.close()
        transcriber.close()


def spooling(
    files: LogFiles, now: Now, proving: Proving, counting: Callable[[], Counts]
) -> Spooling:
    """Take a log over, and start its writer.  Raises: DataError."""
    origin, size, begins = take_over(files, now, proving)
    writer = WriterProcess(files, proving.limits)
    writer.look()
    return Spooling(origin=origin, size=size, begins=begins, writer=writer, counting=counting)
