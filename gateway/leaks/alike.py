"""Datagrams that are alike.  Owns: what is remembered of each client's datagrams: one of each sort,
and which of its octets did not stay the same.
Knows: nothing of any protocol.  Never: what an octet means."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from gateway.model import Endpoint, Protocol

HEAD_LEN = 256
"""Octets of a datagram that are remembered."""
# Types and the like stand near the front, behind the first octet.
_KIND_LEN = 5
_MAX_KINDS = 8
_MAX_KIND_LENGTH = 1_500
_MAX_LENGTHS = 256
_MIN_DIFFERENT = 3
_WHOLE = bytes(1) + b"\xff" * 255
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


_Key = tuple[Endpoint, int, int, bytes, float]
"""A sort, flat, as there is one a datagram: endpoint, length, first octet, kind, window."""


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

    An octet does that which takes a few values in one client's datagrams, and such as others send
    too.  What differs between clients only could be an identifier, or a counter that each began
    elsewhere, and must not keep them from being compared.
    """

    def __init__(self) -> None:
        # By length and client, for each place: the values that its datagrams take.
        self._values: dict[int, dict[bytes, tuple[set[int], ...]]] = {}
        self._lengths: Counter[bytes] = Counter()
        """How many lengths of a client are known."""
        self.places: dict[int, tuple[int, ...]] = {}
        """Of the lengths of which some client sends several kinds."""
        self._several: dict[int, set[int]] = {}
        """Of each length the places that have several values in one client: others tell nothing."""
        self._outdated: set[int] = set()
        """Lengths of which a client was forgotten: all their places are to be asked again."""

    def note(self, client: bytes, front: bytes, length: int) -> None:
        """Learn of a datagram whose front is not that of the client's last of that length."""
        clients = self._values.setdefault(length, {})
        places = clients.get(client)
        if places is None:
            if self._lengths[client] >= _MAX_LENGTHS:
                return
            self._lengths[client] += 1
            clients[client] = tuple([{octet} for octet in front])
            if length in self.places:
                self._ask(length, self._several[length])
            return
        changed = []
        for at, values in enumerate(places):
            if len(values) <= _MAX_KINDS and front[at] not in values:
                values.add(front[at])
                changed.append(at)
                self._several.setdefault(length, set()).add(at)
        if changed:
            self._ask(length, changed)

    def kind(self, front: bytes | memoryview, length: int) -> bytes:
        """Give what of these octets tells the kind."""
        places = self.places.get(length)
        return b"".join([bytes((at, front[at])) for at in places]) if places else b""

    def forget(self, client: bytes) -> None:
        """Let a client's values go."""
        del self._lengths[client]
        for length, clients in self._values.items():
            if clients.pop(client, None) is not None:
                self._outdated.add(length)

    def _ask(self, length: int, changed: Iterable[int]) -> None:
        """Ask again which places of a length tell kinds, where the values of some changed."""
        if length in self._outdated or length not in self.places:
            self._outdated.discard(length)
            changed = self._several[length]
        telling = set(self.places.get(length, ())) - set(changed)
        clients = self._values[length].values()
        telling.update(at for at in changed if _tells([places[at] for places in clients]))
        self.places[length] = tuple(sorted(telling))


def _tells(clients: list[set[int]]) -> bool:
    """Tell whether the values that each client sends at a place are kinds."""
    if not 1 < max(map(len, clients)) <= _MAX_KINDS:
        return False
    if len(clients) == 1:
        return True
    seen = Counter(chain.from_iterable(clients))
    others = {octet for octet, many in seen.items() if many > 1}
    return not any(map(others.isdisjoint, clients))


@dataclass(slots=True)
class _Client:
    sorts: OrderedDict[_Key, Memory] = field(default_factory=OrderedDict)
    fronts: dict[int, bytes] = field(default_factory=dict)
    """Of the last datagram of each length."""


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
        of_client = self._clients.get(client)
        if of_client is None:
            of_client = self._begin(client)
        length = len(payload)
        kind = b""
        if _KIND_LEN < length <= _MAX_KIND_LENGTH:
            front = payload[1 : 1 + _KIND_LEN]
            if of_client.fronts.get(length) != front:
                self._learn(client, of_client, bytes(front), length)
            if length in self._kinds.places:
                kind = self._kinds.kind(front, length)
        key = (endpoint, length, payload[0], kind, time_s // self._limits.window_s)
        octets = int.from_bytes(payload[:HEAD_LEN], "big")
        memory = of_client.sorts.get(key)
        if memory is None:
            self._clients.move_to_end(client)
            if len(of_client.sorts) >= self._limits.max_sorts:
                of_client.sorts.popitem(last=False)
            of_client.sorts[key] = Memory(octets, octets, time_s, time_s, protocol)
            return
        memory.packets += 1
        memory.last_s = time_s
        if octets != memory.last:
            memory.varying |= octets ^ memory.octets
            memory.different += 1
            memory.last = octets

    def clients(self) -> Iterator[tuple[bytes, list[tuple[Sort, Memory]]]]:
        """Give the sorts of each client, the latest last."""
        for client, of_client in self._clients.items():
            yield client, [(_sort(key), memory) for key, memory in of_client.sorts.items()]

    def shape_now(self, shape: Shape, memory: Memory) -> Shape | None:
        """Give the shape of a sort by what is known now of kinds; None if it mixes several."""
        length = min(shape.length, HEAD_LEN)
        head = memory.octets.to_bytes(length, "big")
        kind = self._kinds.kind(head[1 : 1 + _KIND_LEN], shape.length)
        varies = memory.varying.to_bytes(length, "big")
        if any(varies[1 + at] for at in kind[::2]):
            return None
        return shape._replace(kind=kind)

    def _begin(self, client: bytes) -> _Client:
        if len(self._clients) >= self._limits.max_clients:
            self._kinds.forget(self._clients.popitem(last=False)[0])
        of_client = self._clients[client] = _Client()
        return of_client

    def _learn(self, client: bytes, of_client: _Client, front: bytes, length: int) -> None:
        if len(of_client.fronts) >= _MAX_LENGTHS:
            of_client.fronts.clear()
        of_client.fronts[length] = front
        self._kinds.note(client, front, length)


def _sort(key: _Key) -> Sort:
    endpoint, length, first, kind, window = key
    return Sort(endpoint, Shape(length, first, kind), int(window))


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
        """Take in a later period, unless octets that stayed the same in one of them are others now:
        three side by side, for a counter's high octets change one at a time."""
        length = len(self.head)
        head, other = int.from_bytes(self.head, "big"), int.from_bytes(later.head, "big")
        varies = int.from_bytes(self.varies, "big"), int.from_bytes(later.varies, "big")
        joined = varies[0] | varies[1] | (head ^ other)
        both = _whole(varies[0], length) & _whole(varies[1], length)
        changed = (_whole(joined, length) & ~both).to_bytes(length, "big")
        if min(self.different, later.different) >= _MIN_DIFFERENT and _CHANGED.search(changed):
            return False
        self.varies = joined.to_bytes(length, "big")
        self.endpoints |= later.endpoints
        self.packets += later.packets
        self.different += later.different
        self.last_s = max(self.last_s, later.last_s)
        return True


def _whole(varying: int, length: int) -> int:
    """Give 0xff for each octet that has a bit set."""
    return int.from_bytes(varying.to_bytes(length, "big").translate(_WHOLE), "big")


def instances(sorts: Sorts) -> list[Instance]:
    """Join the sorts of each client and shape, over all endpoints, and over periods as long as what
    stays the same stays what it was."""
    joined: list[Instance] = []
    for client, memories in sorts.clients():
        groups: dict[tuple[Shape, int], list[tuple[Endpoint, Memory]]] = {}
        for sort, memory in memories:
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
