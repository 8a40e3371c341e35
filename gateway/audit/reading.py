"""The audit's loop.  Owns: frames → counted flows; the order of all that looks at a packet.
Knows: wire, the layout of Ethernet, IPv4 and UDP, which nearly all packets have.
Never: files, text, what becomes of a flow that ended."""

from __future__ import annotations

import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from gateway.audit import observers, specimens
from gateway.audit.flows import BARRED, EXPOSED, MAX_FLOWS, AuditedFlow, Side, name_of, oldest
from gateway.audit.judging import Judging
from gateway.audit.packets import Packets, Received
from gateway.audit.parties import Parties, is_local
from gateway.audit.streams import Streams
from gateway.audit.timeline import Timeline
from gateway.evidence.frame import Frame
from gateway.flow.epoch import Epoch
from gateway.flow.guard import LeakGuard, by_value
from gateway.flow.openings import Openings
from gateway.flow.showing import showing
from gateway.model import UNKNOWN, Content, FlowKey, Protocol, Traffic, Transport
from gateway.wire import messages, recognise

_ETHERNET = 1
# From the ethertype on: version and header length, total length, flags and offset, protocol; UDP's
# length.
_PLAIN = struct.Struct(">12xHBxH2xHxB14xH")
_HEADERS_LEN = 42
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
        self._recognise = recognise if recognises else _know_nothing
        self._values, self._guard = epoch.values, LeakGuard()
        self._shown_of_a_kind = sys.maxsize if is_thorough or epoch.values else _SHOWN_OF_A_KIND
        self.packets = Packets()
        self.timeline = Timeline()
        self.specimens = specimens.Specimens(file)
        self.frames = 0
        self.evicted = 0
        """Flows that were handed over early, as too many were open; they may come again."""
        self._judging = Judging(epoch)
        self._streams = Streams()
        self._openings = Openings()
        self._sides: dict[bytes, Side] = {}
        self._ended, self._parties, self._observers = ended, parties, tuple(observers)
        self._max_sides = 2 * max_flows
        self._marks = [0, 0, 0, 0]
        """Packets so far by mark: neither, exposed, barred, both."""

    def read(self, frames: Iterable[Frame]) -> None:
        """Read frames to their end.

        The loop is straight for the plainest packets: UDP over IPv4 over Ethernet, unfragmented,
        of a flow that is known.
        """
        sides, marks, observed = self._sides, self._marks, bool(self._observers)
        recognise, valued, most = self._recognise, self._values is not None, self._shown_of_a_kind
        plain, udp, unread = _PLAIN.unpack_from, Transport.UDP, self.packets.unread
        quic = Protocol.QUIC
        start, end, before = 0.0, 0.0, (0, 0, 0, 0)
        frame_count, side = self.frames, None
        for frame in frames:
            number, time_s, link_type, octets, original_len = frame
            frame_count += 1
            if not start <= time_s < end:
                if frame_count > 1:
                    before = self._step(start, before)
                start, end = self.timeline.bounds(time_s)
            length = len(octets)
            if original_len > length:
                unread.cut_short += 1
                length = original_len
            side = None
            if link_type == _ETHERNET and len(octets) >= _HEADERS_LEN:
                kind, version, total_len, part, protocol, udp_len = plain(octets)
                if (
                    kind == 0x0800
                    and version == 0x45
                    and protocol == 17
                    and not part & 0x3FFF
                    and 8 <= udp_len <= total_len - 20
                ):
                    side = sides.get(octets[26:38])
            if side is None:
                self._read_slowly(frame, length)
                continue
            payload = octets[_HEADERS_LEN : 34 + udp_len]
            flow = side.flow
            content = recognise(udp, payload, flow.key.destination.port)
            if content.protocol is quic:
                content = self._openings.content(flow.key, payload, content)
            tally = side.tally
            if content.protocol is _UNKNOWN or valued:
                content = self._look(side, content, payload, time_s)
            if content is not side.content or tally is None:
                tally = side.tally = self._judging.tally(side, content)
                side.content = content
                if content.plaintext and not tally.packets:
                    self.specimens.take(number, time_s, side, content, payload)
            tally.packets += 1
            tally.octets += length
            side.last_s = time_s
            marks[tally.mark] += 1
            if observed and tally.packets <= most:
                self._show(side, time_s, payload)
        self.frames = frame_count
        self._step(start, before)

    def end(self) -> None:
        """Hand over all flows that are open."""
        for flow in self._flows():
            self._end(flow)
        self._sides.clear()
        self.packets.end()
        self.packets.unread.segments_in_conflict = self._streams.conflicts

    def _step(self, time_s: float, before: tuple[int, ...]) -> tuple[int, int, int, int]:
        """Write into the timeline what was counted since `before`."""
        plain, exposed, barred, both = map(int.__sub__, self._marks, before)
        counts = (plain + exposed + barred + both, exposed + both, barred + both)
        if counts[0]:
            self.timeline.add(time_s, counts)
        return self._marks[0], self._marks[1], self._marks[2], self._marks[3]

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
            self._show(side, frame.time_s, packet.payload)

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
        content = self._recognise(Transport.TCP, head, 0)
        if self._values is not None:
            content = showing(content, self._guard.spot(self._values, side.flow.key, head))
        before = side.tallies.pop(None, None)
        side.tally = self._judging.tally(side, content)
        if before is not None:
            side.tally.packets, side.tally.octets = before.packets, before.octets
            self._marks[before.mark] -= before.packets
            self._marks[side.tally.mark] += before.packets
        told = messages(head) if self._recognise is recognise else ()
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

    def _show(self, side: Side, time_s: float, payload: bytes) -> None:
        if side.flow.is_counted_only:
            return
        protocol = side.content.protocol if side.content is not None else _UNKNOWN
        spoken = None if protocol is _UNKNOWN else protocol
        for observer in self._observers:
            observer.seen(side.flow.key, side.is_client, time_s, payload, spoken)

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
