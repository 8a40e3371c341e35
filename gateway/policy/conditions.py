"""Conditions.  Owns: one class a condition: is it true of a flow, could the payload still change
that, and why.  Knows: three-valued logic.  Never: actions, order of rules."""

from __future__ import annotations

import typing
from dataclasses import dataclass

from gateway.model import Content, IdentifierKind, Protocol, Traffic, Transport
from gateway.policy.names import NameSet
from gateway.policy.networks import AddressSet
from gateway.policy.subject import Subject
from gateway.policy.truth import Truth, negation, some


class Condition(typing.Protocol):
    """One question about a flow."""

    def test(self, subject: Subject) -> Truth:
        """Answer it with what is known now."""

    def possible(self, subject: Subject, truth: bool) -> bool:
        """Say whether the answer is `truth`, or could become it once the payload is seen."""

    def why(self, subject: Subject) -> str:
        """Say in a few words what the answer rests on."""


class _Content:
    """A condition on what the payload is: until it is seen, everything is possible."""

    __slots__ = ()

    def test(self, subject: Subject) -> Truth:
        content = subject.facts.content
        return None if content is None else self.of(content)

    def of(self, content: Content) -> Truth:
        raise NotImplementedError

    def possible(self, subject: Subject, truth: bool) -> bool:
        return subject.facts.content is None or self.test(subject) is truth


class _Fixed:
    """A condition on what is known before any payload."""

    __slots__ = ()

    def test(self, subject: Subject) -> Truth:
        raise NotImplementedError

    def possible(self, subject: Subject, truth: bool) -> bool:
        return self.test(subject) is truth


@dataclass(frozen=True, slots=True)
class TrafficIs(_Content):
    """The traffic is one of these."""

    wanted: frozenset[Traffic]

    def of(self, content: Content) -> Truth:
        return None if content.traffic is None else content.traffic in self.wanted

    def why(self, subject: Subject) -> str:
        content = subject.facts.content
        if content is None:
            return "traffic not yet seen"
        return f"traffic {content.traffic or 'cannot be told'}"


@dataclass(frozen=True, slots=True)
class ProtocolIs(_Content):
    """The protocol is one of these."""

    wanted: frozenset[Protocol]

    def of(self, content: Content) -> Truth:
        if content.protocol in self.wanted:
            return True
        return None if content.protocol is Protocol.UNKNOWN else False

    def why(self, subject: Subject) -> str:
        content = subject.facts.content
        return "protocol not yet seen" if content is None else f"protocol {content.protocol}"


@dataclass(frozen=True, slots=True)
class PlaintextHas(_Content):
    """An identifier of one of these kinds is in plaintext."""

    wanted: frozenset[IdentifierKind]

    def of(self, content: Content) -> Truth:
        if content.plaintext is None:
            return None
        return any(identifier.kind in self.wanted for identifier in content.plaintext)

    def why(self, subject: Subject) -> str:
        content = subject.facts.content
        if content is None:
            return "payload not yet seen"
        if content.plaintext is None:
            return "plaintext cannot be told"
        kinds = sorted({str(identifier.kind) for identifier in content.plaintext})
        return f"plaintext {', '.join(kinds) or 'none'}"


@dataclass(frozen=True, slots=True)
class TransportIs(_Fixed):
    """The flow is UDP, or TCP."""

    wanted: frozenset[Transport]

    def test(self, subject: Subject) -> Truth:
        return subject.facts.key.transport in self.wanted

    def why(self, subject: Subject) -> str:
        return f"transport {subject.facts.key.transport}"


@dataclass(frozen=True, slots=True)
class To(_Fixed):
    """The destination belongs to one of these jurisdictions."""

    names: tuple[str, ...]

    def test(self, subject: Subject) -> Truth:
        result: Truth = False
        for name in self.names:
            truth = subject.members[name]
            if truth is True:
                return True
            if truth is None:
                result = None
        return result

    def possible(self, subject: Subject, truth: bool) -> bool:
        # A payload may carry a name that makes the destination a member; never one that unmakes it.
        if truth and subject.facts.content is None:
            named = any(subject.jurisdictions[name].names for name in self.names)
            return named or self.test(subject) is True
        return self.test(subject) is truth

    def why(self, subject: Subject) -> str:
        return "; ".join(f"{name}: {self._why_one(subject, name)}" for name in self.names)

    def _why_one(self, subject: Subject, name: str) -> str:
        jurisdiction = subject.jurisdictions[name]
        if name in subject.named:
            return f"a name in {jurisdiction.names}"
        return jurisdiction.why(subject.facts)


@dataclass(frozen=True, slots=True)
class From(_Fixed):
    """The client is in these networks."""

    clients: AddressSet

    def test(self, subject: Subject) -> Truth:
        return subject.facts.key.client.address in self.clients

    def why(self, subject: Subject) -> str:
        # Never the client's address: this sentence goes into logs.
        return f"client {'in' if self.test(subject) else 'not in'} {self.clients}"


@dataclass(frozen=True, slots=True)
class PortIn(_Fixed):
    """The destination port is in these ranges."""

    ranges: tuple[tuple[int, int], ...]

    def test(self, subject: Subject) -> Truth:
        port = subject.facts.key.destination.port
        return any(first <= port <= last for first, last in self.ranges)

    def why(self, subject: Subject) -> str:
        return f"port {subject.facts.key.destination.port}"


@dataclass(frozen=True, slots=True)
class AsnIs(_Fixed):
    """The destination is announced by one of these autonomous systems."""

    wanted: frozenset[int]

    def test(self, subject: Subject) -> Truth:
        asns = subject.facts.place.asns
        if not asns:
            return None
        return not self.wanted.isdisjoint(asns)

    def why(self, subject: Subject) -> str:
        asns = subject.facts.place.asns
        return ", ".join(f"AS{asn}" for asn in asns) or "announcing network unknown"


@dataclass(frozen=True, slots=True)
class NameIn:
    """A name that the client asked for, or that the payload carries, is in this set."""

    names: NameSet

    def test(self, subject: Subject) -> Truth:
        if not subject.with_names:
            return False
        if self.names.matching(subject.facts.names):
            return True
        return False if subject.names_are_known else None

    def possible(self, subject: Subject, truth: bool) -> bool:
        # A payload may carry another name than the one asked for.
        return subject.facts.content is None or self.test(subject) is truth

    def why(self, subject: Subject) -> str:
        # Never the name itself: this sentence goes into logs, and a name can name a person.
        truth = self.test(subject)
        known = "a name in" if truth else "no name in" if truth is False else "perhaps a name in"
        return f"{known} {self.names}"


@dataclass(frozen=True, slots=True)
class Not:
    """The condition does not hold."""

    condition: Condition

    def test(self, subject: Subject) -> Truth:
        return negation(self.condition.test(subject))

    def possible(self, subject: Subject, truth: bool) -> bool:
        return self.condition.possible(subject, not truth)

    def why(self, subject: Subject) -> str:
        return f"not ({self.condition.why(subject)})"


@dataclass(frozen=True, slots=True)
class All:
    """Every condition holds; () holds always."""

    conditions: tuple[Condition, ...]

    def test(self, subject: Subject) -> Truth:
        # truth.every without a generator: this is run for each rule of each new flow.
        result: Truth = True
        for condition in self.conditions:
            truth = condition.test(subject)
            if truth is False:
                return False
            if truth is None:
                result = None
        return result

    def possible(self, subject: Subject, truth: bool) -> bool:
        answers = (condition.possible(subject, truth) for condition in self.conditions)
        return all(answers) if truth else any(answers)

    def why(self, subject: Subject) -> str:
        return "; ".join(condition.why(subject) for condition in self.conditions) or "everything"


@dataclass(frozen=True, slots=True)
class Any:
    """At least one condition holds."""

    conditions: tuple[Condition, ...]

    def test(self, subject: Subject) -> Truth:
        return some(condition.test(subject) for condition in self.conditions)

    def possible(self, subject: Subject, truth: bool) -> bool:
        answers = (condition.possible(subject, truth) for condition in self.conditions)
        return any(answers) if truth else all(answers)

    def why(self, subject: Subject) -> str:
        return " or ".join(f"({condition.why(subject)})" for condition in self.conditions)
