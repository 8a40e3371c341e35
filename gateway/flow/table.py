"""The flow table.  Owns: what was decided for each flow, and how long that is remembered.
Knows: RFC 4787 (mapping timeouts), wire's signatures.  Never: sockets; the clock is handed in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Protocol

from gateway.flow.epoch import Epoch
from gateway.flow.openings import Openings
from gateway.model import Action, Content, Endpoint, Facts, FlowKey, Transport, Verdict
from gateway.model import Protocol as Spoken
from gateway.wire import SIGNATURES, signature, wants_more

# The vendor's client sends some twenty kinds of message in one flow.  A flow of endless novelty is
# judged datagram by datagram from here on, and no longer written down one by one.
_MAX_CONTENTS = 64
_MAX_FAILURES = 8
# Asked for each datagram that is looked at: an enum's member takes as long as the rest of the line.
_QUIC = Spoken.QUIC


@dataclass(frozen=True, slots=True)
class FlowLimits:
    """Bounds of the flow table."""

    max_flows: int = 65_536
    """Above it new flows are blocked, unlogged but counted."""
    max_flows_per_client: int = 4_096
    """Of one transport for one client address, so that one client's flood does not shut out the
    others."""
    idle_timeout_s: float = 300.0
    """RFC 4787 REQ-5 asks for at least 120 s and recommends 300."""
    stream_idle_timeout_s: float = 7_440.0
    """Of TCP flows: 2 hours 4 minutes, the least that RFC 5382 REQ-5 allows."""
    evicts: bool = False
    """True: at a bound the client's oldest flow is forgotten and not the new one blocked, for the
    kernel remembers what was decided (router mode)."""


@dataclass(slots=True)
class Judged:
    """One decision and what went under it."""

    facts: Facts
    verdict: Verdict
    packets: int = 0
    octets: int = 0


@dataclass(slots=True)
class Flow:
    """One flow that was judged."""

    key: FlowKey
    epoch: int
    first: Judged
    last_s: float
    """When its last packet was seen, by the table's clock."""
    by_content: dict[Hashable, Judged] = field(default_factory=dict)
    """Decisions for datagrams whose signature asks for a look of their own, by what they were."""
    failures: set[str] = field(default_factory=set)
    """Why its verdict could not be carried out, as far as it was told."""

    def decisions(self) -> Iterator[Judged]:
        """Give the decisions, the first datagram's first."""
        yield self.first
        yield from (judged for judged in self.by_content.values() if judged is not self.first)


class Observer(Protocol):
    """Who is told what the table does."""

    def decided(self, epoch: Epoch, judged: Judged, payload: bytes | None) -> bool:
        """A flow, or a signature within it, was judged.  The payload must not be kept.

        Returns: False if the decision had to be written down and could not be: it is then a block.
        """

    def ended(self, flow: Flow) -> None:
        """A flow was forgotten."""

    def refused(self, key: FlowKey, reason: str) -> None:
        """A new flow met a bound and was blocked unjudged."""

    def not_carried(self, key: FlowKey, verdict: Verdict, reason: str) -> None:
        """A verdict could not be carried out, and was a block: told once a flow and reason."""

    def barred(self, client: Endpoint, name: str, verdict: Verdict) -> None:
        """A name was refused before it was resolved."""


class FlowTable:
    """Judges each flow once, and again those of its datagrams whose signature says so."""

    def __init__(
        self, epoch: Epoch, clock: Callable[[], float], limits: FlowLimits, observer: Observer
    ) -> None:
        self._epoch = epoch
        self._clock = clock
        self._limits = limits
        self._observer = observer
        self._flows: dict[FlowKey, Flow] = {}
        # The same, those first that were silent for longest; streams may be silent for longer.  (A
        # plain dict would look through all that were forgotten to find the first.)
        self._datagrams: OrderedDict[FlowKey, Flow] = OrderedDict()
        self._streams: OrderedDict[FlowKey, Flow] = OrderedDict()
        self._openings = Openings()
        self._by_client: dict[tuple[bytes, Transport], OrderedDict[FlowKey, None]] = {}

    def __len__(self) -> int:
        return len(self._flows)

    def flows(self) -> Iterator[Flow]:
        """Give the flows that are remembered now."""
        return iter(tuple(self._flows.values()))

    @property
    def epoch(self) -> Epoch:
        """The policy in force."""
        return self._epoch

    def adopt(self, epoch: Epoch) -> None:
        """Put another policy into force: every flow is judged anew with its next packet."""
        self._epoch = epoch

    def judge(self, key: FlowKey, payload: bytes | None, names: tuple[str, ...] = ()) -> Verdict:
        """Give the verdict for one packet of a flow.

        Args:    payload: a datagram; of a TCP flow its first octets, or None: those that the table
                 knows, if any.
                 names: what the client asked for, if it asked by name.
        """
        flow = self._flows.get(key)
        if flow is None:
            return self._admit(key, payload, names)
        flow.last_s = self._clock()
        self._silent(key).move_to_end(key)
        judged = flow.first
        known = judged.facts.names
        if (
            flow.epoch != self._epoch.number
            or (payload is not None and not judged.verdict.settled)
            or (names and not set(names).issubset(known))
        ):
            return self._judge_again(flow, payload, names)
        if payload is not None:
            which = signature(payload)
            if which is not None:
                judged = self._look(flow, which, payload, names)
            judged.packets += 1
            judged.octets += len(payload)
        return judged.verdict

    @property
    def epoch_number(self) -> int:
        """The number of the policy in force."""
        return self._epoch.number

    def bars(self, client: Endpoint, name: str) -> Verdict | None:
        """Say whether a name is refused before it is resolved: a query for it tells of it too."""
        verdict = self._epoch.policy.bars(client, (name,))
        if verdict is not None:
            self._observer.barred(client, name, verdict)
        return verdict

    def not_carried(self, key: FlowKey, reason: str) -> None:
        """Take note that a flow's verdict could not be carried out."""
        flow = self._flows.get(key)
        if flow is not None and reason not in flow.failures and len(flow.failures) < _MAX_FAILURES:
            flow.failures.add(reason)
            self._observer.not_carried(key, flow.first.verdict, reason)

    def wants_more(self, first: bytes) -> bool:
        """Say whether a stream's first octets are too few to be recognised."""
        return wants_more(first)

    def begins(self, key: FlowKey) -> None:
        """Learn that a stream begins: what an earlier one of the same key said is not its own."""
        flow = self._flows.get(key)
        if flow is not None and flow.first.facts.content is not None:
            self.forget(key)

    def forget(self, key: FlowKey) -> None:
        """Let a flow go; its next packet is a new flow's."""
        flow = self._flows.pop(key, None)
        if flow is None:
            return
        client = (key.client.address, key.transport)
        of_client = self._by_client[client]
        del of_client[key]
        del self._silent(key)[key]
        self._openings.forget(key)
        if not of_client:
            del self._by_client[client]
        self._observer.ended(flow)

    def expire(self, most: int = 1_000) -> bool:
        """Let flows go that were idle for too long; call it every few seconds.

        Args:    most: so many at a time, so that packets do not wait.
        Returns: whether there are more.
        """
        now_s, limits = self._clock(), self._limits
        idle = _idle(self._datagrams, now_s - limits.idle_timeout_s, most)
        idle += _idle(self._streams, now_s - limits.stream_idle_timeout_s, most)
        for key in idle:
            self.forget(key)
        return len(idle) >= most

    def _admit(self, key: FlowKey, payload: bytes | None, names: tuple[str, ...]) -> Verdict:
        client = (key.client.address, key.transport)
        of_client = self._by_client.get(client)
        limits = self._limits
        if len(self._flows) >= limits.max_flows:
            if not limits.evicts:
                return self._refuse(key, "the flow table is full")
            self.forget(next(iter(of_client or self._datagrams or self._streams)))
        elif of_client is not None and len(of_client) >= limits.max_flows_per_client:
            if not limits.evicts:
                return self._refuse(key, "the client has too many flows")
            self.forget(next(iter(of_client)))
        judged = self._judge(key, payload, names)
        flow = self._flows[key] = Flow(key, self._epoch.number, judged, self._clock())
        self._silent(key)[key] = flow
        if of_client is None or client not in self._by_client:
            of_client = self._by_client[client] = OrderedDict()
        of_client[key] = None
        _remember(flow, judged)
        return judged.verdict

    def _silent(self, key: FlowKey) -> OrderedDict[FlowKey, Flow]:
        return self._streams if key.transport is Transport.TCP else self._datagrams

    def _refuse(self, key: FlowKey, reason: str) -> Verdict:
        self._observer.refused(key, reason)
        return Verdict(Action.BLOCK, "flow-limit", reason, epoch=self._epoch.number)

    def _judge_again(self, flow: Flow, payload: bytes | None, names: tuple[str, ...]) -> Verdict:
        if payload is None:
            judged = self._judge_anew(flow.first.facts, names)
        else:
            judged = self._judge(flow.key, payload, names)
        flow.epoch = self._epoch.number
        flow.by_content.clear()
        flow.first = judged
        _remember(flow, judged)
        return judged.verdict

    def _look(self, flow: Flow, which: int, payload: bytes, names: tuple[str, ...]) -> Judged:
        """Judge a datagram of a known flow by its own content, or find what was decided for such.

        What only looks like a message without identifiers, and is none, stays with the flow: its
        first datagram was judged, and encrypted datagrams resemble anything now and then.
        """
        content = self._epoch.content(flow.key, payload)
        if content.protocol is _QUIC:
            content = self._openings.content(flow.key, payload, content)
        if content.protocol is Spoken.UNKNOWN and not SIGNATURES[which].carries_identifiers:
            return flow.first
        likeness = _likeness(content)
        judged = flow.by_content.get(likeness)
        if judged is None:
            facts = self._epoch.facts(flow.key, content, names)
            if len(flow.by_content) >= _MAX_CONTENTS:
                return Judged(facts, self._epoch.judge(facts))
            judged = flow.by_content[likeness] = self._decide(facts, payload)
        return judged

    def _judge(self, key: FlowKey, payload: bytes | None, names: tuple[str, ...]) -> Judged:
        content = None if payload is None else self._content(key, payload)
        judged = self._decide(self._epoch.facts(key, content, names), payload)
        if payload is not None:
            judged.packets, judged.octets = 1, len(payload)
        return judged

    def _content(self, key: FlowKey, payload: bytes) -> Content:
        content = self._epoch.content(key, payload)
        if content.protocol is _QUIC:
            return self._openings.content(key, payload, content)
        return content

    def _judge_anew(self, before: Facts, names: tuple[str, ...]) -> Judged:
        """Judge a stream by what it said first, which is not sent again."""
        names += tuple(name for name in before.names if name not in names)
        return self._decide(self._epoch.facts(before.key, before.content, names), None)

    def _decide(self, facts: Facts, payload: bytes | None) -> Judged:
        judged = Judged(facts, self._epoch.judge(facts))
        if not self._observer.decided(self._epoch, judged, payload):
            reason = "evidence is required and cannot be written"
            number = self._epoch.number
            judged.verdict = Verdict(Action.BLOCK, "evidence-required", reason, epoch=number)
        return judged


def _idle(flows: OrderedDict[FlowKey, Flow], before_s: float, most: int) -> list[FlowKey]:
    silent = takewhile(lambda flow: flow.last_s < before_s, flows.values())
    return [flow.key for flow in islice(silent, most)]


def _likeness(content: Content) -> Hashable:
    """Give what a policy can tell two datagrams of one flow apart by."""
    found = content.plaintext
    kinds = None if found is None else frozenset(one.kind for one in found)
    return (
        content.protocol,
        content.message,
        content.traffic,
        kinds,
        (content.names, True) if content.hides_name else content.names,
        content.addresses,
    )


def _remember(flow: Flow, judged: Judged) -> None:
    """Keep the first datagram's decision for datagrams of the same content."""
    content = judged.facts.content
    if content is not None:
        flow.by_content[_likeness(content)] = judged
