"""Why a verdict changes.  Owns: telling apart changed rules, changed definitions of jurisdictions
and changed data, by trying them one at a time; what the sources say differently.
Knows: that a policy can be judged with another's jurisdictions.  Never: ranges, printing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

from gateway.geo.cells import Cells, Said
from gateway.model import Axis, Place
from gateway.policy import Listing, Policy
from gateway.review.profiles import Profiles
from gateway.review.sides import Outcome, Side, outcome


class Cause(StrEnum):
    """What makes a verdict another."""

    RULES = "rules"
    """The rules, their order, the default or the mode."""
    DEFINITIONS = "jurisdictions"
    """What the policy says a jurisdiction is."""
    DATA = "data"


class Setting(NamedTuple):
    """Which of two is in force, of each of the three: 0 the old, 1 the new."""

    rules: int
    definitions: int
    data: int


_ORDER = (Cause.RULES, Cause.DEFINITIONS, Cause.DATA)
_ALL_OLD, _ALL_NEW = Setting(0, 0, 0), Setting(1, 1, 1)


class Unit(NamedTuple):
    """Addresses that both sides' data and lists treat alike."""

    address: bytes
    """One of them."""
    places: tuple[Place, Place]
    listings: tuple[Listing, Listing]


class Causes:
    """Finds the causes, each kind of address and of flow once."""

    def __init__(self, old: Side, new: Side, profiles: Profiles) -> None:
        self._sides = (old, new)
        self._profiles = profiles
        self._policies = crossed(old.policy, new.policy)
        self._known: dict[tuple[object, ...], Outcome] = {}

    def of(self, unit: Unit, profile: int) -> tuple[Cause, ...]:
        """Give what changes a profile's verdict at some addresses, where it changes."""
        return tried(lambda setting: self._judge(setting, unit, profile))

    def _judge(self, setting: Setting, unit: Unit, profile: int) -> Outcome:
        place = unit.places[setting.data]
        kinds = [
            side.kind(place, listing)
            for side, listing in zip(self._sides, unit.listings, strict=True)
        ]
        key = (setting, profile, *kinds)
        found = self._known.get(key)
        if found is None:
            policy = self._policies[setting.rules, setting.definitions]
            made = outcome(policy, self._profiles.all[profile], unit.address, place)
            found = self._known[key] = made
        return found


def tried(judge: Callable[[Setting], object]) -> tuple[Cause, ...]:
    """Find the causes of a change by trying settings.

    1. What alone, taken over into what was, gives another verdict.
    2. If nothing does: what alone, taken back from what is, gives another verdict.
    3. If nothing does, it takes all of them.
    """
    was, is_ = judge(_ALL_OLD), judge(_ALL_NEW)
    found = [one for at, one in enumerate(_ORDER) if judge(_with(_ALL_OLD, at, 1)) != was] or [
        one for at, one in enumerate(_ORDER) if judge(_with(_ALL_NEW, at, 0)) != is_
    ]
    return tuple(found or _ORDER)


def crossed(old: Policy, new: Policy) -> Mapping[tuple[int, int], Policy]:
    """Give the policies of each one's rules with each one's jurisdictions, by Setting's words."""
    both = (old, new)
    return {
        (rules, definitions): _hybrid(both[rules], both[definitions])
        for rules in (0, 1)
        for definitions in (0, 1)
    }


def _with(setting: Setting, at: int, which: int) -> Setting:
    return Setting(*(which if each == at else one for each, one in enumerate(setting)))


def _hybrid(rules: Policy, definitions: Policy) -> Policy:
    """Give a policy whose jurisdictions are as another defines them, where it does."""
    if rules is definitions:
        return rules
    known = definitions.jurisdictions
    merged = {name: known.get(name, one) for name, one in rules.jurisdictions.items()}
    return replace(rules, jurisdictions=merged, _by_place={})


def said_otherwise(old: Cells, old_number: int, new: Cells, new_number: int) -> Iterator[str]:
    """Say which source's word changed, on which axis: "location by dbip-lite: CN → US"."""
    yield from otherwise(old.said(old_number), new.said(new_number))


def otherwise(old: Iterable[Said], new: Iterable[Said]) -> Iterator[str]:
    """Say what two sets of words differ in, by source and axis."""
    was, is_ = _by_source(old), _by_source(new)
    for source, axis in dict.fromkeys((*was, *is_)):
        before, after = was.get((source, axis), ()), is_.get((source, axis), ())
        if before != after:
            about = f"{axis} by {source}" if axis else source
            yield f"{about}: {_words(before)} → {_words(after)}"


def _by_source(said: Iterable[Said]) -> dict[tuple[str, Axis | None], tuple[str, ...]]:
    found: dict[tuple[str, Axis | None], tuple[str, ...]] = {}
    for one in said:
        key = one.source, one.axis
        found[key] = (*found.get(key, ()), one.value)
    return found


def _words(values: tuple[str, ...]) -> str:
    return " ".join(values) or "nothing"
