"""Coverage.  Owns: what a policy's cases try of it, by rule, by condition and by jurisdiction.
Knows: results of cases.  Never: running cases, printing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from gateway.flow.cases import CaseResult
from gateway.model import IdentifierKind
from gateway.policy import Policy, Subject, Truth, leaves, spelled
from gateway.policy import conditions as leaf
from gateway.policy.conditions import Condition


@dataclass(frozen=True, slots=True)
class Seen:
    """How often something was each of the three, counted by cases."""

    true: int
    false: int
    undetermined: int

    @classmethod
    def of(cls, cases: Iterable[frozenset[Truth]]) -> Seen:
        """Count; a case that looks at several addresses may have seen more than one."""
        found = Counter(truth for truths in cases for truth in truths)
        return cls(found[True], found[False], found[None])


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the cases of a policy try."""

    rules: dict[str, int]
    """How many cases each rule decided, in the policy's order."""
    conditions: dict[tuple[str, str], Seen]
    """By rule and condition with one value: ("never-ping", "traffic: ping").  Every case is asked,
    also where an earlier rule decided: a condition is tried by what it was asked, not by whether
    it mattered."""
    jurisdictions: dict[str, Seen]
    """Inside, outside and undetermined."""

    def gaps(self) -> Iterator[str]:
        """Give a sentence for each thing that no case tries.

        An undetermined that was not seen is no gap: no data of the day need have one.
        """
        for rule, count in self.rules.items():
            if not count:
                yield f'no case is decided by rule "{rule}"'
        for (rule, condition), seen in self.conditions.items():
            for truth, count in (("true", seen.true), ("false", seen.false)):
                if not count:
                    yield f'rule "{rule}": {condition} is {truth} in no case'
        for name, seen in self.jurisdictions.items():
            for side, count in (("inside", seen.true), ("outside", seen.false)):
                if not count:
                    yield f'no case goes {side} jurisdiction "{name}"'

    def as_json(self) -> dict[str, Any]:
        """Give the JSON object that `gateway test --coverage --json` prints."""
        return {
            "rules": self.rules,
            "conditions": [
                {"rule": rule, "condition": condition, **_counts(seen)}
                for (rule, condition), seen in self.conditions.items()
            ],
            "jurisdictions": {name: _counts(seen) for name, seen in self.jurisdictions.items()},
            "gaps": list(self.gaps()),
        }


def _counts(seen: Seen) -> dict[str, int]:
    return {"true": seen.true, "false": seen.false, "undetermined": seen.undetermined}


def coverage_of(policy: Policy, results: Iterable[CaseResult]) -> Coverage:
    """Find what results of a policy's cases try of it."""
    results = tuple(results)
    looks = [_looks(policy.subject(result.facts)) for result in results]

    def seen(ask: Callable[[Subject], Truth]) -> Seen:
        return Seen.of(frozenset(map(ask, one)) for one in looks)

    known: dict[Condition, Seen] = {}  # rules ask for the same things again and again

    def tried(condition: Condition) -> Seen:
        if condition not in known:
            known[condition] = seen(condition.test)
        return known[condition]

    return Coverage(
        rules={rule.id: sum(one.rule == rule.id for one in results) for rule in policy.rules},
        conditions={
            (rule.id, spelled(single)): tried(single)
            for rule in policy.rules
            for condition in leaves(rule.condition)
            for single in _singles(condition)
        },
        jurisdictions={name: seen(_belongs(name)) for name in policy.jurisdictions},
    )


def _looks(subject: Subject) -> tuple[Subject, ...]:
    return subject, *subject.further


def _belongs(name: str) -> Callable[[Subject], Truth]:
    return lambda subject: subject.members[name]


def _singles(condition: Condition) -> Iterator[Condition]:
    """Give a condition for each value of one; what is one set in the file stays whole."""
    match condition:
        case leaf.TrafficIs(wanted):
            yield from (leaf.TrafficIs(frozenset((one,))) for one in sorted(wanted))
        case leaf.ProtocolIs(wanted):
            yield from (leaf.ProtocolIs(frozenset((one,))) for one in sorted(wanted))
        case leaf.TransportIs(wanted):
            yield from (leaf.TransportIs(frozenset((one,))) for one in sorted(wanted))
        case leaf.PlaintextHas(wanted) if wanted != frozenset(IdentifierKind):
            yield from (leaf.PlaintextHas(frozenset((one,))) for one in sorted(wanted))
        case leaf.To(names):
            yield from (leaf.To((one,)) for one in names)
        case leaf.PortIn(ranges):
            yield from (leaf.PortIn((one,)) for one in ranges)
        case leaf.AsnIs(wanted):
            yield from (leaf.AsnIs(frozenset((one,))) for one in sorted(wanted))
        case _:
            yield condition
