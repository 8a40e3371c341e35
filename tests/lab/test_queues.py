"""What the kernel counts for its queues is read as it says it."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import WireError
from tests.lab.queues import QueueState, kernel_states, states


class StateTests(SynchronousTestCase):
    """What the kernel counts."""

    def test_states(self) -> None:
        """A line is a queue."""
        text = "    5  12345     3 2 65535     7     8      900  1\n"
        self.assertEqual(states(text), (QueueState(5, 3, 7, 8, 900),))
        self.assertEqual(states(""), ())

    def test_malformed(self) -> None:
        """A line of another form is refused."""
        for text in ("1 2 3\n", "a b c d e f g h i\n"):
            self.assertRaises(WireError, states, text)

    def test_none(self) -> None:
        """A kernel without queues has no counts."""
        self.assertEqual(kernel_states(Path(self.mktemp())), ())
