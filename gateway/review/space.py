"""What changes for which addresses, over all of IPv4 and IPv6.  Owns: `compare`.
Knows: interval arithmetic on runs of addresses that both sides treat alike.
Never: recorded flows, printing.

1. Each side's address space is cut into runs that its policy's rules cannot tell apart: equal
   memberships of its jurisdictions, by equal evidence and its own lists of networks.
2. The two cuts are laid over each other.  For each pair of kinds that meets anywhere, every flow
   profile is judged once by each policy: exact for the whole run, since no rule sees a difference.
3. Where an outcome differs, the evidence under the run says why.

Addresses that spell others are looked at apart (`spelled`).  ISATAP may stand in any network:
what is said here of an address is said of it itself; what it spells is judged as well."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from gateway.flow.epoch import Epoch
from gateway.policy import Closing
from gateway.policy.truth import Truth
from gateway.review.atoms import atoms_of
from gateway.review.change import Change, Comparison, Membership, Newly, Sort
from gateway.review.extent import Extent, extent
from gateway.review.gathering import Differences, Gathering, Meeting, rank
from gateway.review.profiles import Profiles
from gateway.review.rules import written_otherwise
from gateway.review.sides import Outcome, Run, Side, atlas_of, cells_of
from gateway.review.spelled import Spelled

_MAPPED = (0xFFFF << 32, (0x1_0000 << 32) - 1)
_UNSPECIFIED, _LOOPBACK = 0, 1
_FAMILIES = (4, 16)


def compare(old: Epoch, new: Epoch) -> Comparison:
    """Find what changes from one epoch to another, over the whole address space.

    To gate an update of the data, compare the epoch in force with the one that would be:

        change = compare(in_force, candidate)
        if change.newly_allowed.v4_addresses > threshold: a person has to say yes

    `newly_allowed` is the space to which at least one kind of flow goes directly that did not
    before: `v4_addresses`, `v6_networks` (/48s that are touched, each counted whole), `share`
    (0..1, of the IPv4 addresses to which such flows did not all go before), `extent` (ranges).
    It takes some seconds for the bundled data; run it in a thread.

    Args:    old, new: over geo's own atlas.  Both are judged as on the day they were loaded for.
    Raises:  DataError: one of the user's databases is corrupt.
    """
    profiles = Profiles(atoms_of(old.policy, new.policy))
    sides = _sides(old, new, profiles)
    space = _Space(sides, profiles)
    for octets in _FAMILIES:
        space.look(octets, tuple(_plain_parts(octets, (old, new))))
    spelled = Spelled(old, new, profiles)
    space.look_spelled(spelled)
    changes = tuple(sorted((*space.changes(), *spelled.changes()), key=rank))
    return Comparison(
        changes=changes,
        memberships=space.memberships(),
        policy=written_otherwise(old.policy, new.policy),
        newly_allowed=space.newly_allowed(changes),
        newly_blocked=_total(changes, Sort.BLOCKED),
        profiles=profiles,
        old_data=old.atlas.revision,
        new_data=new.atlas.revision,
    )


def _sides(old: Epoch, new: Epoch, profiles: Profiles) -> tuple[Side, Side]:
    asns = Closing(old.policy).asns | Closing(new.policy).asns
    cells = cells_of(old)
    others = cells if old.atlas is new.atlas else cells_of(new)
    return Side(old.policy, profiles, cells, asns), Side(new.policy, profiles, others, asns)


def _plain_parts(octets: int, epochs: Iterable[Epoch]) -> Iterator[tuple[int, int]]:
    """Give the parts of a family whose addresses spell no others, ISATAP aside."""
    if octets == 4:
        yield 0, (1 << 32) - 1
        return
    spelled = [
        (int(form.network.network_address), int(form.network.broadcast_address))
        for epoch in epochs
        for form in atlas_of(epoch).forms()
    ]
    yield _UNSPECIFIED, _LOOPBACK  # of the IPv4-compatible addresses, these spell nothing
    reached = _LOOPBACK + 1
    for first, last in extent((), [*spelled, _MAPPED]).v6:
        if reached < first:
            yield reached, first - 1
        reached = max(reached, last + 1)
    if reached < 1 << 128:
        yield reached, (1 << 128) - 1


class _Pair:
    """A kind of addresses of each side, that meet somewhere."""

    def __init__(self, old: Side, new: Side, meeting: Meeting) -> None:
        self.meeting = meeting
        """The first where they meet."""
        address = meeting.first.to_bytes(meeting.octets)
        self.outcomes = tuple(
            side.outcomes(run.kind, address)
            for side, run in ((old, meeting.old), (new, meeting.new))
        )
        self.differences: Differences = _differences(*self.outcomes)
        self.transitions = tuple(_transitions(old, new, meeting))
        self.v4_addresses = 0


class _Space:
    """The two sides laid over each other."""

    def __init__(self, sides: tuple[Side, Side], profiles: Profiles) -> None:
        self._sides = sides
        self._profiles = profiles
        self._gathering = Gathering(*sides, profiles)
        self._pairs: dict[tuple[int, int], _Pair] = {}
        self._moved: dict[_Transition, dict[int, list[tuple[int, int]]]] = defaultdict(
            lambda: {4: [], 16: []}
        )

    def look(self, octets: int, parts: tuple[tuple[int, int], ...]) -> None:
        """Look at the parts of a family."""
        for meeting in self._meetings(octets, parts):
            key = meeting.old.kind, meeting.new.kind
            pair = self._pairs.get(key)
            if pair is None:
                pair = self._pairs[key] = _Pair(*self._sides, meeting)
            if octets == 4:
                pair.v4_addresses += meeting.last - meeting.first + 1
            if pair.differences:
                self._gathering.add(meeting, pair.differences)
            for transition in pair.transitions:
                self._moved[transition][octets].append((meeting.first, meeting.last))

    def look_spelled(self, spelled: Spelled) -> None:
        """Look at the parts of IPv6 that spell others, after all of IPv4."""
        pairs = self._pairs.values()
        # One of each kind first: mostly that tells that nothing changes, and saves the walk.
        samples = [(one.meeting, one.differences) for one in pairs if one.meeting.octets == 4]
        for form in spelled.forms():
            network = form.network
            part = int(network.network_address), int(network.broadcast_address)
            for outer in self._meetings(16, (part,)):
                is_any = spelled.look(form, outer, samples)
                if is_any or (outer.first, outer.last) != part:
                    spelled.look(form, outer, self._everything4())

    def _everything4(self) -> Iterator[tuple[Meeting, Differences]]:
        for meeting in self._meetings(4, ((0, (1 << 32) - 1),)):
            yield meeting, self._pairs[meeting.old.kind, meeting.new.kind].differences

    def _meetings(self, octets: int, parts: tuple[tuple[int, int], ...]) -> Iterator[Meeting]:
        return _meetings(octets, *(side.runs(octets, parts) for side in self._sides))

    def changes(self) -> Iterable[Change]:
        """Give what changes."""
        return self._gathering.changes()

    def memberships(self) -> tuple[Membership, ...]:
        """Give what joined and left."""
        moved = sorted(self._moved.items(), key=lambda item: item[0][0])
        return tuple(
            Membership(*transition, extent(ranges[4], ranges[16])) for transition, ranges in moved
        )

    def newly_allowed(self, changes: Iterable[Change]) -> Newly:
        """Add up what is newly allowed, and say what share it is of what was not."""
        pairs = self._pairs.values()
        going = {
            at
            for pair in pairs
            for outcomes in pair.outcomes
            for at, one in enumerate(outcomes)
            if one.goes
        }
        lacked = sum(
            pair.v4_addresses
            for pair in pairs
            if not all(pair.outcomes[0][at].goes for at in going)
        )
        total = _total(changes, Sort.ALLOWED)
        return Newly(total, total.v4_addresses / lacked if lacked else 0.0)


def _total(changes: Iterable[Change], sort: Sort) -> Extent:
    ours = [one.extent for one in changes if one.sort is sort]
    v4, v6 = ([each for one in ours for each in one.v4], [each for one in ours for each in one.v6])
    return extent(v4, v6)


def _meetings(octets: int, old: Iterator[Run], new: Iterator[Run]) -> Iterator[Meeting]:
    """Lay the runs of two sides over each other; both cover the same addresses, ascending."""
    was, is_ = next(old, None), next(new, None)
    while was is not None and is_ is not None:
        last = min(was.last, is_.last)
        yield Meeting(octets, max(was.first, is_.first), last, was, is_)
        if was.last == last:
            was = next(old, None)
        if is_.last == last:
            is_ = next(new, None)


def _differences(old: tuple[Outcome, ...], new: tuple[Outcome, ...]) -> Differences:
    found: dict[tuple[Outcome, Outcome], set[int]] = defaultdict(set)
    for at, pair in enumerate(zip(old, new, strict=True)):
        if pair[0] != pair[1]:
            found[pair].add(at)
    return {pair: frozenset(profiles) for pair, profiles in found.items()}


_Transition = tuple[str, Truth, Truth]


def _transitions(old: Side, new: Side, meeting: Meeting) -> Iterator[_Transition]:
    """Give the jurisdictions that both have, and that such addresses join or leave."""
    before, after = old.members(meeting.old.kind), new.members(meeting.new.kind)
    for name, was in before.items():
        if name in after and after[name] is not was:
            yield name, was, after[name]
