"""What evidence is made of.  Owns: the values that say which data to load, and what was loaded.
Knows: nothing of formats.
Never: reading files, judging addresses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from gateway.model import Axis


@dataclass(frozen=True, slots=True)
class Bundled:
    """The fused file: location, registration and operator of all addresses."""

    path: Path | None = None
    """None: the file that comes with this package."""
    note: str = ""
    """A sentence for the operator why it is this file; it is among the atlas's warnings."""


@dataclass(frozen=True, slots=True)
class Mmdb:
    """A file of the user's own in the MaxMind DB format, of any database type.

    location reads `country`, registration reads `registered_country` (else `country`), operator
    reads the AS number, whose country the bundled data tell.  Its word counts beside theirs.
    Replace such a file by renaming a new one over it: it stays mapped into memory.
    """

    path: Path
    axis: Axis


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What the operator knows better: it replaces all evidence about its network.

    An axis that it does not name has the value of `location`; without a `location` too, that axis
    has no evidence.  It wins over special-purpose ranges; of several, the most specific wins.
    """

    network: str
    """CIDR, or one address."""
    reason: str
    location: str | None = None
    """ISO 3166-1 alpha-2, upper case."""
    registration: str | None = None
    operator: str | None = None
    expires: date | None = None
    """The last day it counts.  None: for ever."""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """One source that was loaded."""

    name: str
    axis: Axis
    built: str
    """ISO date of its data; "" if it does not say."""
    licence: str
    """"" if unknown (a file of the user's own)."""
    credit: str
    """The sentence that its licence asks for wherever results are shown; "" for none."""
    stale: bool
    """Shown, and counted as no evidence."""
    max_age_days: int
    """It counts so long."""


def is_stale(built: str, today: date, max_age_days: int) -> bool:
    """Tell whether data of an ISO date are older than that many days; "" is."""
    if not built:
        return True
    return date.fromisoformat(built) < today - timedelta(days=max_age_days)
