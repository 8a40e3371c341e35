"""Jurisdictions.  Owns: whether an address belongs to a named set.
Knows: the three axes of evidence.  Never: where the evidence comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.model import Axis, Facts, Place, unpack
from gateway.policy.destination import Knowledge
from gateway.policy.names import NameSet
from gateway.policy.networks import AddressSet
from gateway.policy.truth import ANY_TRUTH, TRUE, Truth, Truths, some

_DOUBTFUL: Truths = frozenset((True, None))


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

    def holds(self, facts: Facts) -> Truth:
        """Say whether the destination is a member, names aside."""
        address = facts.key.destination.address
        if address in self.exceptions:
            return False
        if self.networks and any(one in self.networks for one in (address, *facts.further)):
            return True
        truth = self.holds_by_evidence(facts.place)
        if facts.further_places and truth is not True:
            return some((truth, *(self.holds_by_evidence(place) for place in facts.further_places)))
        return truth

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

    def could_hold(self, place: Place, knowledge: Knowledge) -> Truths:
        """Give every truth that some flow to a place may find, networks and exceptions aside.

        1. A payload may ask for addresses that are members, and carry a name that makes one: so
           true is always possible.  It cannot unmake a member, nor settle a doubt.
        2. Nor can evidence that is added, unless all of it must agree.
        3. Evidence that is added elsewhere than where it lacks leaves the doubt.  What lacks is
           never told by an address that is judged with another: that is a doubt again.
        """
        truth = self.holds_by_evidence(place)
        if truth is False:
            return ANY_TRUTH
        if truth is True:
            return _DOUBTFUL if self.must_agree and knowledge > Knowledge.WHOLE else TRUE
        lacks = any(axis not in place.values for axis in self.countries) or bool(place.doubts)
        stays = knowledge is Knowledge.WHOLE or (knowledge is Knowledge.JOINED and lacks)
        return _DOUBTFUL if stays else ANY_TRUTH

    def why(self, facts: Facts) -> str:
        """Say what `holds` rests on, for a person."""
        address = facts.key.destination.address
        if address in self.exceptions:
            return "an excepted network"
        for one in (address, *facts.further):
            if one in self.networks:
                return f"{unpack(one)} is in its networks"
        words = self._why_of(facts.place)
        for place in facts.further_places:
            words += f"; asked to reach: {self._why_of(place)}"
        return words

    def _why_of(self, place: Place) -> str:
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
