"""What is written otherwise in two policies.  Owns: rules, jurisdictions, default and mode,
compared as compiled.  Never: what follows for any address."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass

from gateway.model import Verdict
from gateway.policy import Policy
from gateway.policy.jurisdiction import Jurisdiction
from gateway.policy.names import NameSet
from gateway.policy.networks import AddressSet
from gateway.policy.rule import Rule


@dataclass(frozen=True, slots=True)
class Edited:
    """One rule or jurisdiction that is in both, and differs."""

    name: str
    differences: tuple[str, ...]
    """Which keys: "when", "action: block → allow"."""
    place: str = ""
    """file:line:column of the new one, where that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChange:
    """What is written otherwise."""

    added: tuple[str, ...] = ()
    """Rules, by id."""
    removed: tuple[str, ...] = ()
    edited: tuple[Edited, ...] = ()
    moved: tuple[str, ...] = ()
    """Rules of both that other rules of both have overtaken: the fewest that explain the order."""
    settings: tuple[str, ...] = ()
    """Default and mode: "default: block → allow"."""
    jurisdictions_added: tuple[str, ...] = ()
    jurisdictions_removed: tuple[str, ...] = ()
    jurisdictions_edited: tuple[Edited, ...] = ()

    def __bool__(self) -> bool:
        return any(getattr(self, one.name) for one in fields(self))


def written_otherwise(old: Policy, new: Policy) -> PolicyChange:
    """Compare what two policies say."""
    before, after = {one.id: one for one in old.rules}, {one.id: one for one in new.rules}
    common = [name for name in after if name in before]
    sets, new_sets = old.jurisdictions, new.jurisdictions
    return PolicyChange(
        added=_missing(after, before),
        removed=_missing(before, after),
        edited=tuple(
            Edited(name, differences, str(after[name].place).rpartition(": ")[0])
            for name in common
            if (differences := tuple(_of_rule(before[name], after[name])))
        ),
        moved=_moved([name for name in before if name in after], common),
        settings=tuple(_settings(old, new)),
        jurisdictions_added=_missing(new_sets, sets),
        jurisdictions_removed=_missing(sets, new_sets),
        jurisdictions_edited=tuple(
            Edited(name, differences)
            for name, one in new_sets.items()
            if name in sets and (differences := tuple(_of_jurisdiction(sets[name], one)))
        ),
    )


def _missing(names: Iterable[str], among: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in among)


def _settings(old: Policy, new: Policy) -> Iterable[str]:
    if _action(old.default) != _action(new.default):
        yield f"default: {_action(old.default)} → {_action(new.default)}"
    if old.mode is not new.mode:
        yield f"mode: {old.mode} → {new.mode}"


def _action(verdict: Verdict) -> str:
    return f"{verdict.action} ({verdict.target})" if verdict.target else str(verdict.action)


def _of_rule(old: Rule, new: Rule) -> Iterable[str]:
    if _plain(old.condition) != _plain(new.condition):
        yield "when"
    pairs = {
        "action": (_action(old.verdict), _action(new.verdict)),
        "expires": (_day(old.expires), _day(new.expires)),
        "expired": (str(old.expired).lower(), str(new.expired).lower()),
        "in shadow for": (f"{old.shadow_percent:g} %", f"{new.shadow_percent:g} %"),
        "owner": (old.owner or "nobody", new.owner or "nobody"),
    }
    yield from (f"{key}: {was} → {is_}" for key, (was, is_) in pairs.items() if was != is_)
    if old.verdict.reason != new.verdict.reason:
        yield "reason"


def _day(day: datetime.date | None) -> str:
    return "never" if day is None else day.isoformat()


def _of_jurisdiction(old: Jurisdiction, new: Jurisdiction) -> Iterable[str]:
    before, after = _axes(old), _axes(new)
    for key in dict.fromkeys((*before, *after)):
        was, is_ = before.get(key, set()), after.get(key, set())
        if was != is_:
            gone, come = sorted(was - is_), sorted(is_ - was)
            yield f"{key}: {' '.join([*(f'-{one}' for one in gone), *(f'+{one}' for one in come)])}"
    if old.must_agree is not new.must_agree:
        yield f"agreement: {'all' if new.must_agree else 'any'}"


def _axes(one: Jurisdiction) -> dict[str, set[str]]:
    said = {str(axis): set(countries) for axis, countries in one.countries.items()}
    said["asns"] = {str(asn) for asn in one.asns}
    for key, listed in (
        ("networks", one.networks),
        ("names", one.names),
        ("except", one.exceptions),
    ):
        said[key] = set(str(listed).split(", ")) - {""}
    return said


def _plain(value: object) -> object:
    """Give a compiled condition as plain values that can be compared."""
    if isinstance(value, NameSet | AddressSet):
        return str(value)
    if isinstance(value, frozenset):
        return tuple(sorted(map(str, value)))
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if is_dataclass(value):
        parts = (_plain(getattr(value, one.name)) for one in fields(value))
        return (type(value).__name__, *parts)
    return value


def _moved(old: list[str], new: list[str]) -> tuple[str, ...]:
    """Give the fewest rules whose moving explains the new order: all but a longest common run."""
    position = {name: at for at, name in enumerate(old)}
    best: list[tuple[int, int | None]] = []  # length of the longest rising run to here, and before
    for at, name in enumerate(new):
        runs = [(best[back][0], back) for back in range(at) if position[new[back]] < position[name]]
        length, back = max(runs, default=(0, None))
        best.append((length + 1, back))
    kept: set[str] = set()
    here = max(range(len(new)), key=lambda at: best[at][0], default=None)
    while here is not None:
        kept.add(new[here])
        here = best[here][1]
    return tuple(name for name in new if name not in kept)
