"""Conditions.  Owns: one class a condition: is it true of a flow and an address, could the payload
still change that, what may it be for a destination whatever the flow, and why.
Knows: three-valued logic.
Never: joining conditions; actions, order of rules."""

from __future__ import annotations

import typing
from dataclasses import dataclass

from gateway.model import Content, IdentifierKind, Protocol, Traffic, Transport
from gateway.policy.destination import Destination
from gateway.policy.names import NameSet
from gateway.policy.networks import AddressSet
from gateway.policy.subject import Subject
from gateway.policy.truth import ANY_TRUTH, EITHER, FALSE, TRUE, Truth, Truths, could_some

_LAST_PORT = 65535


class Condition(typing.Protocol):
    """One question about a flow and one of its addresses."""

    def test(self, subject: Subject) -> Truth:
        """Answer it with what is known now."""

    def possible(self, subject: Subject, truth: bool) -> bool:
        """Say whether the answer is `truth`, or could become it once the payload is seen."""

    def could(self, destination: Destination) -> Truths:
        """Give every answer that some flow to a destination may get, from whatever client, with
        whatever payload, looked at without names; rather one too many, but for undetermined: see
        Destination."""

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

    def could(self, destination: Destination) -> Truths:
        return ANY_TRUTH


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
        if any(identifier.kind in self.wanted for identifier in content.plaintext):
            return True
        return None if content.may_show_more else False

    def why(self, subject: Subject) -> str:
        content = subject.facts.content
        if content is None:
            return "payload not yet seen"
        if content.plaintext is None:
            return "plaintext cannot be told"
        kinds = sorted({str(identifier.kind) for identifier in content.plaintext})
        more = ", and what cannot be told" if content.may_show_more else ""
        return f"plaintext {', '.join(kinds) or 'none'}{more}"


@dataclass(frozen=True, slots=True)
class TransportIs(_Fixed):
    """The flow is of one of these transports."""

    wanted: frozenset[Transport]

    def test(self, subject: Subject) -> Truth:
        return subject.facts.key.transport in self.wanted

    def could(self, destination: Destination) -> Truths:
        return TRUE if self.wanted.issuperset(Transport) else EITHER

    def why(self, subject: Subject) -> str:
        return f"transport {subject.facts.key.transport}"


@dataclass(frozen=True, slots=True)
class To(_Fixed):
    """The address belongs to one of these jurisdictions."""

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
        # A payload may carry a name that makes the address a member; never one that unmakes it.
        if truth and subject.with_names and subject.facts.content is None:
            named = any(subject.jurisdictions[name].names for name in self.names)
            return named or self.test(subject) is True
        return self.test(subject) is truth

    def could(self, destination: Destination) -> Truths:
        return could_some(destination.members[name] for name in self.names)

    def why(self, subject: Subject) -> str:
        return "; ".join(f"{name}: {self._why_one(subject, name)}" for name in self.names)

    def _why_one(self, subject: Subject, name: str) -> str:
        jurisdiction = subject.jurisdictions[name]
        if name in subject.named:
            return f"a name in {jurisdiction.names}"
        return jurisdiction.why(subject.address, subject.place)


@dataclass(frozen=True, slots=True)
class From(_Fixed):
    """The client is in these networks."""

    clients: AddressSet

    def test(self, subject: Subject) -> Truth:
        return subject.facts.key.client.address in self.clients

    def could(self, destination: Destination) -> Truths:
        return EITHER

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

    def could(self, destination: Destination) -> Truths:
        return TRUE if (0, _LAST_PORT) in self.ranges else EITHER

    def why(self, subject: Subject) -> str:
        return f"port {subject.facts.key.destination.port}"


@dataclass(frozen=True, slots=True)
class AsnIs(_Fixed):
    """The address is announced by one of these autonomous systems."""

    wanted: frozenset[int]

    def test(self, subject: Subject) -> Truth:
        asns = subject.place.asns
        if not asns:
            return None
        return not self.wanted.isdisjoint(asns)

    def could(self, destination: Destination) -> Truths:
        if not self.wanted.isdisjoint(destination.asns):
            return TRUE
        if destination.may_have_more:
            return ANY_TRUTH
        return FALSE if destination.asns else frozenset((None,))

    def why(self, subject: Subject) -> str:
        asns = subject.place.asns
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
        may_change = subject.with_names and subject.facts.content is None
        return may_change or self.test(subject) is truth

    def could(self, destination: Destination) -> Truths:
        return FALSE

    def why(self, subject: Subject) -> str:
        # Never the name itself: this sentence goes into logs, and a name can name a person.
        truth = self.test(subject)
        known = "a name in" if truth else "no name in" if truth is False else "perhaps a name in"
        return f"{known} {self.names}"
