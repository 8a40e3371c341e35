"""Conversations.  Owns: a capture → what each client said to each destination, and was answered.
Knows: RFC 9293 (sequence numbers).  Never: sockets, what payloads mean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.evidence.frame import Packet
from gateway.model import Endpoint, FlowKey, Transport

_SYN, _ACK = 0x02, 0x10
# A client of a capture whose stream is longer is played up to here.
_MAX_STREAM_LEN = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Said:
    """One datagram, or one piece of a stream, of one side."""

    at_s: float
    """Seconds from the capture's first packet."""
    by_client: bool
    payload: bytes


@dataclass(slots=True)
class Conversation:
    """One flow of a capture, as seen by a client and its destination."""

    key: FlowKey
    said: list[Said] = field(default_factory=list)
    opened_at_s: float = 0.0

    def of_client(self) -> list[Said]:
        """Give what the client said, in order."""
        return [said for said in self.said if said.by_client]

    def answers(self) -> list[tuple[bytes, tuple[bytes, ...]]]:
        """Give each of the client's payloads with what was answered before its next."""
        pairs: list[tuple[bytes, list[bytes]]] = []
        for said in self.said:
            if said.by_client:
                pairs.append((said.payload, []))
            elif pairs:
                pairs[-1][1].append(said.payload)
        return [(asked, tuple(answered)) for asked, answered in pairs]


def conversations(packets: Iterable[Packet]) -> list[Conversation]:
    """Group a capture's packets into conversations, in the order of their first packets.

    The client of a flow is who spoke first; of a TCP flow, who sent the SYN.
    Retransmitted octets of a stream count once; a stream with a gap ends at the gap.
    """
    found: dict[frozenset[tuple[Transport, Endpoint]], _Builder] = {}
    start_s: float | None = None
    for packet in packets:
        start_s = packet.time_s if start_s is None else start_s
        ends = frozenset(
            {(packet.transport, packet.source), (packet.transport, packet.destination)}
        )
        builder = found.get(ends)
        if builder is None:
            builder = found[ends] = _Builder(packet, packet.time_s - start_s)
        builder.add(packet, packet.time_s - start_s)
    return [builder.conversation for builder in found.values() if builder.conversation.of_client()]


class _Builder:
    """Builds one conversation."""

    def __init__(self, first: Packet, at_s: float) -> None:
        client, destination = first.source, first.destination
        if first.flags & (_SYN | _ACK) == _SYN | _ACK:  # the client's SYN was not captured
            client, destination = destination, client
        key = FlowKey(first.transport, client, destination)
        self.conversation = Conversation(key, opened_at_s=at_s)
        self._expected: dict[bool, int] = {}
        self._len = 0

    def add(self, packet: Packet, at_s: float) -> None:
        by_client = packet.source == self.conversation.key.client
        payload = packet.payload
        if packet.transport is Transport.TCP:
            payload = self._in_order(packet, by_client)
            if not payload:
                return
        self.conversation.said.append(Said(at_s, by_client, payload))

    def _in_order(self, packet: Packet, by_client: bool) -> bytes:
        """Give the octets of a segment that are next in its direction; b"" if none are."""
        sequence = packet.sequence + (packet.flags & _SYN > 0)
        expected = self._expected.setdefault(by_client, sequence)
        behind = (expected - sequence) & 0xFFFFFFFF
        if behind > 0x7FFFFFFF or self._len > _MAX_STREAM_LEN:
            return b""  # a gap: what follows it was not captured, or came early
        fresh = packet.payload[behind:]
        self._expected[by_client] = (expected + len(fresh)) & 0xFFFFFFFF
        self._len += len(fresh)
        return fresh
