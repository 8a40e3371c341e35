"""The course of a capture.  Owns: packets by time in a bounded number of steps.
Never: what a packet is."""

from __future__ import annotations

import math

# So many fit a page; when there are more, each two become one.
MAX_STEPS = 240
Counts = tuple[int, int, int]
"""All packets, those that show identifiers, those that the policy blocks."""


class Timeline:
    """Counts in steps of a width that doubles as the capture grows longer."""

    def __init__(self) -> None:
        self.step_s = 1.0
        self._steps: dict[int, Counts] = {}

    def bounds(self, time_s: float) -> tuple[float, float]:
        """Give the start and the end of the step that a time lies in."""
        at = math.floor(time_s / self.step_s)
        return at * self.step_s, (at + 1) * self.step_s

    def add(self, time_s: float, counts: Counts) -> None:
        """Count what was seen in the step of a time."""
        at = math.floor(time_s / self.step_s)
        self._steps[at] = _sum(self._steps.get(at, (0, 0, 0)), counts)
        while len(self._steps) > 1 and max(self._steps) - min(self._steps) >= MAX_STEPS:
            self._double()

    def steps(self) -> list[tuple[float, Counts]]:
        """Give each step's start, ascending, empty ones too."""
        if not self._steps:
            return []
        every = range(min(self._steps), max(self._steps) + 1)
        return [(at * self.step_s, self._steps.get(at, (0, 0, 0))) for at in every]

    def _double(self) -> None:
        self.step_s *= 2
        halves, self._steps = self._steps, {}
        for at, counts in halves.items():
            self._steps[at // 2] = _sum(self._steps.get(at // 2, (0, 0, 0)), counts)


def _sum(one: Counts, other: Counts) -> Counts:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]
