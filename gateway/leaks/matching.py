"""How well an observer matches.  Owns: scores of pairs → accuracy and ROC-AUC, against chance.
Knows: Mann and Whitney's U, Hanley and McNeil 1982 (its error), Wilson's interval, permutations.
Never: what is matched; chance is handed in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Shuffle = Callable[[list[int]], None]
"""Puts a list into an order of chance: random.Random(seed).shuffle."""

_Z95 = 1.96
_PERMUTATIONS = 999


@dataclass(frozen=True, slots=True)
class Match:
    """Of n users, how many an observer finds again among n others."""

    users: int
    top1: float
    """The share for whom the best score is the right one; ties count as a guess among them."""
    top1_interval: tuple[float, float]
    """95 % (Wilson)."""
    chance: float
    """The top-1 accuracy of a guess: the mean over permutations."""
    auc: float
    """The probability that a right pair scores higher than a wrong one; 0.5 is chance."""
    auc_interval: tuple[float, float]
    """95 % (Hanley and McNeil; it takes pairs for independent, so it is a little narrow)."""
    p_value: float
    """The share of permutations in which the AUC is as high: below 0.05 is no chance."""

    @property
    def tells(self) -> bool:
        """Whether the observer does better than chance."""
        return self.p_value < 0.05


def match(scores: Sequence[Sequence[float]], shuffle: Shuffle) -> Match:
    """Measure a square matrix of scores, in which the right pairs are on the diagonal.

    Raises:  ValueError: fewer than two users, or not square.
    """
    users = len(scores)
    if users < 2 or any(len(row) != users for row in scores):
        raise ValueError(f"a matrix of {users} rows: expected a square one of two users at least")
    right = list(range(users))
    ranks = _ranks(scores)
    auc, top1 = _auc(ranks, right), _top1(scores, right)
    order = list(right)
    as_high, accuracies = 0, 0.0
    for _ in range(_PERMUTATIONS):
        shuffle(order)
        as_high += _auc(ranks, order) >= auc - 1e-12
        accuracies += _top1(scores, order)
    return Match(
        users=users,
        top1=top1,
        top1_interval=_wilson(top1, users),
        chance=accuracies / _PERMUTATIONS,
        auc=auc,
        auc_interval=_hanley(auc, users, users * (users - 1)),
        p_value=(as_high + 1) / (_PERMUTATIONS + 1),
    )


def correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Give Pearson's r, -1..1; 0.0 where one of them never changes."""
    length = len(one)
    if length < 2:
        return 0.0
    mean, mean_other = sum(one) / length, sum(other) / length
    apart = [value - mean for value in one]
    apart_other = [value - mean_other for value in other]
    spread = math.sqrt(sum(x * x for x in apart) * sum(x * x for x in apart_other))
    return sum(map(_product, apart, apart_other)) / spread if spread else 0.0


def _product(one: float, other: float) -> float:
    return one * other


def _ranks(scores: Sequence[Sequence[float]]) -> list[list[float]]:
    """Rank all scores, equal ones alike, as U asks for."""
    flat = sorted((score, row, at) for row, of in enumerate(scores) for at, score in enumerate(of))
    ranks = [[0.0] * len(scores) for _ in scores]
    start = 0
    while start < len(flat):
        end = start
        while end < len(flat) and flat[end][0] == flat[start][0]:
            end += 1
        for _, row, at in flat[start:end]:
            ranks[row][at] = (start + 1 + end) / 2
        start = end
    return ranks


def _auc(ranks: Sequence[Sequence[float]], right: Sequence[int]) -> float:
    users = len(ranks)
    total = sum(ranks[row][at] for row, at in enumerate(right))
    return (total - users * (users + 1) / 2) / (users * users * (users - 1))


def _top1(scores: Sequence[Sequence[float]], right: Sequence[int]) -> float:
    found = 0.0
    for row, at in zip(scores, right, strict=True):
        best = max(row)
        if row[at] == best:
            found += 1 / sum(score == best for score in row)
    return found / len(scores)


def _wilson(share: float, count: int) -> tuple[float, float]:
    z2 = _Z95 * _Z95
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z95 * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    half /= 1 + z2 / count
    return max(0.0, middle - half), min(1.0, middle + half)


def _hanley(auc: float, rights: int, wrongs: int) -> tuple[float, float]:
    q1, q2 = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    variance = auc * (1 - auc) + (rights - 1) * (q1 - auc**2) + (wrongs - 1) * (q2 - auc**2)
    half = _Z95 * math.sqrt(max(variance, 0.0) / (rights * wrongs))
    return max(0.0, auc - half), min(1.0, auc + half)
