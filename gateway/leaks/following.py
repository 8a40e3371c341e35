"""Values that float.  Owns: what follows the same octets: always the same for a client, another for
another client (a tag or key, and the id behind it).
Knows: nothing of any protocol.  Never: values at stable offsets: comparing has those."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.leaks.alike import Instance
from gateway.leaks.evidence import Known, Value
from gateway.leaks.findings import Certainty, Scope, Span, addresses
from gateway.model import Endpoint

_BEFORE_LEN = 4
_VALUE_LEN = 6
_MAX_HEADS = 32
# Of those who sent most; what follows each four octets of all of them is held at once.
_MAX_CLIENTS = 16
_MIN_HEADS = 3
_MAX_VALUES = 32
_WHY = "it floats: found by the octets in front of it, which are the same for all"


@dataclass(slots=True)
class _After:
    """What follows four octets in one client's datagrams."""

    octets: bytes
    is_constant: bool = True
    heads: list[tuple[Instance, int]] = field(default_factory=list)


def following(every: list[Instance], found: list[Value], known: Known) -> list[Value]:
    """Find what each client sends behind the same octets, towards two addresses at least, and
    what no other client does."""
    of_client: dict[bytes, list[Instance]] = {}
    for one in every:
        of_client.setdefault(one.client, []).append(one)
    if len(of_client) < 2:
        return []
    busiest = sorted(of_client, key=lambda client: -len(of_client[client]))[:_MAX_CLIENTS]
    after = {client: _after(of_client[client]) for client in busiest}
    values: list[Value] = []
    for before in _common(after):
        held = {
            client: held_after
            for client, follows in after.items()
            if (held_after := follows.get(before)) is not None and held_after.is_constant
        }
        often = {client: own for client, own in held.items() if len(own.heads) >= _MIN_HEADS}
        value = _value(often)
        if value is None or any(_holds(other, value) for other in (*found, *values)):
            continue
        if any(_is_user(client, octets, known) for client, octets in value.by_client.items()):
            values.append(value)
        if len(values) >= _MAX_VALUES:
            break
    return values


def _after(members: list[Instance]) -> dict[bytes, _After]:
    follows: dict[bytes, _After] = {}
    for one in sorted(members, key=lambda one: -one.packets)[:_MAX_HEADS]:
        head = one.head
        for at in range(_BEFORE_LEN, len(head) - _VALUE_LEN + 1):
            before, octets = head[at - _BEFORE_LEN : at], head[at : at + _VALUE_LEN]
            known = follows.get(before)
            if known is None:
                known = follows[before] = _After(octets)
            elif known.octets != octets:
                known.is_constant = False
            if len(known.heads) < _MAX_HEADS:
                known.heads.append((one, at))
    return follows


def _common(after: dict[bytes, dict[bytes, _After]]) -> list[bytes]:
    """Give the octets that two clients at least have, not those that are nearly all zeros."""
    count: dict[bytes, int] = {}
    for follows in after.values():
        for before in follows:
            count[before] = count.get(before, 0) + 1
    return [before for before, many in count.items() if many > 1 and len(set(before) - {0}) > 2]


def _value(held: dict[bytes, _After]) -> Value | None:
    octets = [one.octets for one in held.values()]
    if len(octets) < 2 or len({one[0] for one in octets}) < 2 or len(set(octets)) < len(octets):
        return None
    heads = [head for one in held.values() for head in one.heads]
    spans = [Span(one.shape.length, one.shape.length, at, _VALUE_LEN) for one, at in heads]
    return Value(
        Scope.USER,
        Certainty.LIKELY,
        {client: one.octets for client, one in held.items()},
        [one for one, _ in heads],
        spans,
        _WHY,
    )


def _holds(value: Value, other: Value) -> bool:
    """Tell whether a value is known already: as a whole, or its first or last octets."""
    for client, octets in other.by_client.items():
        known = value.by_client.get(client)
        if known is not None and (known[:4] in octets or octets[:4] in known):
            return True
    return False


def _is_user(client: bytes, octets: bytes, known: Known) -> bool:
    endpoints: set[Endpoint] = known.endpoints(client, octets)
    is_telling = len(set(octets) - {0}) > 2
    return is_telling and known.shapes(client, octets) > 1 and addresses(endpoints) > 1
