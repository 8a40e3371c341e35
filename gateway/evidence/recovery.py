"""Going on with a log.  Owns: what of a log is whole after whatever ended the process before.
Knows: checkpoints, links.  Never: inventing a record; telling an auditor that all is well: that is
verifying's."""

from __future__ import annotations

import datetime
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from gateway.errors import DataError
from gateway.evidence.checkpoints import Entry, read
from gateway.evidence.files import LogFiles, Segment, records
from gateway.evidence.links import NO_LINK, link, read_head
from gateway.evidence.notes import PublicKey
from gateway.evidence.tree import Stretch, leaf_hash


@dataclass(slots=True)
class Found:
    """What is there to go on with."""

    size: int = 0
    """Records."""
    after: str = NO_LINK
    """The link of the last."""
    signed: Stretch = field(default_factory=Stretch)
    """The records of the last checkpoint."""
    leaves: list[bytes] = field(default_factory=list)
    """The hashes of those behind it."""
    origin: str = ""
    """The log's; "" if no checkpoint says it."""
    first: int = 0
    """The first record that is kept."""
    torn_len: int = 0
    """Octets of a record that was not whole: they were cut off."""
    is_clean: bool = True
    """Whether its last record says that the process stopped as it should."""
    full: list[Segment] = field(default_factory=list)
    """Full segments, the oldest first."""
    begin: int = -1
    """The number of the first record of the segment that is written to."""


def recover(files: LogFiles, key: PublicKey) -> Found:
    """Find what is whole of a log, and cut off what is not.

    Raises:  DataError: this is no log that can be gone on with; OSError.
    """
    found = Found()
    if not files.there():
        return found
    _signed(found, files, key)
    found.torn_len = _cut_torn(files.current) if files.current.exists() else 0
    found.full = files.segments()
    last = _behind(found, files)
    if not last:
        found.size = 0
    if found.size < found.signed.end:
        what = f"ends with record {found.size - 1}, of {found.signed.end} that were signed"
        raise DataError(str(files.current), what, "all records of its last checkpoint")
    found.is_clean = found.size == found.signed.end and not found.torn_len and _is_end(last)
    return found


def set_aside(files: LogFiles, time: str) -> Path:
    """Move a log out of the way, whole, so that another one can begin.  Raises: OSError."""
    to = files.folder / f"set-aside-{files.stem}-{time.replace(':', '').replace('.', '')}"
    to.mkdir(mode=0o700)
    for path in files.there():
        os.replace(path, to / path.name)
    return to


def begun_at(files: LogFiles) -> datetime.datetime | None:
    """Say when the segment that is written to was begun; None: it is empty.  Raises: OSError."""
    for record in records(files.current):
        try:
            return datetime.datetime.fromisoformat(json.loads(record)["time"])
        except (ValueError, KeyError, TypeError):
            break
    return None


def _signed(found: Found, files: LogFiles, key: PublicKey) -> None:
    """Take in the checkpoints, and cut off what is left of one that was not whole."""
    path = files.checkpoints
    if not path.exists():
        return
    octets = path.read_bytes()
    entries = list(read(octets, str(path)))
    done = sum(len(bytes(entry)) for entry in entries)
    if done < len(octets):
        os.truncate(path, done)
    for entry in entries:
        if entry.since.begin != found.signed.end:
            raise DataError(f"{path}:{entry.line}", "does not follow the checkpoint before", "it")
        found.signed = found.signed.then(entry.since)
    if entries:
        _take_last(found, entries[-1], key, f"{path}:{entries[-1].line}")


def _take_last(found: Found, entry: Entry, key: PublicKey, where: str) -> None:
    checkpoint = entry.checkpoint(key, where)
    if (checkpoint.size, checkpoint.root) != (found.signed.end, found.signed.root()):
        raise DataError(where, "is not what its stretches lead to", "the root of the same tree")
    found.origin, found.first = checkpoint.origin, checkpoint.first


def _cut_torn(path: Path) -> int:
    """Cut off what is behind the last line end; give its length."""
    size = path.stat().st_size
    with path.open("rb") as file:
        whole = size
        while whole:
            begin = max(0, whole - (1 << 16))
            file.seek(begin)
            at = file.read(whole - begin).rfind(b"\n")
            whole = begin + at + 1 if at >= 0 else begin
            if at >= 0:
                break
    if whole < size:
        os.truncate(path, whole)
    return size - whole


def _behind(found: Found, files: LogFiles) -> bytes:
    """Take in the records behind the last checkpoint; give the last record."""
    last = b""
    size = signed = found.signed.end
    after = "" if signed else NO_LINK
    for segment in _from(found, files):
        if last and segment.first != size:
            raise DataError(str(segment.path), f"does not begin with record {size}", "that")
        size = segment.first
        for place, record in enumerate(records(segment.path), 1):
            head = read_head(record)
            if head is None or head[0] != size or (after and head[1] != after):
                raise DataError(f"{segment.path}:{place}", f"is not record {size}", "that")
            size, last = size + 1, record
            if size < signed:
                continue
            leaf = leaf_hash(record)
            after = link(leaf)
            if size > signed:
                found.leaves.append(leaf)
    found.size, found.after = size, after
    if found.begin < 0:
        found.begin = size
    return last


def _from(found: Found, files: LogFiles) -> list[Segment]:
    """Give the segments from the one that has the last record that was signed."""
    current = files.written(-1) if files.current.exists() else None
    segments = list(found.full)
    if current is not None and current.length:
        if current.first < 0:
            raise DataError(f"{current.path}:1", "is no record of a proven log", "one")
        segments.append(current)
        found.begin = current.first
    wanted = max(found.signed.end - 1, 0)
    behind = [one for one in segments if one.first > wanted]
    until = [one for one in segments if one.first <= wanted]
    if segments and not until:
        raise DataError(str(segments[0].path), f"lacks record {wanted}", "it, or a checkpoint")
    return until[-1:] + behind


def _is_end(record: bytes) -> bool:
    try:
        return not record or "end" in json.loads(record)
    except ValueError:
        return False
