"""One side of a comparison.  Owns: an epoch's address space in runs that its policy treats alike,
and what the policy does with each flow profile there.  Knows: geo's cells, the policy's own lists.
Never: the other side; why."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from itertools import chain, compress, count, islice
from operator import ne
from typing import NamedTuple

from gateway.flow.epoch import Epoch
from gateway.geo import Atlas
from gateway.geo.cells import Cells
from gateway.model import Action, Place, Verdict
from gateway.policy import Closing, Listing, Policy
from gateway.policy.truth import Truth
from gateway.review.profiles import Profile, Profiles


class Outcome(NamedTuple):
    """What becomes of a flow."""

    action: Action | None
    """None: its payload decides (a TCP flow before its first bytes)."""
    target: str | None = None
    """As in model.Verdict."""

    @property
    def goes(self) -> bool:
        """Whether the flow goes directly where it wants to."""
        return self.action is Action.ALLOW

    @property
    def blocks(self) -> bool:
        """Whether the flow goes nowhere."""
        return self.action is Action.BLOCK

    def __str__(self) -> str:
        if self.action is None:
            return "payload decides"
        return f"{self.action} ({self.target})" if self.target else str(self.action)


class Run(NamedTuple):
    """Neighbouring addresses that a policy treats alike."""

    first: int
    last: int
    kind: int
    """What they have in common: see Side.members."""
    listing: Listing


class Kind(NamedTuple):
    """All that a policy's rules can tell of an address."""

    members: tuple[Truth, ...]
    """By jurisdiction, in the order of the policy."""
    is_announced: bool
    asns: frozenset[int]
    """Those that the policies ask for."""


class Side:
    """An epoch, and what it does to all addresses at once."""

    def __init__(
        self, policy: Policy, profiles: Profiles, cells: Cells, asns: frozenset[int]
    ) -> None:
        """Begin.

        Args:    asns: the autonomous systems that either side's policy asks for.
        """
        self.policy, self.cells = policy, cells
        self._profiles = profiles
        self._asns = asns
        self.alike = cells.alike(asns)
        """By a cell's number: one of which all of this side's rules say the same."""
        self._closing = Closing(policy)
        self.kinds: list[Kind] = []
        self._numbers: dict[Kind, int] = {}
        self._of_place: dict[Hashable, int] = {}
        self._kind_of: dict[Listing, _KindOf] = {}
        self._outcomes: dict[int, tuple[Outcome, ...]] = {}

    def runs(self, octets: int, within: Iterable[tuple[int, int]]) -> Iterator[Run]:
        """Give the runs of all addresses between ends, ascending.

        Args:    within: (first, last), ascending and apart.
        """
        parts = list(within)
        for first, last, listing in self._closing.cuts(octets):
            kinds = self._kind_of.setdefault(listing, _KindOf(self, listing))
            for begin, end in parts:
                if begin <= last and first <= end:
                    yield from self._runs(octets, max(first, begin), min(last, end), kinds)

    def _runs(self, octets: int, first: int, last: int, kinds: _KindOf) -> Iterator[Run]:
        partition = self.cells.of(octets)
        at = partition.find(first)
        numbers = partition.numbers[at : partition.find(last) + 1]
        found = list(map(kinds.__getitem__, numbers))
        # Steps of Python are taken for the runs only, not for each of a million segments.
        changes = compress(count(), map(ne, found, islice(found, 1, None)))
        for position in chain(changes, (len(found) - 1,)):
            end = min(last, partition.last(at + position))
            yield Run(first, end, found[position], kinds.listing)
            first = end + 1

    def kind(self, place: Place, listing: Listing) -> int:
        """Give the number of the kind of addresses of a place and a listing."""
        asns = self._asns.intersection(place.asns)
        key = (id(place.values), bool(place.asns), asns, bool(place.doubts), listing)
        found = self._of_place.get(key)
        if found is None:
            members = tuple(
                one.holds_by_evidence(place) if listed is None else listed
                for one, listed in zip(self.policy.jurisdictions.values(), listing, strict=True)
            )
            kind = Kind(members, bool(place.asns), asns)
            found = self._numbers.setdefault(kind, len(self._numbers))
            if found == len(self.kinds):
                self.kinds.append(kind)
            self._of_place[key] = found
        return found

    def outcomes(self, kind: int, address: bytes) -> tuple[Outcome, ...]:
        """Give what becomes of each profile's flow to addresses of a kind.

        Args:    address: one of them.
        """
        found = self._outcomes.get(kind)
        if found is None:
            partition = self.cells.of(len(address))
            number = partition.numbers[partition.find(int.from_bytes(address))]
            place = self.cells.place(number)
            made = (outcome(self.policy, one, address, place) for one in self._profiles.all)
            found = self._outcomes[kind] = tuple(made)
        return found

    def members(self, kind: int) -> dict[str, Truth]:
        """Give the memberships of a kind, by jurisdiction."""
        return dict(zip(self.policy.jurisdictions, self.kinds[kind].members, strict=True))

    def memberships(self, kind: int) -> tuple[str, ...]:
        """Name the jurisdictions of a kind; those that it may be in with a question mark."""
        named = self.members(kind).items()
        return tuple(name if truth else f"{name}?" for name, truth in named if truth is not False)


class _KindOf(dict[int, int]):
    """The kind of each number of a side's cells under one listing, found when it is first met."""

    def __init__(self, side: Side, listing: Listing) -> None:
        super().__init__()
        self._side, self.listing = side, listing

    def __missing__(self, number: int) -> int:
        one = self._side.alike[number]
        if one != number:
            found = self[one]
        else:
            found = self._side.kind(self._side.cells.place(number), self.listing)
        self[number] = found
        return found


def outcome(policy: Policy, profile: Profile, address: bytes, place: Place) -> Outcome:
    """Judge a profile's flow to an address of a place, others aside, as the gateway does."""
    return outcome_of(policy.judge(profile.facts(address, place)))


def outcome_of(verdict: Verdict) -> Outcome:
    """Give what a verdict leads to."""
    return Outcome(verdict.action, verdict.target) if verdict.settled else Outcome(None)


def atlas_of(epoch: Epoch) -> Atlas:
    """Give an epoch's atlas, which has to be geo's own."""
    assert isinstance(epoch.atlas, Atlas), "only geo's own atlas can be compared"
    return epoch.atlas


def cells_of(epoch: Epoch) -> Cells:
    """Give the cells of an epoch's data."""
    return atlas_of(epoch).cells()
