"""The finder of given values.  Owns: in which flows each was seen, and which of that is no chance.
Knows: values and chance.  Never: the values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.leaks.chance import SIGNIFICANCE, Octets, tail
from gateway.leaks.findings import MAX_LISTED, Certainty, Finding, Scope, Seen, Span, listed
from gateway.leaks.values import Hit, Values
from gateway.model import Endpoint, IdentifierKind, Protocol

_MAX_SEEN = 16_384
_MAX_FLOWS = 65_536
_MAX_FLOWS_EACH = 256
_MAX_PLACES = 64
# So many hits at one offset of one flow are one fact: the flow has constant octets there.
_PERSISTENT = 3
_PLACES_IN_A_DATAGRAM = 1_500
# What is likelier than one place in a million (a small number among zeros) is no chance of octets
# but of their meaning: it stands there because it is a count or a version, in flow after flow.
_MAX_ODDS = 2.0**-20

_Flow = tuple[bytes, Endpoint]


@dataclass(slots=True)
class _Seen:
    """One value in one encoding."""

    octets: bytes
    first_s: float
    last_s: float
    packets: int = 0
    flows: set[_Flow] = field(default_factory=set)
    places: Counter[tuple[_Flow, bool, int]] = field(default_factory=Counter)
    spans: set[Span] = field(default_factory=set)


class GivenFinder:
    """Says which given values left, counted over flows, and leaves out what chance explains."""

    def __init__(self, values: Values, significance: float = SIGNIFICANCE) -> None:
        self._values = values
        self._significance = significance
        self._octets = Octets()
        self._searched = 0
        self._flows: set[_Flow] = set()
        self._seen: dict[tuple[IdentifierKind, int, str], _Seen] = {}

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
        payload, flow = bytes(payload), (client, endpoint)
        self._octets.seen(payload)
        self._searched += len(payload)
        if len(self._flows) < _MAX_FLOWS:
            self._flows.add(flow)
        for hit in self._values.find(payload):
            self._note(hit, payload, flow, outbound, time_s)

    def seen_all(self, packets: Iterable[Seen]) -> None:
        """Look at packets one after another (Finder)."""
        for packet in packets:
            self.seen(*packet)

    def findings(self) -> list[Finding]:
        """Say what was found so far, by kind and encoding (Finder)."""
        groups: dict[tuple[IdentifierKind, str], list[tuple[_Seen, float | None]]] = {}
        for (kind, _, encoding), seen in self._seen.items():
            is_exact = encoding == "pattern"
            expected = None if is_exact else self._searched * self._octets.odds(seen.octets)
            if expected is None or self._is_significant(seen, expected):
                groups.setdefault((kind, encoding), []).append((seen, expected))
        found = [_finding(*key, members) for key, members in groups.items()]
        return sorted(found, key=lambda one: (-one.packets, one.sentence))

    def _note(self, hit: Hit, payload: bytes, flow: _Flow, outbound: bool, time_s: float) -> None:
        key = (hit.kind, hit.which, hit.encoding)
        seen = self._seen.get(key)
        if seen is None:
            if len(self._seen) >= _MAX_SEEN:
                return
            octets = self._values.octets(payload, hit)
            seen = self._seen[key] = _Seen(octets, time_s, time_s)
        seen.last_s = max(seen.last_s, time_s)
        seen.packets += 1
        if len(seen.flows) < _MAX_FLOWS_EACH:
            seen.flows.add(flow)
        place = (flow, outbound, hit.offset)
        if place in seen.places or len(seen.places) < _MAX_PLACES:
            seen.places[place] += 1
        if len(seen.spans) < MAX_LISTED:
            seen.spans.add(Span(len(payload), len(payload), hit.offset, hit.length))

    def _is_significant(self, seen: _Seen, expected: float) -> bool:
        """Tell whether chance would hardly show a value in so many flows, or in one place of so
        many flows again and again; among all strings that were searched for."""
        persistent = {place[0] for place, count in seen.places.items() if count >= _PERSISTENT}
        odds = self._octets.odds(seen.octets)
        if odds > _MAX_ODDS:
            return False
        places = len(self._flows) * _PLACES_IN_A_DATAGRAM
        by_flows = tail(expected, len(seen.flows))
        by_place = tail(places * odds, len(persistent))
        return 2 * min(by_flows, by_place) * len(self._values) <= self._significance


def _finding(
    kind: IdentifierKind, encoding: str, members: list[tuple[_Seen, float | None]]
) -> Finding:
    seen = [one for one, _ in members]
    flows = {flow for one in seen for flow in one.flows}
    endpoints = {endpoint for _, endpoint in flows}
    clients = tuple(sorted({client for client, _ in flows}))
    expected = [chance for _, chance in members if chance is not None]
    packets = sum(one.packets for one in seen)
    spans = sorted({span for one in seen for span in one.spans}, key=str)[:MAX_LISTED]
    many = f"{len(seen)} given values" if len(seen) > 1 else "a given value"
    sentence = (
        f"{many} of kind {kind} in plaintext ({encoding}): {packets} packets, {len(clients)} "
        f"clients, {len(endpoints)} endpoints; first at {spans[0]}"
    )
    if expected:
        sentence += f"; chance would show {_amount(sum(expected))}"
    return Finding(
        finder="values",
        scope=Scope.GIVEN,
        certainty=Certainty.SURE,
        sentence=sentence,
        clients=clients,
        endpoints=listed(endpoints),
        endpoint_count=len(endpoints),
        packets=packets,
        first_s=min(one.first_s for one in seen),
        last_s=max(one.last_s for one in seen),
        spans=tuple(spans),
        kind=kind,
        encoding=encoding,
        expected=sum(expected) if expected else None,
    )


def _amount(expected: float) -> str:
    return "less than one in a million" if expected < 1e-6 else f"{expected:.2g}"
