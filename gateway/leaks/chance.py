"""What chance would show.  Owns: how likely octets are, how many flows would hold them by chance,
when a count is too high for that.  Knows: the Poisson distribution.  Never: values, packets."""

from __future__ import annotations

import math

SIGNIFICANCE = 1e-3
"""Of one search in a thousand, no more than one reports something that chance put there."""


_EVERY_ONE, _ONE_IN = 64, 8
_OCTETS_EACH = 32


class Octets:
    """How often each octet was seen: the odds by which a string appears in such traffic."""

    def __init__(self) -> None:
        # As if each octet had been seen once, so that none is impossible.
        self._counts = [1] * 256
        self._total = 256
        self._packets = 0

    def seen(self, payload: bytes) -> None:
        """Count some 32 octets, spread over the payload: of the first packets, and of one in eight
        later on."""
        self._packets += 1
        if self._packets > _EVERY_ONE and self._packets % _ONE_IN:
            return
        counts = self._counts
        step = len(payload) // _OCTETS_EACH or 1
        for octet in payload[self._packets // _ONE_IN % step :: step]:
            counts[octet] += 1
            self._total += 1

    def odds(self, octets: bytes) -> float:
        """Give how likely it is that these octets stand at a place: never less than if all octets
        were as frequent."""
        total = self._total
        return math.prod(max(self._counts[octet] / total, 1 / 256) for octet in octets)


def tail(expected: float, count: int) -> float:
    """Give the probability of `count` or more where `expected` are expected (Poisson)."""
    if count <= 0:
        return 1.0
    if expected <= 0:
        return 0.0
    term = math.exp(-expected + count * math.log(expected) - math.lgamma(count + 1))
    total, number = 0.0, count
    while term > total * 1e-12 and number < count + 1_000:
        total += term
        number += 1
        term *= expected / number
    return min(total, 1.0) if expected < count else 1.0
