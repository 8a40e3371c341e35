"""The quick way of packets is held against aioquic's own: the same arrives, at less cost."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from random import Random

from aioquic._buffer import Buffer
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, DatagramFrameReceived, StreamDataReceived
from aioquic.quic.packet import QuicErrorCode, pull_quic_header
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream
from aioquic.tls import Epoch
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.tunnel.credentials import Transfer, configuration
from gateway.tunnel.padding import SIZES
from gateway.tunnel.quic import Bounds, Connection
from tests.support.rows import rows
from tests.tunnel.world import credentials, reactor

_CLIENT, _SERVER = ("192.0.2.1", 1), ("192.0.2.2", 2)
_STEP_S = 0.001


class Counting(Connection):
    """Counts how many streams packets are asked about."""

    asked = 0

    def _write_stream_limits(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream
    ) -> None:
        self.asked += 1
        super()._write_stream_limits(builder, space, stream)


class End:
    """One end of a connection, and what came out of it."""

    def __init__(self, connection: QuicConnection, peer: tuple[str, int]) -> None:
        self.connection = connection
        self.peer = peer
        self.datagrams: list[bytes] = []
        self.streams: dict[int, bytes] = {}
        self.packets: list[bytes] = []
        """Those that it sent."""
        self.end: ConnectionTerminated | None = None

    def take(self) -> None:
        """Take events."""
        while (event := self.connection.next_event()) is not None:
            match event:
                case DatagramFrameReceived():
                    self.datagrams.append(event.data)
                case StreamDataReceived():
                    before = self.streams.get(event.stream_id, b"")
                    self.streams[event.stream_id] = before + event.data
                case ConnectionTerminated():
                    self.end = event


class Pair:
    """Two connected ends in memory, on a path that may lose and reorder."""

    def __init__(self, ours: str = "both", chance: Callable[[], float] = lambda: 1.0) -> None:
        """Connect.

        Args:    ours: which end is our connection and not aioquic's: client, server or both.
        """
        self.now = reactor.seconds()  # certificates have a time
        self._ours = ours
        quic = configuration(credentials("gateway"), Transfer(), server_name="127.0.0.1")
        made = Counting(quic, Bounds()) if ours != "server" else QuicConnection(configuration=quic)
        self.client = End(made, _SERVER)
        made.connect(_SERVER, now=self.now)
        self._first = made.datagrams_to_send(now=self.now)
        self._chance: Callable[[], float] = lambda: 1.0
        self.run(40)
        self._chance = chance

    @cached_property
    def server(self) -> End:
        """The other end, made when the first packet is there."""
        header = pull_quic_header(Buffer(data=self._first[0][0]), 8)
        quic = configuration(credentials("exit"), Transfer())
        cid = header.destination_cid
        if self._ours == "client":
            made = QuicConnection(configuration=quic, original_destination_connection_id=cid)
        else:
            made = Counting(quic, Bounds(), cid)
        end = End(made, _CLIENT)
        for data, _ in self._first:
            made.receive_datagram(data, _CLIENT, now=self.now)
        return end

    def run(self, steps: int) -> None:
        """Let time pass, a millisecond a step; packets take one."""
        for _ in range(steps):
            self.now += _STEP_S
            flying = [(self.server, self._out(self.client)), (self.client, self._out(self.server))]
            for end, packets in flying:
                for data in packets:
                    sender = _CLIENT if end is self.server else _SERVER
                    end.connection.receive_datagram(data, sender, now=self.now)
                end.take()

    def runs_until(self, condition: Callable[[], bool]) -> bool:
        """Let time pass until something is so; say whether it is, after 20 s at most."""
        for _ in range(200):
            if condition():
                return True
            self.run(100)
        return condition()

    def _out(self, end: End) -> list[bytes]:
        due = end.connection.get_timer()
        if due is not None and due <= self.now:
            end.connection.handle_timer(now=self.now)
            end.take()
        sent = [data for data, _ in end.connection.datagrams_to_send(now=self.now)]
        end.packets += sent
        kept = [data for data in sent if self._chance() >= 0.15]
        return kept[::-1] if self._chance() < 0.3 else kept


def lengths(end: End) -> dict[int, int]:
    """Give the octets that came, by stream."""
    return {stream: len(data) for stream, data in end.streams.items()}


def counting(end: End) -> Counting:
    """Give an end's connection, which is ours."""
    assert isinstance(end.connection, Counting)
    return end.connection


@rows(
    all_arrives={
        "our client, aioquic's server": ("client",),
        "aioquic's client, our server": ("server",),
        "ours at both ends": ("both",),
    },
    malformed={
        "a length beyond the packet": (b"\x31\x40\xff" + bytes(20),),
        "a length cut off": (b"\x31\x01a\x31\x40",),
        "a frame that nobody knows behind a good one": (b"\x31\x01a\x3f" + bytes(30),),
    },
)
class QuickTests(SynchronousTestCase):
    """Two ends, of which one at least is ours."""

    def check_all_arrives(self, ours: str) -> None:
        """Datagrams of any length arrive once and in order, with streams beside them."""
        pair, chance = Pair(ours), Random(5)
        sent: list[list[bytes]] = [[], []]
        stream = pair.client.connection.get_next_available_stream_id()
        for number in range(300):
            for end, mine in zip((pair.client, pair.server), sent, strict=True):
                for _ in range(chance.randrange(4)):
                    mine.append(number.to_bytes(2, "big") + bytes(chance.randrange(1140)))
                    end.connection.send_datagram_frame(mine[-1])
            if number % 10 == 0:
                pair.client.connection.send_stream_data(stream, bytes(2000), number == 290)
            pair.run(1)
        pair.run(60)
        self.assertEqual(pair.server.datagrams, sent[0])
        self.assertEqual(pair.client.datagrams, sent[1])
        self.assertEqual(len(pair.server.streams[stream]), 60_000)

    @settings(deadline=None, max_examples=8)
    @given(st.integers(0, 2**32), st.sampled_from(("client", "server", "both")))
    def test_streams_survive_loss(self, seed: int, ours: str) -> None:
        """On a path that loses and reorders, every octet of every stream arrives, both ways, and
        nothing of what a lost packet held is forgotten, however quiet a stream was."""
        luck = Random(seed)
        pair = Pair(ours, luck.random)
        sent: dict[int, int] = {}
        for _ in range(6):
            stream = pair.client.connection.get_next_available_stream_id()
            sent[stream] = 0
            for _ in range(4):
                octets = luck.randrange(1, 20_000)
                sent[stream] += octets
                pair.client.connection.send_stream_data(stream, bytes(octets))
                pair.client.connection.send_datagram_frame(bytes(100))
                pair.run(luck.randrange(30))
        self.assertTrue(pair.runs_until(lambda: lengths(pair.server) == sent), sent)
        for stream, octets in sent.items():
            pair.server.connection.send_stream_data(stream, bytes(octets), end_stream=True)
        self.assertTrue(pair.runs_until(lambda: lengths(pair.client) == sent), sent)

    def test_idle_streams_are_not_asked(self) -> None:
        """A packet asks no stream that has nothing to say, and asks it again when it has."""
        pair = Pair()
        streams = []
        for _ in range(150):
            streams.append(pair.client.connection.get_next_available_stream_id())
            pair.client.connection.send_stream_data(streams[-1], b"begin")
            pair.run(1)
        pair.run(50)
        ends = [counting(end) for end in (pair.client, pair.server)]
        before = [end.asked for end in ends]
        for _ in range(100):
            pair.client.connection.send_datagram_frame(b"x")
            pair.run(1)
        self.assertEqual([end.asked for end in ends], before)
        pair.client.connection.send_stream_data(streams[3], b" again")
        pair.run(20)
        self.assertEqual(pair.server.streams[streams[3]], b"begin again")

    def test_finished_streams_are_forgotten(self) -> None:
        """A stream that ended both ways is forgotten, and makes room for another of the peer's."""
        pair = Pair()
        for _ in range(300):
            stream = pair.client.connection.get_next_available_stream_id()
            pair.client.connection.send_stream_data(stream, b"x", end_stream=True)
            pair.run(2)
            pair.server.connection.send_stream_data(stream, b"y", end_stream=True)
        pair.run(30)
        self.assertEqual(len(pair.client.streams), 300)
        for end in (pair.client, pair.server):
            self.assertEqual(len(end.connection._streams), 0)

    def test_acknowledgements_ride(self) -> None:
        """Where datagrams go both ways nothing is sent only to acknowledge."""
        pair = Pair()
        pair.run(30)
        before = [len(end.packets) for end in (pair.client, pair.server)]
        for _ in range(500):
            for end in (pair.client, pair.server):
                end.connection.send_datagram_frame(bytes(200))
            pair.run(1)
        after = [len(end.packets) for end in (pair.client, pair.server)]
        for least, most in zip(before, after, strict=True):
            self.assertLessEqual(most - least, 500 + 2)

    def test_one_way(self) -> None:
        """Who only listens acknowledges every few milliseconds, so that the other may go on."""
        pair = Pair()
        pair.run(30)
        before = len(pair.server.packets)
        for _ in range(500):
            pair.client.connection.send_datagram_frame(bytes(200))
            pair.run(1)
        pair.run(10)
        self.assertEqual(len(pair.server.datagrams), 500)
        self.assertIn(len(pair.server.packets) - before, range(80, 180))

    def test_few_sizes(self) -> None:
        """Every packet has one of the few sizes, whichever way it was written."""
        pair, chance = Pair(), Random(7)
        before = [len(end.packets) for end in (pair.client, pair.server)]
        for number in range(400):
            for end in (pair.client, pair.server):
                for _ in range(chance.randrange(5)):
                    end.connection.send_datagram_frame(bytes(chance.randrange(1150)))
            if number % 40 == 0:
                pair.client.connection.send_ping(number)
            pair.run(1)
        for end, seen in zip((pair.client, pair.server), before, strict=True):
            self.assertEqual({len(one) for one in end.packets[seen:]}, set(SIZES))

    def test_the_window_holds(self) -> None:
        """No more leaves than the congestion window allows; the rest follows, or makes room."""
        pair = Pair()
        for number in range(200):
            pair.client.connection.send_datagram_frame(number.to_bytes(2, "big") + bytes(1100))
        begun = len(pair.client.packets)
        pair.run(1)
        self.assertLess(len(pair.client.packets) - begun, 60)
        pair.run(200)
        got = [int.from_bytes(one[:2], "big") for one in pair.server.datagrams]
        self.assertEqual(got, list(range(200)))

    def check_malformed(self, payload: bytes) -> None:
        """A packet whose frames cannot be read closes the connection, as with aioquic alone."""
        pair = Pair()
        crypto = pair.client.connection._cryptos[Epoch.ONE_RTT]
        header = b"\x41" + pair.client.connection._peer_cid.cid
        number = pair.client.connection._packet_number
        data = crypto.encrypt_packet(header + number.to_bytes(2, "big"), payload, number)
        pair.server.connection.receive_datagram(data, _CLIENT, now=pair.now)
        pair.run(1_000)  # the closing period too
        assert pair.client.end is not None
        self.assertEqual(pair.client.end.error_code, QuicErrorCode.FRAME_ENCODING_ERROR)

    def test_too_long(self) -> None:
        """What fits into no packet is not sent, and nothing is sent in its place; it should not
        have been queued (Session.send_datagram)."""
        pair = Pair()
        pair.client.connection.send_datagram_frame(bytes(1300))
        begun = len(pair.client.packets)
        pair.run(200)
        self.assertEqual((pair.server.datagrams, len(pair.client.packets) - begun), ([], 0))

    def test_keys_change(self) -> None:
        """Datagrams go on over a change of keys; those under way then are lost, as aioquic keeps no
        old ones."""
        pair = Pair()
        for number in range(60):
            if number == 30:
                pair.client.connection.request_key_update()
            for end in (pair.client, pair.server):
                end.connection.send_datagram_frame(b"%d" % number)
            pair.run(1)
        pair.run(5)
        for end in (pair.client, pair.server):
            missing = {b"%d" % number for number in range(60)} - set(end.datagrams)
            self.assertLessEqual(missing, {b"30"})
