"""How much is said.  Owns: totals of a fused file by column, family and country.
Never: comparing, thresholds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.geo.bundle import Bundle
from gateway.geo.partition import Partition

FAMILIES = (32, 128)
# IPv6 is counted in /48s: what a site gets.
UNITS = {32: "addresses", 128: "/48s"}
_BELOW_UNIT = {32: 0, 128: 80}


@dataclass(frozen=True, slots=True)
class Census:
    """Totals of one family, in addresses or /48s."""

    announced: float
    """Of which an AS number is known."""
    answered: Mapping[str, float]
    """By column: announced space that it says something of."""
    countries: Mapping[tuple[str, str], float]
    """By column and country: all space that is said to be there."""

    def coverage(self, column: str) -> float:
        """Give the share of announced space that a column answers for, 0..1."""
        return self.answered.get(column, 0.0) / self.announced if self.announced else 0.0


def census(bundle: Bundle, bits: int) -> Census:
    """Count one family."""
    sizes = _sizes(bundle.v4 if bits == 32 else bundle.v6)
    announced, below = 0, _BELOW_UNIT[bits]
    answered: Counter[str] = Counter()
    countries: Counter[tuple[str, str]] = Counter()
    for number, size in sizes.items():
        at = bundle.as_at[number]
        said = {
            "location": bundle.location[number],
            "registration": bundle.registration[number],
            "operator": bundle.as_country[at],
        }
        announced += size if at else 0
        for column, code in said.items():
            if code:
                countries[column, bundle.countries[code]] += size
                answered[column] += size if at else 0
    unit = 1 << below
    return Census(
        announced / unit,
        {column: size / unit for column, size in answered.items()},
        {key: size / unit for key, size in countries.items()},
    )


def _sizes(part: Partition) -> Counter[int]:
    sizes: Counter[int] = Counter()
    before, number = 0, part.numbers[0]
    for position in range(1, len(part.numbers)):
        start = part.start(position)
        sizes[number] += start - before
        before, number = start, part.numbers[position]
    sizes[number] += part.top + 1 - before
    return sizes
