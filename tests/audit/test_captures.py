"""gateway.audit.captures: several files are one capture, in the order of time."""

from __future__ import annotations

import heapq
import struct
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.audit.captures import Captures

TIMES = st.lists(st.integers(0, 12), max_size=6)


class OrderTests(SynchronousTestCase):
    """Frames of all files come one after another."""

    def write(self, number: int, times_s: list[int]) -> str:
        file = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
        for at, time_s in enumerate(times_s):
            octets = bytes([number, at])
            file += struct.pack("<IIII", time_s, 0, len(octets), len(octets)) + octets
        path = Path(self.folder, f"{number}.pcap")
        path.write_bytes(file)
        return str(path)

    @settings(deadline=None, max_examples=60)
    @given(st.lists(TIMES, min_size=1, max_size=4))
    def test_merged(self, files: list[list[int]]) -> None:
        """Of the files' next frames the earliest comes next, the first file's of equal ones; each
        file keeps its own order and numbers."""
        self.folder = self.mktemp()
        Path(self.folder).mkdir()
        captures = Captures([self.write(number, times) for number, times in enumerate(files)])
        frames = [
            (captures.current.path, frame.number, frame.octets)
            for block in captures.blocks()
            for frame in block.frames()
        ]
        expected = []
        heads = [(times[0], number, 0) for number, times in enumerate(files) if times]
        heapq.heapify(heads)
        while heads:
            _, number, at = heapq.heappop(heads)
            expected.append((captures.files[number].path, at + 1, bytes([number, at])))
            if at + 1 < len(files[number]):
                heapq.heappush(heads, (files[number][at + 1], number, at + 1))
        self.assertEqual(frames, expected)
