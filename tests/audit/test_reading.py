"""gateway.audit.reading: packets become flows with messages, identifiers and verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.audit.flows import AuditedFlow
from gateway.audit.specimens import masked
from gateway.evidence.capture import Block
from gateway.evidence.frame import Frame
from gateway.leaks import Seen
from gateway.model import Action, IdentifierKind, Transport
from gateway.wire import recognise
from tests.audit.packets import (
    ACK,
    AMERICAN,
    CHINESE,
    CLIENT,
    FIN,
    SYN,
    audited,
    ethernet,
    frames,
    ip,
    tcp,
    udp,
)
from tests.support.epochs import AUDIO, NOISE, PING

UP, DOWN = (5000, 8000), (8000, 5000)
JOIN_LIKE = b"GET /x?uid=77&token=abc HTTP/1.1\r\nHost: a.example\r\n\r\n"


def verdicts(flow: AuditedFlow) -> set[Action]:
    """Give the actions that were judged."""
    return {one.verdict.action for one in flow.client.tallies.values() if one.verdict}


class DatagramTests(SynchronousTestCase):
    """Datagrams are counted by what they are, and judged."""

    def test_both_directions_are_one_flow(self) -> None:
        """A ping and its answer are one flow, from the private side, whoever is seen first."""
        there, back = udp(PING, CLIENT, CHINESE, UP), udp(PING, CHINESE, CLIENT, DOWN)
        for packets in ([there, back, there], [back, there, there]):
            ((flow,), _) = audited(packets)
            self.assertEqual(str(flow.key), f"udp {CLIENT}:5000 > {CHINESE}:8000")
            self.assertEqual((flow.client.packets, flow.server.packets), (2, 1))
            self.assertEqual(flow.messages(), {"PPing1_v7": 3})
            self.assertEqual(flow.identifiers()[IdentifierKind.USER_ID], 3)
            self.assertEqual(verdicts(flow), {Action.BLOCK})

    def test_bytes_are_those_on_the_wire(self) -> None:
        """What a snap length cut away is counted as bytes, and said to be missing."""
        whole = ethernet(udp(PING, CLIENT, AMERICAN, UP))
        flows: list[AuditedFlow] = []
        _, audit = audited([])
        audit._ended = flows.append
        audit.read([Block.of([Frame(1, 1.0, 1, whole[:60], len(whole))])])
        audit.end()
        self.assertEqual(flows[0].client.octets, len(whole))
        self.assertEqual(audit.packets.unread.cut_short, 1)

    def test_each_message_is_judged(self) -> None:
        """A ping in a flow of media has a verdict of its own."""
        packets = [udp(AUDIO, CLIENT, CHINESE, UP)] * 3 + [udp(PING, CLIENT, CHINESE, UP)]
        ((flow,), _) = audited(packets)
        rules = {
            one.verdict.rule: one.packets for one in flow.client.tallies.values() if one.verdict
        }
        self.assertEqual(rules["never-ping"], 1)
        self.assertEqual(sum(rules.values()), 4)

    def test_local_is_counted_only(self) -> None:
        """What no router forwards has no verdict."""
        ((flow,), _) = audited([udp(NOISE, CLIENT, "224.0.0.251", (5353, 5353))])
        self.assertTrue(flow.is_counted_only)
        self.assertEqual(verdicts(flow), set())

    def test_named_clients(self) -> None:
        """With --client, flows of others are counted only, and the direction is theirs."""
        packets = [udp(PING, AMERICAN, CHINESE, UP), udp(PING, CHINESE, "203.0.113.9", DOWN)]
        (one, other), _ = audited(packets, clients=("198.51.100.0/24",))
        self.assertEqual(one.key.client.host, CHINESE)
        self.assertFalse(other.is_counted_only)
        ((flow,), _) = audited(packets[:1], clients=("203.0.113.0/24",))
        self.assertTrue(flow.is_counted_only)

    def test_bound(self) -> None:
        """More flows than there is room for end early and are said to; no packet is lost."""
        packets = [udp(PING, CLIENT, AMERICAN, (port, 8000)) for port in range(2_000, 2_100)]
        flows, audit = audited(packets, max_flows=8)
        self.assertEqual(sum(flow.client.packets for flow in flows), 100)
        self.assertGreaterEqual(audit.evicted, 80)

    def test_novelty_is_bounded(self) -> None:
        """A flow of endless novelty stays small, and all of it is judged and counted."""
        ask = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\5%05d\7example\2cn\0\0\1\0\1"
        packets = [udp(ask % number, CLIENT, AMERICAN, (5000, 53)) for number in range(600)]
        ((flow,), _) = audited(packets)
        self.assertLess(len(flow.client.tallies), 300)
        self.assertEqual(flow.client.packets, 600)

    def test_fragments(self) -> None:
        """A datagram in fragments is read once it is whole."""
        body = udp(AUDIO, CLIENT, AMERICAN, UP)[20:]
        parts = [
            ip(body[:24], CLIENT, AMERICAN, 17, 0x2000),
            ip(body[24:], CLIENT, AMERICAN, 17, 3),
        ]
        for packets in (parts, parts[::-1]):
            ((flow,), _) = audited(packets)
            self.assertEqual(flow.messages(), {"PAudioData_v3": 1})
        flows, audit = audited(parts[:1])
        self.assertEqual((flows, audit.packets.unread.fragments_missing), ([], 1))

    def test_timeline(self) -> None:
        """Every packet is in the timeline, with what it showed and whether it is blocked."""
        packets = [udp(PING, CLIENT, CHINESE, UP), udp(NOISE, CLIENT, AMERICAN, UP)] * 15
        _, audit = audited(packets)
        sums = [sum(column) for column in zip(*(c for _, c in audit.timeline.steps()), strict=True)]
        self.assertEqual(sums, [30, 15, 15])
        self.assertEqual(len(audit.timeline.steps()), 3)


class StreamTests(SynchronousTestCase):
    """Streams are told by their first octets, in order or not."""

    def segments(self) -> list[bytes]:
        cut = 12
        there = (CLIENT, AMERICAN, (5000, 80))
        return [
            tcp(b"", *there, 99, SYN),
            tcp(JOIN_LIKE[:cut], *there, 100),
            tcp(JOIN_LIKE[cut:30], *there, 100 + cut),
            tcp(JOIN_LIKE[30:], *there, 130),
            tcp(b"", *there, 100 + len(JOIN_LIKE), FIN | ACK),
        ]

    def check(self, packets: list[bytes]) -> None:
        ((flow,), _) = audited(packets)
        self.assertEqual(flow.messages(), {"GET": 1})
        kinds = {IdentifierKind.USER_ID: 1, IdentifierKind.TOKEN: 1}
        self.assertEqual(flow.identifiers(), kinds)
        self.assertEqual(flow.client.packets, len(packets))
        self.assertEqual(verdicts(flow), {Action.WRAP})

    def test_in_order(self) -> None:
        """Segments in order are read together."""
        self.check(self.segments())

    def test_out_of_order(self) -> None:
        """So are segments that came in another order, or twice."""
        syn, one, two, three, end = self.segments()
        self.check([syn, three, two, one, end])
        self.check([syn, two, two, one, one, three, end])

    def test_sequence_wraps(self) -> None:
        """Sequence numbers begin anew behind 2^32."""
        there = (CLIENT, AMERICAN, (5000, 80))
        start = (1 << 32) - 5
        packets = [tcp(b"", *there, start - 1, SYN), tcp(JOIN_LIKE[:20], *there, start)]
        self.check([*packets, tcp(JOIN_LIKE[20:], *there, start + 20)])

    def test_midstream(self) -> None:
        """A stream whose beginning is not in the capture is counted, and whose client is told."""
        packets = [tcp(b"\0" * 10, AMERICAN, CLIENT, (443, 5000), 7)]
        ((flow,), _) = audited(packets)
        self.assertEqual(str(flow.key), f"tcp {CLIENT}:5000 > {AMERICAN}:443")

    def test_frames_are_messages(self) -> None:
        """Frames of the vendor's protocol behind one another are counted one by one."""
        packets = [tcp(PING * 3, CLIENT, CHINESE, UP, 5)]
        ((flow,), _) = audited(packets)
        self.assertEqual(flow.messages(), {"PPing1_v7": 3})
        self.assertEqual(flow.identifiers()[IdentifierKind.ROOM_ID], 3)

    def test_reused_ports(self) -> None:
        """A new SYN on the same ports is a new flow."""
        flows, _ = audited(self.segments() * 2)
        self.assertEqual([flow.client.packets for flow in flows], [5, 5])


class Recorder:
    """Remembers what it saw."""

    reads_streams = True

    def __init__(self) -> None:
        self.saw: list[Seen] = []

    def seen(self, packets: Sequence[Seen]) -> None:
        """Observer API."""
        self.saw += packets

    def findings(self) -> Iterable[Mapping[str, object]]:
        """Observer API."""
        return []


class Datagrams(Recorder):
    """Remembers datagrams alone."""

    reads_streams = False


class ObserverTests(SynchronousTestCase):
    """Others may look too."""

    def test_sees_all(self) -> None:
        """An observer sees each payload with its flow and direction."""
        recorder, datagrams = Recorder(), Datagrams()
        packets = [
            udp(PING, CLIENT, AMERICAN, UP),
            tcp(JOIN_LIKE, CLIENT, AMERICAN, (5000, 80), 7),
            udp(NOISE, AMERICAN, CLIENT, DOWN),
        ]
        audited(packets, observers=(recorder, datagrams))
        seen = [(payload, is_sent, str(to)) for _, to, _, payload, is_sent, _ in recorder.saw]
        first, second = f"{AMERICAN}:8000", f"{AMERICAN}:80"
        expected = [(PING, True, first), (JOIN_LIKE, True, second), (NOISE, False, first)]
        self.assertEqual(seen, expected)
        self.assertEqual(datagrams.saw, [recorder.saw[0], recorder.saw[2]])


class SpecimenTests(SynchronousTestCase):
    """Packets in question are shown without identifiers."""

    def test_masked(self) -> None:
        """Neither where an identifier stands nor where it is repeated is an octet of it shown."""
        payload = JOIN_LIKE.replace(b"abc", b"secret") + b"secret"
        content = recognise(Transport.TCP, payload)
        shown = bytes(octet for octet in masked(payload, content) if octet is not None)
        self.assertNotIn(b"secret", shown)
        self.assertNotIn(b"77", shown)
        self.assertIn(b"a.example", shown)

    def test_one_of_each(self) -> None:
        """The first of each kind is kept."""
        _, audit = audited([udp(PING, CLIENT, AMERICAN, UP)] * 5)
        (one,) = audit.specimens.all()
        self.assertEqual((one.frame, one.message, one.octets[6:14]), (1, "PPing1_v7", (None,) * 8))


class AnyTests(SynchronousTestCase):
    """Whatever stands in a capture, the audit ends."""

    @settings(deadline=None, max_examples=150)
    @given(st.lists(st.tuples(st.sampled_from([0, 1, 101, 113, 276, 9]), st.binary(max_size=90))))
    def test_any_frames(self, made: list[tuple[int, bytes]]) -> None:
        """Any frames are counted, as packets or as unread."""
        _, audit = audited([])
        every = (Frame(at, at * 1e9, link, octets, 0) for at, (link, octets) in enumerate(made))
        audit.read([Block.of(every)])
        audit.end()

    @settings(deadline=None, max_examples=150)
    @given(st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=70)), max_size=6), st.data())
    def test_any_changes(self, changes: list[tuple[int, bytes]], data: st.DataObject) -> None:
        """So are real packets with octets changed."""
        sound = [*StreamTests.segments(StreamTests()), udp(PING, CLIENT, AMERICAN, UP)]
        broken = []
        for at, octets in changes:
            whole = ethernet(data.draw(st.sampled_from(sound)))
            broken.append(whole[:at] + octets + whole[at + len(octets) :])
        _, audit = audited([])
        every = (
            Frame(one.number, one.time_s, 1, octets, len(octets))
            for one, octets in zip(frames(sound * 2), broken, strict=False)
        )
        audit.read([Block.of(every)])
        audit.end()
