"""Clients' like datagrams held against each other.  Owns: which runs of octets tell clients apart,
which are shared by some, which are the same for all.
Knows: nothing of any protocol.  Never: whether a run is an identifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from gateway.leaks.alike import Instance, Shape

MIN_DIFFERENT = 3
"""Datagrams, none a copy of the one before, of which octets that stay the same tell something."""
_MAX_INSTANCES = 32
_SHARED_LEN = 3
# Measured on captures: messages of one kind agree in half of their steady octets and more, others
# in a tenth and less.
_MIN_AGREEING = 0.15


class Way(Enum):
    """How an octet behaves over the instances of a shape."""

    VARIES = "varies"
    SAME = "same"
    """One value for all clients."""
    OWN = "own"
    """Each client has its own."""
    SHARED = "shared"
    """Some clients have the same, others another; or one client another at another time."""


@dataclass(slots=True)
class Run:
    """Octets side by side that behave alike."""

    shape: Shape
    way: Way
    start: int
    end: int
    """One past the last."""
    differing: int
    """How many of them really differ between clients."""
    touches_varying: bool
    """Whether an octet beside it varies: it may then be the high octets of a counter."""
    instances: list[Instance]

    def between(self, start: int, end: int, length: int) -> Run:
        """Give a wider run around this one, of datagrams of `length` octets."""
        beside = [at for at in (start - 1, end) if 0 <= at < length]
        touches = any(one.varies[at] for one in self.instances for at in beside)
        return replace(self, start=start, end=end, touches_varying=touches)

    def value(self, instance: Instance) -> bytes:
        """Give its octets in one instance."""
        return instance.head[self.start : self.end]

    def holders(self) -> dict[bytes, set[bytes]]:
        """Give octets → the clients that kept them for a period."""
        found: dict[bytes, set[bytes]] = {}
        for one in self.instances:
            if not any(one.varies[self.start : self.end]):
                found.setdefault(self.value(one), set()).add(one.client)
        return found

    def values(self) -> dict[bytes, bytes]:
        """Give client → octets, in the last period where they stayed the same."""
        return {
            one.client: self.value(one)
            for one in self.instances
            if not any(one.varies[self.start : self.end])
        }


def comparable(every: list[Instance]) -> list[list[Instance]]:
    """Give the instances of each shape of which enough was seen, at most 32, those that are like
    each other together: a length and a first octet may be those of two messages by chance."""
    shapes: dict[Shape, list[Instance]] = {}
    for one in every:
        if one.different >= MIN_DIFFERENT:
            shapes.setdefault(one.shape, []).append(one)
    groups: list[list[Instance]] = []
    for members in shapes.values():
        of_shape: list[list[Instance]] = []
        for one in _chosen(members):
            for group in of_shape:
                if _alike(group[0], one):
                    group.append(one)
                    break
            else:
                of_shape.append([one])
        groups += of_shape
    return groups


def _alike(one: Instance, other: Instance) -> bool:
    """Tell whether two instances agree in enough of the octets that stay the same in both; those
    that are zero in both say little."""
    steady = agreeing = 0
    for octet, its, varies, varies_too in zip(
        one.head, other.head, one.varies, other.varies, strict=True
    ):
        if not (varies or varies_too) and (octet or its):
            steady += 1
            agreeing += octet == its
    return agreeing >= _MIN_AGREEING * steady


def _chosen(members: list[Instance]) -> list[Instance]:
    """Choose 32 instances: of each client first one, and the same clients in every shape."""
    turns: Counter[bytes] = Counter()
    ordered = []
    for one in sorted(members, key=lambda one: (one.client, one.window)):
        ordered.append((turns[one.client], one.client, one))
        turns[one.client] += 1
    ordered.sort(key=lambda turn: turn[:2])
    return [one for *_, one in ordered[:_MAX_INSTANCES]]


def ways(members: list[Instance]) -> list[Way]:
    """Tell how each octet of a shape behaves."""
    return [_way(members, at) for at in range(len(members[0].head))]


def speak_alike(members: list[Instance], found: list[Way]) -> bool:
    """Tell whether clients speak the same protocol here: whether enough octets are the same.

    The first octet and the length are the same by choice.  RTP (RFC 3550) has one octet more.
    """
    same = [at for at, way in enumerate(found) if at and way is Way.SAME]
    if members[0].head[0] >> 6 == 2:
        return 1 in same
    return len(same) >= 3 and sum(members[0].head[at] != 0 for at in same) >= 2


def runs(members: list[Instance], found: list[Way]) -> list[Run]:
    """Give the runs that do not vary, in order."""
    return [
        Run(
            shape=members[0].shape,
            way=way,
            start=start,
            end=end,
            differing=sum(found[at] is not Way.SAME for at in range(start, end)),
            touches_varying=_varies(found, start - 1) or _varies(found, end),
            instances=members,
        )
        for way, start, end in _bridged(members, found)
        if way is not Way.VARIES
    ]


def _varies(found: list[Way], at: int) -> bool:
    return 0 <= at < len(found) and found[at] is Way.VARIES


def _way(members: list[Instance], at: int) -> Way:
    steady = [one for one in members if not one.varies[at]]
    if 3 * len(steady) < 2 * len(members) or len({one.client for one in steady}) < 2:
        return Way.VARIES
    if len({one.head[at] for one in steady}) == 1:
        return Way.SAME
    holders: dict[int, set[bytes]] = {}
    of_client: dict[bytes, set[int]] = {}
    for one in steady:
        holders.setdefault(one.head[at], set()).add(one.client)
        of_client.setdefault(one.client, set()).add(one.head[at])
    if all(len(octets) == 1 for octets in of_client.values()):
        return Way.OWN  # perhaps shared: one octet of two clients' is the same by chance
    is_shared = any(len(clients) > 1 for clients in holders.values())
    return Way.SHARED if is_shared else Way.VARIES


def _bridged(members: list[Instance], found: list[Way]) -> list[tuple[Way, int, int]]:
    """Give (way, start, end) of runs; one odd octet within a client's own run belongs to it."""
    smooth = list(found)
    for at in range(1, len(found) - 1):
        if found[at - 1] is found[at + 1] is Way.OWN and found[at] is Way.SAME:
            smooth[at] = Way.OWN
    for way, start, end in tuple(_runs(smooth)):
        if way is Way.OWN:
            for at in _shared(members, start, end):
                smooth[at] = Way.SHARED
    return list(_runs(smooth))


def _shared(members: list[Instance], start: int, end: int) -> set[int]:
    """Give the places where two clients agree on three octets side by side, which chance does once
    in 16 million; and not those where only some of such clients go on agreeing, by chance."""
    agreeing: Counter[int] = Counter()
    for number, one in enumerate(members):
        for other in members[number + 1 :]:
            if one.client != other.client:
                agreeing.update(_agreeing(one.head, other.head, start, end))
    most = max(agreeing.values(), default=0)
    return {at for at, pairs in agreeing.items() if 2 * pairs >= most}


def _agreeing(head: bytes, other: bytes, start: int, end: int) -> set[int]:
    found: set[int] = set()
    for at in range(start, end - _SHARED_LEN + 1):
        if head[at : at + _SHARED_LEN] == other[at : at + _SHARED_LEN]:
            found.update(range(at, at + _SHARED_LEN))
    return found


def _runs(found: list[Way]) -> Iterator[tuple[Way, int, int]]:
    start = 0
    for at in range(1, len(found) + 1):
        if at == len(found) or found[at] is not found[start]:
            yield found[start], start, at
            start = at
