"""Addresses that spell others (6to4, NAT64, IPv4-compatible).  Owns: where their verdicts change
otherwise than those of what they spell.  Knows: the forms that geo takes apart.
Never: Teredo and ISATAP, of which no range is made.

Where an address changes as the IPv4 address in it does, nothing is told twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gateway.flow.epoch import Epoch
from gateway.geo.spellings import Form
from gateway.model import Facts
from gateway.review.causes import Cause, Setting, crossed, tried
from gateway.review.change import Amount, Change
from gateway.review.extent import extent
from gateway.review.gathering import Differences, Meeting
from gateway.review.profiles import Profile, Profiles
from gateway.review.sides import Outcome, atlas_of, outcome_of

_NOTHING_SPELLED = 1
"""The last of the IPv4-compatible addresses that spell nothing: "::1"."""


class _About(NamedTuple):
    """What a change is about."""

    members: tuple[tuple[str, ...], tuple[str, ...]]
    outcomes: tuple[Outcome, Outcome]
    profiles: frozenset[int]
    causes: tuple[Cause, ...]


class Spelled:
    """Gathers them, each meeting of kinds once."""

    def __init__(self, old: Epoch, new: Epoch, profiles: Profiles) -> None:
        self._epochs = (old, new)
        self._profiles = profiles
        self._policies = crossed(old.policy, new.policy)
        self._known: dict[tuple[object, ...], tuple[_About, ...]] = {}
        self._ranges: dict[_About, list[tuple[int, int]]] = {}

    def forms(self) -> tuple[Form, ...]:
        """Give the forms of either side of which ranges can be made."""
        found = {form.network: form for epoch in self._epochs for form in atlas_of(epoch).forms()}
        return tuple(form for form in found.values() if form.at is not None)

    def look(
        self, form: Form, outer: Meeting, inner: Iterable[tuple[Meeting, Differences]]
    ) -> bool:
        """Look at the addresses of a form within a meeting.

        Args:    inner: parts of IPv4, with what changes there.
        Returns: whether any changes.
        """
        is_any = False
        base, shift = int(form.network.network_address), 8 * (12 - (form.at or 0))
        for meeting, differences in inner:
            first = max(outer.first, base + (meeting.first << shift), _NOTHING_SPELLED + 1)
            last = min(outer.last, base + (meeting.last + 1 << shift) - 1)
            if first > last:
                continue
            kinds = (outer.old.kind, outer.new.kind, meeting.old.kind, meeting.new.kind)
            key = (form.network, outer.old.listing, outer.new.listing, *kinds)
            found = self._known.get(key)
            if found is None:
                made = self._about(first.to_bytes(16), differences)
                found = self._known[key] = tuple(made)
            is_any = is_any or bool(found)
            for about in found:
                self._ranges.setdefault(about, []).append((first, last))
        return is_any

    def changes(self) -> Iterator[Change]:
        """Give the changes."""
        for about, ranges in self._ranges.items():
            space = extent((), ranges)
            amount = Amount(0, space.v6_addresses)
            yield Change(
                old_members=about.members[0],
                new_members=about.members[1],
                old=about.outcomes[0],
                new=about.outcomes[1],
                profiles=about.profiles,
                extent=space,
                causes=dict.fromkeys(about.causes, amount),
                details={},
                countries={},
                operators={},
            )

    def _about(self, address: bytes, inner: Differences) -> Iterator[_About]:
        found: dict[tuple[Outcome, Outcome], set[int]] = {}
        places = self._places(address)
        for at, profile in enumerate(self._profiles.all):
            old = self._judge(Setting(0, 0, 0), profile, places)
            new = self._judge(Setting(1, 1, 1), profile, places)
            if old != new and at not in inner.get((old, new), ()):
                found.setdefault((old, new), set()).add(at)
        for outcomes, profiles in found.items():
            causes = {cause for at in profiles for cause in self._causes(at, places)}
            ordered = tuple(cause for cause in Cause if cause in causes)
            yield _About(self._members(address), outcomes, frozenset(profiles), ordered)

    def _causes(self, at: int, places: tuple[Facts, ...]) -> tuple[Cause, ...]:
        profile = self._profiles.all[at]
        return tried(lambda setting: self._judge(setting, profile, places))

    def _places(self, address: bytes) -> tuple[Facts, ...]:
        """Look an address up in both data, with what it spells; of each profile these are alike."""
        key = self._profiles.all[0].key(address)
        return tuple(epoch.facts(key, None) for epoch in self._epochs)

    def _judge(self, setting: Setting, profile: Profile, places: tuple[Facts, ...]) -> Outcome:
        at = places[setting.data]
        alone = profile.facts(at.key.destination.address, at.place)
        facts = alone._replace(further=at.further, further_places=at.further_places)
        return outcome_of(self._policies[setting.rules, setting.definitions].judge(facts))

    def _members(self, address: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
        key = self._profiles.all[0].key(address)
        found = [one.policy.jurisdictions_of(one.facts(key, None)) for one in self._epochs]
        old, new = (
            tuple(sorted({*one.members, *(f"{name}?" for name in one.undetermined)}))
            for one in found
        )
        return old, new
