"""The flow table.  Owns: what was decided for each flow, and how long that is remembered.
Knows: RFC 4787 (mapping timeouts), wire's signatures.  Never: sockets; the clock is handed in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice, takewhile

from gateway.flow.by_client import ByClient
from gateway.flow.discs import Discs
from gateway.flow.epoch import Epoch
from gateway.flow.flows import Flow, FlowLimits, Judged, Observer
from gateway.flow.guard import LeakGuard, Turned, by_value, leak_of, leak_of_sweep
from gateway.flow.media import refutes
from gateway.flow.openings import Openings
from gateway.flow.showing import showing
from gateway.flow.verdicts import Verdicts, likeness
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
from gateway.wire import SIGNATURES, recognise, signature, wants_more

__all__ = ["Flow", "FlowLimits", "FlowTable", "Judged", "Observer"]

# The vendor's client sends some twenty kinds of message in one flow.  A flow of endless novelty is
# judged datagram by datagram from here on, and no longer written down one by one.
_MAX_CONTENTS = 64
_MAX_FAILURES = 8
_NEVER = -1
"""The number of no epoch."""
_IN_PLAIN = (Action.ALLOW, Action.REROUTE)
# Asked for each datagram that is looked at: an enum's member takes as long as the rest of the line.
_QUIC, _RTP, _UNKNOWN = Spoken.QUIC, Spoken.RTP, Spoken.UNKNOWN
_UDP, _TCP = Transport.UDP, Transport.TCP


class FlowTable:
    """Judges each flow once, and again those of its datagrams whose signature says so."""

    def __init__(
        self,
        epoch: Epoch,
        clock: Callable[[], float],
        limits: FlowLimits,
        observer: Observer,
        guard: LeakGuard | None = None,
        discs: Discs | None = None,
    ) -> None:
        """Begin.

        Args:    guard: looks for identifiers by value in flows that were judged, and for probes;
                 discs: what round trips refute.
        """
        self._guard = guard
        self._discs = discs
        self._epoch = epoch
        self._clock = clock
        self._limits = limits
        self._observer = observer
        # Those first that were silent for longest; streams may be silent for longer.  (A plain dict
        # would look through all that were forgotten to find the first.)
        self._datagrams: OrderedDict[FlowKey, Flow] = OrderedDict()
        self._streams: OrderedDict[FlowKey, Flow] = OrderedDict()
        self._openings = Openings()
        self._by_client = ByClient()
        self.on_turned: list[Turned] = []
        """Who carries flows unasked, and must ask again for one whose verdict may be another."""
        self._is_guarded = False
        self.adopt(epoch)

    def __len__(self) -> int:
        return len(self._datagrams) + len(self._streams)

    def flows(self) -> Iterator[Flow]:
        """Give the flows that are remembered now."""
        return iter(tuple(chain(self._datagrams.values(), self._streams.values())))

    @property
    def epoch(self) -> Epoch:
        """The policy in force."""
        return self._epoch

    def adopt(self, epoch: Epoch) -> None:
        """Put another policy into force: every flow is judged anew with its next packet."""
        self._epoch = epoch if self._discs is None else replace(epoch, discs=self._discs)
        self._verdicts = Verdicts(self._epoch)
        guard = self._guard
        self._is_guarded = guard is not None and (guard.learns or epoch.values is not None)

    def judge(self, key: FlowKey, payload: bytes | None, names: tuple[str, ...] = ()) -> Verdict:
        """Give the verdict for one packet of a flow.

        Args:    payload: a datagram; of a TCP flow its first octets, or None: those that the table
                 knows, if any.
                 names: what the client asked for, if it asked by name.
        """
        alike = self._streams if key[0] is _TCP else self._datagrams
        flow = alike.get(key)
        if flow is None:
            return self._admit(key, payload, names)
        flow.last_s = self._clock()
        alike.move_to_end(key)
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
        flow = self._alike(key).get(key)
        if flow is not None and reason not in flow.failures and len(flow.failures) < _MAX_FAILURES:
            flow.failures += (reason,)
            self._observer.not_carried(key, flow.first.verdict, reason)

    def wants_more(self, first: bytes) -> bool:
        """Say whether a stream's first octets are too few to be recognised."""
        return wants_more(first)

    def begins(self, key: FlowKey) -> None:
        """Learn that a stream begins: what an earlier one of the same key said is not its own."""
        flow = self._alike(key).get(key)
        if flow is not None and flow.first.facts.content is not None:
            self.forget(key)

    def ask_again(self, client: bytes, destinations: Iterable[bytes]) -> None:
        """Have a client's UDP flows to some addresses judged again with their next datagram."""
        to = frozenset(destinations)
        for key in self._by_client.of(client, _UDP):
            if key.destination.address in to:
                self._datagrams[key].epoch = _NEVER
                for turned in self.on_turned:
                    turned(key)

    def answered(self, name: str, address: bytes, rtt_s: float) -> None:
        """Take note of a round trip; if it refutes where the address is said to be, its UDP flows
        are judged again with their next datagrams.

        Args:    name: who measured, by its name among the discs' positions.
        """
        discs = self._discs
        if discs is None or not discs.answered(name, address, rtt_s):
            return
        if not discs.refuted(address, self._epoch.atlas.place(address)):
            return
        flows = (key for key in self._datagrams if key.destination.address == address)
        for client in {key.client.address for key in flows}:
            self.ask_again(client, (address,))

    def between_s(self, exit_: str) -> float:
        """Give what a round trip to an exit takes at least, by the positions; 0: not known."""
        return 0.0 if self._discs is None else self._discs.between_s(exit_)

    def forget(self, key: FlowKey) -> None:
        """Let a flow go; its next packet is a new flow's."""
        flow = (self._streams if key[0] is _TCP else self._datagrams).pop(key, None)
        if flow is not None:
            self._by_client.remove(key)
            self._openings.forget(key)
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
        refusal = self._make_room(key)
        if refusal is not None:
            return self._refuse(key, refusal)
        judged = self._judge(key, payload, names)
        flow = Flow(key, self._epoch.number, judged, self._clock())
        (self._streams if key[0] is _TCP else self._datagrams)[key] = flow
        self._by_client.add(key)
        flow.doubt(payload)
        if self._is_guarded and payload is not None:
            self._show(flow, by_value(judged.facts.content))
            self._sample(flow, judged, payload)
        return judged.verdict

    def _make_room(self, key: FlowKey) -> str | None:
        """Make room for a flow; or say why there is none."""
        limits = self._limits
        if len(self._datagrams) + len(self._streams) >= limits.max_flows:
            if not limits.evicts:
                return "the flow table is full"
            self.forget(self._by_client.oldest(key) or next(chain(self._datagrams, self._streams)))
        elif self._by_client.count(key) >= limits.max_flows_per_client:
            oldest = self._by_client.oldest(key)
            if not limits.evicts or oldest is None:
                return "the client has too many flows"
            self.forget(oldest)
        return None

    def _alike(self, key: FlowKey) -> OrderedDict[FlowKey, Flow]:
        return self._streams if key[0] is _TCP else self._datagrams

    def _refuse(self, key: FlowKey, reason: str) -> Verdict:
        self._observer.refused(key, reason)
        return Verdict(Action.BLOCK, "flow-limit", reason, epoch=self._epoch.number)

    def _judge_again(self, flow: Flow, payload: bytes | None, names: tuple[str, ...]) -> Verdict:
        if payload is None:
            judged = self._judge_anew(flow.first.facts, names)
        else:
            judged = self._judge(flow.key, payload, names, flow.shown)
        flow.epoch = self._epoch.number
        flow.by_content = None
        flow.first = judged
        flow.doubt(payload)
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
        if content.protocol is _UNKNOWN and not SIGNATURES[which].carries_identifiers:
            return first
        content = showing(content, flow.shown)
        alike, known = likeness(content), _by_content(flow)
        judged = known.get(alike)
        is_doubtful = content.protocol is _RTP and not flow.bears_out(payload)
        # What may be noise is held to the flow's verdict, unless that of RTP lets less pass.
        if is_doubtful and self._allows(flow.key, content, names):
            return first
        if judged is None:
            judged = self._verdicts.judge(flow.key, content, names)
            if len(known) < _MAX_CONTENTS:
                known[alike] = self._told(judged, None if flow.shown else payload)
        return judged

    def _allows(self, key: FlowKey, content: Content, names: tuple[str, ...]) -> bool:
        return self._verdicts.judge(key, content, names).verdict.action is Action.ALLOW

    def _judge(
        self,
        key: FlowKey,
        payload: bytes | None,
        names: tuple[str, ...],
        shown: tuple[Identifier, ...] = (),
    ) -> Judged:
        content = None if payload is None else self._content(key, payload)
        if shown and content is not None:
            content = showing(content, shown)
        # What other datagrams showed does not lie in this one.
        judged = self._told(self._verdicts.judge(key, content, names), None if shown else payload)
        if payload is not None:
            judged.packets, judged.octets = 1, len(payload)
        return judged

    def _opened(self, key: FlowKey, payload: bytes) -> Content:
        """Recognise a datagram, if need be with those before it."""
        content = recognise(key[0], payload, key[2][1])
        if content.protocol is _QUIC:
            return self._openings.content(key, payload, content)
        return content

    def _judge_anew(self, before: Facts, names: tuple[str, ...]) -> Judged:
        """Judge a stream by what it said first, which is not sent again."""
        names += tuple(name for name in before.names if name not in names)
        return self._told(self._verdicts.judge(before.key, before.content, names), None)

    def _content(self, key: FlowKey, payload: bytes) -> Content:
        """Tell what a flow's first datagram is, with what the guard knows."""
        guard = self._guard
        epoch, content = self._epoch, self._opened(key, payload)
        if epoch.values is not None:
            content = epoch.with_given(content, payload)
        if guard is None or key[0] is not _UDP:
            return content
        if content.protocol is _UNKNOWN and content.traffic is None:
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
        judged = self._verdicts.judge(flow.key, content, flow.first.facts.names)
        flow.first = self._told(judged, None)
        flow.by_content = {}
        return flow.first

    def _sample(self, flow: Flow, judged: Judged, payload: bytes) -> None:
        """Have the finder look at what leaves in plaintext."""
        guard = self._guard
        if guard is not None and guard.learns and judged.verdict.action in _IN_PLAIN:
            guard.sample(flow.key, judged.facts.content, payload, flow.last_s)

    def _told(self, judged: Judged, payload: bytes | None) -> Judged:
        """Tell the observer of a decision, who may have to make it a block."""
        if not self._observer.decided(self._epoch, judged, payload):
            reason = "evidence is required and cannot be written"
            number = self._epoch.number
            judged.verdict = Verdict(Action.BLOCK, "evidence-required", reason, epoch=number)
        return judged


def _idle(flows: OrderedDict[FlowKey, Flow], before_s: float, most: int) -> list[FlowKey]:
    silent = takewhile(lambda flow: flow.last_s < before_s, flows.values())
    return [flow.key for flow in islice(silent, most)]


def _by_content(flow: Flow) -> dict[Hashable, Judged]:
    """Give a flow's decisions by content, the first datagram's to begin with."""
    known = flow.by_content
    if known is None:
        first = flow.first.facts.content
        known = flow.by_content = {} if first is None else {likeness(first): flow.first}
    return known
