"""A stream's first octets, gathered from packets.  Owns: putting segments in order; the bounds.
Knows: RFC 9293 (sequence numbers modulo 2^32).  Never: what the octets are, verdicts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from gateway.model import FlowKey

_MODULUS = 1 << 32


@dataclass(frozen=True, slots=True)
class FirstOctetsLimits:
    """Bounds of what is gathered and held."""

    octets: int = 16_384
    """Of one flow; nginx's and our listeners' bound for what is looked at."""
    packets: int = 16
    """Held of one flow; a ClientHello with post-quantum keys is in two or three."""
    flows: int = 4_096
    """Gathered at once; above it the oldest is given up."""
    held: int = 2_048
    """Packets held of all flows, far fewer than the queue has room for; above it, likewise."""
    wait_s: float = 10.0
    """From a flow's first packet on."""


class Added(Enum):
    """What became of a segment."""

    GROWN = "grown"
    """There are more octets without a gap."""
    NOTHING_NEW = "nothing new"
    """It lies behind a gap, or was there."""
    CONFLICT = "conflict"
    """The same octets were sent twice and differ: the two ends might see different streams."""


@dataclass(slots=True)
class Gathering:
    """One flow whose first octets are awaited."""

    key: FlowKey
    first: int
    """The sequence number of its first octet."""
    since_s: float
    head: bytearray = field(default_factory=bytearray)
    """What is there without a gap."""
    held: list[tuple[int, int, int]] = field(default_factory=list)
    """Queue and number of the packets that wait, and what their marks keep."""
    _later: dict[int, bytes] = field(default_factory=dict)

    def add(self, sequence: int, payload: bytes) -> Added:
        """Take a segment."""
        at = (sequence - self.first) % _MODULUS
        if at >= _MODULUS // 2:  # begins before the first octet: a keep-alive's, or an attack
            return Added.CONFLICT
        length = len(self.head)
        agrees = self._place(at, payload)
        while ready := [start for start in self._later if start <= len(self.head)]:
            for start in ready:
                agrees = self._place(start, self._later.pop(start)) and agrees
        if not agrees:
            return Added.CONFLICT
        return Added.GROWN if len(self.head) > length else Added.NOTHING_NEW

    def _place(self, at: int, payload: bytes) -> bool:
        """Put octets where they belong; False: others are there."""
        end = len(self.head)
        if at > end:
            known = self._later.get(at, b"")
            self._later[at] = max(known, payload, key=len)
            return known.startswith(payload) or payload.startswith(known)
        overlap = payload[: end - at]
        self.head += payload[end - at :]
        return self.head[at : at + len(overlap)] == overlap


class FirstOctets:
    """The flows whose first octets are awaited, oldest first."""

    def __init__(self, limits: FirstOctetsLimits) -> None:
        self.limits = limits
        self._flows: OrderedDict[FlowKey, Gathering] = OrderedDict()
        self.held = 0

    def __len__(self) -> int:
        return len(self._flows)

    def get(self, key: FlowKey) -> Gathering | None:
        """Find a flow."""
        return self._flows.get(key)

    def begin(self, key: FlowKey, first: int, now_s: float) -> None:
        """Await a flow's first octets; a repeated SYN changes nothing, another one begins anew."""
        known = self._flows.get(key)
        if known is None or known.first != first:
            assert known is None or not known.held, "end it first"
            self._flows[key] = Gathering(key, first % _MODULUS, now_s)

    def hold(self, flow: Gathering, queue: int, number: int, kept: int) -> None:
        """Let one of its packets wait."""
        flow.held.append((queue, number, kept))
        self.held += 1

    def end(self, key: FlowKey) -> Gathering | None:
        """Await no more of a flow."""
        flow = self._flows.pop(key, None)
        if flow is not None:
            self.held -= len(flow.held)
        return flow

    def too_many(self) -> Iterator[Gathering]:
        """Give up flows, the oldest first, until the bounds hold."""
        while len(self._flows) > self.limits.flows or self.held > self.limits.held:
            yield self._given_up()

    def too_old(self, now_s: float) -> Iterator[Gathering]:
        """Give up the flows that have waited for too long."""
        oldest_s = now_s - self.limits.wait_s
        while self._flows and next(iter(self._flows.values())).since_s <= oldest_s:
            yield self._given_up()

    def _given_up(self) -> Gathering:
        _, flow = self._flows.popitem(last=False)
        self.held -= len(flow.held)
        return flow
