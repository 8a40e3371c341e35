"""What became of queued packets.  Owns: answers → how many were allowed, rerouted, blocked, or
dropped.
Knows: the marks.  Never: packets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from gateway.kernel import marks
from gateway.kernel.queue_messages import DROP

_BLOCKS = (marks.BLOCK, marks.BLOCK_PLACE, marks.REFUSE, marks.REFUSE_PLACE)


class Outcomes:
    """Counts the answers that were given, by where they send a packet."""

    def __init__(self) -> None:
        self._targets: Counter[int] = Counter()

    def add(self, answers: Iterable[tuple[int, int, int]]) -> None:
        """Count some: queue, number and answer of each."""
        self._targets.update(
            [DROP if answer < 0 else answer >> 16 & 0xFF for _, _, answer in answers]
        )

    def unsent(self, count: int) -> None:
        """Count so many that the kernel did not take: those packets stay where they are."""
        self._targets[DROP] += count

    def counts(self, *, handed: int, held: int, proxy: int | None) -> Mapping[str, int]:
        """Give the numbers by name; together they are the packets that were read.

        Args:    handed: dropped by the kernel, and carried by Python.  held: not answered yet.
                 proxy: the local proxy's target.
        """
        counted = self._targets
        to_proxy = 0 if proxy is None else counted[proxy]
        blocked = sum(counted[target] for target in _BLOCKS)
        rest = counted.total() - counted[DROP] - counted[marks.DIRECT] - blocked - to_proxy
        return {
            "packets: allowed": counted[marks.DIRECT],
            "packets: rerouted": rest,
            "packets: to the proxy": to_proxy,
            "packets: blocked": blocked,
            "packets: handed over": handed,
            "packets: dropped": counted[DROP] - handed,
            "packets: held": held,
        }
