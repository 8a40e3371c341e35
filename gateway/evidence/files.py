"""The files of one log.  Owns: their names, their order, which of them retention may remove.
Knows: the file system.  Never: what is in a record; when to remove.

`NAME.jsonl` is written to; `NAME.NUMBER.jsonl` are full, and begin with the record of that number;
`NAME.checkpoints` has all checkpoints."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.evidence.links import read_head

_SUFFIX = ".jsonl"
# A record has 1 kB; this is where its number ends at the latest.
_HEAD_LEN = 128
# Longer than any record: what has no line end for so long is none, and is not read to its end.
_MAX_RECORD_LEN = 1 << 20
_READ_LEN = 4 << 20


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of records."""

    path: Path
    first: int
    """The number of its first record."""
    length: int
    """Octets."""
    changed_s: float
    """When it was written to last, seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLimits:
    """When a log is signed, and how long it is kept."""

    checkpoint_s: float = 60.0
    """What is written is signed after so long at most."""
    checkpoint_records: int = 65_536
    """And after so many records at most."""
    max_segment_bytes: int = 64 << 20
    max_segment_s: float = 86_400.0
    keep_bytes: int = 10 << 30
    """Full segments beyond this are removed, the oldest first."""
    keep_s: float | None = None
    """Full segments older than this are removed.  None: age removes nothing."""


@dataclass(frozen=True, slots=True)
class LogFiles:
    """The files of one log."""

    folder: Path
    stem: str
    """`decisions`; a worker's has its queue's number behind it."""

    @property
    def current(self) -> Path:
        """The segment that is written to."""
        return self.folder / f"{self.stem}{_SUFFIX}"

    @property
    def checkpoints(self) -> Path:
        """The file of checkpoints."""
        return self.folder / f"{self.stem}.checkpoints"

    def full(self, first: int) -> Path:
        """The name of a segment that is full."""
        return self.folder / f"{self.stem}.{first:016}{_SUFFIX}"

    def segments(self) -> list[Segment]:
        """Give the full segments, the oldest first.  Raises: OSError."""
        pattern = re.compile(re.escape(self.stem) + r"\.([0-9]{16})" + re.escape(_SUFFIX))
        found = []
        for entry in os.scandir(self.folder):
            named = pattern.fullmatch(entry.name)
            if named is not None:
                found.append(_segment(Path(entry.path), int(named[1])))
        return sorted(found, key=lambda one: one.first)

    def written(self, otherwise: int) -> Segment:
        """Give the segment that is written to, begun with `otherwise` if it has no record.
        Raises: OSError."""
        with self.current.open("rb") as file:
            head = read_head(file.readline(_HEAD_LEN))
        return _segment(self.current, otherwise if head is None else head[0])

    def there(self) -> list[Path]:
        """Give all of them that are there.  Raises: OSError."""
        paths = [one.path for one in self.segments()]
        return [*paths, *(path for path in (self.current, self.checkpoints) if path.exists())]


def records(path: Path) -> Iterator[bytes]:
    """Read the lines of a segment, each with its line end if it has one.  Raises: OSError."""
    with path.open("rb", buffering=_READ_LEN) as file:
        while record := file.readline(_MAX_RECORD_LEN):
            yield record


def logs_of(folder: Path) -> list[LogFiles]:
    """Find the logs of a folder, and of the folders in it.  Raises: OSError."""
    stems = set()
    for path in [*folder.glob("*"), *folder.glob("*/*")]:
        is_one = path.suffix in (_SUFFIX, ".checkpoints") and path.name.startswith("decisions")
        if is_one and path.is_file():
            stems.add((path.parent, path.name.split(".")[0]))
    return [LogFiles(parent, stem) for parent, stem in sorted(stems)]


def first_kept(full: Sequence[Segment], begin: int, limits: LogLimits, now_s: float) -> int:
    """Say which record is the first that is kept.

    Args:    full: segments, the oldest first; begin: of the one that is written to.
    """
    kept, room = begin, limits.keep_bytes
    for segment in reversed(full):
        room -= segment.length
        is_old = limits.keep_s is not None and now_s - segment.changed_s > limits.keep_s
        if room < 0 or is_old:
            break
        kept = segment.first
    return kept


def _segment(path: Path, first: int) -> Segment:
    status = path.stat()
    return Segment(path, first, status.st_size, status.st_mtime)
