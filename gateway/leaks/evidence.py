"""What was found, and where else it is.  Owns: a value of each client with its places; the findings
and sentences made of it.  Knows: findings.  Never: how it was found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache

from gateway.leaks.alike import Instance
from gateway.leaks.comparing import Run
from gateway.leaks.findings import (
    MAX_LISTED,
    Certainty,
    Finding,
    Scope,
    Span,
    addresses,
    listed,
)
from gateway.model import Endpoint, IdentifierKind

_MAX_HEADS = 1_024
_MIN_SPAN = 3


@dataclass(slots=True)
class Value:
    """Octets that each of some clients sends again and again."""

    scope: Scope
    certainty: Certainty
    by_client: dict[bytes, bytes]
    instances: list[Instance] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    why: str = ""
    """What of the evidence the places do not say."""
    shapes: int = 0
    """In how many shapes each client has it."""
    holders: dict[bytes, set[bytes]] = field(default_factory=dict)
    """Of a room: octets → the clients that sent them, at one time or another."""

    @classmethod
    def of(cls, run: Run, scope: Scope, certainty: Certainty) -> Value | None:
        """Make the value of a run; None if fewer than two clients kept it."""
        by_client = run.values()
        if len(by_client) < 2:
            return None
        length = run.shape.length
        span = Span(length, length, run.start, run.end - run.start)
        return cls(scope, certainty, by_client, list(run.instances), [span])

    def takes_in(self, other: Value) -> bool:
        """Take in the places of a value if one is a part of the other for every client of it."""
        if len(other.by_client) < 2 or not other.by_client.keys() <= self.by_client.keys():
            return False
        for client, octets in other.by_client.items():
            own = self.by_client[client]
            if octets not in own and own not in octets:
                return False
        if other.shapes > self.shapes:
            self._shrink(other)
        if min(map(len, other.by_client.values())) >= _MIN_SPAN:
            self.spans += self._within(other)
            self.instances += other.instances
        return True

    def _within(self, other: Value) -> list[Span]:
        """Give where the value is in a longer run that holds it."""
        client = next(iter(other.by_client))
        own = self.by_client[client]
        at = other.by_client[client].find(own)
        if at < 0:
            return other.spans
        return [replace(span, offset=span.offset + at, length=len(own)) for span in other.spans]

    def _shrink(self, other: Value) -> None:
        """Take a part of the value for the whole: it is in more shapes, so what is around it there
        is something else."""
        client = next(iter(other.by_client))
        own, octets = self.by_client[client], other.by_client[client]
        at, length = own.find(octets), len(octets)
        if at < 0 or other.by_client.keys() != self.by_client.keys():
            return
        self.spans = [replace(span, offset=span.offset + at, length=length) for span in self.spans]
        self.holders = {one[at : at + length]: of for one, of in self.holders.items()}
        self.by_client, self.shapes = dict(other.by_client), other.shapes


class Known:
    """Where a client's octets are, in all that is remembered of it."""

    def __init__(self, every: Iterable[Instance]) -> None:
        self._of_client: dict[bytes, list[Instance]] = {}
        for one in every:
            self._of_client.setdefault(one.client, []).append(one)
        self._holding = cache(self._look_up)

    def clients(self) -> list[bytes]:
        """Give the clients that are remembered."""
        return list(self._of_client)

    def shapes(self, client: bytes, octets: bytes) -> int:
        """Count the shapes of a client's datagrams that hold these octets."""
        return len({one.shape for one in self._holding(client, octets)})

    def endpoints(self, client: bytes, octets: bytes) -> set[Endpoint]:
        """Give the endpoints that a client sent these octets to."""
        return {to for one in self._holding(client, octets) for to in one.endpoints}

    def _look_up(self, client: bytes, octets: bytes) -> list[Instance]:
        of_client = self._of_client.get(client, [])[-_MAX_HEADS:]
        return [one for one in of_client if octets in one.head]


def sentences(values: Iterable[Value], known: Known) -> list[Finding]:
    """Make the findings of values."""
    return [_finding(value, known) for value in values]


def _finding(value: Value, known: Known) -> Finding:
    endpoints: dict[bytes, set[Endpoint]] = {}
    for client, octets in value.by_client.items():
        endpoints[client] = known.endpoints(client, octets)
    for one in value.instances:
        endpoints.setdefault(one.client, set()).update(one.endpoints)
    every = {one for of_client in endpoints.values() for one in of_client}
    is_identifier = value.scope in (Scope.USER, Scope.ROOM, Scope.SESSION)
    first_s = min(one.first_s for one in value.instances)
    last_s = max(one.last_s for one in value.instances)
    spans = _joined(value.spans)
    where = "; ".join(map(str, spans[:3])) + (" and others" if len(spans) > 3 else "")
    clients = tuple(sorted(value.by_client))
    most = max((len(of_client) for of_client in endpoints.values()), default=0)
    places = max((addresses(of_client) for of_client in endpoints.values()), default=0)
    told = _told(value, len(clients), most, places, last_s - first_s)
    return Finding(
        finder="unnamed",
        scope=value.scope,
        certainty=value.certainty,
        sentence=f"{where}: {told}",
        clients=clients,
        endpoints=listed(every),
        endpoint_count=len(every),
        packets=sum(one.packets for one in _each_once(value.instances)),
        first_s=first_s,
        last_s=last_s,
        spans=tuple(spans[:MAX_LISTED]),
        kind=IdentifierKind.LEARNED if is_identifier else None,
    )


def _told(value: Value, clients: int, endpoints: int, places: int, lasted_s: float) -> str:
    towards = f"towards up to {endpoints} endpoints ({places} addresses) over {lasted_s:.0f} s"
    match value.scope:
        case Scope.USER:
            told = (
                f"constant for each of {clients} clients {towards}, and another for each: "
                "a user id, or an id of the user's device or session"
            )
        case Scope.SESSION:
            told = (
                f"constant for each of {clients} clients {towards}, and another for each, where "
                "RTP has its SSRC: an identifier for as long as the session lasts"
            )
        case Scope.ROOM:
            told = f"the same for {clients} clients {towards}: a room"
        case Scope.FLOW:
            told = (
                f"constant for each of {clients} clients towards one address over {lasted_s:.0f} "
                "s: a connection id would look the same"
            )
        case _:
            told = f"constant for the client {towards}; a second client would tell whose it is"
    return f"{told}{'; ' if value.why else ''}{value.why}"


def _each_once(instances: Iterable[Instance]) -> list[Instance]:
    return list({id(one): one for one in instances}.values())


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Join the places that are the same in several lengths; the most frequent first."""
    lengths: dict[tuple[int, int], set[int]] = {}
    for span in spans:
        lengths.setdefault((span.offset, span.length), set()).update((span.shortest, span.longest))
    ordered = sorted(lengths.items(), key=lambda item: (-len(item[1]), item[0]))
    return [Span(min(of), max(of), offset, length, len(of)) for (offset, length), of in ordered]
