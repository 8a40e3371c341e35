"""gateway.audit.plain: the quick way of reading says what the careful one says."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.audit.packets import Packets
from gateway.audit.plain import plain
from gateway.evidence.capture import Block
from gateway.evidence.frame import Frame
from gateway.model import Transport
from gateway.wire import recognise
from gateway.wire.agora_messages import MESSAGES
from tests.audit.packets import ACK, AMERICAN, CLIENT, ethernet, tcp, udp
from tests.support.epochs import AUDIO, NOISE, PING

PORTS = st.sampled_from([0, 53, 5353, 4001, 8000])


@st.composite
def agora(draw: st.DrawFn) -> bytes:
    """Draw what may be a frame of the vendor's: of a tag that there is, of any length, which may be
    told wrongly; with noughts where identifiers stand, or without."""
    svc, uri = draw(st.sampled_from([*MESSAGES, (0, 1), (9, 9)]))
    body = draw(st.binary(max_size=24).map(lambda octets: octets.replace(b"\1", bytes(4))))
    length = 6 + len(body) + draw(st.sampled_from([0, 0, 0, 1]))
    return b"".join(number.to_bytes(2, "little") for number in (length, svc, uri)) + body


PAYLOADS = st.one_of(agora(), st.sampled_from([PING, AUDIO, NOISE, b""]), st.binary(max_size=20))


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """Draw a frame that is plain, or nearly: octets of its headers changed, or its end cut off."""
    ports = draw(PORTS), draw(PORTS)
    packet = udp(draw(PAYLOADS), CLIENT, AMERICAN, ports)
    if draw(st.integers(0, 4)) == 0:
        packet = tcp(b"GET /", CLIENT, AMERICAN, ports, 7, draw(st.sampled_from([ACK, 2])))
    octets = bytearray(ethernet(packet))
    for at, octet in draw(
        st.lists(st.tuples(st.integers(12, 45), st.integers(0, 255)), max_size=1)
    ):
        octets[at % len(octets)] = octet
    captured = draw(st.one_of(st.just(len(octets)), st.integers(0, len(octets))))
    link_type = draw(st.sampled_from([1, 1, 1, 101]))
    return Frame(0, draw(st.floats(0, 1e9)), link_type, bytes(octets[:captured]), len(octets))


class AgreementTests(SynchronousTestCase):
    """There are two ways to read a packet, and one truth."""

    @settings(deadline=None, max_examples=300)
    @given(st.lists(frames(), min_size=1, max_size=6))
    def test_same(self, made: list[Frame]) -> None:
        """Key, payload and content of a plain packet are what the slow way says."""
        block, slow = Block.of(made), Packets()
        rows, cut_short = plain(block, recognises=True)
        self.assertEqual(cut_short, sum(len(one.octets) < one.original_len for one in made))
        for frame, (time_s, length, key, start, end, content) in zip(made, rows, strict=True):
            self.assertEqual((time_s, length), (frame.time_s, frame.original_len))
            if key is None:
                continue
            packet = slow.read(frame)
            assert packet is not None
            self.assertEqual(packet.key, key)
            if packet.transport is Transport.TCP:
                self.assertFalse(packet.flags & 2 or content)
                continue
            self.assertEqual(packet.payload, block.octets[start:end])
            if content is not None:
                port = packet.destination.port
                self.assertIs(content, recognise(Transport.UDP, packet.payload, port))

    def test_known(self) -> None:
        """The vendor's pings and audio are told without asking; other payloads are asked about."""
        payloads = [PING, AUDIO, NOISE]
        made = [
            Frame(1, 0.0, 1, ethernet(udp(one, CLIENT, AMERICAN, (5000, 8000)))) for one in payloads
        ]
        told = [row[5] for row in plain(Block.of(made), recognises=True)[0]]
        self.assertEqual(told[:2], [recognise(Transport.UDP, one) for one in payloads[:2]])
        self.assertIsNone(told[2])
        self.assertEqual([row[5] for row in plain(Block.of(made), recognises=False)[0]], [None] * 3)
