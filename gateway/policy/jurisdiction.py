"""Jurisdictions.  Owns: whether an address belongs to a named set.
Knows: the three axes of evidence.  Never: where the evidence comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.model import Axis, Place
from gateway.policy.names import NameSet
from gateway.policy.networks import AddressSet
from gateway.policy.truth import ANY_TRUTH, Truth, Truths

_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Jurisdiction:
    """A named set of addresses, compiled.

    1. An address in `exceptions` is no member.
    2. One in `networks`, or announced by one of `asns`, is.
    3. Otherwise the evidence on the asked axes says; an asked axis without evidence, or any doubt
       about the address, leaves it undetermined unless some source already says "member".
    """

    name: str
    countries: Mapping[Axis, frozenset[str]]
    """By asked axis."""
    asns: frozenset[int]
    networks: AddressSet
    names: NameSet
    exceptions: AddressSet
    must_agree: bool

    def listed(self, address: bytes) -> Truth:
        """Say what the set's own networks make of an address; None: they do not mention it."""
        if address in self.exceptions:
            return False
        return address in self.networks or None

    def holds(self, address: bytes, place: Place) -> Truth:
        """Say whether an address is a member, names aside."""
        listed = self.listed(address)
        return self.holds_by_evidence(place) if listed is None else listed

    def holds_by_evidence(self, place: Place) -> Truth:
        """Say whether the evidence makes a place a member."""
        if not self.asns.isdisjoint(place.asns):
            return True
        asked = [place.values.get(axis) for axis in self.countries]
        words = [
            value in countries
            for axis, countries in self.countries.items()
            for value in place.values.get(axis, ())
        ]
        # Where no operator is known, the announcing network is not known either.
        nameless = bool(self.asns) and not place.asns and Axis.OPERATOR not in place.values
        incomplete = None in asked or nameless or bool(place.doubts)
        if any(words):
            disagree = self.must_agree and (incomplete or not all(words))
            return None if disagree else True
        return None if incomplete else False

    def contains(self, other: Jurisdiction) -> bool:
        """Say whether it is proven, whatever the evidence, that what is a member of another set is
        one of this, and what is none of this is none of the other."""
        return (
            not self.must_agree
            and all(
                codes <= self.countries.get(axis, _NONE) for axis, codes in other.countries.items()
            )
            and other.asns <= self.asns
            and self.networks.covers(other.networks)
            and other.exceptions.covers(self.exceptions)
            and other.names.is_within(self.names)
        )

    def could_hold(self, place: Place, may_have_more: bool) -> Truths:
        """Give every truth that the evidence may come to, undetermined aside.

        Args:    may_have_more: evidence may be added: that settles doubts either way, makes
                 members, and unmakes none (where all of it must agree, it makes a doubt).
        """
        truth = self.holds_by_evidence(place)
        return ANY_TRUTH if may_have_more and truth is not True else frozenset((truth,))

    def why(self, address: bytes, place: Place) -> str:
        """Say what `holds` rests on, for a person."""
        listed = self.listed(address)
        if listed is not None:
            return "in its networks" if listed else "an excepted network"
        for asn in place.asns:
            if asn in self.asns:
                return f"AS{asn} announces it"
        known = [
            f"{axis} {'/'.join(place.values[axis])}"
            for axis in self.countries
            if axis in place.values
        ]
        absent = [f"no evidence on {axis}" for axis in self.countries if axis not in place.values]
        return "; ".join([*known, *absent, *place.doubts]) or "not in its networks"
