"""Where countries are.  Owns: positions, distances, how near a country comes to a position.
Knows: extents.txt (scripts/build-extents), the sphere.  Never: addresses, round trips.

Every distance to a country is a lower bound: nobody in it is nearer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import resources
from typing import NamedTuple

_RADIUS_KM = 6371.0
# The earth is no sphere: distances on one are wrong by 0.56 % at most.
_SPHERE = 1 - 0.0057
# From a cell's middle to its corners, at most: half the diagonal of a degree by a degree.
_HALF_CELL_KM = 79.0


class Position(NamedTuple):
    """A place on earth, in degrees."""

    latitude: float
    """-90..90, north positive."""
    longitude: float
    """-180..180, east positive."""


def distance_km(one: Position, two: Position) -> float:
    """Give what lies between two positions, on a sphere (the haversine formula)."""
    north, east = one.latitude - two.latitude, one.longitude - two.longitude
    cosines = math.cos(math.radians(one.latitude)) * math.cos(math.radians(two.latitude))
    half = math.sin(math.radians(north) / 2) ** 2 + cosines * math.sin(math.radians(east) / 2) ** 2
    return 2 * _RADIUS_KM * math.asin(math.sqrt(min(1.0, half)))


class Extents:
    """How near countries come."""

    def __init__(self, cells: Mapping[str, tuple[Position, ...]]) -> None:
        """Take the middles of the cells of a degree that each country touches."""
        self._cells = cells
        # As many as countries times the exits that have a position.
        self._known: dict[tuple[str, Position], float] = {}

    @classmethod
    def bundled(cls) -> Extents:
        """Read the table that comes along."""
        text = resources.files("gateway.geo").joinpath("data/extents.txt").read_text("ascii")
        cells: dict[str, tuple[Position, ...]] = {}
        for line in text.splitlines():
            country, _, rows = line.partition(" ")
            cells[country] = cells.get(country, ()) + tuple(_middles(rows))
        return cls(cells)

    @property
    def countries(self) -> tuple[str, ...]:
        """Those that it knows."""
        return tuple(self._cells)

    def cells(self, country: str) -> tuple[Position, ...]:
        """Give the middles of the cells of a degree that a country touches."""
        return self._cells[country]

    def least_km(self, country: str, position: Position) -> float | None:
        """Give a distance that nobody in a country is nearer than; 0 in it and near it.

        Args:    country: ISO 3166-1 alpha-2.
        Returns: None: the table does not know it.
        """
        cells = self._cells.get(country)
        if cells is None:
            return None
        known = self._known.get((country, position))
        if known is None:
            nearest = min(map(partial(distance_km, position), cells))
            known = max(0.0, nearest * _SPHERE - _HALF_CELL_KM)
            self._known[country, position] = known
        return known


def _middles(rows: str) -> Iterator[Position]:
    for row in rows.split():
        south, _, runs = row.partition(":")
        for run in runs.split(","):
            west, _, more = run.partition("+")
            for east in range(int(more or 0) + 1):
                yield Position(int(south) + 0.5, int(west) + east + 0.5)
