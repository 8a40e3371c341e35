"""gateway.kernel.queue_counts: the kernel's own account of a queue."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.kernel.queue_counts import queue_counts

LINES = """\
 8700  31415     3 2 65531     7     2      123  1
 8701  31416     0 2 65531     0     0        0  1
"""


class QueueCountsTests(SynchronousTestCase):
    """The kernel's numbers are given as they are, or not at all."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def test_line(self) -> None:
        """The queue's own line is read."""
        self.path.write_text(LINES)
        self.assertEqual(
            queue_counts(8700, self.path),
            {
                "kernel: queued": 123,
                "kernel: waiting": 3,
                "kernel: dropped, queue full": 7,
                "kernel: dropped, not delivered": 2,
            },
        )

    def test_unknown(self) -> None:
        """What the kernel does not say, or says otherwise, is left out."""
        self.assertEqual(queue_counts(8700, self.path), {})
        for text in (LINES.replace("8700", "8699"), "8700 a b\n", "8700 1 2 x 4 5 6 7 8\n", "\xff"):
            self.path.write_text(text, "latin-1")
            self.assertEqual(queue_counts(8700, self.path), {})
