"""gateway.evidence.captured: single frames of captures."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import DataError
from gateway.evidence.capture import read_packets
from gateway.evidence.captured import CapturedFrames
from tests.support.bundled import ROOT
from tests.support.rows import rows

CAPTURE = ROOT / "tests" / "data" / "agora312-GLOBminusCN-session-token.pcap"


@rows(
    refused={
        "no file": ("nonesuch.pcap", 1, "No such file"),
        "no capture": (__file__, 1, "begins with"),
        "a frame behind the last": (str(CAPTURE), 99_999, "has no frame 99999; expected 1..973"),
        "a frame beyond all bounds": (str(CAPTURE), 10**9, "at most 100000"),
    }
)
class CapturedFramesTests(SynchronousTestCase):
    """A frame is its flow and payload, in whatever order frames are asked for."""

    def check_refused(self, path: str, number: int, words: str) -> None:
        """A sentence says what is not there, and does so again."""
        frames = CapturedFrames()
        for _ in range(2):
            error = self.assertRaises(DataError, frames.read, Path(path), number)
            self.assertIn(words, str(error))

    def test_any_order(self) -> None:
        """Frames are those of the capture's reader."""
        packets = {one.number: one for one in read_packets(CAPTURE) if one.payload}
        frames = CapturedFrames()
        for number in (*sorted(packets, reverse=True)[:20], *sorted(packets)[:20]):
            key, payload = frames.read(CAPTURE, number)
            expected = packets[number]
            self.assertEqual(payload, expected.payload)
            self.assertEqual((key.client, key.destination), (expected.source, expected.destination))

    def test_empty(self) -> None:
        """A frame without a payload is no case's."""
        empty = next(one.number for one in read_packets(CAPTURE) if not one.payload)
        error = self.assertRaises(DataError, CapturedFrames().read, CAPTURE, empty)
        self.assertIn(f"frame {empty} carries none", str(error))
