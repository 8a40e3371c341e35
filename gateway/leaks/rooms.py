"""Rooms without a contrast.  Owns: octets that all clients share and that stand beside a user id.
Knows: RFC 8489 (the magic cookie).  Never: rooms that other clients do not share: comparing has
those."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.leaks.alike import Instance, Shape
from gateway.leaks.comparing import Run
from gateway.leaks.evidence import Known, Value
from gateway.leaks.findings import Certainty, Scope, Span, addresses

_LEN = 4
_MIN_TELLING = 3
_MAGIC = (bytes.fromhex("2112a442"),)
_WHY = (
    "it stands beside the user id, and at several offsets; a constant of the protocol could look "
    "the same, and a client in another room would tell"
)


@dataclass(slots=True)
class _Places:
    """Where four octets are."""

    at: set[tuple[Shape, int]] = field(default_factory=set)
    runs: list[Run] = field(default_factory=list)
    is_beside: bool = False


def rooms_beside(users: list[Value], same: list[Run], known: Known) -> list[Value]:
    """Find what is the same for all clients, touches a user id, and stands at different offsets in
    datagrams of different shapes, as a protocol's own constants seldom do."""
    if not any(value.scope is Scope.USER for value in users):
        return []
    edges = {
        (one.shape, edge)
        for value in users
        if value.scope is Scope.USER
        for one in value.instances
        for span in value.spans
        if span.shortest == one.shape.length
        for edge in (span.offset, span.offset + span.length)
    }
    places = _shingles(same, edges)
    found = {octets: one for octets, one in places.items() if _is_candidate(octets, one)}
    return [value for value in _joined(found) if _is_sent_around(value, known)]


def _shingles(same: list[Run], edges: set[tuple[Shape, int]]) -> dict[bytes, _Places]:
    places: dict[bytes, _Places] = {}
    for run in same:
        head = run.instances[0].head
        for at in range(run.start, run.end - _LEN + 1):
            one = places.setdefault(head[at : at + _LEN], _Places())
            one.at.add((run.shape, at))
            one.runs.append(run)
            one.is_beside |= (run.shape, at) in edges or (run.shape, at + _LEN) in edges
    return places


def _is_candidate(octets: bytes, one: _Places) -> bool:
    offsets = {at for _, at in one.at}
    is_text = all(32 <= octet < 127 for octet in octets)
    return (
        len(offsets) >= 2
        and one.is_beside
        and octets[0] != 0
        and octets[-1] != 0
        and len(set(octets) - {0}) >= _MIN_TELLING
        and octets not in _MAGIC
        and not is_text
    )


def _joined(found: dict[bytes, _Places]) -> list[Value]:
    values = []
    for octets, one in found.items():
        members: list[Instance] = [each for run in one.runs for each in run.instances]
        clients = {each.client for each in members}
        if len(clients) < 2 or not _overlap(members):
            continue
        spans = [Span(shape.length, shape.length, at, _LEN) for shape, at in sorted(one.at)]
        by_client = dict.fromkeys(clients, octets)
        values.append(Value(Scope.ROOM, Certainty.POSSIBLE, by_client, members, spans, _WHY))
    return values


def _is_sent_around(value: Value, known: Known) -> bool:
    return all(
        addresses(known.endpoints(client, octets)) > 1 for client, octets in value.by_client.items()
    )


def _overlap(members: list[Instance]) -> bool:
    """Tell whether two clients were there at the same time, towards a common endpoint."""
    return any(
        one.client != other.client
        and one.first_s <= other.last_s
        and other.first_s <= one.last_s
        and one.endpoints & other.endpoints
        for number, one in enumerate(members[:64])
        for other in members[number + 1 : 64]
    )
