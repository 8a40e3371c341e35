"""TCP flows through a tunnel, client and exit together on loopback."""

from __future__ import annotations

from hashlib import sha256
from random import Random
from typing import cast

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.errors import CarryError
from gateway.model import Action, Endpoint, FlowKey, Verdict
from gateway.tunnel.client import Tunnel
from gateway.tunnel.http3 import PAUSE_AT, RESUME_AT
from gateway.tunnel.means import ExitLimits
from gateway.tunnel.stream import StreamTransport
from gateway.tunnel.windows import STREAM_WINDOW
from tests.tunnel.world import ScriptedGate, World, pause, until

_MIB = 1024 * 1024


@implementer(IHalfCloseableProtocol)
class Talker(Protocol):
    """Collects what it hears; an echo says it again."""

    is_echo = False

    def __init__(self) -> None:
        self.heard = bytearray()
        self.has_heard_end = False
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        if self.is_echo:
            self.tcp.write(data)

    def readConnectionLost(self) -> None:
        self.has_heard_end = True
        if self.is_echo:
            self.tcp.unregisterProducer()
            self.tcp.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason

    @property
    def tcp(self) -> StreamTransport:
        """Its transport, a real TCP one or a stream of the tunnel: the same methods."""
        return cast(StreamTransport, self.transport)


class Echo(Talker):
    """Says again what it hears, as fast as it is listened to."""

    is_echo = True

    def connectionMade(self) -> None:
        self.tcp.registerProducer(self.tcp, True)


class Source:
    """A push producer of a great many octets."""

    def __init__(self, talker: Talker, octets: bytes) -> None:
        self._talker = talker
        self._octets = octets
        self.sent = 0
        self._is_paused = False
        talker.tcp.registerProducer(self, True)

    def resumeProducing(self) -> None:
        self._is_paused = False
        while not self._is_paused and self.sent < len(self._octets):
            chunk = self._octets[self.sent : self.sent + 16384]
            self.sent += len(chunk)
            self._talker.tcp.write(chunk)
        if self.sent == len(self._octets):
            self._talker.tcp.unregisterProducer()

    def pauseProducing(self) -> None:
        self._is_paused = True

    def stopProducing(self) -> None:
        self._is_paused = True


class TcpFlowTests(World):
    """CONNECT there and back."""

    async def _connect(self, tunnel: Tunnel, target: Endpoint) -> Talker:
        await until(lambda: tunnel.up, "up")
        factory = cast(IProtocolFactory, Factory.forProtocol(Talker))
        talker = await tunnel.stream_endpoint(target).connect(factory)
        assert isinstance(talker, Talker)
        return talker

    async def _failure(self, tunnel: Tunnel, target: Endpoint) -> str:
        with self.assertRaises(CarryError) as raised:
            await self._connect(tunnel, target)
        return str(raised.exception)

    async def test_five_mebibytes_there_and_back(self) -> None:
        """Much passes both ways at once, whole and in order, and ends with the right end."""
        _, at = self.exit()
        target = self.tcp(Echo)
        tunnel, _ = self.tunnel(at)
        talker = await self._connect(tunnel, target)
        octets = Random(5).randbytes(5 * _MIB)
        source = Source(talker, octets)
        source.resumeProducing()
        await until(lambda: len(talker.heard) == len(octets), "the echo", 25)
        self.assertEqual(sha256(talker.heard).digest(), sha256(octets).digest())
        self.assertEqual(
            (talker.tcp.getPeer().host, talker.tcp.getPeer().port), (target.host, target.port)
        )
        talker.tcp.loseWriteConnection()
        await until(lambda: talker.lost, "the end")
        self.assertTrue(talker.has_heard_end)

    async def test_half_close_by_the_client(self) -> None:
        """A server hears the client's end and may still answer."""
        _, at = self.exit()
        servers: list[Talker] = []

        def serve() -> Talker:
            servers.append(Talker())
            return servers[-1]

        target = self.tcp(serve)
        tunnel, _ = self.tunnel(at)
        talker = await self._connect(tunnel, target)
        talker.tcp.write(b"a question")
        talker.tcp.loseWriteConnection()
        await until(lambda: servers and servers[0].has_heard_end, "the end of the question")
        self.assertEqual(servers[0].heard, b"a question")
        self.assertIsNone(talker.lost)
        servers[0].tcp.write(b"an answer")
        servers[0].tcp.loseConnection()
        await until(lambda: talker.lost, "the end")
        self.assertEqual(talker.heard, b"an answer")

    async def test_ipv6(self) -> None:
        """A destination may be an IPv6 address, and so may the exit."""
        _, at = self.exit(stem="exit-v6", at=Endpoint.of("::1", 0))
        tunnel, _ = self.tunnel(at)
        talker = await self._connect(tunnel, self.tcp(Echo, "::1"))
        talker.tcp.write(b"six")
        await until(lambda: talker.heard == b"six", "the echo")

    async def test_half_close_by_the_server(self) -> None:
        """A client hears the server's end and may still speak."""
        exit_, at = self.exit()
        servers: list[Talker] = []

        def serve() -> Talker:
            servers.append(Talker())
            return servers[-1]

        target = self.tcp(serve)
        tunnel, _ = self.tunnel(at)
        talker = await self._connect(tunnel, target)
        await until(lambda: servers, "the server")
        servers[0].tcp.write(b"hello")
        servers[0].tcp.loseWriteConnection()
        await until(lambda: talker.has_heard_end, "the server's end")
        talker.tcp.write(b"still here")
        talker.tcp.loseConnection()
        await until(lambda: servers[0].has_heard_end, "the client's end")
        self.assertEqual((bytes(talker.heard), bytes(servers[0].heard)), (b"hello", b"still here"))
        await until(lambda: exit_.counters["sockets"] == 0, "the socket closed")

    async def test_lose_connection_delivers_what_was_written(self) -> None:
        """All that was written before loseConnection arrives."""
        _, at = self.exit()
        servers: list[Talker] = []

        def serve() -> Talker:
            servers.append(Talker())
            return servers[-1]

        target = self.tcp(serve)
        tunnel, _ = self.tunnel(at)
        talker = await self._connect(tunnel, target)
        talker.tcp.write(bytes(_MIB))
        talker.tcp.loseConnection()
        await until(lambda: talker.lost, "the client's end")
        await until(lambda: servers and servers[0].has_heard_end, "the server's end")
        self.assertEqual(len(servers[0].heard), _MIB)

    async def test_abort_is_an_abort_at_the_other_end(self) -> None:
        """A stream that is reset resets the destination's connection."""
        _, at = self.exit()
        servers: list[Talker] = []

        def serve() -> Talker:
            servers.append(Talker())
            return servers[-1]

        target = self.tcp(serve)
        tunnel, _ = self.tunnel(at)
        talker = await self._connect(tunnel, target)
        talker.tcp.write(b"x")
        await until(lambda: servers and servers[0].heard, "the octet")
        talker.tcp.abortConnection()
        await until(lambda: servers[0].lost, "the reset")
        self.assertFalse(servers[0].has_heard_end)
        await until(lambda: talker.lost, "our own end")

    async def test_a_reader_that_stops_stops_the_sender(self) -> None:
        """While the client does not read, no more than the windows on the way is taken in."""
        _, at = self.exit()
        servers: list[Talker] = []
        sources: list[Source] = []
        octets = Random(6).randbytes(16 * _MIB)

        class Pouring(Talker):
            def connectionMade(self) -> None:
                servers.append(self)
                sources.append(Source(self, octets))
                sources[0].resumeProducing()

        target = self.tcp(Pouring)
        tunnel, _ = self.tunnel(at)
        talker = await self._connect(tunnel, target)
        talker.tcp.pauseProducing()
        await self._until_still(lambda: sources[0].sent if sources else -1)
        # Held: one window at the client, one buffer at the exit; the rest is in the kernel's
        # buffers of the exit's TCP connection.
        session = talker.tcp._session
        self.assertLessEqual(session.connection.held, STREAM_WINDOW)
        self.assertLess(sources[0].sent, 12 * _MIB)
        heard = len(talker.heard)
        await pause(0.1)
        self.assertEqual(len(talker.heard), heard)
        talker.tcp.resumeProducing()
        await until(lambda: len(talker.heard) > heard + 2 * STREAM_WINDOW, "more")
        self.assertTrue(octets.startswith(bytes(talker.heard)))

    async def test_a_server_that_stops_reading_stops_the_client(self) -> None:
        """While the destination does not read, the client's producer is paused at its bound."""
        _, at = self.exit()
        servers: list[Talker] = []

        class Deaf(Talker):
            def connectionMade(self) -> None:
                servers.append(self)
                self.tcp.pauseProducing()

        target = self.tcp(Deaf)
        tunnel, _ = self.tunnel(at)
        talker = await self._connect(tunnel, target)
        source = Source(talker, Random(7).randbytes(16 * _MIB))
        source.resumeProducing()
        await self._until_still(lambda: source.sent)
        waiting = talker.tcp._session.connection.unacknowledged(talker.tcp._stream_id)
        self.assertGreater(waiting, RESUME_AT)
        self.assertLess(waiting, PAUSE_AT + 2 * 16384)
        self.assertLess(source.sent, 12 * _MIB)
        sent = source.sent
        servers[0].tcp.resumeProducing()
        await until(lambda: source.sent > sent + PAUSE_AT, "more")
        talker.tcp.abortConnection()
        await until(lambda: servers[0].lost, "the end")

    async def _until_still(self, read: object) -> None:
        """Wait until a number has not changed for a while."""
        assert callable(read)
        last, since = None, 0
        while since < 20:
            await pause(0.02)
            since = since + 1 if read() == last and last != -1 else 0
            last = read()

    async def test_the_destination_refuses(self) -> None:
        """Nobody listening there is a CarryError that says so."""
        _, at = self.exit()
        tunnel, _ = self.tunnel(at)
        said = await self._failure(tunnel, Endpoint.of("127.0.0.1", 1))
        self.assertIn("502", said)
        self.assertIn("connection_refused", said)

    async def test_the_policy_refuses(self) -> None:
        """A blocked destination is a CarryError with the exit's rule, and is not dialled."""
        blocked = Verdict(Action.BLOCK, "never-there", "a promise")
        exit_, at = self.exit(ScriptedGate(lambda key, payload: blocked))
        tunnel, _ = self.tunnel(at)
        said = await self._failure(tunnel, self.tcp(Echo))
        self.assertIn("403", said)
        self.assertIn("never-there: a promise", said)
        self.assertEqual(exit_.counters["sockets"], 0)

    async def test_the_tunnel_is_down(self) -> None:
        """Connecting through a tunnel that is not up fails at once."""
        exit_, at = self.exit()
        await exit_.stop()
        tunnel, _ = self.tunnel(at)
        factory = cast(IProtocolFactory, Factory.forProtocol(Talker))
        with self.assertRaises(CarryError) as raised:
            await tunnel.stream_endpoint(Endpoint.of("127.0.0.1", 1)).connect(factory)
        self.assertIn("the tunnel is down", str(raised.exception))

    async def test_first_octets_decide_where_the_address_does_not(self) -> None:
        """Nothing is dialled until the octets have been judged, however they are cut."""

        def answer(key: FlowKey, payload: bytes | None) -> Verdict:
            is_known = payload is not None and len(payload) >= 4
            is_good = is_known and payload is not None and payload.startswith(b"good")
            return Verdict(
                Action.ALLOW if is_good else Action.BLOCK, "content", "by content", settled=is_known
            )

        exit_, at = self.exit(ScriptedGate(answer))
        target = self.tcp(Echo)
        tunnel, _ = self.tunnel(at)
        good, bad = [await self._connect(tunnel, target) for _ in range(2)]
        self.assertEqual(exit_.counters["sockets"], 0)
        for octet in b"go", b"od", b" day":
            good.tcp.write(octet)
            await pause(0.02)
        bad.tcp.write(b"evil")
        await until(lambda: bad.lost, "the end of the bad one")
        await until(lambda: good.heard == b"good day", "the echo")
        self.assertEqual(exit_.counters["streams_blocked"], 1)
        self.assertEqual(exit_.counters["sockets"], 1)

    async def test_an_idle_stream_ends(self) -> None:
        """A stream that is silent for the exit's limit is reset."""
        exit_, at = self.exit(limits=ExitLimits(tcp_idle_s=0.2))
        tunnel, _ = self.tunnel(at)
        talker = await self._connect(tunnel, self.tcp(Echo))
        await until(lambda: talker.lost, "the end")
        self.assertEqual(exit_.counters["flows_idle"], 1)
