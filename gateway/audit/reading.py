"""The audit's loop.  Owns: frames → counted flows; the order of all that looks at a packet.
Knows: wire.
Never: files, text, what becomes of a flow that ended."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from gateway.audit import observers, specimens
from gateway.audit.flows import BARRED, EXPOSED, MAX_FLOWS, AuditedFlow, Side, name_of, oldest
from gateway.audit.judging import Judging
from gateway.audit.packets import Packets, Received
from gateway.audit.parties import Parties, is_local
from gateway.audit.plain import plain
from gateway.audit.streams import Streams
from gateway.audit.timeline import Timeline
from gateway.evidence.capture import Block
from gateway.evidence.frame import Frame
from gateway.flow.epoch import Epoch
from gateway.flow.guard import LeakGuard, by_value
from gateway.flow.openings import Openings
from gateway.flow.showing import showing
from gateway.leaks import Seen
from gateway.model import UNKNOWN, Content, FlowKey, Protocol, Traffic, Transport
from gateway.wire import messages, recognise

_SYN, _SYN_ACK = 2, 18
_SHOWN_OF_A_KIND = 1_024
_EARLY = 16
_UNKNOWN = Protocol.UNKNOWN
_PROBE = Content(_UNKNOWN, traffic=Traffic.PING)
"""One of a sweep."""
Ended = Callable[[AuditedFlow], None]


def _know_nothing(transport: Transport, payload: bytes, port: int = 0) -> Content:
    """Recognise nothing."""
    return UNKNOWN


class Audit:
    """Reads frames, and hands over each flow when it is counted."""

    def __init__(
        self,
        epoch: Epoch,
        ended: Ended,
        *,
        parties: Parties,
        observers: Sequence[observers.Observer] = (),
        max_flows: int = MAX_FLOWS,
        file: Callable[[], str] = str,
        recognises: bool = True,
        is_thorough: bool = False,
    ) -> None:
        """Begin.

        Args:    ended: takes each flow once, when nothing more is counted in it.
                 max_flows: above it the flows that were silent longest end early.
                 file: gives the name of the file that is read now.
                 recognises: False: no protocol is known, so that only observers find something.
                 is_thorough: show observers every packet; False: the first thousand of each kind of
                 message of a side, which repeat themselves.
        """
        self._recognises = recognises
        self._recognise = recognise if recognises else _know_nothing
        self._values, self._guard = epoch.values, LeakGuard()
        self._shown_of_a_kind = sys.maxsize if is_thorough or epoch.values else _SHOWN_OF_A_KIND
        self.packets = Packets()
        self.timeline = Timeline()
        self.specimens = specimens.Specimens(file)
        self.frames = 0
        self.evicted = 0
        """Flows that were handed over early, as too many were open; they may come again."""
        self._datagrams: list[Seen] = []
        """For the observers."""
        self._segments: list[tuple[int, Seen]] = []
        """Likewise, of streams: behind how many datagrams each came."""
        self._judging = Judging(epoch)
        self._streams = Streams()
        self._openings = Openings()
        self._sides: dict[bytes, Side] = {}
        self._ended, self._parties, self._observers = ended, parties, tuple(observers)
        self._shows_segments = any(one.reads_streams for one in observers)
        self._max_sides = 2 * max_flows
        self._marks = [0, 0, 0, 0]
        """Packets so far by mark: neither, exposed, barred, both."""
        self._before: tuple[int, ...] = (0, 0, 0, 0)
        self._bounds = 0.0, 0.0
        """The step of the timeline that is counted in; before the first frame none."""

    def read(self, blocks: Iterable[Block]) -> None:
        """Read blocks of frames to their end.

        The loop is straight for the plainest packets of a flow that is known.
        """
        for block in blocks:
            if block.rows:
                self._read_block(block)
        self._step()

    def _read_block(self, block: Block) -> None:
        sides, marks, observed = self._sides, self._marks, bool(self._observers)
        datagrams, segments = self._datagrams, self._shows_segments
        recognise, valued, most = self._recognise, self._values is not None, self._shown_of_a_kind
        udp, quic, octets = Transport.UDP, Protocol.QUIC, block.octets
        rows, cut_short = plain(block, recognises=self._recognises and not valued)
        self.packets.unread.cut_short += cut_short
        self.frames += len(block.rows)
        start_s, end_s = self._bounds
        for which, (time_s, length, key, start, end, content) in enumerate(rows):
            if not start_s <= time_s < end_s:
                start_s, end_s = self._step(time_s)
            side = sides.get(key) if key is not None else None
            if side is None or (side.flow.is_stream and (segments or not side.is_told)):
                self._read_slowly(block.frame(which), length)
                continue
            if side.flow.is_stream:
                # A segment behind the first octets, which is only counted.
                tally = side.tally
                assert tally is not None
                tally.packets += 1
                tally.octets += length
                side.last_s = time_s
                marks[tally.mark] += 1
                continue
            if content is None:
                payload = octets[start:end]
                content = recognise(udp, payload, side.flow.key.destination.port)
                if content.protocol is quic:
                    content = self._openings.content(side.flow.key, payload, content)
                if content.protocol is _UNKNOWN or valued:
                    content = self._look(side, content, payload, time_s)
            tally = side.tally
            if content is not side.content or tally is None:
                tally = side.tally = self._judging.tally(side, content)
                side.content = content
                if content.plaintext and not tally.packets:
                    number = block.first + which
                    self.specimens.take(number, time_s, side, content, octets[start:end])
            tally.packets += 1
            tally.octets += length
            side.last_s = time_s
            marks[tally.mark] += 1
            if observed and tally.packets <= most and side.shown is not None:
                spoken = content.protocol
                datagrams.append(
                    (
                        *side.shown,
                        time_s,
                        octets[start:end],
                        side.is_client,
                        None if spoken is _UNKNOWN else spoken,
                    )
                )
        self._show()

    def end(self) -> None:
        """Hand over all flows that are open."""
        for flow in self._flows():
            self._end(flow)
        self._sides.clear()
        self.packets.end()
        self.packets.unread.segments_in_conflict = self._streams.conflicts

    def _step(self, time_s: float = 0.0) -> tuple[float, float]:
        """Write into the timeline what was counted in its last step; give the bounds of the step
        of a time."""
        plain, exposed, barred, both = map(int.__sub__, self._marks, self._before)
        counts = (plain + exposed + barred + both, exposed + both, barred + both)
        if counts[0]:
            self.timeline.add(self._bounds[0], counts)
        self._before = tuple(self._marks)
        self._bounds = self.timeline.bounds(time_s)
        return self._bounds

    def _read_slowly(self, frame: Frame, length: int) -> None:
        """Read any frame."""
        packet = self.packets.read(frame)
        if packet is None:
            return
        side = self._sides.get(packet.key)
        is_again = packet.flags & _SYN_ACK == _SYN and side is not None and side.is_told
        if side is not None and is_again:
            self._drop(side.flow)
            side = None
        if side is None:
            side = self._begin(packet, frame.time_s)
        if packet.transport is Transport.TCP:
            self._count_segment(side, packet, frame)
        else:
            self._count_message(side, packet, frame)
        tally = side.tally
        assert tally is not None
        tally.packets += 1
        tally.octets += length
        side.last_s = frame.time_s
        self._marks[tally.mark] += 1
        if self._observers and packet.payload and tally.packets <= self._shown_of_a_kind:
            self._keep(side, packet, frame.time_s)

    def _begin(self, packet: Received, time_s: float) -> Side:
        if len(self._sides) >= self._max_sides:
            self._make_room()
        is_client = self._parties.sender_is_client(packet.source, packet.destination, packet.flags)
        ends, keys = (packet.source, packet.destination), (packet.key, packet.answer_key)
        if is_client is False:
            ends, keys = (ends[1], ends[0]), (keys[1], keys[0])
        key = FlowKey(packet.transport, *ends)
        is_counted_only = is_client is None or is_local(key.destination.address)
        flow = AuditedFlow(key, time_s, is_counted_only, keys)
        # A datagram to oneself has one key for both directions.
        self._sides[keys[1]], self._sides[keys[0]] = flow.server, flow.client
        return self._sides[packet.key]

    def _count_message(self, side: Side, packet: Received, frame: Frame) -> None:
        port = side.flow.key.destination.port
        content = self._recognise(packet.transport, packet.payload, port)
        if content.protocol is Protocol.QUIC:
            content = self._openings.content(side.flow.key, packet.payload, content)
        content = self._look(side, content, packet.payload, frame.time_s)
        side.tally, side.content = self._judging.tally(side, content), content
        if content.plaintext and not side.tally.packets:
            self.specimens.take(frame.number, frame.time_s, side, content, packet.payload)

    def _count_segment(self, side: Side, packet: Received, frame: Frame) -> None:
        if side.tally is None:
            side.tally = self._judging.tally(side, None)
        if not side.is_told:
            told = self._streams.add(side, packet.flags, packet.sequence, packet.payload)
            for one, head in told:
                self._tell(one, head, frame)

    def _tell(self, side: Side, head: bytes, frame: Frame | None) -> None:
        """Recognise a stream's first octets; what was counted before them is counted with them."""
        side.is_told = True
        if not head:
            return
        content = alone = self._recognise(Transport.TCP, head, 0)
        if self._values is not None:
            content = showing(content, self._guard.spot(self._values, side.flow.key, head))
        before = side.tallies.pop(None, None)
        side.tally = self._judging.tally(side, content)
        if before is not None:
            side.tally.packets, side.tally.octets = before.packets, before.octets
            self._marks[before.mark] -= before.packets
            self._marks[side.tally.mark] += before.packets
        told = messages(head) if alone.protocol is Protocol.AGORA else (alone,)
        if not self._recognises:
            told = ()
        side.messages = Counter(map(name_of, told))
        side.identifiers = Counter(one.kind for each in told for one in each.plaintext or ())
        side.identifiers.update(one.kind for one in by_value(content))
        if content.plaintext and frame is not None:
            self.specimens.take(frame.number, frame.time_s, side, content, head)

    def _look(self, side: Side, content: Content, payload: bytes, time_s: float) -> Content:
        """Add what is found by value, and tell probes of unknown protocols, as a gateway does: by
        a flow's first datagrams."""
        key = side.flow.key
        if self._values is not None:
            content = showing(content, self._guard.spot(self._values, key, payload))
        if content.protocol is not _UNKNOWN or content.traffic is not None or content.plaintext:
            return content
        if side.content is _PROBE:
            return _PROBE
        is_early = side.tally is None or side.tally.packets < _EARLY
        if not is_early or not side.is_client or side.flow.is_counted_only:
            return content
        return content if self._guard.sweep(key, payload, time_s) is None else _PROBE

    def _keep(self, side: Side, packet: Received, time_s: float) -> None:
        """Keep a packet for the observers."""
        if side.shown is not None:
            spoken = side.content.protocol if side.content is not None else _UNKNOWN
            seen = (
                *side.shown,
                time_s,
                packet.payload,
                side.is_client,
                None if spoken is _UNKNOWN else spoken,
            )
            if packet.transport is not Transport.UDP:
                self._segments.append((len(self._datagrams), seen))
            else:
                self._datagrams.append(seen)

    def _show(self) -> None:
        """Show the observers what was kept."""
        datagrams, every = self._datagrams, self._datagrams
        if self._segments:
            every = list(datagrams)
            for at, seen in reversed(self._segments):
                every.insert(at, seen)
        for observer in self._observers:
            observer.seen(every if observer.reads_streams else datagrams)
        self._datagrams.clear()
        self._segments.clear()

    def _flows(self) -> list[AuditedFlow]:
        return [side.flow for side in self._sides.values() if side.is_client]

    def _make_room(self) -> None:
        """Hand over the flows that were silent longest, one in eight."""
        flows = self._flows()
        for flow in oldest(iter(flows), max(1, len(flows) // 8)):
            self._drop(flow)
            self.evicted += 1

    def _drop(self, flow: AuditedFlow) -> None:
        for key in flow.keys:
            self._sides.pop(key, None)
        self._end(flow)

    def _end(self, flow: AuditedFlow) -> None:
        for side in (flow.client, flow.server):
            head = self._streams.end(side)
            if head and not side.is_told:
                self._tell(side, head, None)
        self._ended(flow)
        # Sides and flow hold each other: untied, they are gone at once, and memory stays flat.
        del flow.client.flow, flow.server.flow


assert EXPOSED | BARRED == 3  # the four counters of Audit._marks
