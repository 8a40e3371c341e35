"""Single frames of captures.  Owns: file and frame number → flow and payload.
Knows: captures, as Wireshark counts their frames.  Never: what a payload means, who asks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from gateway.errors import DataError, WireError
from gateway.evidence.capture import read_frames
from gateway.evidence.frame import Frame, packet_of
from gateway.model import FlowKey

# A case names a frame that a person picked; further into a file nobody has looked by hand.
_MAX_FRAMES = 100_000
# Files that are kept open at once.
_MAX_FILES = 64


class CapturedFrames:
    """Reads frames of captures; one after the other of the same file at no more than one pass.

    What was passed is remembered as long as this object is.
    """

    def __init__(self) -> None:
        self._passed: dict[Path, list[Frame]] = {}
        self._files: dict[Path, Iterator[Frame]] = {}

    def read(self, path: Path, number: int) -> tuple[FlowKey, bytes]:
        """Give a frame's flow, from its sender, and its payload.

        Args:    number: from 1.
        Raises:  DataError: no capture, no such frame, or one without a UDP or TCP payload.
        """
        frame = self._frame(path, number)
        try:
            packet = packet_of(frame)
        except WireError as error:
            raise DataError(str(path), str(error), "a whole frame of a known link type") from error
        if packet is None or not packet.payload:
            expected = "a frame with a UDP or TCP payload"
            raise DataError(str(path), f"frame {number} carries none", expected)
        return FlowKey(packet.transport, packet.source, packet.destination), packet.payload

    def _frame(self, path: Path, number: int) -> Frame:
        if number > _MAX_FRAMES:
            raise DataError(str(path), f"frame {number} is asked for", f"at most {_MAX_FRAMES}")
        if len(self._files) >= _MAX_FILES and path not in self._files:
            raise DataError(str(path), f"is one capture more than {_MAX_FILES}", "fewer captures")
        passed = self._passed.setdefault(path, [])
        frames = self._files.setdefault(path, read_frames(path))
        try:
            passed.extend(islice(frames, max(0, number - len(passed))))
        except DataError:
            # What failed once would look like a file that ends here: the next to ask begins anew.
            del self._files[path], self._passed[path]
            raise
        if len(passed) < number:
            expected = f"1..{len(passed)}" if passed else "a capture with frames"
            raise DataError(str(path), f"has no frame {number}", expected)
        return passed[number - 1]
