"""Changes, put together of the runs where they happen.  Owns: ranges, causes, countries and
operators of each change.  Knows: geo's cells under a run.  Never: which verdicts differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gateway.policy import Listing
from gateway.review.causes import Cause, Causes, Unit, said_otherwise
from gateway.review.change import Amount, Change, Sort
from gateway.review.extent import extent
from gateway.review.profiles import Profiles
from gateway.review.sides import Outcome, Run, Side

Differences = Mapping[tuple[Outcome, Outcome], frozenset[int]]
"""The profiles whose outcome changes, by what it was and what it is."""


class Meeting(NamedTuple):
    """A run of each side, where they overlap."""

    octets: int
    first: int
    last: int
    old: Run
    new: Run


class _Context(NamedTuple):
    """What all cells under some meetings have in common."""

    kinds: tuple[int, int]
    listings: tuple[Listing, Listing]


class _Share:
    """Addresses of one pair of cells in one context."""

    __slots__ = ("address", "sizes")

    def __init__(self, address: bytes) -> None:
        self.address = address
        self.sizes = [0, 0]


class _Tally:
    """Amounts by what they are of."""

    def __init__(self) -> None:
        self._sizes: dict[str, list[int]] = {}

    def add(self, name: str, sizes: list[int]) -> None:
        known = self._sizes.setdefault(name, [0, 0])
        known[0] += sizes[0]
        known[1] += sizes[1]

    def amounts(self) -> dict[str, Amount]:
        """Give them, the largest first."""
        ranked = sorted(self._sizes.items(), key=lambda item: (item[1], item[0]), reverse=True)
        return {name: Amount(*sizes) for name, sizes in ranked}


class _Made:
    """A change in the making."""

    def __init__(self) -> None:
        self.ranges: dict[int, list[tuple[int, int]]] = {4: [], 16: []}
        self.causes, self.details, self.countries, self.operators = (_Tally() for _ in range(4))


_Key = tuple[tuple[str, ...], tuple[str, ...], Outcome, Outcome, frozenset[int]]


class Gathering:
    """Takes what changes where, and gives the changes."""

    def __init__(self, old: Side, new: Side, profiles: Profiles) -> None:
        self._sides = (old, new)
        self._causes = Causes(old, new, profiles)
        self._differences: dict[_Context, Differences] = {}
        self._ranges: dict[_Context, dict[int, list[tuple[int, int]]]] = {}
        self._shares: dict[_Context, dict[tuple[int, int], _Share]] = {}
        self._known: dict[tuple[object, ...], tuple[Cause, ...]] = {}

    def add(self, meeting: Meeting, differences: Differences) -> None:
        """Take a meeting where outcomes differ."""
        octets, first, last, old, new = meeting
        context = _Context((old.kind, new.kind), (old.listing, new.listing))
        if context not in self._differences:
            self._differences[context] = differences
            self._ranges[context] = {4: [], 16: []}
            self._shares[context] = {}
        self._ranges[context][octets].append((first, last))
        shares, family = self._shares[context], int(octets == 16)
        for begin, end, numbers in self._cells(octets, first, last):
            share = shares.get(numbers)
            if share is None:
                share = shares[numbers] = _Share(begin.to_bytes(octets))
            share.sizes[family] += end - begin + 1

    def _cells(
        self, octets: int, first: int, last: int
    ) -> Iterator[tuple[int, int, tuple[int, int]]]:
        """Give the cells of both sides laid over each other: first, last, numbers."""
        old, new = (side.cells.of(octets) for side in self._sides)
        at_old, at_new = old.find(first), new.find(first)
        while first <= last:
            old_end, new_end = old.last(at_old), new.last(at_new)
            end = min(old_end, new_end, last)
            yield first, end, (old.numbers[at_old], new.numbers[at_new])
            at_old += end == old_end
            at_new += end == new_end
            first = end + 1

    def changes(self) -> Iterator[Change]:
        """Give the changes, in no order."""
        made: dict[_Key, _Made] = defaultdict(_Made)
        for context, differences in self._differences.items():
            old, new = (
                side.memberships(kind)
                for side, kind in zip(self._sides, context.kinds, strict=True)
            )
            for (was, is_), profiles in differences.items():
                one = made[old, new, was, is_, profiles]
                for octets, ranges in self._ranges[context].items():
                    one.ranges[octets] += ranges
                for numbers, share in self._shares[context].items():
                    self._account(one, context, numbers, share, profiles)
        yield from (_change(*item) for item in made.items())

    def _account(
        self,
        one: _Made,
        context: _Context,
        numbers: tuple[int, int],
        share: _Share,
        profiles: frozenset[int],
    ) -> None:
        old, new = (
            side.cells.place(number) for side, number in zip(self._sides, numbers, strict=True)
        )
        unit = Unit(share.address, (old, new), context.listings)
        causes = self._causes_of(context, unit, profiles)
        for cause in causes:
            one.causes.add(cause, share.sizes)
        if Cause.DATA in causes:
            cells, others = (side.cells for side in self._sides)
            for words in said_otherwise(cells, numbers[0], others, numbers[1]):
                one.details.add(words, share.sizes)
        named = (value for place in (old, new) for said in place.values.values() for value in said)
        for country in set(named):
            one.countries.add(country, share.sizes)
        for asn in {*old.asns, *new.asns}:
            one.operators.add(f"AS{asn}", share.sizes)

    def _causes_of(
        self, context: _Context, unit: Unit, profiles: frozenset[int]
    ) -> tuple[Cause, ...]:
        """Give the causes for any of some profiles, in order."""
        (before, after), (old, new) = self._sides, unit.places
        across = before.kind(new, unit.listings[0]), after.kind(old, unit.listings[1])
        key = (context.kinds, across, profiles)
        found = self._known.get(key)
        if found is None:
            each = {cause for profile in profiles for cause in self._causes.of(unit, profile)}
            found = self._known[key] = tuple(cause for cause in Cause if cause in each)
        return found


def _change(key: _Key, made: _Made) -> Change:
    old_members, new_members, old, new, profiles = key
    return Change(
        old_members=old_members,
        new_members=new_members,
        old=old,
        new=new,
        profiles=profiles,
        extent=extent(made.ranges[4], made.ranges[16]),
        causes={Cause(name): amount for name, amount in made.causes.amounts().items()},
        details=made.details.amounts(),
        countries=made.countries.amounts(),
        operators=made.operators.amounts(),
    )


def rank(one: Change) -> tuple[object, ...]:
    """Give what changes are sorted by: the gravest sort first, then the largest."""
    size = (-one.extent.v4_addresses, -one.extent.v6_addresses)
    return (
        list(Sort).index(one.sort),
        *size,
        one.old_members,
        one.new_members,
        sorted(one.profiles),
    )
