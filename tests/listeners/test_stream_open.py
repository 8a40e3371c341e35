"""A stream that is open, and how it ends: on loopback sockets, and in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred

from gateway.listeners import stream_dial
from gateway.listeners.answers import Failing
from gateway.listeners.door import Door
from gateway.listeners.limits import Limits
from gateway.listeners.reactor import ClientTransport, StreamTransport
from gateway.listeners.stream_flow import StreamFlow
from gateway.listeners.stream_relay import StreamRelay
from gateway.listeners.stream_sides import Side
from gateway.model import FlowKey, Verdict
from tests.listeners.case import ListenerCase
from tests.listeners.fakes import ALLOW
from tests.listeners.peers import FakeTransport, TcpPeer
from tests.listeners.stream_case import EDGE, StreamCase


class OpenTests(StreamCase):
    """A stream that is relayed."""

    async def open_stream(self, limits: Limits | None = None) -> tuple[TcpPeer, TcpPeer]:
        """Open a stream; give its two ends."""
        client, edge = await self.begin(ALLOW, limits)
        await self.until(lambda: edge.peers and edge.peers[0].is_made)
        return client, edge.peers[0]

    async def test_half_close_by_client(self) -> None:
        """After the client's end the server still speaks, and nothing is lost either way."""
        question, answer = bytes(range(256)) * 2000, bytes(reversed(range(256))) * 3000
        client, server = await self.open_stream()
        client.say(question)
        client.end()
        await self.until(lambda: server.has_ended)
        self.assertEqual(server.heard, question)
        server.say(answer)
        server.end()
        await self.until(lambda: client.has_ended)
        self.assertEqual(client.heard, answer)
        await self.until(lambda: self.gate.forgotten)

    async def test_half_close_by_server(self) -> None:
        """After the server's end the client still speaks, and nothing is lost either way."""
        question, answer = bytes(range(256)) * 2000, bytes(reversed(range(256))) * 3000
        client, server = await self.open_stream()
        server.say(answer)
        server.end()
        await self.until(lambda: client.has_ended)
        self.assertEqual(client.heard, answer)
        client.say(question)
        client.end()
        await self.until(lambda: server.has_ended)
        self.assertEqual(server.heard, question)
        await self.until(lambda: self.gate.forgotten)

    async def test_stalled_server(self) -> None:
        """A server that does not read stops the client, not the gateway's memory."""
        client, server = await self.open_stream()
        await self.stall(server, client, "up_bytes")

    async def test_stalled_client(self) -> None:
        """A client that does not read stops the server, not the gateway's memory."""
        client, server = await self.open_stream()
        await self.stall(client, server, "down_bytes")

    async def stall(self, reader: TcpPeer, writer: TcpPeer, counter: str) -> None:
        """Write at a reader that pauses: most stays with the writer, and none is lost.

        What passes is the kernel's buffers of one connection, and one buffer of ours.
        """
        total = 48_000_000
        cast(StreamTransport, reader.transport).pauseProducing()
        writer.pour(total)
        passed = await self.stalled(lambda: self.listener.counters.get(counter, 0))
        self.assertLess(passed, total * 2 // 3)
        cast(StreamTransport, reader.transport).resumeProducing()
        await self.until(lambda: reader.has_ended)
        self.assertEqual(reader.heard_len, total)

    async def stalled(self, count: Callable[[], int]) -> int:
        """Wait until a counter has moved and then stands still; give it."""
        before = 0
        while count() != before or before == 0:
            before = count()
            await self.turn(30)
        return before

    async def test_reset_by_server(self) -> None:
        """A reset is passed on as a reset."""
        client, server = await self.open_stream()
        server.close()
        await self.until(lambda: client.is_lost)
        self.assertTrue(client.was_reset)

    async def test_reset_by_client(self) -> None:
        """A reset is passed on as a reset, and the flow is forgotten."""
        client, server = await self.open_stream()
        client.close()
        await self.until(lambda: server.is_lost)
        self.assertTrue(server.was_reset)
        await self.until(lambda: self.gate.forgotten)

    async def test_idle(self) -> None:
        """A stream on which nobody speaks is cut, the idle time after the last word."""
        client, server = await self.open_stream(Limits(stream_idle_timeout_s=100))
        self.reactor.clock.advance(60)
        client.say(b"still here")
        await self.heard([server], b"still here")
        self.reactor.clock.advance(60)
        self.reactor.clock.advance(39)
        await self.turn(10)
        self.assertFalse(client.is_lost)
        self.reactor.clock.advance(1)
        await self.until(lambda: client.is_lost and server.is_lost)

    async def test_stop(self) -> None:
        """Stopping cuts both sides of every stream before it is done."""
        client, server = await self.open_stream()
        await self.listener.stop()
        self.assertEqual(self.gate.forgotten[0].destination, EDGE)
        await self.until(lambda: client.is_lost and server.is_lost)

    async def test_connection_limit(self) -> None:
        """As many connections as the limit are served, one more is reset, a later one is served."""
        client, _server = await self.open_stream(Limits(connections=1))
        refused = await self.connect(self.at)
        await self.until(lambda: refused.is_lost)
        self.assertEqual(self.listener.counters["dropped_connections_full"], 1)
        client.close()
        await self.until(lambda: self.gate.forgotten)
        again = await self.connect(self.at)
        again.say(b"hello")
        await self.until(lambda: len(self.gate.judged) == 2)
        await self.turn(10)
        self.assertFalse(again.is_lost)

    async def test_client_share(self) -> None:
        """One client's connections past its share are reset, while there is room for others."""
        client, _server = await self.open_stream(Limits(connections=9, connections_per_client=1))
        refused = await self.connect(self.at)
        await self.until(lambda: refused.is_lost)
        self.assertEqual(self.listener.counters["dropped_client_share_full"], 1)
        self.assertFalse(client.is_lost)

    async def test_flow_key(self) -> None:
        """The flow is judged, and forgotten once, under the client's own endpoint."""
        client, _server = await self.open_stream()
        host = cast(ClientTransport, client.transport).getHost()
        key = FlowKey.parse(f"tcp 127.0.0.1:{host.port} > {EDGE}")
        self.assertEqual([judged[0] for judged in self.gate.judged], [key])
        client.close()
        await self.until(lambda: self.gate.forgotten)
        await self.turn(10)
        self.assertEqual(self.gate.forgotten, [key])


class _Silent:
    """Answers that nobody reads."""

    def accept(self) -> None:
        """Answers API."""

    def refuse(self, verdict: Verdict) -> None:
        """Answers API."""

    def fail(self, why: Failing) -> None:
        """Answers API."""


class ClosingTests(ListenerCase):
    """The last bytes of a stream, in memory."""

    def test_is_bounded(self) -> None:
        """A reader that stalls for ever does not keep the place of a stream that has ended."""
        door = Door(self.wiring(Limits(closing_timeout_s=60)))
        client, server = FakeTransport(is_stalled=True), FakeTransport()
        client_side = Side(cast(StreamTransport, client))
        server_side = Side(cast(StreamTransport, server))
        key = FlowKey.parse("tcp 192.0.2.7:1 > 192.0.2.1:443")
        flow = StreamFlow(self.gate, key, ALLOW)
        relay = StreamRelay(door, client_side, _Silent(), flow)
        client.lose = lambda _reason: relay.lost(client_side, False)
        server.lose = lambda _reason: relay.lost(server_side, True)
        never: Deferred[object] = Deferred()
        self.patch(stream_dial, "dial", lambda *_what: _Dialling(never))
        relay.start(b"")
        relay.connected(server_side)
        relay.received(server_side, b"last words")
        relay.ended(server_side)
        relay.ended(client_side)
        self.assertTrue(server.is_closed)
        self.reactor.clock.advance(59)
        self.assertFalse(client.is_closed)
        self.reactor.clock.advance(1)
        self.assertTrue(client.was_aborted)
        self.assertEqual(len(self.gate.forgotten), 1)
        door.close()
        self.assertEqual(self.reactor.clock.getDelayedCalls(), [])


class _Dialling:
    def __init__(self, result: Deferred[object]) -> None:
        self._result = result

    def connect(self, factory: object) -> Deferred[object]:
        """StreamEndpoint API."""
        return self._result


class PausingTests(ListenerCase):
    """One side of a relay as the producer of the other, in memory."""

    def setUp(self) -> None:
        """Make two sides, the first producing to the second."""
        super().setUp()
        self.writer, self.reader = FakeTransport(), FakeTransport()
        self.writing = Side(cast(StreamTransport, self.writer))
        self.reading = Side(cast(StreamTransport, self.reader))
        self.writing.produce_to(self.reading)

    def test_full(self) -> None:
        """A reader whose buffer is full pauses the writer; one that has drained resumes it."""
        producer = cast(Side, self.reader.producer)
        producer.pauseProducing()
        self.assertEqual(self.writer.producerState, "paused")
        producer.resumeProducing()
        self.assertEqual(self.writer.producerState, "producing")

    def test_ended(self) -> None:
        """A writer that has ended is taken off, so that the reader's end can follow."""
        self.writing.end()
        self.assertIsNone(self.reader.producer)
        self.writer.producerState = "paused"
        self.writing.resumeProducing()
        self.assertEqual(self.writer.producerState, "paused")

    def test_reader_lost(self) -> None:
        """A reader that is gone is not touched again."""
        self.reading.lose()
        self.writing.end()
        self.assertIs(self.reader.producer, self.writing)
