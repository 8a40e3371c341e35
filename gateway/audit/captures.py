"""Several captures as one.  Owns: the order of files and of their frames in time; what broke.
Knows: nothing of frames but their time.  Never: what is in a frame."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import DataError
from gateway.evidence.capture import Block, Progress, read_blocks


@dataclass(slots=True)
class Capture:
    """One file, as far as it was read."""

    path: str
    frames: int = 0
    fault: str = ""
    """Why it was read no further; "" if it was read to its end."""
    size: int = 0
    """Octets on the disk."""
    read: int = 0
    """Octets read of them."""

    def blocks(self) -> Iterator[Block]:
        """Give its frames up to its end or fault, each once."""
        try:
            for block in read_blocks(self.path, self._note):
                self.frames = block.first + len(block.rows) - 1
                yield block
        except DataError as error:
            self.fault = str(error)

    def _note(self, octets: int) -> None:
        self.read = octets


class Captures:
    """Files whose frames are given in the order of time.

    A file is opened when the others have come to its first frame, so a thousand files of a ring
    need one descriptor, and two interfaces' files are interleaved.
    """

    def __init__(self, paths: Sequence[str], progress: Progress | None = None) -> None:
        """Name the files.

        Args:    progress: told how many octets of all files were read so far.
        """
        self.files = [Capture(path, size=_size(path)) for path in paths]
        self.current: Capture = self.files[0]
        """The file of the frame given last."""
        self._progress = progress

    @property
    def size(self) -> int:
        """Octets of all files."""
        return sum(one.size for one in self.files)

    def blocks(self) -> Iterator[Block]:
        """Give all frames; a file that breaks ends there, and the others go on."""
        blocks = self.files[0].blocks() if len(self.files) == 1 else self._merged()
        for block in blocks:
            if self._progress is not None:
                self._progress(sum(one.read for one in self.files))
            yield block
        if self._progress is not None:
            self._progress(self.size)

    def _merged(self) -> Iterator[Block]:
        waiting = sorted(
            (
                (first_s, at)
                for at, one in enumerate(self.files)
                if (first_s := _begin(one)) is not None
            ),
            reverse=True,
        )
        at_work: list[_Reading] = []
        while at_work or waiting:
            while waiting and (not at_work or waiting[-1][0] <= at_work[0].next_s):
                _, at = waiting.pop()
                _push(at_work, _Reading(at, self.files[at].blocks()))
            if at_work:
                one = heapq.heappop(at_work)
                other = (at_work[0].next_s, at_work[0].at) if at_work else _NEVER
                self.current = self.files[one.at]
                yield one.until(min(other, (waiting[-1][0], -1)) if waiting else other)
                _push(at_work, one)


class _Reading:
    """A file that is being read: its next frame is in a block, at a place."""

    def __init__(self, at: int, blocks: Iterator[Block]) -> None:
        self.at = at
        """Which file."""
        self._blocks = blocks
        self._block = Block(1, b"", ())
        self._place = 0
        self.next_s = 0.0

    def has_more(self) -> bool:
        """Move on to the next frame; False if there is none."""
        while self._place >= len(self._block.rows):
            block = next(self._blocks, None)
            if block is None:
                return False
            self._block, self._place = block, 0
        self.next_s = self._block.rows[self._place][0]
        return True

    def until(self, other: tuple[float, int]) -> Block:
        """Give the next frames, one at least, of this block that are before another file's."""
        block, start = self._block, self._place
        self._place += 1
        while self._place < len(block.rows) and (block.rows[self._place][0], self.at) < other:
            self._place += 1
        return Block(block.first + start, block.octets, block.rows[start : self._place])

    def __lt__(self, other: _Reading) -> bool:
        return (self.next_s, self.at) < (other.next_s, other.at)


_NEVER = (math.inf, 0)


def _push(heap: list[_Reading], one: _Reading) -> None:
    if one.has_more():
        heapq.heappush(heap, one)


def _begin(capture: Capture) -> float | None:
    """Give the time of a file's first frame; None if it has none."""
    block = next(capture.blocks(), None)
    return None if block is None else block.rows[0][0]


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
