"""The bundled data for tests.  Owns: one atlas for all of them, as on the day it was new.
Knows: geo.  Never: the real date; the data must not grow stale under the tests."""

from __future__ import annotations

import functools
from datetime import UTC, date, datetime
from pathlib import Path

from gateway import geo
from gateway.core import World

DAY = date(2026, 11, 23)
ROOT = Path(__file__).parents[2]


@functools.cache
def atlas() -> geo.Atlas:
    """Give the bundled data's atlas."""
    return geo.load([geo.Bundled()], today=DAY, max_age_days=120)


def world() -> World:
    """Give a world that stands still on that day, and whose chance is none."""
    return World(
        now=lambda: datetime(2026, 11, 23, 12, tzinfo=UTC), random_octets=lambda size: b"r" * size
    )
