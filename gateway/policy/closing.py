"""Closed destinations.  Owns: which are blocked whatever the flow, proven from their place alone.
Knows: what a destination's memberships may be.  Never: where addresses lie; carrying it out."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

from gateway.model import Action, Mode, Place, Verdict
from gateway.policy.destination import Destination
from gateway.policy.jurisdiction import Jurisdiction
from gateway.policy.policy import Policy
from gateway.policy.truth import ANY_TRUTH, Truth, Truths

Listing = tuple[Truth, ...]
"""By jurisdiction: True: in its networks; False: in its exceptions; None: in neither."""


class Fate(IntEnum):
    """What becomes of every flow to a destination."""

    OPEN = 0
    """It depends on the flow, or it cannot be proven that it does not."""
    DROPPED = 1
    REFUSED = 2


class Cut(NamedTuple):
    """Neighbouring addresses that the policy's own networks treat alike."""

    first: int
    last: int
    """Inclusive."""
    listing: Listing


class Closing:
    """Proves of a policy which destinations are closed.

    1. A rule that does not block matches no flow to a destination for which it does not hold by the
       address alone, whatever the payload asks for: so what is on no allow-list is closed.
    2. Every block rule may match: a payload can ask for an address for which it holds.  As two ways
       to be blocked are told apart by the flow, and what a rule in shadow would have done is
       written down by the flow, a destination with several of these stays open here,
    3. up to the first block that holds, or may hold, for the destination's own address.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._jurisdictions = tuple(policy.jurisdictions.values())
        asked = [one.asns for one in self._jurisdictions]
        self.asns = frozenset().union(*asked, *(rule.asks_asns for rule in policy.rules))
        """The autonomous systems that it matters whether they announce an address; of others it
        matters only whether there is one."""
        self._known: dict[tuple[object, ...], Fate] = {}

    def cuts(self, octets: int) -> Iterator[Cut]:
        """Cut all addresses of a length by the policy's networks and exceptions."""
        sets = [each for one in self._jurisdictions for each in (one.networks, one.exceptions)]
        end = 1 << 8 * octets
        edges = sorted({0, end}.union(*(one.edges(octets) for one in sets)))
        for first, after in pairwise(edges):
            yield Cut(first, after - 1, self._listing(first.to_bytes(octets)))

    def _listing(self, address: bytes) -> Listing:
        return tuple(one.listed(address) for one in self._jurisdictions)

    def fate(self, listing: Listing, place: Place | None, may_have_more: bool) -> Fate:
        """Say what becomes of every flow to addresses of a listing and a place.

        Args:    place: None: each has a place of its own.
                 may_have_more: more may be said of each than its place says.
        """
        members = tuple(
            [
                _membership(one, listed, place, may_have_more)
                for one, listed in zip(self._jurisdictions, listing, strict=True)
            ]
        )
        if place is None:
            return self._remembered(members, (), True)
        return self._remembered(members, place.asns, may_have_more)

    def _remembered(
        self, members: tuple[Truths, ...], asns: tuple[int, ...], may_have_more: bool
    ) -> Fate:
        # All that a condition may find; places differ in much else.
        key = (members, bool(asns), self.asns.intersection(asns), may_have_more)
        found = self._known.get(key)
        if found is None:
            named = dict(zip(self._policy.jurisdictions, members, strict=True))
            found = self._known[key] = self._prove(Destination(named, asns, may_have_more))
        return found

    def _prove(self, destination: Destination) -> Fate:
        """Go through the rules as a verdict does, with every flow at once."""
        if self._policy.mode is Mode.SHADOW:
            return Fate.OPEN
        met: list[Verdict] = []
        for rule in self._policy.rules:
            if not rule.is_possible(destination):
                continue
            if rule.shadow_percent:
                return Fate.OPEN
            met.append(rule.verdict)
            if rule.is_certain(destination):
                break
        else:
            met.append(self._policy.default)
        return _common_fate(met)


def _membership(
    jurisdiction: Jurisdiction, listed: Truth, place: Place | None, may_have_more: bool
) -> Truths:
    """Give what a membership may be, as Jurisdiction.holds finds it."""
    if listed is not None:
        return frozenset((listed,))
    return ANY_TRUTH if place is None else jurisdiction.could_hold(place, may_have_more)


def _common_fate(verdicts: list[Verdict]) -> Fate:
    """Give the one fate of all verdicts that flows may get."""
    ways = {(verdict.action, verdict.target) for verdict in verdicts}
    match ways.pop() if len(ways) == 1 else None:
        case (Action.BLOCK, None):
            return Fate.DROPPED
        case (Action.BLOCK, _):
            return Fate.REFUSED
        case _:
            return Fate.OPEN
