"""Building an atlas.  Owns: reading the sources, what is stale, what has expired, the revision.
Knows: importlib.resources for the file that comes with the package.
Never: the clock (today is handed in); looking addresses up."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from importlib import resources
from pathlib import Path

from gateway.errors import DataError
from gateway.geo.atlas import Atlas
from gateway.geo.bundle import Bundle, Origin, decode, empty
from gateway.geo.layers import Layers
from gateway.geo.mmdb import Database
from gateway.geo.partition import Partition
from gateway.geo.places import Places
from gateway.geo.settled import laid_over, of_nat64, of_overrides, of_special
from gateway.geo.sources import Bundled, Mmdb, Override, SourceInfo, is_stale
from gateway.geo.special import table
from gateway.geo.spellings import Spellings, nat64_prefix
from gateway.model import Axis
from gateway.regular import open_regular

BUNDLED_FILE = "evidence.xz"

# A feed goes stale in months.  Who owns a network changes slowly, and a table that a person has
# held against the world is a judgement: it has to be held against it again each year.
_OWNERS_MAX_AGE_DAYS = 400
# Long enough before, for that is a person's work and not a command's.
_WARNED_DAYS = 100


def load(
    sources: Sequence[Bundled | Mmdb],
    overrides: Sequence[Override] = (),
    *,
    today: date,
    max_age_days: int,
    owners_max_age_days: int | None = None,
    nat64_prefixes: Iterable[str] = (),
) -> Atlas:
    """Read all sources and build the atlas.

    A source that is older than `max_age_days` is kept, shown as stale and counts as no evidence;
    an override that has expired is left out.  `Atlas.warnings` tells of both.  The table of owners
    has an age of its own, and is told of from 100 days before its end.

    Args:    owners_max_age_days: None: 400, or `max_age_days` where that is more.
             nat64_prefixes: the network's own NAT64 prefixes, besides 64:ff9b::/96.
    Raises:  DataError: no source at all; one that is missing, corrupt or of an unknown form; an
             override or a prefix that is wrong.
    """
    if not sources:
        raise DataError("geo sources", "there is none", "at least one, such as bundled")
    wanted = [source for source in sources if isinstance(source, Bundled)]
    if len(wanted) > 1:
        raise DataError("geo sources", "bundled is named twice", "one such source")
    owners_days = owners_max_age_days or max(_OWNERS_MAX_AGE_DAYS, max_age_days)
    making = _Making(today, max_age_days, owners_days)
    for bundled in wanted:
        making.read_bundle(bundled.path)
        making.warnings += [bundled.note] if bundled.note else []
    for source in sources:
        if isinstance(source, Mmdb):
            making.open_database(source)
    return making.atlas(making.in_force(overrides), tuple(nat64_prefixes))


def of_overrides_only(*overrides: Override, nat64_prefixes: Iterable[str] = ()) -> Atlas:
    """Build an atlas that knows nothing but special-purpose ranges and overrides: for tests.

    Expiry is not looked at.
    Raises:  DataError: an override or a prefix that is wrong.
    """
    return _Making(date.min, 0, 0).atlas(overrides, tuple(nat64_prefixes))


class _Making:
    """An atlas in the making."""

    def __init__(self, today: date, max_age_days: int, owners_max_age_days: int) -> None:
        self.today = today
        self.max_age_days = max_age_days
        self.owners_max_age_days = owners_max_age_days
        self.bundle: Bundle = empty()
        self.databases: list[tuple[Database, bool]] = []
        self.sources: list[SourceInfo] = []
        self.warnings: list[str] = []
        self.facts: list[object] = []
        """What the revision is made of."""

    def read_bundle(self, path: Path | None) -> None:
        """Read the fused file."""
        file = path or resources.files("gateway.geo") / "data" / BUNDLED_FILE
        try:
            with file.open("rb") if path is None else open_regular(path) as opened:
                data = opened.read()
        except OSError as exc:
            raise DataError(str(file), exc.strerror or str(exc), "a readable file") from exc
        self.bundle = decode(data, str(file))
        self.facts.append(hashlib.sha256(data).hexdigest())
        for origin in self.bundle.origins:
            described = (origin.name, origin.axis, origin.built, origin.licence, origin.credit)
            days = self._max_age_days(origin)
            self._note(SourceInfo(*described, not self._is_fresh(origin.axis), days))
            if origin is self.bundle.owners:
                self._announce_end(origin)

    def open_database(self, source: Mmdb) -> None:
        """Open one of the user's own files."""
        database = Database(source.path, source.axis)
        stale = is_stale(database.built, self.today, self.max_age_days)
        self.databases.append((database, not stale))
        self.facts.append(database.sha256)
        self._note(
            SourceInfo(
                database.name, database.axis, database.built, "", "", stale, self.max_age_days
            )
        )

    def in_force(self, overrides: Sequence[Override]) -> tuple[Override, ...]:
        """Leave out the overrides that have expired, and say so."""
        for override in overrides:
            if override.expires and override.expires < self.today:
                self.warnings.append(
                    f"the override of {override.network} ({override.reason}) expired on "
                    f"{override.expires.isoformat()} and is ignored"
                )
        return tuple(
            each for each in overrides if each.expires is None or each.expires >= self.today
        )

    def atlas(self, overrides: Sequence[Override], nat64_prefixes: tuple[str, ...]) -> Atlas:
        """Put everything together."""
        places, special = Places(), table()
        prefixes = [nat64_prefix(text) for text in nat64_prefixes]
        settled = (
            [of_special(entry, places) for entry in special],
            of_nat64(prefixes, special, places),
            of_overrides(overrides, places),
        )
        tuple_count = len(self.bundle.location)
        layers = Layers(
            # Its own partitions are not needed beside those with everything laid over them.
            bundle=replace(self.bundle, v4=Partition.whole(32), v6=Partition.whole(128)),
            fresh=frozenset(axis for axis in Axis if self._is_fresh(axis)),
            databases=tuple(self.databases),
            settled=tuple(each for layer in settled for each in layer),
            v4=laid_over(self.bundle.v4, settled, tuple_count),
            v6=laid_over(self.bundle.v6, settled, tuple_count),
            spellings=Spellings(prefixes),
        )
        self.facts += [overrides, nat64_prefixes, special]
        return Atlas(
            layers,
            places,
            sources=tuple(self.sources),
            warnings=tuple(self.warnings),
            revision=hashlib.sha256(repr(self.facts).encode()).hexdigest()[:12],
        )

    def _is_fresh(self, axis: Axis) -> bool:
        """Tell whether an axis of the bundle counts: it is as old as its oldest column.

        AS registration and our table of operators make one axis: half of it could hide an owner.
        """
        ours = [origin for origin in self.bundle.origins if origin.axis is axis]
        return not any(is_stale(one.built, self.today, self._max_age_days(one)) for one in ours)

    def _max_age_days(self, origin: Origin) -> int:
        is_owners = origin is self.bundle.owners
        return self.owners_max_age_days if is_owners else self.max_age_days

    def _announce_end(self, origin: Origin) -> None:
        """Tell of the end of the table of owners while there is time for a person to review it."""
        days = self.owners_max_age_days
        soon = is_stale(origin.built, self.today, max(0, days - _WARNED_DAYS))
        if soon and not is_stale(origin.built, self.today, days):
            end = date.fromisoformat(origin.built) + timedelta(days=days)
            self.warnings.append(
                f"{origin.name} ({origin.axis}), the table of owners, was last reviewed on "
                f"{origin.built}: after {end.isoformat()} nobody's operator counts as known, and "
                "what depends on it is blocked; review it (gateway update --owners)"
            )

    def _note(self, info: SourceInfo) -> None:
        self.sources.append(info)
        self.facts.append(info)
        if info.stale:
            old = is_stale(info.built, self.today, info.max_age_days)
            age = f", more than {info.max_age_days} days ago" if old else ", and its axis is stale"
            self.warnings.append(
                f"{info.name} ({info.axis}) was built on {info.built}{age}: "
                "it counts as no evidence"
            )
