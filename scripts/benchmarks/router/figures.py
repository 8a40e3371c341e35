"""Figures of many trials.  Owns: medians, ratios to a peer's trials nearest in time, spread.
Knows: arithmetic.  Never: sockets, peers, clocks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

QUIET_CORES = 0.15
"""A trial during which others had more of the machine than this is noisy."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What one measure has given once."""

    peer: str
    measure: str
    at_s: float
    figures: Mapping[str, float]
    noise_cores: float = 0.0

    @property
    def is_quiet(self) -> bool:
        """Did the machine belong to it?"""
        return self.noise_cores <= QUIET_CORES


@dataclass(frozen=True, slots=True)
class Summary:
    """One figure over its trials."""

    median: float
    low: float
    """The lowest of them, and the highest."""
    high: float
    count: int
    is_noisy: bool
    """No trial was quiet: the noisy ones are all there is."""

    @classmethod
    def of(cls, values: Sequence[float], *, is_noisy: bool) -> Summary | None:
        """Sum up; None: there is nothing."""
        real = [value for value in values if not math.isnan(value)]
        if not real:
            return None
        return cls(statistics.median(real), min(real), max(real), len(real), is_noisy)


class Results:
    """Every trial of a run."""

    def __init__(self, trials: Iterable[Trial] = ()) -> None:
        self.trials = list(trials)

    def of(self, peer: str, measure: str, figure: str) -> Summary | None:
        """Give a figure's median, of the quiet trials if there are any."""
        chosen, is_noisy = self._chosen(peer, measure, figure)
        return Summary.of([one.figures[figure] for one in chosen], is_noisy=is_noisy)

    def ratio(self, peer: str, measure: str, figure: str, base: str) -> Summary | None:
        """Give the median of the ratios to another peer: trial by trial, each to the mean of the
        other's two trials nearest in time, so that a slow hour of the machine is in no ratio.
        """
        chosen, is_noisy = self._chosen(peer, measure, figure)
        others, are_noisy = self._chosen(base, measure, figure)
        ratios = []
        for one in chosen:
            nearest = sorted(others, key=lambda other: abs(other.at_s - one.at_s))[:2]
            below = statistics.fmean(other.figures[figure] for other in nearest) if nearest else 0.0
            if below:
                ratios.append(one.figures[figure] / below)
        return Summary.of(ratios, is_noisy=is_noisy or are_noisy)

    def spread(self, peer: str, measure: str, figure: str) -> float | None:
        """Give how far the middle half of all trials, quiet or not, lies apart, over their median:
        what the machine itself does to a figure.  None: too few trials."""
        values = sorted(one.figures[figure] for one in self._all(peer, measure, figure))
        if len(values) < 4:
            return None
        low, middle, high = statistics.quantiles(values, n=4)
        return (high - low) / middle if middle else None

    def _chosen(self, peer: str, measure: str, figure: str) -> tuple[list[Trial], bool]:
        every = self._all(peer, measure, figure)
        quiet = [one for one in every if one.is_quiet]
        return (quiet, False) if quiet else (every, bool(every))

    def _all(self, peer: str, measure: str, figure: str) -> list[Trial]:
        return [
            one
            for one in self.trials
            if (one.peer, one.measure) == (peer, measure)
            and not math.isnan(one.figures.get(figure, math.nan))
        ]


def highest(
    passes: Callable[[float], bool],
    start: float,
    *,
    step: float = 1.25,
    precision: float = 1.05,
    most: int = 14,
) -> float:
    """Search the highest value that passes, from a guess on.

    Args:    step: the first factor, up or down; precision: how far the highest that passed and the
             lowest that failed may be apart; most: calls of `passes` at most.
    Returns: the highest that passed; 0: none did.
    """
    low, high, value = 0.0, math.inf, start
    for _ in range(most):
        if passes(value):
            low = value
        else:
            high = value
        if low and high / low <= precision:
            break
        if low and high < math.inf:
            value = math.sqrt(low * high)
        else:
            value = value * step if low else value / step
            step **= 1.5  # a guess that is far off is left soon
    return low
