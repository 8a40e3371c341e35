"""Identifiers that nobody named.  Owns: the finder of octets that stay the same for a client, or
for clients that are together.  Knows: RFC 3550 (where an SSRC is), RFC 8446 and 9147 (how a
handshake looks).  Never: how any other protocol looks; the clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from gateway.leaks.alike import Instance, Limits, Sorts, instances
from gateway.leaks.comparing import Run, Way, comparable, runs, speak_alike, ways
from gateway.leaks.evidence import Known, Value, sentences
from gateway.leaks.findings import Certainty, Finding, Scope, Seen, addresses
from gateway.leaks.following import following
from gateway.leaks.lonely import lonely
from gateway.leaks.rooms import rooms_beside
from gateway.model import Endpoint, Protocol

# Names that are asked for stay the same for a client and differ between clients: no identifiers.
_NAME_PORTS = frozenset({53, 5353})
_PASSED_OVER = frozenset({Protocol.DNS, Protocol.TLS, Protocol.ICMP})
# Types of records of TLS and DTLS.
_HANDSHAKES = frozenset(range(20, 26))
_MIN_OWN = 3
_OFTEN = 4
_MANY, _FEW = 5, 0.2
_FIELD_LEN = 4
_MIN_DURATION_S = 5.0
_MAX_RUNS = 256
_MAX_FLOWS = 4
_RANK = (Scope.USER, Scope.ROOM, Scope.SESSION, Scope.FLOW, Scope.UNTOLD)


class UnnamedFinder:
    """Finds stable identifiers in what clients send, without knowing any protocol."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._sorts = Sorts(limits or Limits())

    def seen(
        self,
        client: bytes,
        endpoint: Endpoint,
        time_s: float,
        payload: bytes | memoryview,
        outbound: bool,
        protocol: Protocol | None,
    ) -> None:
        """Look at one packet (Finder)."""
        self.seen_all(((client, endpoint, time_s, payload, outbound, protocol),))

    def seen_all(self, packets: Iterable[Seen]) -> None:
        """Look at packets one after another (Finder)."""
        note = self._sorts.note
        for client, endpoint, time_s, payload, outbound, protocol in packets:
            if not outbound or not payload or endpoint[1] in _NAME_PORTS:
                continue
            if protocol in _PASSED_OVER:
                continue
            if payload[0] in _HANDSHAKES and _is_handshake(payload):
                continue
            note(client, endpoint, time_s, payload, protocol)

    def findings(self) -> list[Finding]:
        """Say what was found so far, users first (Finder)."""
        return [finding for finding, _ in self.learned()]

    def learned(self) -> list[tuple[Finding, Mapping[bytes, bytes]]]:
        """Give the findings, each with its octets by client: to look for them, not to show them."""
        every = instances(self._sorts)
        known = Known(every)
        found = _runs(every)
        rooms = _shared(found[Way.SHARED][:_MAX_RUNS], known)
        users = _users(found[Way.OWN][:_MAX_RUNS], rooms, known)
        values = users + _each_room(rooms) + rooms_beside(users, found[Way.SAME], known)
        values += following(every, values + rooms, known)
        values += lonely(every, known)
        pairs = zip(sentences(values, known), values, strict=True)
        ordered = sorted(pairs, key=lambda pair: _rank(pair[0]))
        flows = [one for one, _ in ordered if one.scope is Scope.FLOW][_MAX_FLOWS:]
        return [(one, dict(value.by_client)) for one, value in ordered if one not in flows]


def _runs(every: list[Instance]) -> dict[Way, list[Run]]:
    """Give the runs of all shapes by their way, those of most packets first."""
    found: dict[Way, list[Run]] = {way: [] for way in Way}
    groups = comparable(every)
    for members in sorted(groups, key=lambda members: -sum(one.packets for one in members)):
        octets = ways(members)
        if speak_alike(members, octets):
            for run in runs(members, octets):
                is_own = run.way is Way.SHARED and _is_nearly_own(run)
                found[Way.OWN if is_own else run.way].append(run)
    return found


def _is_nearly_own(run: Run) -> bool:
    """Tell whether each client has its own value, or nearly: a user may have two devices."""
    holders = run.holders().values()
    sharing = {client for clients in holders if len(clients) > 1 for client in clients}
    clients = len(set().union(*holders))
    return not sharing or (clients >= _MANY and len(sharing) <= _FEW * clients)


def _rank(finding: Finding) -> tuple[int, int, int]:
    return _RANK.index(finding.scope), -len(finding.clients), -finding.packets


def _is_handshake(payload: bytes | memoryview) -> bool:
    """Tell whether these, that begin so, are records of TLS or DTLS: a handshake tells how the
    client's software is made, which is no identifier, and the rest is ciphertext."""
    if len(payload) < 3:
        return False
    return payload[1] == 3 or (payload[1] == 0xFE and payload[2] in (0xFD, 0xFF))


def _users(own: list[Run], rooms: list[Value], known: Known) -> list[Value]:
    """Join the runs that hold one value for each client."""
    values: list[Value] = []
    candidates = []
    for run in own:
        wide = _field(run, known)
        value = Value.of(wide, Scope.USER, Certainty.LIKELY)
        if value is not None and _is_nearly_own(wide):
            again = min(known.shapes(client, one) for client, one in value.by_client.items())
            value.shapes = again
            candidates.append((wide.touches_varying, -again, wide.start - wide.end, wide, value))
    for _, again, _, run, value in sorted(candidates, key=lambda one: one[:3]):
        # A room in which each client is alone in these datagrams is known from others.
        if any(other.takes_in(value) for other in (*rooms, *values)):
            continue
        if not _is_identifier(run, -again):
            continue
        value.scope = _scope(run, value, known)
        if value.scope is Scope.FLOW:
            value.certainty = Certainty.POSSIBLE
        if value.scope is Scope.USER and (holders := _others(value, known)):
            rooms.append(_as_room(value, holders))
        else:
            values.append(value)
    return values


def _as_room(value: Value, holders: dict[bytes, bytes]) -> Value:
    by_client = value.by_client | holders
    clients: dict[bytes, set[bytes]] = {}
    for client, octets in by_client.items():
        clients.setdefault(octets, set()).add(client)
    return replace(value, scope=Scope.ROOM, by_client=by_client, holders=clients)


def _others(value: Value, known: Known) -> dict[bytes, bytes]:
    """Give the clients that send another's value about as often as that one: it is no user's then.

    (A client that names another user does so in a few of its messages only.)
    """
    holders = {}
    for client, octets in value.by_client.items():
        least = known.shapes(client, octets) / 2
        for other in known.clients():
            if other not in value.by_client and known.shapes(other, octets) >= max(least, 1):
                holders[other] = octets
    return holders


def _field(run: Run, known: Known) -> Run:
    """Widen a short run to the four octets around it that come again elsewhere, if any do: the
    ids of two users may differ in one octet only."""
    if run.end - run.start >= _FIELD_LEN:
        return run
    best, most = run, 1
    length = len(run.instances[0].head)
    for start in range(max(0, run.end - _FIELD_LEN), min(run.start, length - _FIELD_LEN) + 1):
        wide = run.between(start, start + _FIELD_LEN, length)
        values = wide.values()
        if len(values) < 2 or any(not _is_telling(value) for value in values.values()):
            continue
        many = min(known.shapes(client, value) for client, value in values.items())
        if many > most:
            best, most = wide, many
    return best


def _is_telling(value: bytes) -> bool:
    return sum(octet != 0 for octet in value) >= 2


def _is_identifier(run: Run, shapes: int) -> bool:
    """Tell an identifier from the high octets of a counter or clock, and from a setting.

    Of a clock that ticks each millisecond, microsecond or nanosecond no more than three octets
    stay the same over five seconds and differ between clients.
    """
    if run.end - run.start < _FIELD_LEN:
        return False
    if not run.touches_varying:
        return run.differing >= _MIN_OWN or shapes >= 2
    values = run.values().values()
    is_telling = all(len(set(octets) - {0}) >= _MIN_OWN for octets in values)
    if shapes >= _OFTEN and is_telling and _overlap(run):
        # A clock's high octets come again too: but wall clocks agree where clients are there at the
        # same time, and of the time since a start the higher octets are zeros.
        return True
    return run.differing >= _FIELD_LEN and all(
        one.last_s - one.first_s >= _MIN_DURATION_S or len(one.endpoints) > 1
        for one in run.instances
    )


def _overlap(run: Run) -> bool:
    """Tell whether all clients were there at one time."""
    first_s: dict[bytes, float] = {}
    last_s: dict[bytes, float] = {}
    for one in run.instances:
        first_s[one.client] = min(first_s.get(one.client, one.first_s), one.first_s)
        last_s[one.client] = max(last_s.get(one.client, one.last_s), one.last_s)
    return max(first_s.values()) <= min(last_s.values())


def _scope(run: Run, value: Value, known: Known) -> Scope:
    head = run.instances[0].head
    protocol = run.instances[0].protocol
    is_rtp = head[0] >> 6 == 2 and (run.start, run.end) in ((8, 12), (4, 8))
    if protocol in (Protocol.RTP, Protocol.RTCP) or is_rtp:
        return Scope.SESSION
    most = max(
        addresses(known.endpoints(client, octets)) for client, octets in value.by_client.items()
    )
    return Scope.USER if most >= 2 else Scope.FLOW


def _shared(shared: list[Run], known: Known) -> list[Value]:
    """Join the runs that some clients share and others do not, or not at all times."""
    values: list[Value] = []
    candidates = [
        (-len(value.by_client), run.start - run.end, run, value)
        for run in shared
        if run.end - run.start >= _MIN_OWN
        and _together(run)
        and (value := Value.of(run, Scope.ROOM, Certainty.LIKELY)) is not None
    ]
    for _, _, run, value in sorted(candidates, key=lambda one: one[:2]):
        value.holders = run.holders()
        value.shapes = min(known.shapes(client, one) for client, one in value.by_client.items())
        if not any(other.takes_in(value) for other in values):
            values.append(value)
    return values


def _each_room(rooms: list[Value]) -> list[Value]:
    """Give one value for each room that clients share."""
    return [
        replace(
            room,
            certainty=_of_room(room),
            by_client=dict.fromkeys(sorted(clients), octets),
            instances=[one for one in room.instances if one.client in clients],
            why=f"{len(room.holders) - 1} others for other clients or at other times",
        )
        for room in rooms
        for octets, clients in room.holders.items()
        if len(clients) > 1
    ]


def _of_room(room: Value) -> Certainty:
    """A setting that some clients share is in one kind of message, and does not change."""
    held = Counter(client for clients in room.holders.values() for client in clients)
    is_sure = room.shapes > 1 or max(held.values()) > 1
    return Certainty.LIKELY if is_sure else Certainty.POSSIBLE


def _together(run: Run) -> bool:
    """Tell whether clients that share the value were there at the same time, towards the same."""
    for number, one in enumerate(run.instances):
        for other in run.instances[number + 1 :]:
            is_shared = one.client != other.client and run.value(one) == run.value(other)
            overlap = one.first_s <= other.last_s and other.first_s <= one.last_s
            if is_shared and overlap and one.endpoints & other.endpoints:
                return True
    return False
