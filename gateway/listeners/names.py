"""Names in datagrams.  Owns: NameLookups: remembering addresses, holding datagrams meanwhile.
Knows: Resolver.  Never: datagrams' content, judging."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from gateway.listeners.door import Door
from gateway.listeners.tally import Drop
from gateway.model import Endpoint, canonical

Addresses = tuple[bytes, ...]
Then = Callable[[Addresses], None]


class NameLookups:
    """The names of one association.

    Everything is bounded: names remembered, lookups under way, datagrams that wait.
    """

    def __init__(self, door: Door) -> None:
        self._door = door
        # Oldest first; () is a name without addresses.
        self._known: OrderedDict[str, tuple[float, Addresses]] = OrderedDict()
        self._asking: dict[str, Deferred[Addresses]] = {}
        self._waiting: deque[tuple[str, Then]] = deque()

    def find(self, client: Endpoint, name: str, then: Then) -> None:
        """Call `then` with the addresses: at once, later, or never.

        Never: the policy forbids this client the name; the name has no address; too many datagrams
        wait and this is the oldest.  Each is counted.
        """
        until_s, addresses = self._known.get(name, (0.0, ()))
        if name in self._known and self._door.reactor.seconds() < until_s:
            self._tell(then, addresses)
        elif self._door.gate.bars(client, name) is not None:
            # Not even asked for: the question itself would tell the name to the network.
            self._door.tally.drop(Drop.BLOCKED)
            self._door.packets.blocked += 1
        elif name in self._asking or len(self._asking) < self._door.limits.association_pending:
            self._wait(name, then)
            if name not in self._asking:
                self._ask(name)
        else:
            self._drop(Drop.PENDING_FULL)

    def _wait(self, name: str, then: Then) -> None:
        if len(self._waiting) >= self._door.limits.association_pending:
            self._waiting.popleft()
            self._door.packets.held -= 1
            self._drop(Drop.PENDING_FULL)
        self._waiting.append((name, then))
        self._door.packets.held += 1

    def _ask(self, name: str) -> None:
        asking = self._asking[name] = self._door.resolver.resolve(name)
        clock = cast(IReactorTime, self._door.reactor)
        asking.addTimeout(self._door.limits.resolve_timeout_s, clock)
        asking.addCallbacks(
            lambda addresses: self._learn(name, addresses), lambda _why: self._learn(name, ())
        )

    def _learn(self, name: str, found: Addresses) -> None:
        if self._asking.pop(name, None) is None:
            return  # closed meanwhile
        limits = self._door.limits
        addresses = tuple(canonical(address) for address in found[: limits.candidates])
        lifetime_s = limits.name_lifetime_s if addresses else limits.failed_name_lifetime_s
        self._known[name] = (self._door.reactor.seconds() + lifetime_s, addresses)
        self._known.move_to_end(name)
        if len(self._known) > limits.association_names:
            self._known.popitem(last=False)
        ready = [then for waits_for, then in self._waiting if waits_for == name]
        self._waiting = deque(each for each in self._waiting if each[0] != name)
        self._door.packets.held -= len(ready)
        for then in ready:
            self._tell(then, addresses)

    def _tell(self, then: Then, addresses: Addresses) -> None:
        if addresses:
            then(addresses)
        else:
            self._drop(Drop.UNRESOLVED)

    def _drop(self, reason: Drop) -> None:
        self._door.tally.drop(reason)
        self._door.packets.dropped += 1

    def close(self) -> None:
        """Ask no more; what waits is forgotten."""
        self._door.packets.held -= len(self._waiting)
        self._door.packets.dropped += len(self._waiting)
        self._waiting.clear()
        asking, self._asking = self._asking, {}
        for each in asking.values():
            each.cancel()
