"""Several captures as one.  Owns: the order of files and of their frames in time; what broke.
Knows: nothing of frames but their time.  Never: what is in a frame."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import DataError
from gateway.evidence.capture import Progress, read_frames
from gateway.evidence.frame import Frame


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

    def frames_of(self) -> Iterator[Frame]:
        """Give its frames up to its end or fault, each once."""
        try:
            for frame in read_frames(self.path, self._note):
                self.frames = frame.number
                yield frame
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

    def frames(self) -> Iterator[Frame]:
        """Give all frames; a file that breaks ends there, and the others go on."""
        if len(self.files) == 1:
            return self._told(self.files[0].frames_of())
        return self._told(self._merged())

    def _told(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        if self._progress is None:
            return frames
        return self._tell(frames, self._progress)

    def _tell(self, frames: Iterator[Frame], progress: Progress) -> Iterator[Frame]:
        for count, frame in enumerate(frames):
            if not count & 0xFFF:
                progress(sum(one.read for one in self.files))
            yield frame
        progress(self.size)

    def _merged(self) -> Iterator[Frame]:
        waiting = sorted(
            (
                (first, at)
                for at, one in enumerate(self.files)
                if (first := _begin(one)) is not None
            ),
            reverse=True,
        )
        at_work: list[tuple[float, int, Frame, Iterator[Frame]]] = []
        while at_work or waiting:
            while waiting and (not at_work or waiting[-1][0] <= at_work[0][0]):
                _, at = waiting.pop()
                _push(at_work, at, self.files[at].frames_of())
            if at_work:
                _, at, frame, rest = heapq.heappop(at_work)
                self.current = self.files[at]
                yield frame
                _push(at_work, at, rest)


def _push(
    heap: list[tuple[float, int, Frame, Iterator[Frame]]], at: int, frames: Iterator[Frame]
) -> None:
    frame = next(frames, None)
    if frame is not None:
        heapq.heappush(heap, (frame.time_s, at, frame, frames))


def _begin(capture: Capture) -> float | None:
    """Give the time of a file's first frame; None if it has none."""
    frames = capture.frames_of()
    frame = next(frames, None)
    return None if frame is None else frame.time_s


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
