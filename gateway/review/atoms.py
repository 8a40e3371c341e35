"""What a policy's conditions can tell flows apart by.  Owns: collecting it from compiled rules.
Knows: the condition classes.  Never: judging; destinations' addresses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from gateway.model import IdentifierKind, Protocol, Traffic
from gateway.policy import Policy, conditions, connectives
from gateway.policy.conditions import Condition
from gateway.policy.names import NameSet
from gateway.policy.networks import AddressSet
from gateway.policy.rule import Rule

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Atoms:
    """All questions about a flow, its destination's address aside, that policies ask."""

    traffic: tuple[frozenset[Traffic], ...]
    protocols: tuple[frozenset[Protocol], ...]
    plaintext: tuple[frozenset[IdentifierKind], ...]
    ports: tuple[tuple[tuple[int, int], ...], ...]
    clients: tuple[AddressSet, ...]
    names: tuple[NameSet, ...]
    staged: tuple[Rule, ...]
    """Rules that are in shadow for some clients only."""
    asks_names: bool
    """Whether a rule asks for names outright, so that it matters where one may hide."""


def atoms_of(*policies: Policy) -> Atoms:
    """Collect what policies ask, each question once."""
    rules = [rule for policy in policies for rule in policy.rules]
    found = [one for rule in rules for one in _leaves(rule.condition)]
    named = [one.names for one in found if isinstance(one, conditions.NameIn)]
    ours = [one.names for policy in policies for one in policy.jurisdictions.values() if one.names]
    return Atoms(
        traffic=_once(one.wanted for one in found if isinstance(one, conditions.TrafficIs)),
        protocols=_once(one.wanted for one in found if isinstance(one, conditions.ProtocolIs)),
        plaintext=_once(one.wanted for one in found if isinstance(one, conditions.PlaintextHas)),
        ports=_once(one.ranges for one in found if isinstance(one, conditions.PortIn)),
        clients=tuple(
            {
                str(one.clients): one.clients for one in found if isinstance(one, conditions.From)
            }.values()
        ),
        names=tuple({str(one): one for one in (*named, *ours)}.values()),
        staged=tuple(rule for rule in rules if 0 < rule.shadow_percent < 100),
        asks_names=bool(named),
    )


def _once(values: Iterator[Value]) -> tuple[Value, ...]:
    return tuple(dict.fromkeys(values))


def _leaves(condition: Condition) -> Iterator[Condition]:
    """Give the conditions inside a condition that are made of no others."""
    match condition:
        case connectives.Not():
            yield from _leaves(condition.condition)
        case connectives.All() | connectives.Any():
            for one in condition.conditions:
                yield from _leaves(one)
        case _:
            assert isinstance(condition, _KNOWN), f"diff does not know {type(condition).__name__}"
            yield condition


_KNOWN = (
    conditions.TrafficIs,
    conditions.ProtocolIs,
    conditions.PlaintextHas,
    conditions.TransportIs,
    conditions.To,
    conditions.From,
    conditions.PortIn,
    conditions.AsnIs,
    conditions.NameIn,
)
