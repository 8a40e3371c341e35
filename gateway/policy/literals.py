"""What conditions come to, for proofs.  Owns: conditions → alternatives of literals; when
one literal follows from another, and when two exclude each other.
Knows: Kleene's logic, in which De Morgan's and the distributive laws hold.  Never: rules, actions.

"b implies a" here always means both: where b is true, a is; where a is false, b is.  So it holds
for rules that match on doubt as for those that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.model import Protocol, Traffic, Transport
from gateway.policy.jurisdiction import Jurisdiction
from gateway.policy.networks import AddressSet
from gateway.policy.sections import When
from gateway.policy.values import ANY

_ALL_PORTS = (1 << 65536) - 1
# A rule with more alternatives than this is not proven to be anything.
_MAX_ALTERNATIVES = 256


@dataclass(frozen=True, slots=True)
class OneOf:
    """The flow's one value is among these; "not" of it is one of the others."""

    key: str
    values: frozenset[StrEnum]
    is_sure: bool
    """Whether it is never undetermined."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The port is one of these, as bits."""

    bits: int
    is_sure = True


@dataclass(frozen=True, slots=True)
class Clients:
    """The client is in this set."""

    addresses: AddressSet
    is_sure = True


@dataclass(frozen=True, slots=True)
class Has:
    """Something of the flow or its destination is among these, or nothing is."""

    key: str
    values: frozenset[object]
    negated: bool
    is_sure = False


Literal = OneOf | Ports | Clients | Has
Alternative = tuple[Literal, ...]
"""Holds where each of its literals does; () holds always."""


class Logic:
    """Proves things of the conditions of one policy."""

    def __init__(
        self,
        jurisdictions: Mapping[str, Jurisdiction],
        clients: Callable[[tuple[str, ...]], AddressSet],
    ) -> None:
        self._jurisdictions = jurisdictions
        self._clients = clients
        self._contained: dict[tuple[str, str], bool] = {}

    def alternatives(self, when: When) -> list[Alternative] | None:
        """Give conditions as alternatives, one of which holds where they do; None: too many."""
        return self._expand(when, False)

    def _expand(self, when: When, negated: bool) -> list[Alternative] | None:
        parts: list[list[Alternative] | None] = [
            [(literal,)] for literal in self._literals(when, negated)
        ]
        for group, is_any in ((when.any, True), (when.all, False)):
            if group is not None:
                inner = [self._expand(one, negated) for one in group]
                parts.append(_either(inner) if is_any is not negated else _both(inner))
        if when.not_ is not None:
            parts.append(self._expand(when.not_, not negated))
        return _either(parts) if negated else _both(parts)

    def _literals(self, when: When, negated: bool) -> Iterator[Literal]:
        for key, choice, every, is_sure in (
            ("transport", when.transport, Transport, True),
            ("traffic", when.traffic, Traffic, False),
        ):
            if choice is not None:
                values = frozenset[StrEnum](choice.values)
                if choice.negated is not negated:
                    values = frozenset[StrEnum](every) - values
                yield OneOf(key, values, is_sure)
        if when.port is not None:
            bits = 0
            for first, last in when.port.values:
                bits |= (1 << last + 1) - (1 << first)
            yield Ports(bits ^ _ALL_PORTS if when.port.negated is not negated else bits)
        if when.from_ is not None:
            addresses = self._clients(when.from_.values)
            yield Clients(
                addresses.complement() if when.from_.negated is not negated else addresses
            )
        for key, several in (
            ("protocol", when.protocol),
            ("to", when.to),
            ("asn", when.asn),
            ("plaintext", when.plaintext),
            ("name", when.name),
        ):
            if several is not None:
                found = frozenset[object](several.values)
                yield Has(key, found, several.negated is not negated)

    def implies(self, one: Alternative, other: Alternative) -> bool:
        """Say whether an alternative holds wherever another does, as far as can be proven."""
        return all(any(self._follows(a, b) for b in one) for a in other)

    def _follows(self, a: Literal, b: Literal) -> bool:
        """Say whether `a` follows from `b`."""
        match a, b:
            case OneOf(), OneOf():
                return a.key == b.key and b.values <= a.values
            case Ports(), Ports():
                return not b.bits & ~a.bits
            case Clients(), Clients():
                return a.addresses.covers(b.addresses)
            case Has(), Has() if a.key == b.key:
                if a.negated is not b.negated:
                    return b.negated is False and _apart(a, b) and not _may_be_unknown(a, b)
                smaller, larger = (a, b) if a.negated else (b, a)
                return all(self._is_within(a.key, value, larger) for value in smaller.values)
        return False

    def _is_within(self, key: str, value: object, larger: Has) -> bool:
        if value in larger.values or (key == "plaintext" and ANY in larger.values):
            return True
        return key == "to" and any(self.contains(str(one), str(value)) for one in larger.values)

    def contains(self, larger: str, smaller: str) -> bool:
        """Say whether a jurisdiction holds all of another, whatever the evidence."""
        pair = larger, smaller
        if pair not in self._contained:
            known = self._jurisdictions
            self._contained[pair] = known[larger].contains(known[smaller])
        return self._contained[pair]

    def excludes(self, one: Alternative, other: Alternative = (), *, sure: bool) -> bool:
        """Say whether it is proven that two alternatives are never both true.

        Args:    sure: and that one of them is false then, so that not even a block matches.
        """
        literals = [literal for literal in (*one, *other) if literal.is_sure or not sure]
        return any(self._never(a, b) for at, a in enumerate(literals) for b in literals[at:])

    def _never(self, a: Literal, b: Literal) -> bool:
        match a, b:
            case OneOf(), OneOf():
                return a.key == b.key and not a.values & b.values
            case Ports(), Ports():
                return not a.bits & b.bits
            case Clients(), Clients():
                return not a.addresses.meets(b.addresses)
            case Has(), Has() if a.key == b.key:
                if a.negated is b.negated:
                    return not a.negated and _apart(a, b)
                said, denied = (b, a) if a.negated else (a, b)
                return all(self._is_within(a.key, value, denied) for value in said.values)
        return False


def _apart(a: Has, b: Has) -> bool:
    """Say whether no value is among both, of what a flow has only one of."""
    return a.key == "protocol" and not a.values & b.values


def _may_be_unknown(a: Has, b: Has) -> bool:
    return Protocol.UNKNOWN in a.values | b.values


def _either(parts: Iterable[list[Alternative] | None]) -> list[Alternative] | None:
    found: list[Alternative] = []
    for part in parts:
        if part is None or len(found) + len(part) > _MAX_ALTERNATIVES:
            return None
        found += part
    return found


def _both(parts: Iterable[list[Alternative] | None]) -> list[Alternative] | None:
    found: list[Alternative] = [()]
    for part in parts:
        if part is None or len(found) * len(part) > _MAX_ALTERNATIVES:
            return None
        found = [_joined((*one, *other)) for one in found for other in part]
    return found


def _joined(literals: Alternative) -> Alternative:
    """Make one literal of several on what a flow has only one of."""
    joined: list[Literal] = []
    for one in literals:
        for at, other in enumerate(joined):
            match one, other:
                case OneOf(), OneOf() if one.key == other.key:
                    joined[at] = OneOf(one.key, one.values & other.values, one.is_sure)
                    break
                case Ports(), Ports():
                    joined[at] = Ports(one.bits & other.bits)
                    break
        else:
            joined.append(one)
    return tuple(joined)
