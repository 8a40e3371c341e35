"""What the kernel dropped by our rules.  Owns: adding up, over changes of the table.
Knows: a change of a chain sets its rules' counters to nought.  Never: netlink."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping


class Drops:
    """Counts what a table's rules dropped since `begin`.

    What is dropped between the last look and a change of its chain is not counted: there are at
    least so many.
    """

    def __init__(self, read: Callable[[], Mapping[str, int]]) -> None:
        """Count nothing yet; `read` gives what the kernel counted now, by chain."""
        self._read = read
        self._last: Mapping[str, int] = {}
        self._total: Counter[str] = Counter()

    def begin(self) -> None:
        """Count from here on."""
        self._last = self._read()
        self._total.clear()

    def look(self) -> Mapping[str, int]:
        """Give what was dropped so far, by chain."""
        now = self._read()
        for chain, count in now.items():
            before = self._last.get(chain, 0)
            self._total[chain] += count - before if count >= before else count
        self._last = now
        return dict(self._total)
