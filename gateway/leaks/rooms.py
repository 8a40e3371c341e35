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

_WHY_BESIDE = (
    "it stands beside the user id, and nothing else speaks for it; a constant of the protocol "
    "would look the same, and a client in another room would tell"
)
_MAX_ID_LEN = 8


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
    rooms = [value for value in _joined(found, _WHY) if _is_sent_around(value, known)]
    return rooms or _touching(users, places, known)


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
    return len(offsets) >= 2 and one.is_beside and _is_telling(octets) and octets not in _MAGIC


def _touching(users: list[Value], places: dict[bytes, _Places], known: Known) -> list[Value]:
    """Find the four octets beside a user's binary id, where there is nothing else to go by: all
    datagrams have it at one offset, as in pings alone."""
    if not any(_is_binary(value) for value in users if value.scope is Scope.USER):
        return []
    found = {octets: one for octets, one in places.items() if one.is_beside and _is_telling(octets)}
    rooms = [value for value in _joined(found, _WHY_BESIDE) if _is_sent_around(value, known)]
    return sorted(rooms, key=lambda value: -len(value.spans))[:1]


def _is_binary(value: Value) -> bool:
    octets = b"".join(value.by_client.values())
    return len(octets) <= _MAX_ID_LEN * len(value.by_client) and not octets.isascii()


def _is_telling(octets: bytes) -> bool:
    is_text = all(32 <= octet < 127 for octet in octets)
    is_whole = octets[0] != 0 and octets[-1] != 0
    return is_whole and not is_text and len(set(octets) - {0}) >= _MIN_TELLING


def _joined(found: dict[bytes, _Places], why: str) -> list[Value]:
    values = []
    for octets, one in found.items():
        members: list[Instance] = [each for run in one.runs for each in run.instances]
        clients = {each.client for each in members}
        if len(clients) < 2 or not _overlap(members):
            continue
        spans = [Span(shape.length, shape.length, at, _LEN) for shape, at in sorted(one.at)]
        by_client = dict.fromkeys(clients, octets)
        values.append(Value(Scope.ROOM, Certainty.POSSIBLE, by_client, members, spans, why))
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
