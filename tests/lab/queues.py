"""What the kernel counts for its queues.  Owns: reading it.
Knows: nfnetlink_queue's file in /proc.  Never: who reads the queues."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.errors import WireError

COUNTERS = Path("/proc/thread-self/net/netfilter/nfnetlink_queue")
"""Of this very thread's namespace."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """What the kernel counts for one queue."""

    queue: int
    waiting: int
    dropped_full: int
    """Packets that found the queue full."""
    dropped_unread: int
    """Packets that found the socket's buffer full."""
    seen: int
    """Packets that were given a number."""


def states(text: str) -> tuple[QueueState, ...]:
    """Read the kernel's table of queues.

    Raises:  WireError: a line that is not of nine numbers.
    """
    found = []
    for line in text.splitlines():
        try:
            numbers = [int(word) for word in line.split()]
            queue, _, waiting, _, _, full, unread, seen, _ = numbers
        except ValueError:
            raise WireError("nfnetlink_queue", 0, "nine numbers a line") from None
        found.append(QueueState(queue, waiting, full, unread, seen))
    return tuple(found)


def kernel_states(path: Path = COUNTERS) -> tuple[QueueState, ...]:
    """Read what the kernel counts for the queues of this network namespace; () without any."""
    try:
        return states(path.read_text())
    except FileNotFoundError:
        return ()
