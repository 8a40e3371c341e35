"""Streams that the kernel moves, on real loopback sockets behind the TCP forward."""

from __future__ import annotations

import errno
import os
import random
import socket
from typing import cast

from twisted.internet.tcp import Connection

from gateway.listeners.forward import TcpForwardListener
from gateway.listeners.limits import Limits
from gateway.listeners.reactor import StreamTransport
from gateway.model import Verdict
from tests.listeners.fakes import ALLOW, BLOCK, LOOPBACK, WRAP, Judging, SlowCarrier, by_content
from tests.listeners.peers import TcpEdge, TcpPeer
from tests.listeners.stream_case import EDGE, StreamCase
from tests.support.rows import rows

# What is spliced is never seen, so a stream is copied until it is well past its first bytes.
COPIED_LEN = 64 * 1024
LONG_LEN = 3 * 1024 * 1024


def octets(length: int, seed: int = 1) -> bytes:
    """Make octets in which a gap, a repetition or a change of order shows."""
    return random.Random(seed).randbytes(length)


def descriptors() -> int:
    """Count the process's open file descriptors."""
    return len(os.listdir("/proc/self/fd"))


def socket_of(peer: TcpPeer) -> socket.socket:
    """Give the socket of one end."""
    return cast(Connection, peer.transport).getHandle()


def pause(peer: TcpPeer) -> None:
    """Let a peer read no more."""
    cast(StreamTransport, peer.transport).pauseProducing()


def resume(peer: TcpPeer) -> None:
    """Let a peer read again."""
    cast(StreamTransport, peer.transport).resumeProducing()


class SpliceCase(StreamCase):
    """A forward, and both ends of one stream through it."""

    async def joined(
        self, verdict: Verdict | Judging = ALLOW, limits: Limits | None = None
    ) -> tuple[TcpPeer, TcpPeer]:
        """Connect both ends."""
        await self.turn()  # the reactor opens what it needs
        self.before = descriptors()
        client, self.edge = await self.begin(verdict, limits)
        client.say(b"hello")
        return client, await self.heard(self.edge.peers, b"hello")

    async def spliced(self, limits: Limits | None = None) -> tuple[TcpPeer, TcpPeer]:
        """Connect both ends, and speak until both directions are spliced."""
        client, server = await self.joined(limits=limits)
        client.say(bytes(COPIED_LEN))
        server.say(bytes(COPIED_LEN))
        await self.until(lambda: server.heard_len == COPIED_LEN + 5)
        await self.until(lambda: client.heard_len == COPIED_LEN)
        # From here on nothing of it comes to Python; the handing over takes a turn.
        await self.until(lambda: self.listener.counters.get("spliced") == 2)
        await self.turn(3)
        return client, server

    async def hears(self, peer: TcpPeer, length: int) -> None:
        """Wait until a peer has heard so much."""
        await self.until(lambda: peer.heard_len == length)

    async def stalled(self, client: TcpPeer, server: TcpPeer) -> int:
        """Let the client pour to a server that does not read; give how many octets were taken."""
        pause(server)
        client.pour(64 * 1024 * 1024)
        taken = -1
        while taken != self.listener.counters["up_bytes"]:
            taken = self.listener.counters["up_bytes"]
            await self.turn(20)
        return taken


@rows(mix={f"chance {seed}": (seed,) for seed in range(25)})
class MovingTests(SpliceCase):
    """What is moved arrives."""

    async def test_both_directions(self) -> None:
        """A long stream arrives unchanged in both directions, and every octet is counted."""
        up, down = octets(LONG_LEN), octets(LONG_LEN + 1, 2)
        client, server = await self.joined()
        client.say(up)
        server.say(down)
        await self.until(lambda: server.heard_len == 5 + len(up) and client.heard_len == len(down))
        self.assertTrue(server.heard == b"hello" + up and client.heard == down)
        counters = self.listener.counters
        self.assertEqual((counters["up_bytes"], counters["down_bytes"]), (LONG_LEN + 5, len(down)))
        self.assertEqual(counters["spliced"], 2)

    async def test_small_streams_pay_nothing(self) -> None:
        """A stream that stays under the bound opens no pipe."""
        client, server = await self.joined()
        before = descriptors()
        client.say(bytes(COPIED_LEN - 6))
        server.say(bytes(COPIED_LEN - 1))
        await self.until(lambda: server.heard_len == COPIED_LEN - 1)
        await self.until(lambda: client.heard_len == COPIED_LEN - 1)
        self.assertNotIn("spliced", self.listener.counters)
        self.assertEqual(descriptors(), before)

    async def test_single_octets(self) -> None:
        """A spliced stream that goes on octet by octet loses and delays none."""
        client, server = await self.spliced()
        for octet in b"one by one":
            before = server.heard_len
            client.say(bytes((octet,)))
            await self.hears(server, before + 1)
        self.assertTrue(server.heard.endswith(b"one by one"))

    async def test_first_bytes_are_kept(self) -> None:
        """A stream is judged again by the bytes it began with, of which none was spliced."""
        limits = Limits(first_bytes_len=64 * 1024)
        said = octets(LONG_LEN)
        client, edge = await self.begin(by_content(BLOCK, ALLOW), limits)
        client.say(said)
        await self.heard(edge.peers, said)
        self.gate.epoch_number += 1
        self.listener.rejudge()
        self.assertTrue(self.gate.judged[-1][1] == said[: 64 * 1024])
        self.assertFalse(client.is_lost)

    async def test_urgent_data(self) -> None:
        """Urgent data, which cannot be spliced, ends splicing and not the stream."""
        client, server = await self.spliced()
        client.say(b"before")
        await self.until(lambda: server.heard_len == COPIED_LEN + 11)
        socket_of(client).send(b"!", socket.MSG_OOB)
        client.say(octets(LONG_LEN))
        client.end()
        await self.until(lambda: server.has_ended)
        self.assertTrue(server.heard.endswith(b"before" + octets(LONG_LEN)))

    async def test_by_ipv6(self) -> None:
        """A stream to an IPv6 destination is spliced like any other."""
        six = TcpEdge().bind("::1")
        self.addCleanup(self.close_edge, six)
        self.gate.on[EDGE] = ALLOW
        self.routes.fake_reach.to[EDGE] = six.at
        self.listener = TcpForwardListener(LOOPBACK, EDGE, self.wiring())
        client = await self.connect(self.open(self.listener))
        client.say(octets(LONG_LEN))
        await self.until(lambda: six.peers and six.peers[0].heard_len == LONG_LEN)
        self.assertTrue(six.peers[0].heard == octets(LONG_LEN))
        self.assertEqual(self.listener.counters["spliced"], 1)

    async def check_mix(self, seed: int) -> None:
        """Both ends speak in pieces of any sizes, with turns between, and end in any order."""
        chance = random.Random(seed)
        client, server = await self.joined()
        said = {client: b"", server: b"hello"}
        for _ in range(chance.randint(2, 12)):
            speaker, hearer = chance.choice(((client, server), (server, client)))
            piece = chance.randbytes(chance.choice((1, 100, 65_535, 65_536, 70_000, 700_000)))
            speaker.say(piece)
            said[hearer] += piece
            await self.turn(chance.randint(0, 2))
        first, last = chance.choice(((client, server), (server, client)))
        first.end()
        await self.until(lambda: last.has_ended)
        last.say(b"last words")
        said[first] += b"last words"
        last.end()
        await self.until(lambda: first.has_ended and self.gate.forgotten)
        self.assertTrue(client.heard == said[client] and server.heard == said[server])
        self.assertFalse(client.was_reset or server.was_reset)


class EndingTests(SpliceCase):
    """How a spliced stream ends; nothing of it is left then."""

    async def is_gone(self, client: TcpPeer, server: TcpPeer) -> None:
        """Wait until the gateway's part of the stream is gone, and look for what is left of it."""
        await self.until(lambda: self.gate.forgotten)
        client.close()
        server.close()
        await self.until(lambda: client.is_lost and server.is_lost)
        # The two ports that listen are still open.
        self.assertEqual(descriptors(), self.before + 2)

    async def test_client_ends_first(self) -> None:
        """The client's end reaches the server behind all that it said; the server may go on."""
        client, server = await self.spliced()
        client.say(octets(LONG_LEN))
        client.end()
        await self.until(lambda: server.has_ended)
        self.assertTrue(server.heard.endswith(octets(LONG_LEN)))
        server.say(octets(LONG_LEN, 2))
        server.end()
        await self.until(lambda: client.has_ended)
        self.assertTrue(client.heard.endswith(octets(LONG_LEN, 2)))
        self.assertFalse(client.was_reset or server.was_reset)
        await self.is_gone(client, server)

    async def test_server_ends_first(self) -> None:
        """So does the server's end."""
        client, server = await self.spliced()
        server.say(octets(LONG_LEN))
        server.end()
        await self.until(lambda: client.has_ended)
        self.assertTrue(client.heard.endswith(octets(LONG_LEN)))
        client.say(octets(LONG_LEN, 2))
        client.end()
        await self.until(lambda: server.has_ended)
        self.assertTrue(server.heard.endswith(octets(LONG_LEN, 2)))
        self.assertFalse(client.was_reset or server.was_reset)
        await self.is_gone(client, server)

    async def test_ends_behind_a_stalled_reader(self) -> None:
        """An end that must wait for a slow reader arrives behind the last octet."""
        client, server = await self.spliced()
        await self.stalled(client, server)
        resume(server)
        await self.until(lambda: server.has_ended)
        self.assertEqual(server.heard_len, COPIED_LEN + 5 + 64 * 1024 * 1024)
        server.end()
        await self.is_gone(client, server)

    async def test_client_resets(self) -> None:
        """A client's reset resets the server's connection."""
        client, server = await self.spliced()
        client.close()
        await self.is_gone(client, server)
        self.assertTrue(server.was_reset)

    async def test_server_resets(self) -> None:
        """A server's reset resets the client's connection."""
        client, server = await self.spliced()
        server.close()
        await self.is_gone(client, server)
        self.assertTrue(client.was_reset)

    async def test_stalled_server_resets(self) -> None:
        """So it does while octets wait for it."""
        client, server = await self.spliced()
        await self.stalled(client, server)
        server.close()
        await self.is_gone(client, server)
        self.assertTrue(client.was_reset)

    async def test_reload(self) -> None:
        """A policy that forbids a stream ends it at once, in the midst of moving."""
        client, server = await self.spliced()
        client.pour(64 * 1024 * 1024)
        await self.until(lambda: server.heard_len > LONG_LEN)
        self.gate.on[EDGE] = BLOCK
        self.gate.epoch_number += 1
        self.listener.rejudge()
        counted = self.listener.counters["up_bytes"]
        await self.is_gone(client, server)
        self.assertEqual(self.listener.counters["up_bytes"], counted)
        self.assertTrue(client.was_reset and server.was_reset)

    async def test_reload_of_a_stalled_stream(self) -> None:
        """One whose reader is stalled ends too, with what waits for the reader."""
        client, server = await self.spliced()
        await self.stalled(client, server)
        self.gate.on[EDGE] = WRAP
        self.gate.epoch_number += 1
        self.listener.rejudge()
        resume(server)
        await self.is_gone(client, server)

    async def test_stop(self) -> None:
        """A listener that stops leaves nothing open."""
        client, server = await self.spliced()
        await self.stalled(client, server)
        await self.listener.stop()
        server.close()
        await self.until(lambda: client.is_lost and server.is_lost)
        self.assertEqual(descriptors(), self.before + 1)

    async def test_idle(self) -> None:
        """Octets that are spliced keep a stream; silence ends it."""
        client, server = await self.spliced(Limits(stream_idle_timeout_s=60))
        for _ in range(3):
            self.reactor.clock.advance(40)
            before = server.heard_len
            client.say(b"still here")
            await self.hears(server, before + 10)
        self.reactor.clock.advance(61)
        await self.is_gone(client, server)
        self.assertEqual(self.listener.counters["dropped_timed_out"], 1)

    async def test_closing_is_bounded(self) -> None:
        """A stream that both ends ended goes after a while, though its reader is stalled."""
        client, server = await self.spliced(Limits(closing_timeout_s=60))
        server.end()
        await self.until(lambda: client.has_ended)
        await self.stalled(client, server)
        client.close()
        self.reactor.clock.advance(61)
        resume(server)
        await self.is_gone(client, server)


class BoundTests(SpliceCase):
    """What a spliced stream may take."""

    async def test_stalled_reader(self) -> None:
        """What a stalled reader does not take stays with the sender: the gateway's part is bounded
        by the sockets' buffers and one pipe."""
        client, server = await self.spliced()
        taken = await self.stalled(client, server)
        self.assertLess(taken, 32 * 1024 * 1024)
        await self.turn(200)
        self.assertEqual(self.listener.counters["up_bytes"], taken)
        resume(server)
        await self.until(lambda: server.has_ended)

    async def test_other_direction(self) -> None:
        """While one direction is stalled the other moves on."""
        client, server = await self.spliced()
        await self.stalled(client, server)
        server.say(octets(LONG_LEN))
        await self.until(lambda: client.heard_len == COPIED_LEN + LONG_LEN)

    async def test_so_many_and_no_more(self) -> None:
        """Directions beyond the limit are copied, and counted."""
        client, server = await self.joined(limits=Limits(splices=1))
        client.say(octets(LONG_LEN))
        await self.until(lambda: server.heard_len == LONG_LEN + 5)
        server.say(octets(LONG_LEN, 2))
        await self.until(lambda: client.heard_len == LONG_LEN)
        self.assertTrue(client.heard == octets(LONG_LEN, 2))
        counters = self.listener.counters
        self.assertEqual((counters["spliced"], counters["not_spliced"]), (1, 1))

    async def test_places_come_back(self) -> None:
        """A stream that is over leaves its place to the next."""
        client, server = await self.joined(limits=Limits(splices=1))
        client.say(octets(LONG_LEN))
        await self.hears(server, LONG_LEN + 5)
        client.close()
        await self.until(lambda: self.gate.forgotten)
        again = await self.connect(self.at)
        again.say(octets(LONG_LEN))
        await self.until(lambda: len(self.edge.peers) == 2)
        await self.hears(self.edge.peers[1], LONG_LEN)
        self.assertEqual(self.listener.counters["spliced"], 2)

    async def test_no_descriptors(self) -> None:
        """Where the system has no more descriptors a stream is copied, and loses nothing."""
        client, server = await self.joined()

        def refuse(_flags: int) -> tuple[int, int]:
            raise OSError(errno.EMFILE, "too many open files")

        self.patch(os, "pipe2", refuse)
        client.say(octets(LONG_LEN))
        await self.until(lambda: server.heard_len == LONG_LEN + 5)
        self.assertTrue(server.heard == b"hello" + octets(LONG_LEN))
        self.assertEqual(self.listener.counters["not_spliced"], 1)

    async def test_not_a_kernel_socket(self) -> None:
        """A stream through a tunnel is copied."""
        exit_ = self.routes.carriers["nearest"] = SlowCarrier()
        client, _edge = await self.begin(WRAP)
        await self.until(lambda: exit_.dialled)
        beyond = exit_.arrive()
        client.say(octets(LONG_LEN))
        await self.until(lambda: len(beyond.value()) == LONG_LEN)
        self.assertTrue(beyond.value() == octets(LONG_LEN))
        self.assertNotIn("spliced", self.listener.counters)
