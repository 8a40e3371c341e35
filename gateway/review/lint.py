"""Lint with data.  Owns: what is odd about a policy over the addresses that there are: rules no
case reaches, jurisdictions that hold no address, jurisdictions that share some.
Knows: an epoch, its survey of all addresses.  Never: what the files alone tell (policy's lint)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import combinations

from gateway.errors import Problem
from gateway.flow.cases import run_cases, unreached
from gateway.flow.epoch import Epoch
from gateway.model import Place
from gateway.policy import Closing, Listing, Loaded, Remark, used_jurisdictions
from gateway.policy.jurisdiction import Jurisdiction
from gateway.policy.truth import Truth

# A survey tells 255 classes apart; the last stands for all further ones.
_MAX_CLASSES = 254

_Members = tuple[Truth, ...]
"""By jurisdiction that is asked for, in order."""


def lint(epoch: Epoch, loaded: Loaded) -> list[Remark]:
    """Find what is odd about an epoch's policy."""
    remarks = [*_untested(epoch), *_addresses(epoch, loaded)]
    own = loaded.sources.document.file
    return sorted(remarks, key=lambda one: (one.problem.file != own, one.problem))


def _untested(epoch: Epoch) -> Iterator[Remark]:
    results = list(run_cases(epoch))
    if not results:
        if epoch.policy.rules:
            place = epoch.policy.rules[0].place
            says = "the policy has no cases: nothing tells when a change breaks it"
            yield Remark("no-case", replace(place, line=1, column=1, sentence=says))
        return
    missing = frozenset(unreached(epoch, results))
    for rule in epoch.policy.rules:
        if rule.id in missing:
            yield Remark(
                "no-case", replace(rule.place, sentence=f'no case reaches rule "{rule.id}"')
            )
    for result in results:
        if result.failure:
            place = result.case.place
            says = f'case "{place.sentence}" fails: {result.failure}'
            yield Remark("failing-case", replace(place, sentence=says))


def _addresses(epoch: Epoch, loaded: Loaded) -> Iterator[Remark]:
    names = sorted(used_jurisdictions(loaded))
    totals: list[dict[_Members, int]] = []
    for octets in (4, 16):
        found = _by_members(epoch, names, octets)
        if found is None:
            return  # too many sets for one survey; nothing can be said of all of them
        totals.append(found)
    for at, name in enumerate(names):
        if not any(members[at] is True for found in totals for members in found):
            if epoch.policy.jurisdictions[name].names:
                continue
            says = f'no address belongs to jurisdiction "{name}", by the data of today'
            yield Remark("empty", _place(loaded, name, says))
    for (at, one), (other_at, other) in combinations(enumerate(names), 2):
        shared = [
            sum(
                count
                for members, count in found.items()
                if members[at] is True and members[other_at] is True
            )
            for found in totals
        ]
        if any(shared):
            says = f'jurisdictions "{one}" and "{other}" share {_counted(*shared)}'
            yield Remark("overlap", _place(loaded, one, says), is_note=True)


def _place(loaded: Loaded, name: str, says: str) -> Problem:
    return loaded.sources.defining(name).problem(("jurisdictions", name), says)


def _counted(v4: int, v6: int) -> str:
    words = [f"{v4:,} IPv4 addresses"] if v4 else []
    if v6:
        words.append(f"{max(1, v6 >> 64):,} IPv6 networks of /64")
    return " and ".join(words)


def _by_members(epoch: Epoch, names: list[str], octets: int) -> dict[_Members, int] | None:
    """Count the addresses of a length by the jurisdictions that they belong to; None: too many
    combinations to tell apart."""
    closing = Closing(epoch.policy)
    survey = epoch.atlas.survey(closing.asns)
    order = list(epoch.policy.jurisdictions)
    asked = [(order.index(name), epoch.policy.jurisdictions[name]) for name in names]
    classes: dict[_Members, int] = {}

    def classify(listing: Listing, place: Place | None, _: bool) -> int:
        members = tuple([_membership(one, listing[at], place) for at, one in asked])
        return classes.setdefault(members, min(len(classes) + 1, _MAX_CLASSES + 1))

    counts: dict[int, int] = {}
    by_listing: dict[Listing, Mapping[int, int]] = {}
    for first, last, listing in closing.cuts(octets):
        if listing not in by_listing:
            by_listing[listing] = survey.classes(partial(classify, listing))
        for start, end, number in survey.runs(by_listing[listing], octets, first, last):
            counts[number] = counts.get(number, 0) + end - start + 1
    if len(classes) > _MAX_CLASSES:
        return None
    return {members: counts.get(number, 0) for members, number in classes.items()}


def _membership(one: Jurisdiction, listed: Truth, place: Place | None) -> Truth:
    if listed is not None:
        return listed
    return None if place is None else one.holds_by_evidence(place)
