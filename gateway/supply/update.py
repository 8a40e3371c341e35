"""One update, from the sources to the folder.  Owns: the order of it.
Knows: every other file of this room; sources of epochs; review, which says what changes.
Never: the clock, printing, asking people (handed in)."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path

from gateway import geo, policy
from gateway.config import Config
from gateway.config.updates import EVIDENCE, FileSource, HttpsSource, UpdateLimits, Updates
from gateway.errors import DataError, InputError
from gateway.flow.epoch import Epoch
from gateway.geo.bundle import Bundle, decode, encode
from gateway.geo.loading import BUNDLED_FILE
from gateway.review.change import Comparison
from gateway.review.space import compare
from gateway.sources import load_atlas
from gateway.supply.cache import Cache
from gateway.supply.checks import Finding, findings, whole
from gateway.supply.column import Column
from gateway.supply.fetched import Fetched, File, Source, read_bounded, sha256
from gateway.supply.forms import parse
from gateway.supply.fusion import numbers_of
from gateway.supply.https import Https, Paths
from gateway.supply.merging import merged
from gateway.supply.packages import Package
from gateway.supply.store import Store

# Days.  What changes is a question of the data, not of their ages.
_NO_AGE = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What an update needs from outside."""

    today: datetime.date
    clock: Callable[[], float]
    """Seconds, monotonic."""
    tell: Callable[[str], None]
    """Says how far it has come."""
    agree: Callable[[Sequence[Finding]], bool]
    """Asks a person about findings that a yes overrules."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    status: str
    """updated, unchanged, acceptable (only checked), refused."""
    found: tuple[Finding, ...] = ()
    overruled: tuple[Finding, ...] = ()
    """Findings that a person said yes to."""
    comparison: Comparison | None = None
    origins: tuple[geo.SourceInfo, ...] = field(default=())
    name: str = ""
    """Of the version that is in use now."""


def updates_of(config: Config) -> Updates:
    """Give the section of a configuration.

    Raises:  InputError: it has none.
    """
    if config.geo.updates is None:
        says = 'an update needs "geo: updates: {directory: …, sources: […]}"'
        raise InputError([config.problem("geo", says=says)])
    return config.geo.updates


def store_of(config: Config) -> Store:
    """Give the folder of a configuration."""
    return Store(config.path(updates_of(config).directory))


def update(config: Config, means: Means, *, check_only: bool = False) -> Outcome:
    """Fetch, check, compare, and unless `check_only`, put into use.

    Raises:  InputError, DataError: the configuration or a source is not as it must be; nothing
             changed.
    """
    store = store_of(config)
    with store.locked():
        return _Update(config, means, store).run(check_only)


class _Update:
    """One update, under the lock."""

    def __init__(self, config: Config, means: Means, store: Store) -> None:
        self.config, self.means, self.store = config, means, store
        self.section = updates_of(config)

    def run(self, check_only: bool) -> Outcome:
        """Go through all steps."""
        manifest = self.store.manifest()
        fetched = [one for source in self._sources() for one in source.fetch()]
        inputs = self._inputs(fetched)
        if manifest is not None and manifest.get("inputs") == inputs:
            return Outcome("unchanged")
        in_use, bundled = _in_use(self.store)
        file, registries = self._made(fetched, (in_use, bundled))
        # What is read back is what is checked: the file, not what it was meant to be.
        candidate = decode(file, "the new data")
        found = [*whole(registries)]
        found += findings(
            in_use, candidate, self.section.limits, self.section.canaries, self.means.today
        )
        if self.store.is_refused(inputs):
            says = "a person went back from what these very files made"
            found.append(Finding("refused", says, "--yes puts it into use again", may_pass=True))
        staged = self.store.stage(file, self._manifest(candidate, inputs))
        try:
            return self._judged(staged, found, check_only)
        except BaseException:
            self.store.discard(staged)
            raise

    def _judged(self, staged: Path, found: list[Finding], check_only: bool) -> Outcome:
        self.means.tell("comparing what the policy would do with it")
        comparison = self._comparison(staged / EVIDENCE)
        found += _allowed(comparison, self.section.limits)
        atlas = load_atlas(self.config, self.means.today, geo.Bundled(staged / EVIDENCE))
        fatal = not all(one.may_pass for one in found)
        if found and (fatal or not self.means.agree(found)):
            self.store.discard(staged)
            return Outcome("refused", tuple(found), (), comparison, atlas.sources)
        overruled = tuple(found)
        if check_only:
            self.store.discard(staged)
            return Outcome("acceptable", (), overruled, comparison, atlas.sources)
        name = self.store.install(staged)
        return Outcome("updated", (), overruled, comparison, atlas.sources, name)

    def _sources(self) -> list[Source]:
        path, cache = self.config.path, Cache(self.store.cache)
        sources: list[Source] = []
        for one in self.section.sources:
            if isinstance(one, FileSource):
                sources.append(File(one, path(one.path)))
            elif isinstance(one, HttpsSource):
                files = (None if each is None else path(each) for each in (one.key_file, one.ca))
                sources.append(Https(one, Paths(*files), cache, self.means.clock))
            else:
                sources.append(Package(one))
        return sources

    def _inputs(self, fetched: Sequence[Fetched]) -> list[list[str]]:
        """Say what the next file would be made of, so that the same is not made twice."""
        reviewed = self.section.owners_reviewed
        own = [["bundled", sha256(_bundled_file())], ["owners reviewed", str(reviewed)]]
        return own + [
            [str(one.form), str(one.axis), one.said.built, one.said.sha256] for one in fetched
        ]

    def _made(
        self, fetched: Sequence[Fetched], bases: tuple[Bundle, Bundle]
    ) -> tuple[bytes, list[str]]:
        supplies = []
        for one in fetched:
            self.means.tell(f"reading {one.said.package}")
            supplies.append(parse(one))
        self.means.tell("joining")
        made = merged(supplies, bases, self.section.owners_reviewed)
        return encode(made), [one.registry for one in supplies if one.registry]

    def _manifest(self, candidate: Bundle, inputs: list[list[str]]) -> dict[str, object]:
        return {
            "made": self.means.today.isoformat(),
            "sources": [asdict(origin) for origin in candidate.origins],
            "inputs": inputs,
        }

    def _comparison(self, candidate: Path) -> Comparison:
        """Compare what the policy does with data in use and with the new ones, ages aside: where
        those in use are stale, everything would be newly allowed."""
        ageless = self.config.geo.model_copy(
            update={"max_age_days": _NO_AGE, "owners_max_age_days": None}
        )
        config = self.config.model_copy(update={"geo": ageless})
        today = self.means.today
        judged = policy.load(config.path(config.policy), today)
        path = self.store.evidence()
        old = load_atlas(config, today, geo.Bundled(path))
        new = load_atlas(config, today, geo.Bundled(candidate))
        return compare(Epoch.of(0, judged, old), Epoch.of(0, judged, new))


def _allowed(comparison: Comparison, limits: UpdateLimits) -> list[Finding]:
    newly = comparison.newly_allowed
    over = [
        f"{count:,} {unit} ({most:,} may be)"
        for count, most, unit in (
            (newly.v4_addresses, limits.newly_allowed_v4, "IPv4 addresses"),
            (newly.v6_networks, limits.newly_allowed_v6, "IPv6 /48s"),
        )
        if count > most
    ]
    if not over:
        return []
    says = f"newly allowed: {' and '.join(over)}"
    return [Finding("allowed", says, "look at the ranges; --yes allows them", may_pass=True)]


def owners_in_use(config: Config) -> dict[int, str]:
    """Give AS number → jurisdiction of its owner, as judged by people."""
    return numbers_of(_in_use(store_of(config))[0], Column.OWNERS)


def _in_use(store: Store) -> tuple[Bundle, Bundle]:
    """Give what is in use, and what comes with the gateway: often the same."""
    bundled = decode(_bundled_file(), BUNDLED_FILE)
    path = store.evidence()
    return (decode(read_bounded(path), str(path)) if path else bundled), bundled


def _bundled_file() -> bytes:
    try:
        return (resources.files("gateway.geo") / "data" / BUNDLED_FILE).read_bytes()
    except OSError as error:
        raise DataError(BUNDLED_FILE, error.strerror or str(error), "the bundled data") from error
