"""A gateway's decision log, which another process writes.  Owns: waiting until all is there.
Knows: the spool.  Never: what is in the log."""

from __future__ import annotations

import time
from pathlib import Path

from gateway.evidence.entries import DECIDED, LINE, entries, frames
from gateway.evidence.files import LogFiles
from gateway.evidence.spool import spool_files

_PATIENCE_S = 30.0


def wait_written(log: Path) -> str:
    """Wait until a log has all that the gateway has handed over so far; give its text.

    Raises:  TimeoutError: it never has.
    """
    records = _handed_over(log)
    end_s = time.monotonic() + _PATIENCE_S
    while (text := log.read_text()).count("\n") < records:
        if time.monotonic() > end_s:
            raise TimeoutError(f"{log} has {text.count(chr(10))} of {records} records")
        time.sleep(0.01)
    return text


def _handed_over(log: Path) -> int:
    files = spool_files(LogFiles(log.parent, log.name.removesuffix(".jsonl")))
    if not files:
        return 0
    octets, where = files[-1].path.read_bytes(), str(files[-1].path)
    kinds = [kind for body, _ in frames(octets, where) for kind, _ in entries(body, where)]
    return files[-1].number + kinds.count(LINE) + kinds.count(DECIDED)
