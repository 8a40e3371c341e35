"""A client alone.  Owns: what stays the same for the only client there is.
Knows: nothing of any protocol.  Never: a claim: one client cannot tell an id from a constant."""

from __future__ import annotations

from gateway.leaks.alike import Instance
from gateway.leaks.comparing import MIN_DIFFERENT
from gateway.leaks.evidence import Known, Value
from gateway.leaks.findings import Certainty, Scope, Span, addresses

_LEN = 4
_MIN_TELLING = 3
_MAX_SPANS = 8


def lonely(every: list[Instance], known: Known) -> list[Value]:
    """Give what the only client sends at several offsets to several addresses, in one value."""
    clients = known.clients()
    if len(clients) != 1:
        return []
    places: dict[bytes, set[Span]] = {}
    for one in every:
        if one.different < MIN_DIFFERENT:
            continue
        for at in range(len(one.head) - _LEN + 1):
            octets = one.head[at : at + _LEN]
            if not any(one.varies[at : at + _LEN]) and len(set(octets) - {0}) >= _MIN_TELLING:
                length = one.shape.length
                places.setdefault(octets, set()).add(Span(length, length, at, _LEN))
    client = clients[0]
    spans = [
        span
        for octets, at in places.items()
        if len({span.offset for span in at}) > 1 and addresses(known.endpoints(client, octets)) > 1
        for span in at
    ]
    if not spans:
        return []
    spans.sort(key=lambda span: (span.shortest, span.offset))
    members = [one for one in every if one.shape.length in {span.shortest for span in spans}]
    by_client = {client: b""}
    return [Value(Scope.UNTOLD, Certainty.POSSIBLE, by_client, members, spans[:_MAX_SPANS])]
