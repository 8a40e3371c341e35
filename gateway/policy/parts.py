"""Parts of a decision.  Owns: which sub-conditions a rule's result rests on, in what order, and
the words of evidence behind each.  Knows: Kleene's logic, the conditions.
Never: who said a word; the evidence's sources are looked up by whoever prints them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.model import Axis, IdentifierKind
from gateway.policy import conditions as leaf
from gateway.policy.conditions import Condition
from gateway.policy.connectives import All, Any, Not
from gateway.policy.jurisdiction import Jurisdiction
from gateway.policy.rule import Rule
from gateway.policy.subject import Subject
from gateway.policy.truth import Truth, negation

Word = tuple[Axis, str]
"""What a source may say of an address: (location, "CN"), (operator, "AS4134")."""


@dataclass(frozen=True, slots=True)
class Part:
    """One condition, without connectives, that a rule's result rests on."""

    condition: str
    """As in the file: "traffic: ping, media", "not to: mainland-china"."""
    result: Truth
    why: str
    address: bytes
    """The address that was asked about: the destination's, or one that is judged with it."""
    words: tuple[Word, ...] = ()
    """The evidence that it rests on; () if it asks for none."""


def parts_of(rule: Rule, subject: Subject) -> tuple[Part, ...]:
    """Give the conditions that `rule.holds` rests on: of a false `all` the false ones, and so on.

    Returns: () for a rule that asks for nothing; each condition once.
    """
    if rule.is_over:
        expiry = Part(f"expires: {rule.expires}", False, "it is over", subject.address)
        return (expiry,)
    look = rule.decisive(subject)
    return tuple(dict.fromkeys(_deciding(rule.condition, look, False)))


def leaves(condition: Condition) -> Iterator[Condition]:
    """Give the conditions inside a condition that have no connectives, in order."""
    match condition:
        case All(inner) | Any(inner):
            for one in inner:
                yield from leaves(one)
        case Not(one):
            yield from leaves(one)
        case _:
            yield condition


def _deciding(condition: Condition, subject: Subject, negated: bool) -> Iterator[Part]:
    match condition:
        case Not(inner):
            yield from _deciding(inner, subject, not negated)
        case All(inner) | Any(inner):
            truth = condition.test(subject)
            needs_every = truth is isinstance(condition, All)  # a true `all`, a false `any`
            for one in inner:
                if needs_every or one.test(subject) is truth:
                    yield from _deciding(one, subject, negated)
        case _:
            yield _part(condition, subject, negated)


def _part(condition: Condition, subject: Subject, negated: bool) -> Part:
    truth = condition.test(subject)
    return Part(
        condition=("not " if negated else "") + spelled(condition),
        result=negation(truth) if negated else truth,
        why=condition.why(subject),
        address=subject.address,
        words=tuple(dict.fromkeys(_words(condition, subject, truth))),
    )


def spelled(condition: Condition) -> str:
    """Write a condition without connectives as it stands in a file."""
    match condition:
        case leaf.TrafficIs(wanted):
            return f"traffic: {_listed(wanted)}"
        case leaf.ProtocolIs(wanted):
            return f"protocol: {_listed(wanted)}"
        case leaf.TransportIs(wanted):
            return f"transport: {_listed(wanted)}"
        case leaf.PlaintextHas(wanted):
            every = wanted == frozenset(IdentifierKind)
            return f"plaintext: {'any' if every else _listed(wanted)}"
        case leaf.To(names):
            return f"to: {', '.join(names)}"
        case leaf.From(clients):
            return f"from: {clients}"
        case leaf.PortIn(ranges):
            return f"port: {', '.join(map(_ports, ranges))}"
        case leaf.AsnIs(wanted):
            return f"asn: {', '.join(map(str, sorted(wanted)))}"
        case leaf.NameIn(names):
            return f"name: {names}"
        case _:
            return type(condition).__name__


def _listed(values: frozenset[str]) -> str:
    return ", ".join(sorted(str(value) for value in values))


def _ports(ports: tuple[int, int]) -> str:
    first, last = ports
    return str(first) if first == last else f"{first}-{last}"


def _words(condition: Condition, subject: Subject, truth: Truth) -> Iterator[Word]:
    match condition:
        case leaf.AsnIs():
            yield from ((Axis.OPERATOR, f"AS{asn}") for asn in subject.place.asns)
        case leaf.To(names):
            for name in names:
                if subject.members[name] is truth and name not in subject.named:
                    yield from _of_jurisdiction(subject.jurisdictions[name], subject, truth)


def _of_jurisdiction(one: Jurisdiction, subject: Subject, truth: Truth) -> Iterator[Word]:
    """Give what belonging rests on: of a member the words that say so, else every word asked."""
    place = subject.place
    if one.listed(subject.address) is not None:
        return
    announcing = [asn for asn in place.asns if asn in one.asns]
    if announcing:
        yield from ((Axis.OPERATOR, f"AS{asn}") for asn in announcing)
        return
    if one.asns:
        yield from ((Axis.OPERATOR, f"AS{asn}") for asn in place.asns)
    for axis, countries in one.countries.items():
        for value in place.values.get(axis, ()):
            if one.must_agree or truth is not True or value in countries:
                yield axis, value
