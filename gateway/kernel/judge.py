"""The judge of queued packets.  Owns: a verdict → the answer that the kernel carries out.
Knows: the marks; RFC 9293's SYN.  Never: deciding (the gate does), sockets, nft."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.kernel import datagram, marks
from gateway.kernel.datagram import ACK, SYN, Packet
from gateway.kernel.first_octets import Added, FirstOctets, FirstOctetsLimits, Gathering
from gateway.kernel.queue_messages import DROP, Queued
from gateway.model import Action, FlowKey, Transport, Verdict


class Gate(Protocol):
    """Who decides.  It always answers: doubt is a block, never an exception."""

    def judge(self, key: FlowKey, payload: bytes | None, names: tuple[str, ...] = ()) -> Verdict:
        """Judge a datagram, or a stream: by None before its first octets, then by these."""

    def wants_more(self, first: bytes) -> bool:
        """Say whether a stream's first octets are too few to be recognised."""

    def judge_address(self, client: bytes, destination: bytes) -> Action:
        """Judge what has no ports (ICMP, fragments, other protocols): ALLOW only if the policy
        allows the destination whatever is sent there.

        Args:    client, destination: 4 or 16 octets, canonical.
        """


@dataclass(frozen=True, slots=True)
class Target:
    """What a verdict's target is in the kernel."""

    number: int
    octets: frozenset[int] = frozenset((4, 16))
    """The families it can carry; what it cannot is blocked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """What the judge has others do."""

    carry: Callable[[FlowKey, bytes, Verdict], None]
    """Carry one datagram by a way that the kernel does not know: a wrap, or a reroute to an exit;
    or one that an accepted flow's content has a verdict of its own for."""
    forget: Callable[[FlowKey], object]
    """Let the kernel forget a UDP flow that it cannot move elsewhere: its next packet is new."""
    answer: Callable[[int, int, int], None]
    """Answer a packet that was held: queue, number, DROP or a mark."""


# What stands for a target that only `Hands.carry` reaches.
_BY_HAND = -1


class Judge:
    """Answers what one process's queues ask."""

    def __init__(
        self,
        gate: Gate,
        hands: Hands,
        clock: Callable[[], float],
        *,
        epoch: int,
        targets: Mapping[str, Target],
        proxy: int | None = None,
        limits: FirstOctetsLimits | None = None,
    ) -> None:
        """Begin in an epoch of the marks (1..255).

        Args:    targets: relays and interface exits by the names that verdicts use.
                 proxy: the local proxy's target; TCP flows that cannot be decided by address go
                 there; None: they are watched until their first octets are there.
        """
        self.counters: Counter[str] = Counter()
        self._gate, self._hands, self._clock = gate, hands, clock
        self._targets, self._proxy = targets, proxy
        self._first = FirstOctets(limits or FirstOctetsLimits())
        self._allow = 0
        self.adopt(epoch)

    def adopt(self, epoch: int) -> None:
        """Go over to another epoch, after the rules did: a mark of the old one does not pass."""
        self.epoch = epoch
        self._allow = marks.mark(epoch, marks.DIRECT, marks.ANSWER)
        self._blocked = marks.mark(epoch, marks.BLOCK, marks.ANSWER)
        self._blocked_place = marks.mark(epoch, marks.BLOCK_PLACE, marks.ANSWER)

    def judge(self, queued: Queued) -> int | None:
        """Answer one packet; None: it is held, and `Hands.answer` gets its answer."""
        packet = datagram.read(queued.octets)
        if packet is None:
            # What the copy has cut short cannot be read whole, and what cannot be read is blocked.
            self.counters["cut" if queued.is_cut else "malformed"] += 1
            return DROP
        key = packet.key
        if key is None:
            action = self._gate.judge_address(packet.client, packet.destination)
            answer = self._allow if action is Action.ALLOW else self._blocked
            return answer | marks.kept(queued.mark)
        if key.transport is Transport.TCP:
            return self._tcp(packet, key, queued)
        verdict = self._gate.judge(key, packet.payload)
        return self._udp(verdict, key, packet.payload, queued.mark)

    def expire(self) -> None:
        """Block the TCP flows that say too little for too long; call it every second."""
        for flow in self._first.too_old(self._clock()):
            self._give_up(flow, "first octets too late")

    def _udp(self, verdict: Verdict, key: FlowKey, payload: bytes, asked: int) -> int:
        number = self._number(verdict, key)
        was = self._was(asked)
        if number == marks.BLOCK:
            if was is not None and asked & marks.CONTENT:
                return DROP  # this datagram, and not its flow
            return self._blocked | marks.kept(asked)
        if number == _BY_HAND or (was is not None and was != number and asked & marks.CONTENT):
            self._hands.carry(key, payload, verdict)
            return DROP
        if was is not None and was != number:
            self.counters["moved"] += 1
            self._hands.forget(key)
            return DROP
        return self._allow | number << 16 | marks.kept(asked)

    def _was(self, asked: int) -> int | None:
        """Give where the flow has gone until now; None: it is new."""
        if asked & marks.EARLIER or marks.epoch_of(asked) == self.epoch:
            return marks.target_of(asked)
        return None

    def _number(self, verdict: Verdict, key: FlowKey) -> int:
        """Give the target number that carries a verdict out, or _BY_HAND."""
        if verdict.action is Action.ALLOW:
            return marks.DIRECT
        if verdict.action is Action.BLOCK:
            return marks.BLOCK
        target = self._targets.get(verdict.target or "")
        if target is None:
            return _BY_HAND
        return target.number if len(key.destination.address) in target.octets else marks.BLOCK

    def _tcp(self, packet: Packet, key: FlowKey, queued: Queued) -> int | None:
        flow = self._first.get(key)
        if flow is not None and not packet.flags & SYN:
            return self._gather(flow, packet, queued)
        verdict = self._gate.judge(key, None)
        was, kept = self._was(queued.mark), marks.kept(queued.mark)
        if not verdict.settled:
            return self._unsettled(verdict, packet, key, queued)
        number = self._number(verdict, key)
        if number == _BY_HAND:
            number = marks.BLOCK if self._proxy is None else self._proxy
        if number == marks.BLOCK:
            return self._blocked_place | kept
        if was is not None and was != number and was != self._proxy:
            self.counters["cannot be moved"] += 1
            return self._blocked | kept
        # What the proxy holds stays with it: it asks the gate itself.
        return self._allow | (number if was is None else was) << 16 | kept

    def _unsettled(
        self, verdict: Verdict, packet: Packet, key: FlowKey, queued: Queued
    ) -> int | None:
        """Let a flow begin whose first octets a rule wants to see, or go on if they were seen."""
        was, kept = self._was(queued.mark), marks.kept(queued.mark)
        if was is not None and (was == self._proxy or not queued.mark & marks.EARLIER):
            return self._allow | was << 16 | kept
        is_first = packet.flags & (SYN | ACK) == SYN
        if is_first and self._proxy is not None:
            return self._allow | self._proxy << 16 | kept
        if not is_first:
            self.counters["first octets unseen"] += 1
            return self._blocked | kept
        if packet.payload:
            # TCP Fast Open (RFC 7413): without an answer the client sends its SYN again, bare.
            self.counters["data in a SYN"] += 1
            return DROP
        self._restart(key, packet.sequence + 1)
        return self._allow | marks.PROVISIONAL | kept

    def _restart(self, key: FlowKey, first: int) -> None:
        known = self._first.get(key)
        if known is not None and known.first != first % (1 << 32):
            self._first.end(key)
            self._give_up(known, "another SYN")
        self._first.begin(key, first, self._clock())
        for flow in self._first.too_many():
            self._give_up(flow, "too many flows await first octets")

    def _gather(self, flow: Gathering, packet: Packet, queued: Queued) -> int | None:
        if not packet.payload:
            return self._allow | marks.PROVISIONAL | marks.kept(queued.mark)
        limits = self._first.limits
        added = flow.add(packet.sequence, packet.payload)
        if added is Added.CONFLICT:
            return self._end(flow, self._blocked, "octets sent twice differ")
        head = bytes(flow.head[: limits.octets])
        if added is Added.NOTHING_NEW or self._gate.wants_more(head):
            if len(flow.held) >= limits.packets or len(flow.head) >= limits.octets:
                return self._end(flow, self._blocked, "first octets undetermined")
            self._first.hold(flow, queued.queue, queued.number)
            for oldest in self._first.too_many():
                self._give_up(oldest, "too many packets held")
            return None
        verdict = self._gate.judge(flow.key, head)
        if verdict.action is Action.ALLOW:
            return self._end(flow, self._allow, "")
        if verdict.action is not Action.BLOCK:
            # The handshake went to the destination itself; a flow cannot be moved after that.
            return self._end(flow, self._blocked, "cannot be moved")
        return self._end(flow, self._blocked, "")

    def _end(self, flow: Gathering, answer: int, why: str) -> int:
        """Answer what was held, and give the answer to the packet at hand."""
        self._first.end(flow.key)
        if why:
            self.counters[why] += 1
        for queue, number in flow.held:
            self._hands.answer(queue, number, answer)
        return answer

    def _give_up(self, flow: Gathering, why: str) -> None:
        self.counters[why] += 1
        for queue, number in flow.held:
            self._hands.answer(queue, number, self._blocked)
