"""Compiling.  Owns: sections of a sound policy file → conditions, rules, jurisdictions.
Knows: the language's sections.  Never: faults of the file; loading found them before."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from gateway.document import Document
from gateway.model import Action, IdentifierKind, Mode, Verdict
from gateway.policy import conditions, connectives
from gateway.policy.conditions import Condition
from gateway.policy.jurisdiction import Jurisdiction
from gateway.policy.names import NameSet
from gateway.policy.network_list import NetworkList
from gateway.policy.networks import AddressSet
from gateway.policy.rule import Rule
from gateway.policy.sections import (
    ChoiceOf,
    PolicySection,
    RuleSection,
    Shadow,
    When,
)
from gateway.policy.sets import JurisdictionSection
from gateway.policy.values import ANY, NetworkFile

Value = TypeVar("Value")


Resolve = Callable[[str], NetworkList]
"""Gives the file of networks of a name."""


def jurisdiction(name: str, section: JurisdictionSection, resolve: Resolve) -> Jurisdiction:
    """Compile a named set."""
    return Jurisdiction(
        name=name,
        countries={axis: frozenset(codes) for axis, codes in section.asked.items()},
        asns=frozenset(section.asns),
        networks=addresses(section.networks, resolve),
        names=NameSet(section.names),
        exceptions=addresses(section.except_.networks, resolve),
        must_agree=section.agreement == "all",
    )


def addresses(entries: Iterable[str | NetworkFile], resolve: Resolve) -> AddressSet:
    """Compile networks and files of them."""
    texts = [one for one in entries if isinstance(one, str)]
    files = [one.file for one in entries if isinstance(one, NetworkFile)]
    return AddressSet(texts, {name: resolve(name).ranges for name in files})


def clients_of(groups: Mapping[str, AddressSet], values: Iterable[str]) -> AddressSet:
    """Compile networks and names of groups of clients."""
    texts, named = [], []
    for value in values:
        named.append(groups[value]) if value in groups else texts.append(value)
    return AddressSet(texts).union(*named)


class Compiler:
    """Compiles the rules of one policy."""

    def __init__(
        self,
        document: Document,
        section: PolicySection,
        groups: Mapping[str, AddressSet],
        today: datetime.date,
    ) -> None:
        self.document = document
        self.section = section
        """With the jurisdictions of what it includes."""
        self.groups = groups
        """Of clients."""
        self.today = today

    def rule(self, at: int) -> Rule:
        """Compile the rule of an index."""
        section = self.section.rules[at]
        shadow = section.shadow or Shadow(percent=100.0 * (section.mode is Mode.SHADOW))
        return Rule(
            condition=self.condition(section.when),
            verdict=Verdict(
                section.action.action,
                section.id,
                section.reason or section.id,
                section.action.target,
            ),
            asks_names=any(one.name is not None for one, _ in all_within(section.when)),
            asks_clients=any(one.from_ is not None for one, _ in all_within(section.when)),
            asks_asns=frozenset(
                asn
                for one, _ in all_within(section.when)
                if one.asn is not None
                for asn in one.asn.values
            ),
            speaks_of=NameSet(self._names_of(section)),
            bars=frozenset(self._barred_by(section)),
            shadow_percent=shadow.percent_on(self.today),
            owner=section.owner or self.section.owner,
            expires=section.expires,
            expired=section.expires is not None and section.expires < self.today,
            place=self.document.problem(("rules", at), section.id),
            shadow_on=shadow.percent_on,
        )

    def condition(self, when: When) -> Condition:
        """Compile conditions, all of which must hold."""
        parts = list(self._parts(when))
        return parts[0] if len(parts) == 1 else connectives.All(tuple(parts))

    def _parts(self, when: When) -> Iterator[Condition]:
        """Give one condition a key, the cheap and telling ones first."""
        yield from _of(when.transport, lambda values: conditions.TransportIs(frozenset(values)))
        yield from _of(when.traffic, lambda values: conditions.TrafficIs(frozenset(values)))
        yield from _of(when.protocol, lambda values: conditions.ProtocolIs(frozenset(values)))
        yield from _of(when.plaintext, lambda values: conditions.PlaintextHas(_kinds(values)))
        yield from _of(when.to, conditions.To)
        yield from _of(when.from_, lambda values: conditions.From(clients_of(self.groups, values)))
        yield from _of(when.port, conditions.PortIn)
        yield from _of(when.asn, lambda values: conditions.AsnIs(frozenset(values)))
        yield from _of(when.name, lambda values: conditions.NameIn(NameSet(values)))
        if when.any is not None:
            yield connectives.Any(tuple(self.condition(one) for one in when.any))
        if when.all is not None:
            yield connectives.All(tuple(self.condition(one) for one in when.all))
        if when.not_ is not None:
            yield connectives.Not(self.condition(when.not_))

    def _barred_by(self, section: RuleSection) -> Iterator[str]:
        """Give the jurisdictions that a block rule asks for."""
        if section.action.action is Action.BLOCK:
            for when, positive in all_within(section.when):
                if when.to is not None and positive is not when.to.negated:
                    yield from when.to.values

    def _names_of(self, section: RuleSection) -> Iterator[str]:
        """Give the names that a block rule asks for, by itself or by its jurisdictions."""
        for name in self._barred_by(section):
            yield from self.section.jurisdictions[name].names
        if section.action.action is Action.BLOCK:
            for when, positive in all_within(section.when):
                if when.name is not None and positive is not when.name.negated:
                    yield from when.name.values


def all_within(when: When, positive: bool = True) -> Iterator[tuple[When, bool]]:
    """Give a section of conditions and every section inside it, and whether they are asked for
    rather than ruled out."""
    yield when, positive
    for one in (*(when.any or ()), *(when.all or ())):
        yield from all_within(one, positive)
    if when.not_ is not None:
        yield from all_within(when.not_, not positive)


def _of(
    choice: ChoiceOf[Value] | None, make: Callable[[tuple[Value, ...]], Condition]
) -> Iterator[Condition]:
    if choice is not None:
        condition = make(choice.values)
        yield connectives.Not(condition) if choice.negated else condition


def _kinds(values: Sequence[str]) -> frozenset[IdentifierKind]:
    if ANY in values:
        return frozenset(IdentifierKind)
    return frozenset(IdentifierKind(value) for value in values)
