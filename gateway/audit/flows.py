"""What is counted of a flow.  Owns: flows, their two sides, tallies of like messages; the bound of
how many are open.  Knows: RFC 7011.  Never: frames, verdicts' making, text."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TypeVar

from gateway.model import Content, Endpoint, FlowKey, IdentifierKind, Transport, Verdict

Name = TypeVar("Name", bound=str)
# Flows that are counted at once; some 6 KiB each.
MAX_FLOWS = 8_192
# Likewise wire's sender of endless novelty: from here on what is new is counted as "others".
_MAX_TALLIES = 256
# Marks of a tally: what a datagram of it is for the timeline.
EXPOSED, BARRED = 1, 2


@dataclass(slots=True)
class Tally:
    """Messages of one side of a flow that a policy cannot tell apart."""

    content: Content | None
    """Of the first of them; None: nothing but headers (TCP's SYN)."""
    verdict: Verdict | None
    """None: an answer, or nobody's."""
    mark: int = 0
    """EXPOSED if it shows identifiers, BARRED if the policy blocks it, or both."""
    packets: int = 0
    octets: int = 0

    def identifiers(self) -> dict[IdentifierKind, int]:
        """Count the identifiers that one of the messages shows."""
        counts: dict[IdentifierKind, int] = {}
        for one in (self.content.plaintext if self.content is not None else None) or ():
            counts[one.kind] = counts.get(one.kind, 0) + 1
        return counts


@dataclass(slots=True)
class Side:
    """What one of the two ends sent."""

    flow: AuditedFlow
    is_client: bool
    tally: Tally | None = None
    """The one that the last packet was counted in."""
    content: Content | None = None
    """Of that packet: most packets are what the one before was."""
    last_s: float = 0.0
    shown: tuple[bytes, Endpoint] | None = None
    """Client and destination, as observers are told; None: nothing of this flow is shown."""
    tallies: dict[Hashable, Tally] = field(default_factory=dict)
    is_told: bool = False
    """Of a stream: its first octets were recognised, or given up."""
    messages: Counter[str] | None = None
    """Of a stream, whose packets are no messages; None: count the tallies' packets."""
    identifiers: Counter[IdentifierKind] | None = None
    """Likewise."""

    @property
    def packets(self) -> int:
        """How many packets it sent."""
        return sum(tally.packets for tally in self.tallies.values())

    @property
    def octets(self) -> int:
        """How many octets they had on the wire, link layer included."""
        return sum(tally.octets for tally in self.tallies.values())

    def message_counts(self) -> dict[str, int]:
        """Count its messages by name."""
        if self.messages is not None:
            return self.messages
        counts: dict[str, int] = {}
        for tally in self.tallies.values():
            if tally.content is not None:
                name = name_of(tally.content)
                counts[name] = counts.get(name, 0) + tally.packets
        return counts

    def identifier_counts(self) -> dict[IdentifierKind, int]:
        """Count the identifiers that it showed, by kind."""
        if self.identifiers is not None:
            return self.identifiers
        counts: dict[IdentifierKind, int] = {}
        for tally in self.tallies.values():
            if tally.mark & EXPOSED:
                for kind, count in tally.identifiers().items():
                    counts[kind] = counts.get(kind, 0) + count * tally.packets
        return counts

    @property
    def is_full(self) -> bool:
        """Whether no more kinds of message are told apart."""
        return len(self.tallies) >= _MAX_TALLIES


@dataclass(slots=True)
class AuditedFlow:
    """One five-tuple, both directions."""

    key: FlowKey
    first_s: float
    is_counted_only: bool
    """Nobody's among the named clients, or what no router forwards: there is no verdict."""
    keys: tuple[bytes, bytes]
    """How the table knows it: as the client sends, and as it is answered."""
    is_stream: bool = field(init=False)
    client: Side = field(init=False)
    server: Side = field(init=False)
    first: Tally | None = None
    """What the client sent first, of what carries something."""

    def __post_init__(self) -> None:
        self.is_stream = self.key.transport is Transport.TCP
        self.client, self.server = Side(self, True), Side(self, False)
        if not self.is_counted_only:
            shown = self.key.client.address, self.key.destination
            self.client.shown = self.server.shown = shown

    @property
    def last_s(self) -> float:
        """When its last packet was seen."""
        return max(self.client.last_s, self.server.last_s, self.first_s)

    def tallies(self) -> Iterator[Tally]:
        """Give what both sides sent."""
        yield from self.client.tallies.values()
        yield from self.server.tallies.values()

    def messages(self) -> dict[str, int]:
        """Count the messages of both sides by name, or by protocol where they have none."""
        return _joined(self.client.message_counts(), self.server.message_counts())

    def identifiers(self) -> dict[IdentifierKind, int]:
        """Count the identifiers that both sides showed, by kind."""
        return _joined(self.client.identifier_counts(), self.server.identifier_counts())


def _joined(one: dict[Name, int], other: dict[Name, int]) -> dict[Name, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in (*one, *other)}


def most_common(counts: Mapping[Name, int]) -> list[tuple[Name, int]]:
    """Give counts by name, the highest first; of equal ones the first."""
    return sorted(counts.items(), key=itemgetter(1), reverse=True)


def name_of(content: Content) -> str:
    """Give the name under which messages are counted."""
    return content.message or str(content.protocol)


def oldest(flows: Iterator[AuditedFlow], count: int) -> list[AuditedFlow]:
    """Give the flows that were silent longest."""
    return heapq.nsmallest(count, flows, key=lambda flow: flow.last_s)
