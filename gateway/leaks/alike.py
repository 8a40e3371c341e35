"""Datagrams that are alike.  Owns: what is remembered of each client's datagrams: one of each sort,
and which of its octets did not stay the same.
Knows: nothing of any protocol.  Never: what an octet means."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.model import Endpoint, Protocol

HEAD_LEN = 256
"""Octets of a datagram that are remembered."""
# Types and the like stand near the front, behind the first octet.
_KIND_LEN = 5
_MAX_KINDS = 8
_MAX_KIND_LENGTH = 1_500
_MAX_FRONTS = 4_096
_MIN_DIFFERENT = 3
_CHANGED = re.compile(rb"[^\0]{3}")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the memory: 64 clients of 1,024 sorts of some 1 KB are 64 MB at the most."""

    max_clients: int = 64
    """Those silent for longest are forgotten."""
    max_sorts: int = 1_024
    """Of one client; those not seen for longest are forgotten."""
    window_s: float = 60.0
    """What stays the same is asked for each period, so that a client may change its room."""


class Shape(NamedTuple):
    """What datagrams have in common that are compared."""

    length: int
    first: int
    """The first octet."""
    kind: bytes
    """Of the next five octets those that tell kinds apart: (place, octet), one after another."""


class Sort(NamedTuple):
    """Datagrams of one client and shape to one endpoint within one period."""

    endpoint: Endpoint
    shape: Shape
    window: int


@dataclass(slots=True)
class Memory:
    """What is remembered of one sort.

    Octets are held as one big number: comparing two datagrams is then two operations.
    """

    octets: int
    last: int
    first_s: float
    last_s: float
    protocol: Protocol | None
    varying: int = 0
    """A bit is set that ever differed from `octets`."""
    packets: int = 1
    different: int = 1
    """Packets that differ from the one before: copies tell nothing of what stays the same."""


class Kinds:
    """Which octets near the front tell kinds of datagram of one length apart.

    An octet does that which takes a few values in one client's datagrams.  What differs between
    clients only could be an identifier, and must not keep them from being compared.
    """

    def __init__(self) -> None:
        # By length, for each place: the values that one client's datagrams take beside its first.
        self._values: dict[int, tuple[set[int], ...]] = {}

    def note(self, base: bytes, front: bytes, length: int) -> None:
        """Learn of a datagram whose front differs from the client's first of that length."""
        values = self._values.setdefault(length, tuple(set() for _ in range(_KIND_LEN)))
        for at, (one, other) in enumerate(zip(base, front, strict=True)):
            if one != other and len(values[at]) <= _MAX_KINDS:
                values[at].update((one, other))

    def kind(self, front: bytes, length: int) -> bytes:
        """Give what of these octets tells the kind."""
        values = self._values.get(length)
        if values is None:
            return b""
        places = (at for at, of in enumerate(values) if 0 < len(of) <= _MAX_KINDS)
        return b"".join(bytes((at, front[at])) for at in places)


@dataclass(slots=True)
class _Client:
    sorts: OrderedDict[Sort, Memory] = field(default_factory=OrderedDict)
    fronts: dict[tuple[int, int], bytes] = field(default_factory=dict)
    """Of the first datagram of each length and first octet."""


class Sorts:
    """The sorts of each client.  Bounded whatever comes."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._clients: OrderedDict[bytes, _Client] = OrderedDict()
        self._kinds = Kinds()

    def note(
        self,
        client: bytes,
        endpoint: Endpoint,
        time_s: float,
        payload: bytes | memoryview,
        protocol: Protocol | None,
    ) -> None:
        """Remember a datagram that is not empty."""
        limits = self._limits
        of_client = self._clients.get(client)
        if of_client is None:
            if len(self._clients) >= limits.max_clients:
                self._clients.popitem(last=False)
            of_client = self._clients[client] = _Client()
        sorts = of_client.sorts
        shape = Shape(len(payload), payload[0], self._kind(of_client, payload))
        sort = Sort(endpoint, shape, int(time_s // limits.window_s))
        octets = int.from_bytes(payload[:HEAD_LEN], "big")
        memory = sorts.get(sort)
        if memory is not None:
            memory.packets += 1
            memory.last_s = time_s
            if octets != memory.last:
                memory.varying |= octets ^ memory.octets
                memory.different += 1
                memory.last = octets
            return
        self._clients.move_to_end(client)
        if len(sorts) >= limits.max_sorts:
            sorts.popitem(last=False)
        sorts[sort] = Memory(octets, octets, time_s, time_s, protocol)

    def clients(self) -> Iterator[tuple[bytes, OrderedDict[Sort, Memory]]]:
        """Give the sorts of each client, the latest last."""
        return ((client, of_client.sorts) for client, of_client in self._clients.items())

    def shape_now(self, shape: Shape, memory: Memory) -> Shape | None:
        """Give the shape of a sort by what is known now of kinds; None if it mixes several."""
        length = min(shape.length, HEAD_LEN)
        head = memory.octets.to_bytes(length, "big")
        kind = self._kinds.kind(head[1 : 1 + _KIND_LEN], shape.length)
        varies = memory.varying.to_bytes(length, "big")
        if any(varies[1 + at] for at in kind[::2]):
            return None
        return shape._replace(kind=kind)

    def _kind(self, of_client: _Client, payload: bytes | memoryview) -> bytes:
        length = len(payload)
        if not _KIND_LEN < length <= _MAX_KIND_LENGTH:
            return b""
        front = bytes(payload[1 : 1 + _KIND_LEN])
        if len(of_client.fronts) >= _MAX_FRONTS:
            of_client.fronts.clear()
        base = of_client.fronts.setdefault((length, payload[0]), front)
        if front != base:
            self._kinds.note(base, front, length)
        return self._kinds.kind(front, length)


@dataclass(slots=True)
class Instance:
    """One client's datagrams of one shape within one period, towards all its endpoints."""

    client: bytes
    shape: Shape
    window: int
    head: bytes
    """The first octets of one of them."""
    varies: bytes
    """For each of these an octet that is 0 if it was the same in all."""
    endpoints: set[Endpoint]
    packets: int
    different: int
    first_s: float
    last_s: float
    protocol: Protocol | None

    def goes_on(self, later: Instance) -> bool:
        """Take in a later period, unless octets that stayed the same in each are others now: three
        side by side, for a counter's high octets change one at a time."""
        varies = int.from_bytes(self.varies, "big") | int.from_bytes(later.varies, "big")
        head, other = int.from_bytes(self.head, "big"), int.from_bytes(later.head, "big")
        changed = ((head ^ other) & ~_whole(varies, len(self.head))).to_bytes(len(self.head), "big")
        if min(self.different, later.different) >= _MIN_DIFFERENT and _CHANGED.search(changed):
            return False
        self.varies = (varies | (head ^ other)).to_bytes(len(self.head), "big")
        self.endpoints |= later.endpoints
        self.packets += later.packets
        self.different += later.different
        self.last_s = max(self.last_s, later.last_s)
        return True


def _whole(varying: int, length: int) -> int:
    """Give 0xff for each octet that has a bit."""
    octets = varying.to_bytes(length, "big")
    return int.from_bytes(bytes(255 if octet else 0 for octet in octets), "big")


def instances(sorts: Sorts) -> list[Instance]:
    """Join the sorts of each client and shape, over all endpoints, and over periods as long as what
    stays the same stays what it was."""
    joined: list[Instance] = []
    for client, memories in sorts.clients():
        groups: dict[tuple[Shape, int], list[tuple[Endpoint, Memory]]] = {}
        for sort, memory in memories.items():
            shape = sorts.shape_now(sort.shape, memory)
            if shape is not None:
                groups.setdefault((shape, sort.window), []).append((sort.endpoint, memory))
        latest: dict[Shape, Instance] = {}
        for (shape, window), members in sorted(groups.items()):
            one = _instance(client, shape, window, members)
            before = latest.get(shape)
            if before is None or not before.goes_on(one):
                latest[shape] = one
                joined.append(one)
    return joined


def _instance(
    client: bytes, shape: Shape, window: int, members: list[tuple[Endpoint, Memory]]
) -> Instance:
    memories = [memory for _, memory in members]
    octets, varying = memories[0].octets, 0
    for memory in memories:
        varying |= memory.varying | (memory.octets ^ octets)
    length = min(shape.length, HEAD_LEN)
    heads = len({memory.octets for memory in memories})
    return Instance(
        client=client,
        shape=shape,
        window=window,
        head=octets.to_bytes(length, "big"),
        varies=varying.to_bytes(length, "big"),
        endpoints={endpoint for endpoint, _ in members},
        packets=sum(memory.packets for memory in memories),
        different=heads + sum(memory.different - 1 for memory in memories),
        first_s=min(memory.first_s for memory in memories),
        last_s=max(memory.last_s for memory in memories),
        protocol=memories[0].protocol,
    )
