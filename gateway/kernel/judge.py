"""The judge of queued packets.  Owns: a verdict → the answer that the kernel carries out.
Knows: the marks; RFC 9293's SYN.  Never: deciding (the gate does), sockets, nft."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.kernel import datagram, marks
from gateway.kernel.datagram import ACK, SYN, Packet
from gateway.kernel.first_octets import Added, FirstOctets, FirstOctetsLimits, Gathering
from gateway.kernel.queue_messages import DROP, Queued
from gateway.model import Action, Endpoint, FlowKey, Transport, Verdict


class Gate(Protocol):
    """Who decides.  It always answers: doubt is a block, never an exception."""

    def judge(self, key: FlowKey, payload: bytes | None, names: tuple[str, ...] = ()) -> Verdict:
        """Judge a datagram; or a stream: by None before its first octets, then by these, and later
        by None again, which means what it said first."""

    def wants_more(self, first: bytes) -> bool:
        """Say whether a stream's first octets are too few to be recognised."""

    def begins(self, key: FlowKey) -> None:
        """Learn that a stream begins: what an earlier one of the same key said is not its own."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a verdict's target is in the kernel."""

    number: int
    octets: frozenset[int] = frozenset((4, 16))
    """The families it can carry; what it cannot is blocked."""
    carries_all: bool = False
    """True: every protocol of IP; False: UDP and TCP."""


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
    turned: Callable[[], object] = lambda: None
    """Learn that a UDP flow which the kernel let go shall go so no more, before the kernel does."""


TLS_PORTS = frozenset((443, 465, 853, 989, 990, 993, 995, 5061, 5223, 8883))
"""Where clients speak TLS from the first octet (IANA): what they say names nobody but the server,
so their flows mostly turn out to be allowed or blocked, which the kernel can do, and hardly ever to
be carried otherwise, which only the local proxy can."""


@dataclass(frozen=True, slots=True)
class _Decided:
    """A stream that went straight and was decided: what else of it was asked about meanwhile gets
    the same answer, if it says nothing else."""

    first: int
    head: bytes
    answer: int

    def agrees(self, packet: Packet) -> bool:
        """Say whether a segment repeats what was decided by, where it overlaps it."""
        at = (packet.sequence - self.first) % (1 << 32)
        if at >= 1 << 31:
            return False
        overlap = packet.payload[: max(0, len(self.head) - at)]
        return self.head[at : at + len(overlap)] == overlap


# Asked for each packet, and an enum's member takes long.
_UDP, _TCP, _ALLOW, _BLOCK = Transport.UDP, Transport.TCP, Action.ALLOW, Action.BLOCK
# What stands for a target that only `Hands.carry` reaches.
_BY_HAND = -1
_EPOCH, _KEPT = marks.EPOCH_MASK, marks.kept(0xFFFFFFFF)
_MAX_MOVED = 4_096
_MAX_DECIDED = 8_192


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
        straight_ports: frozenset[int] = TLS_PORTS,
        limits: FirstOctetsLimits | None = None,
    ) -> None:
        """Begin in an epoch of the marks (1..255).

        Args:    targets: relays and interface exits by the names that verdicts use.
                 proxy: the local proxy's target; TCP flows that cannot be decided by address go
                 there, but for those to `straight_ports`; None: all go straight.  A flow that goes
                 straight is watched until its first octets are there; if it is then to be carried
                 otherwise it is reset, and the client's next try goes to the proxy.
        """
        self.counters: Counter[str] = Counter()
        self._gate, self._hands, self._clock = gate, hands, clock
        self._targets, self._proxy = targets, proxy
        self._straight_ports = straight_ports
        self._moved: OrderedDict[Endpoint, None] = OrderedDict()
        self._first = FirstOctets(limits or FirstOctetsLimits())
        self._decided: OrderedDict[FlowKey, _Decided] = OrderedDict()
        self._allow = 0
        self.adopt(epoch)

    def adopt(self, epoch: int) -> None:
        """Go over to another epoch, after the rules did: a mark of the old one does not pass."""
        self.epoch = epoch
        self._allow = marks.mark(epoch, marks.DIRECT, marks.ANSWER)
        self._reset = marks.mark(epoch, marks.REFUSE, marks.ANSWER)
        self._blocks = {
            (False, None): marks.mark(epoch, marks.BLOCK, marks.ANSWER),
            (False, "refuse"): self._reset,
            (True, None): marks.mark(epoch, marks.BLOCK_PLACE, marks.ANSWER),
            (True, "refuse"): marks.mark(epoch, marks.REFUSE_PLACE, marks.ANSWER),
        }

    def judge(self, queued: Queued) -> int | None:
        """Answer one packet; None: it is held, and `Hands.answer` gets its answer."""
        packet = datagram.read(queued.octets)
        if packet is None:
            # What the copy has cut short cannot be read whole, and what cannot be read is blocked.
            self.counters["cut" if queued.is_cut else "malformed"] += 1
            return DROP
        key = packet.key
        if key[0] is _UDP:
            verdict = self._gate.judge(key, packet.payload)
            mark = queued.mark
            if verdict.action is _ALLOW and not mark & (_EPOCH | marks.EARLIER):
                return self._allow | mark & _KEPT  # nearly all: a new flow, and it may go
            return self._udp(verdict, key, packet.payload, mark)
        if key[0] is _TCP:
            return self._tcp(packet, key, queued)
        return self._other(self._gate.judge(key, packet.payload), key, queued.mark)

    @property
    def held(self) -> int:
        """Packets that wait for their answer."""
        return self._first.held

    def expire(self) -> None:
        """Block the TCP flows that say too little for too long; call it every second."""
        for flow in self._first.too_old(self._clock()):
            self._give_up(flow, "first octets too late")

    def _udp(self, verdict: Verdict, key: FlowKey, payload: bytes, asked: int) -> int:
        number = self._number(verdict, key)
        was = self._was(asked)
        if was is not None and was != number and not asked & (marks.CONTENT | marks.EARLIER):
            self._hands.turned()
        if number == marks.BLOCK:
            if was is not None and asked & marks.CONTENT:
                return DROP  # this datagram, and not its flow
            return self._block(verdict) | marks.kept(asked)
        if number == _BY_HAND or (was is not None and was != number and asked & marks.CONTENT):
            if was is not None and not asked & (marks.CONTENT | marks.EARLIER):
                # A spot check turned the flow: the kernel must let no more of it pass.
                self.counters["turned"] += 1
                self._hands.forget(key)
            self._hands.carry(key, payload, verdict)
            return DROP
        if was is not None and was != number:
            self.counters["moved"] += 1
            self._hands.forget(key)
            return DROP
        return self._allow | number << 16 | marks.kept(asked)

    def _other(self, verdict: Verdict, key: FlowKey, asked: int) -> int:
        """Answer what has no ports: allowed, by an interface, or not at all."""
        number, was = self._number(verdict, key), self._was(asked)
        if number in (marks.BLOCK, _BY_HAND) or (was is not None and was != number):
            return self._block(verdict) | marks.kept(asked)
        return self._allow | number << 16 | marks.kept(asked)

    def _block(self, verdict: Verdict, *, place: bool = False) -> int:
        """Give a block's answer: of the flow, or of the place; as the policy says, or, where a
        verdict that is none cannot be carried out, in silence."""
        how = verdict.target if verdict.action is _BLOCK else None
        return self._blocks[place, how]

    def _was(self, asked: int) -> int | None:
        """Give where the flow has gone until now; None: it is new."""
        if asked & marks.EARLIER or marks.epoch_of(asked) == self.epoch:
            return marks.target_of(asked)
        return None

    def _number(self, verdict: Verdict, key: FlowKey) -> int:
        """Give the target number that carries a verdict out, or _BY_HAND."""
        if verdict.action is _ALLOW:
            return marks.DIRECT
        if verdict.action is _BLOCK:
            return marks.BLOCK
        target = self._targets.get(verdict.target or "")
        if target is None:
            return _BY_HAND
        if len(key.destination.address) not in target.octets:
            return marks.BLOCK
        is_carried = target.carries_all or key.transport in (_UDP, _TCP)
        return target.number if is_carried else marks.BLOCK

    def _tcp(self, packet: Packet, key: FlowKey, queued: Queued) -> int | None:
        flow = self._first.get(key)
        if flow is not None and not packet.flags & SYN:
            return self._gather(flow, packet, queued)
        was, kept = self._was(queued.mark), marks.kept(queued.mark)
        is_awaited = queued.mark & marks.PROVISIONAL or self._is_of_decided(key, packet)
        if was is None and is_awaited and not packet.flags & SYN:
            return self._decided_already(key, packet) | kept
        if was is None:
            self._gate.begins(key)  # a stream that the kernel does not know is not the one before
            self._decided.pop(key, None)
        verdict = self._gate.judge(key, None)
        if not verdict.settled:
            return self._unsettled(verdict, packet, key, queued)
        number = self._number(verdict, key)
        if number == _BY_HAND:
            number = marks.BLOCK if self._proxy is None else self._proxy
        if number == marks.BLOCK:
            # A flow that was up is told so: silence would keep its client waiting for minutes.
            return (self._block(verdict, place=True) if was is None else self._reset) | kept
        if was is not None and was != number and was != self._proxy:
            self.counters["cannot be moved"] += 1
            return self._reset | kept
        # What the proxy holds stays with it: it asks the gate itself.
        return self._allow | (number if was is None else was) << 16 | kept

    def _is_of_decided(self, key: FlowKey, packet: Packet) -> bool:
        """Say whether a packet is of a stream that was decided just now, though the kernel takes it
        for new: it was on its way here when the epoch changed."""
        decided = self._decided.get(key)
        return decided is not None and decided.agrees(packet)

    def _decided_already(self, key: FlowKey, packet: Packet) -> int:
        """Answer what was asked about while the stream's first octets were judged."""
        decided = self._decided.get(key)
        if decided is None or not decided.agrees(packet):
            self.counters["first octets unseen" if decided is None else "octets differ"] += 1
            return self._reset
        if decided.answer >> 24 == self.epoch:
            return decided.answer
        return self._decided_again(key)

    def _decided_again(self, key: FlowKey) -> int:
        """Judge by the policy that came into force meanwhile."""
        is_allowed = self._gate.judge(key, None).action is _ALLOW
        return self._allow if is_allowed else self._reset

    def _unsettled(
        self, verdict: Verdict, packet: Packet, key: FlowKey, queued: Queued
    ) -> int | None:
        """Let a flow begin whose first octets a rule wants to see, or go on if they were seen."""
        was, kept = self._was(queued.mark), marks.kept(queued.mark)
        if was is not None and (was == self._proxy or not queued.mark & marks.EARLIER):
            return self._allow | was << 16 | kept
        if packet.flags & (SYN | ACK) != SYN:
            self.counters["first octets unseen"] += 1
            return self._reset | kept
        if self._proxy is not None and not self._goes_straight(key.destination):
            return self._allow | self._proxy << 16 | kept
        if packet.payload:
            # TCP Fast Open (RFC 7413): without an answer the client sends its SYN again, bare.
            self.counters["data in a SYN"] += 1
            return DROP
        self._restart(key, packet.sequence + 1)
        return self._allow | marks.PROVISIONAL | kept

    def _goes_straight(self, destination: Endpoint) -> bool:
        return destination.port in self._straight_ports and destination not in self._moved

    def _restart(self, key: FlowKey, first: int) -> None:
        known = self._first.get(key)
        if known is not None and known.first != first % (1 << 32):
            self._first.end(key)
            self._give_up(known, "another SYN")
        self._first.begin(key, first, self._clock())
        for flow in self._first.too_many():
            self._give_up(flow, "too many flows await first octets")

    def _gather(self, flow: Gathering, packet: Packet, queued: Queued) -> int | None:
        kept = marks.kept(queued.mark)
        if not packet.payload:
            return self._allow | marks.PROVISIONAL | kept
        limits = self._first.limits
        added = flow.add(packet.sequence, packet.payload)
        if added is Added.CONFLICT:
            return self._end(flow, self._reset, "octets sent twice differ") | kept
        head = bytes(flow.head[: limits.octets])
        if added is Added.NOTHING_NEW or self._gate.wants_more(head):
            if len(flow.held) >= limits.packets or len(flow.head) >= limits.octets:
                return self._end(flow, self._reset, "first octets undetermined") | kept
            self._first.hold(flow, queued.queue, queued.number, kept)
            for oldest in self._first.too_many():
                self._give_up(oldest, "too many packets held")
            return None
        return self._decide(flow, self._gate.judge(flow.key, head)) | kept

    def _decide(self, flow: Gathering, verdict: Verdict) -> int:
        if verdict.action is _ALLOW:
            return self._end(flow, self._allow, "")
        if verdict.action is _BLOCK:
            return self._end(flow, self._block(verdict), "")
        # The handshake went to the destination itself, and a flow cannot be moved after that.
        self._moved[flow.key.destination] = None
        if len(self._moved) > _MAX_MOVED:
            self._moved.popitem(last=False)
        return self._end(flow, self._reset, "cannot be moved")

    def _end(self, flow: Gathering, answer: int, why: str) -> int:
        """Answer what was held, and give the answer to the packet at hand."""
        self._first.end(flow.key)
        self._decided[flow.key] = _Decided(flow.first, bytes(flow.head), answer)
        if len(self._decided) > _MAX_DECIDED:
            self._decided.popitem(last=False)
        if why:
            self.counters[why] += 1
        for queue, number, kept in flow.held:
            self._hands.answer(queue, number, answer | kept)
        return answer

    def _give_up(self, flow: Gathering, why: str) -> None:
        self.counters[why] += 1
        for queue, number, kept in flow.held:
            self._hands.answer(queue, number, self._reset | kept)
