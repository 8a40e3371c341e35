"""The observer's test.  Owns: what someone on the wire behind the gateway can tell: who a user is,
or that two are in one room.  Knows: findings, traces, matching.
Never: which wire it is; chance and the clock are handed in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.leaks.findings import Finding, Scope
from gateway.leaks.matching import Match, Shuffle, correlation, match
from gateway.leaks.traces import Trace, Traces, period

_TELLING = (Scope.USER, Scope.ROOM, Scope.SESSION, Scope.GIVEN)
_MIN_WINDOWS = 8


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of the datagrams that go out."""

    distinct: int
    datagrams: int
    commonest: int
    """Octets."""
    commonest_share: float
    entropy_bits: float
    """What one datagram's size tells: 0.0 if all are alike."""


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether one user's rhythm shows in a tunnel that many share."""

    label: Hashable
    correlation: float
    """Of the user's datagrams a window with the tunnel's."""
    p_value: float
    """The share of shifts in time by which they fit as well; below 0.05 is no chance."""


@dataclass(frozen=True, slots=True)
class ObserverReport:
    """The answer to: can someone on this wire tell which user this is, or who is with whom?"""

    identifiers: tuple[Finding, ...]
    """Of users, rooms, sessions and given values in plaintext."""
    sizes: Sizes | None
    """None: nothing went out."""
    again: Match | None
    """How well the sizes of some seconds tell whose the other seconds are; None: it takes two
    traces with something in both."""
    across: Match | None
    """How well sizes and timing on one side of the gateway tell which user it is on the other;
    None: no other side was given, or fewer than two users are on both."""
    presence: tuple[Presence, ...]
    """Where one tunnel carries several users of the other side: whose rhythm shows in it."""
    sentence: str
    """For a manager."""


def observe(
    wire: Traces,
    findings: Iterable[Finding],
    shuffle: Shuffle,
    *,
    clients: Traces | None = None,
    carries: Mapping[bytes, Hashable] | None = None,
) -> ObserverReport:
    """Take the observer's test.

    Args:    wire: behind the gateway; findings: of the finders on the same packets;
             shuffle: of a seeded generator;
             clients: the same time in front of the gateway, with the same window and clock;
             carries: label in front → label behind, of the trace that carries that user.
    """
    told = tuple(one for one in findings if one.scope in _TELLING)
    traces = wire.traces()
    sizes = _sizes(traces.values())
    again = _again(list(traces.values()), shuffle)
    across, presence = None, tuple[Presence, ...]()
    if clients is not None and carries:
        across = _across(clients.traces(), traces, carries, shuffle)
        presence = _presence(clients.traces(), traces, carries)
    sentence = _sentence(told, sizes, again, across, presence)
    return ObserverReport(told, sizes, again, across, presence, sentence)


def _sizes(traces: Iterable[Trace]) -> Sizes | None:
    sizes: Counter[int] = Counter()
    for trace in traces:
        sizes.update(trace.sizes)
    total = sizes.total()
    if not total:
        return None
    commonest, count = sizes.most_common(1)[0]
    entropy = -sum(n / total * math.log2(n / total) for n in sizes.values())
    return Sizes(len(sizes), total, commonest, count / total, abs(entropy))


def _again(traces: Sequence[Trace], shuffle: Shuffle) -> Match | None:
    looks = [trace.by_half for trace in traces if all(trace.by_half)]
    if len(looks) < 2:
        return None
    return match([[_cosine(even, odd) for _, odd in looks] for even, _ in looks], shuffle)


def _across(
    front: Mapping[Hashable, Trace],
    behind: Mapping[Hashable, Trace],
    carries: Mapping[bytes, Hashable],
    shuffle: Shuffle,
) -> Match | None:
    """Match users with traces that carry one user each."""
    alone = Counter(carries.values())
    pairs = [
        (front[one], behind[other])
        for one, other in carries.items()
        if alone[other] == 1 and one in front and other in behind
    ]
    if len(pairs) < 2:
        return None
    first, last = period([trace for pair in pairs for trace in pair])
    scores = [[_likeness(one, other, first, last) for _, other in pairs] for one, _ in pairs]
    return match(scores, shuffle)


def _presence(
    front: Mapping[Hashable, Trace],
    behind: Mapping[Hashable, Trace],
    carries: Mapping[bytes, Hashable],
) -> tuple[Presence, ...]:
    shared = Counter(carries.values())
    found = []
    for label, other in carries.items():
        if shared[other] > 1 and label in front and other in behind:
            one = _shows(label, front[label], behind[other])
            if one is not None:
                found.append(one)
    return tuple(found)


def _shows(label: Hashable, user: Trace, tunnel: Trace) -> Presence | None:
    """Hold a user's datagrams a window against the tunnel's, and against it shifted in time."""
    first, last = period([tunnel])
    if last - first + 1 < _MIN_WINDOWS:
        return None
    own, whole = user.channel(0, first, last), tunnel.channel(0, first, last)
    score = correlation(own, whole)
    shifted = [correlation(own[by:] + own[:by], whole) for by in range(1, len(own))]
    as_high = sum(one >= score - 1e-12 for one in shifted)
    return Presence(label, score, (as_high + 1) / (len(shifted) + 1))


def _likeness(one: Trace, other: Trace, first: int, last: int) -> float:
    """Give how well two traces agree: the mean correlation of packets and octets, out and in."""
    channels = range(4)
    return sum(
        correlation(one.channel(which, first, last), other.channel(which, first, last))
        for which in channels
    ) / len(channels)


def _cosine(one: Counter[int], other: Counter[int]) -> float:
    dot = sum(count * other[size] for size, count in one.items())
    norms = sum(n * n for n in one.values()) * sum(n * n for n in other.values())
    # Rounded, so that equal profiles are a tie and not a matter of the last bit.
    return round(dot / math.sqrt(norms), 9) if norms else 0.0


def _sentence(
    told: Sequence[Finding],
    sizes: Sizes | None,
    again: Match | None,
    across: Match | None,
    presence: Sequence[Presence],
) -> str:
    if sizes is None:
        return "Nothing went over this wire: the test says nothing."
    parts = [_of_identifiers(told)]
    if sizes.distinct == 1:
        parts.append(f"All {sizes.datagrams} datagrams are of one size.")
    else:
        parts.append(
            f"{sizes.distinct} sizes of datagram were seen, "
            f"{sizes.entropy_bits:.1f} bits a datagram."
        )
    if again is not None:
        parts.append(f"By sizes alone, an observer recognises {_share(again)}.")
    if across is not None:
        parts.append(
            f"By sizes and timing on both sides of the gateway, it matches {_share(across)}."
        )
    if presence:
        showing = sum(one.p_value < 0.05 for one in presence)
        parts.append(
            f"In the shared tunnel the rhythm of {showing} of {len(presence)} users shows."
        )
    if again is None and across is None and not presence:
        parts.append("There were too few users to say whether sizes and timing tell them apart.")
    return " ".join(parts)


def _of_identifiers(told: Sequence[Finding]) -> str:
    users = sum(one.scope is not Scope.ROOM for one in told)
    rooms = sum(one.scope is Scope.ROOM for one in told)
    if not told:
        return "No identifier was found in plaintext: the bytes do not tell who a user is."
    return (
        f"Yes: identifiers are in plaintext ({users} of users or sessions, {rooms} of rooms), so "
        "anyone on this wire can tell."
    )


def _share(one: Match) -> str:
    verdict = "more than chance explains" if one.tells else "no more than chance explains"
    return (
        f"{one.top1:.0%} of {one.users} users (a guess: {one.chance:.0%}; AUC {one.auc:.2f}, "
        f"95 % {one.auc_interval[0]:.2f} to {one.auc_interval[1]:.2f}; p = {one.p_value:.3f}): "
        f"{verdict}"
    )
