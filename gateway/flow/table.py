"""The flow table.  Owns: what was decided for each flow, and how long that is remembered.
Knows: RFC 4787 (mapping timeouts), wire's signatures.  Never: sockets; the clock is handed in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice, takewhile

from gateway.flow.epoch import Epoch
from gateway.flow.flows import Flow, FlowLimits, Judged, Observer, likeness
from gateway.flow.guard import LeakGuard, Turned, by_value, leak_of, leak_of_sweep
from gateway.flow.media import Media, refutes
from gateway.flow.openings import Openings
from gateway.flow.showing import showing
from gateway.model import (
    UNKNOWN,
    Action,
    Content,
    Endpoint,
    Facts,
    FlowKey,
    Identifier,
    Traffic,
    Transport,
    Verdict,
)
from gateway.model import Protocol as Spoken
from gateway.wire import SIGNATURES, signature, wants_more

__all__ = ["Flow", "FlowLimits", "FlowTable", "Judged", "Observer"]

# The vendor's client sends some twenty kinds of message in one flow.  A flow of endless novelty is
# judged datagram by datagram from here on, and no longer written down one by one.
_MAX_CONTENTS = 64
_MAX_FAILURES = 8
_NEVER = -1
"""The number of no epoch."""
_IN_PLAIN = (Action.ALLOW, Action.REROUTE)
# Asked for each datagram that is looked at: an enum's member takes as long as the rest of the line.
_QUIC, _RTP = Spoken.QUIC, Spoken.RTP


class FlowTable:
    """Judges each flow once, and again those of its datagrams whose signature says so."""

    def __init__(
        self,
        epoch: Epoch,
        clock: Callable[[], float],
        limits: FlowLimits,
        observer: Observer,
        guard: LeakGuard | None = None,
    ) -> None:
        """Begin.

        Args:    guard: looks for identifiers by value in flows that were judged, and for probes.
        """
        self._guard = guard
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
        self.on_turned: list[Turned] = []
        """Who carries flows unasked, and must ask again for one whose verdict may be another."""
        self._is_guarded = False
        self.adopt(epoch)

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
        guard = self._guard
        self._is_guarded = guard is not None and (guard.learns or epoch.values is not None)

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
            if flow.is_doubtful and self._is_refuted(flow, payload):
                return self._judge_again(flow, payload, names)
            which = signature(payload)
            if which is not None:
                judged = self._look(flow, which, payload, names)
            elif self._is_guarded:
                judged = self._spotted(flow, payload)
            if self._is_guarded:
                self._sample(flow, judged, payload)
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

    def ask_again(self, client: bytes, destinations: Iterable[bytes]) -> None:
        """Have a client's UDP flows to some addresses judged again with their next datagram."""
        to = frozenset(destinations)
        for key in tuple(self._by_client.get((client, Transport.UDP), ())):
            if key.destination.address in to:
                self._flows[key].epoch = _NEVER
                for turned in self.on_turned:
                    turned(key)

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
        _doubt(flow, payload)
        if self._is_guarded and payload is not None:
            self._show(flow, by_value(judged.facts.content))
            self._sample(flow, judged, payload)
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
            judged = self._judge(flow.key, payload, names, flow.shown)
        flow.epoch = self._epoch.number
        flow.by_content.clear()
        flow.first = judged
        _remember(flow, judged)
        _doubt(flow, payload)
        if self._is_guarded and payload is not None:
            self._show(flow, by_value(judged.facts.content))
        return judged.verdict

    def _is_refuted(self, flow: Flow, payload: bytes) -> bool:
        """Hear what another datagram says of a flow whose first one looked like RTP."""
        assert flow.media is not None
        content = self._opened(flow.key, payload)
        if content.protocol is _RTP:
            flow.is_doubtful = not flow.media.hear(payload)
        return content.protocol is Spoken.UNKNOWN and refutes(payload)

    def _look(self, flow: Flow, which: int, payload: bytes, names: tuple[str, ...]) -> Judged:
        """Judge a datagram of a known flow by its own content, or find what was decided for such.

        What only looks like a message without identifiers, and is none, stays with the flow: its
        first datagram was judged, and encrypted datagrams resemble anything now and then.
        """
        content = self._opened(flow.key, payload)
        first = self._spotted(flow, payload) if self._is_guarded else flow.first
        if content.protocol is Spoken.UNKNOWN and not SIGNATURES[which].carries_identifiers:
            return first
        content = showing(content, flow.shown)
        kind = likeness(content)
        judged = flow.by_content.get(kind)
        if content.protocol is _RTP and not _bears_out(flow, payload):
            # What may be noise is held to the flow's verdict, unless that of RTP lets less pass.
            facts = self._epoch.facts(flow.key, content, names)
            if self._epoch.judge(facts).action is Action.ALLOW:
                return first
        if judged is None:
            facts = self._epoch.facts(flow.key, content, names)
            if len(flow.by_content) >= _MAX_CONTENTS:
                return Judged(facts, self._epoch.judge(facts))
            judged = self._decide(facts, None if flow.shown else payload)
            flow.by_content[kind] = judged
        return judged

    def _judge(
        self,
        key: FlowKey,
        payload: bytes | None,
        names: tuple[str, ...],
        shown: tuple[Identifier, ...] = (),
    ) -> Judged:
        content = None if payload is None else showing(self._content(key, payload), shown)
        facts = self._epoch.facts(key, content, names)
        # What other datagrams showed does not lie in this one.
        judged = self._decide(facts, None if shown else payload)
        if payload is not None:
            judged.packets, judged.octets = 1, len(payload)
        return judged

    def _opened(self, key: FlowKey, payload: bytes) -> Content:
        """Recognise a datagram, if need be with those before it."""
        content = self._epoch.recognised(key, payload)
        if content.protocol is _QUIC:
            return self._openings.content(key, payload, content)
        return content

    def _judge_anew(self, before: Facts, names: tuple[str, ...]) -> Judged:
        """Judge a stream by what it said first, which is not sent again."""
        names += tuple(name for name in before.names if name not in names)
        return self._decide(self._epoch.facts(before.key, before.content, names), None)

    def _content(self, key: FlowKey, payload: bytes) -> Content:
        """Tell what a flow's first datagram is, with what the guard knows."""
        guard = self._guard
        content = self._epoch.with_given(self._opened(key, payload), payload)
        if guard is None or key.transport is not Transport.UDP:
            return content
        if content.protocol is Spoken.UNKNOWN and content.traffic is None:
            swept = guard.sweep(key, payload, self._clock())
            if swept:
                self._observer.leaked(key, leak_of_sweep(swept, payload))
                self.ask_again(key.client.address, swept)
            if swept is not None:
                content = replace(content, traffic=Traffic.PING)
        return guard.of_client(content, key, payload)

    def _spotted(self, flow: Flow, payload: bytes) -> Judged:
        """Look for values in a datagram of a flow that was judged; give the flow's decision, which
        is another if there is one."""
        assert self._guard is not None
        found = self._guard.spot(self._epoch.values, flow.key, payload)
        return self._turn(flow) if found and self._show(flow, found) else flow.first

    def _show(self, flow: Flow, found: tuple[Identifier, ...]) -> bool:
        """Remember what a flow showed; False: nothing of a new kind."""
        known = {one.kind for one in flow.shown}
        new = {one.kind: one for one in found if one.kind not in known}
        if new:
            flow.shown += tuple(new.values())
            self._observer.leaked(flow.key, leak_of(tuple(new.values())))
        return bool(new)

    def _turn(self, flow: Flow) -> Judged:
        """Judge a flow by what it showed since it was judged first."""
        content = showing(flow.first.facts.content or UNKNOWN, flow.shown)
        facts = self._epoch.facts(flow.key, content, flow.first.facts.names)
        flow.first = self._decide(facts, None)
        flow.by_content.clear()
        return flow.first

    def _sample(self, flow: Flow, judged: Judged, payload: bytes) -> None:
        """Have the finder look at what leaves in plaintext."""
        guard = self._guard
        if guard is not None and guard.learns and judged.verdict.action in _IN_PLAIN:
            guard.sample(flow.key, judged.facts.content, payload, flow.last_s)

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


def _doubt(flow: Flow, payload: bytes | None) -> None:
    """Take what looks like RTP for it until another datagram bears it out, or does not."""
    content = flow.first.facts.content
    looks = content is not None and content.protocol is _RTP and payload is not None
    flow.is_doubtful = looks and flow.key.transport is Transport.UDP
    if flow.is_doubtful and payload is not None:
        flow.media = flow.media or Media()
        flow.is_doubtful = not flow.media.hear(payload)


def _bears_out(flow: Flow, payload: bytes) -> bool:
    """Hear a datagram that looks like RTP, in a flow that may have begun otherwise; tell whether it
    is that surely, or as surely as the flow's first datagram."""
    content = flow.first.facts.content
    if content is not None and content.protocol is _RTP:
        return True
    flow.media = flow.media or Media()
    return flow.media.hear(payload)


def _remember(flow: Flow, judged: Judged) -> None:
    """Keep the first datagram's decision for datagrams of the same content."""
    content = judged.facts.content
    if content is not None:
        flow.by_content[likeness(content)] = judged
