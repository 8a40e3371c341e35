"""Walking through records.  Owns: every record of a log, held against its links and checkpoints.
Knows: files, tree.  Never: signatures; what a record says."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from gateway.evidence.files import LogFiles, Segment, records
from gateway.evidence.links import NO_LINK, link, read_head
from gateway.evidence.tree import Stretch, leaf_hash

# So many leaves at a time, 64 octets each: memory is bounded whatever a checkpoint holds.
_MAX_LEAVES = 65_536


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was signed."""

    where: str
    """file:line; the file alone where there is no line."""
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class Broken(Exception):
    """A finding behind which the walk cannot go on."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.finding = Finding(where, what)


@dataclass(slots=True)
class Walked:
    """What was met."""

    first: int
    """The number of the first record that is there."""
    whole: Stretch
    """All records so far, those before the first by what was signed of them."""
    proven: int = 0
    """Records that the checkpoints prove."""
    torn_len: int = 0
    """Octets at the end that are no whole record."""
    marks: dict[int, Stretch] = field(default_factory=dict)
    """All records up to each number that was asked for."""
    record: bytes = b""
    """The record that was asked for."""
    tails: dict[int, Stretch] = field(default_factory=dict)
    """All records that are proven, from each number that was asked for."""


class Walk:
    """Walks through the records of one log."""

    def __init__(
        self, files: LogFiles, since: Sequence[Stretch], marks: frozenset[int], record: int | None
    ) -> None:
        """Begin.

        Args:    since: what was signed, checkpoint by checkpoint; marks: sizes to remember the tree
                 at; record: one to prove.
        """
        self._since = since
        self._record = record
        self._marks = marks if record is None else marks | {record, record + 1}
        self._segments = _segments(files)
        first = max(self._segments[0].first, 0) if self._segments else 0
        self.walked = Walked(first, self._before(first))
        self._stretch = Stretch(first, first)
        """Since the last checkpoint."""
        self._leaves: list[bytes] = []
        self._number = first
        self._after = ""
        """The last record's link; "" before the first one that is there."""
        if first == 0:
            self._after = NO_LINK
        self._last: tuple[Path, int] | None = None
        """Where the last record stands."""
        self._to_come = [one for one in since if one.end > first]
        self._tails: dict[int, Stretch] = {}
        self._unlike: Broken | None = None
        """What a checkpoint found, until the next record's link had its say."""
        self._mark()

    def _before(self, first: int) -> Stretch:
        before = Stretch()
        for one in self._since:
            if before.end < first:
                before = before.then(one)
        if before.end != first:
            where = str(self._segments[0].path)
            what = f"begins with record {first}, where no checkpoint ends"
            raise Broken(f"{where}:1", f"{what}: records before it are missing")
        return before

    def go(self) -> Walked:
        """Walk to the end.

        Raises:  Broken: at the first record that is not as it was; OSError.
        """
        for segment in self._segments:
            if segment.first < 0:  # it begins with no record: where one should be
                segment = dataclasses.replace(segment, first=self._number)
            if segment.first != self._number:
                raise Broken(
                    f"{segment.path}:1",
                    f"begins with record {segment.first}: records {self._number} to "
                    f"{segment.first - 1} are missing before it",
                )
            self._segment(segment, records(segment.path))
        self._say_unlike()
        self._flush()
        self._say_unlike()
        self._check_end()
        return self.walked

    def _say_unlike(self) -> None:
        if self._unlike is not None:
            raise self._unlike

    def _segment(self, segment: Segment, lines: Iterator[bytes]) -> None:
        while True:
            until = self._number + 1 if self._unlike else self._until()
            self._some(segment, lines, until - self._number)
            if self._number < until:
                break
            self._say_unlike()
            self._flush()
        self._last = (segment.path, self._number - segment.first)

    def _until(self) -> int:
        """Say at which record the walk has to look up."""
        stops = [self._number + _MAX_LEAVES - len(self._leaves)]
        stops += [mark for mark in self._marks if mark > self._number]
        stops += [one.end for one in self._to_come[:1] if one.end > self._number]
        return min(stops)

    def _some(self, segment: Segment, lines: Iterator[bytes], most: int) -> None:
        """Hash some records.  This loop is where the time goes."""
        sha256, add = hashlib.sha256, self._leaves.append
        number, after = self._number, self._after
        for record in islice(lines, most):
            if not record.startswith(b'{"n":%d,"after":"%s",' % (number, after.encode())) or (
                record[-1:] != b"\n"
            ):
                if not after and self._begins(record):
                    pass
                elif self._is_torn(segment, lines, record):
                    break
                else:
                    self._number, self._after = number, after
                    raise self._broken(segment, lines, record)
            leaf = sha256(b"\0" + record).digest()
            add(leaf)
            after = leaf[:8].hex()
            if number == self._record:
                self.walked.record = record
            number += 1
        self._number, self._after = number, after

    def _begins(self, record: bytes) -> bool:
        """Say whether a record is the first that is left: what it follows was removed."""
        found = read_head(record)
        return found is not None and found[0] == self._number and record.endswith(b"\n")

    def _is_torn(self, segment: Segment, lines: Iterator[bytes], record: bytes) -> bool:
        is_last = segment is self._segments[-1] and not record.endswith(b"\n")
        if is_last:
            self.walked.torn_len = len(record)
        return is_last

    def _broken(self, segment: Segment, lines: Iterator[bytes], record: bytes) -> Broken:
        """Say what is wrong with a record that does not follow the one before."""
        number, found = self._number, read_head(record)
        where = _place(segment, number)
        if found is None or not record.endswith(b"\n"):
            return Broken(where, f"is not record {number}, but something else")
        if found[0] > number:
            what = f"is record {found[0]}: records {number} to {found[0] - 1} are missing before it"
            return Broken(where, what)
        if found[0] < number:
            what = f"is record {found[0]} where {number} should be: moved, or there twice"
            return Broken(where, what)
        following = read_head(next(lines, b""))
        self._flush()  # a checkpoint that ends just here may vouch for the record before
        if self.walked.proven == number:
            return Broken(where, f"record {number} was changed, or is another log's")
        is_vouched = following is not None and following[1] == link(leaf_hash(record))
        if is_vouched or self._unlike is not None:
            before = self._place_before(segment)
            return Broken(before, f"record {number - 1} was changed: the next one says so")
        return Broken(where, f"record {number} was changed, or is another log's")

    def _place_before(self, segment: Segment) -> str:
        if self._number > segment.first or self._last is None:
            return _place(segment, self._number - 1)
        return f"{self._last[0]}:{self._last[1]}"

    def _flush(self) -> None:
        """Take what was hashed into the tree, and hold it against a checkpoint that ends here."""
        walked, begin = self.walked, self._number - len(self._leaves)
        piece = Stretch.of(begin, self._leaves)
        self._leaves = []
        walked.whole = walked.whole.then(piece)
        self._stretch = self._stretch.then(piece)
        self._tails = {at: tail.then(piece) for at, tail in self._tails.items()}
        self._mark()
        while self._to_come and self._to_come[0].end == self._number:
            self._compare(self._to_come.pop(0))
            self._stretch = Stretch(self._number, self._number)

    def _mark(self) -> None:
        if self._number in self._marks:
            self.walked.marks[self._number] = self.walked.whole
            self._tails.setdefault(self._number, Stretch(self._number, self._number))

    def _compare(self, signed: Stretch) -> None:
        if self._stretch != signed:
            at, size = self._stretch.differs(signed)
            which = f"record {at} is" if size == 1 else f"of records {at} to {at + size - 1} one is"
            self._unlike = Broken(self._where(at), f"{which} not what was signed")
            return
        self.walked.proven = signed.end
        self.walked.tails = dict(self._tails)

    def _where(self, number: int) -> str:
        segment = [one for one in self._segments if one.first <= number][-1]
        return _place(segment, number)

    def _check_end(self) -> None:
        if self._to_come:
            signed = self._since[-1].end
            where = "the log"
            if self._last is not None:
                where = f"{self._last[0]}:{self._last[1]}"
            missing = f"records {self._number} to {signed - 1} are missing"
            raise Broken(where, f"ends here, but {signed} records were signed: {missing}")


def _segments(files: LogFiles) -> list[Segment]:
    segments = files.segments()
    if files.current.exists():
        current = files.written(-1)
        if current.length:
            segments.append(current)
    return segments


def _place(segment: Segment, number: int) -> str:
    return f"{segment.path}:{number - segment.first + 1}"


def find(files: LogFiles, text: bytes) -> int | None:
    """Give the number of the first record that has a text in it.  Raises: OSError."""
    for segment in _segments(files):
        for at, record in enumerate(records(segment.path)):
            if text in record:
                return segment.first + at
    return None
