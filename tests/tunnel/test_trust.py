"""Who is let in, and what a tunnel does when something breaks."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from twisted.internet.protocol import DatagramProtocol

import gateway.tunnel.attempt as tunnel_attempt
from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.tunnel.client import Tunnel
from gateway.tunnel.credentials import Transfer, configuration
from gateway.tunnel.masque import WELL_KNOWN, ExitAddress
from gateway.tunnel.means import ExitLimits
from gateway.tunnel.ports import Direct
from gateway.tunnel.quic import Bounds, Connection
from gateway.tunnel.reactor import Address
from tests.support.rows import rows
from tests.tunnel.world import (
    QUICK,
    UdpEcho,
    World,
    credentials,
    ignore,
    pause,
    reactor,
    send,
    until,
)

_TARGET = Endpoint.of("192.0.2.1", 9)


@rows(
    refused={
        "the exit's authority is another": (
            "exit-rogue",
            "gateway",
            "the exit's certificate is not accepted: unable to get local issuer certificate",
        ),
        "the exit's certificate has expired": (
            "exit-expired",
            "gateway",
            "the exit's certificate is not accepted: Certificate is no longer valid",
        ),
        "the exit's certificate has another name": (
            "exit-other-name",
            "gateway",
            "the exit's certificate is not accepted: hostname '127.0.0.1' doesn't match",
        ),
        "the exit's certificate is signed by a gateway": (
            "exit-by-leaf",
            "gateway",
            "the exit's certificate is not accepted: ",
        ),
        "the gateway's certificate is signed by another gateway": (
            "exit",
            "gateway-by-leaf",
            "the exit refuses our certificate: client certificate is not of the exit's authority",
        ),
        "the gateway's authority is another": (
            "exit",
            "gateway-rogue",
            "the exit refuses our certificate: client certificate is not of the exit's authority",
        ),
        "the gateway's certificate has expired": (
            "exit",
            "gateway-expired",
            "the exit refuses our certificate: client certificate is valid from",
        ),
        "the gateway's certificate has another name": (
            "exit",
            "gateway-other-name",
            "the exit refuses our certificate: client certificate is of gateway-2.test",
        ),
        "an exit's certificate is not a gateway's": (
            "exit",
            "exit",
            "the exit refuses our certificate: client certificate is not of the exit's authority",
        ),
    }
)
class TrustTests(World):
    """Both sides show a certificate, or there is no tunnel."""

    async def check_refused(self, exit_stem: str, gateway_stem: str, reason: str) -> None:
        """A certificate that is wrong keeps the tunnel down, and the reason is said."""
        exit_, at = self.exit(stem=exit_stem)
        tunnel, said = self.tunnel(at, stem=gateway_stem)
        await until(lambda: said, "the reason")
        is_up, sentence = said[0]
        self.assertFalse(is_up)
        self.assertIn(f"exit us-east: {reason}", sentence)
        await until(lambda: tunnel.counters["attempts"] > 2, "further attempts")
        self.assertEqual({is_up for is_up, _ in said}, {False})
        with self.assertRaises(CarryError) as raised:
            tunnel.open_udp(_TARGET, ignore, ignore)
        self.assertIn(reason, str(raised.exception))
        self.assertNotIn("gateways_accepted", exit_.counters)

    async def test_no_client_certificate(self) -> None:
        """A client that shows no certificate is told so, and is served nothing."""
        exit_, at = self.exit()
        quic = configuration(credentials("gateway"), Transfer(), "127.0.0.1")
        quic.certificate = quic.private_key = None
        tunnel, said = self.tunnel(at)
        await tunnel.stop()
        said.clear()
        self.patch(tunnel_attempt, "configuration", lambda *_, **__: quic)
        tunnel.start()
        await until(lambda: said, "the reason")
        self.assertIn("the exit refuses our certificate: no client certificate", said[0][1])
        self.assertEqual(exit_.counters["gateways_rejected"], 1)

    async def test_any_name_under_the_authority(self) -> None:
        """An exit that names no gateways serves all that its authority vouches for."""
        _, at = self.exit(gateways=())
        tunnel, _ = self.tunnel(at, stem="gateway-other-name")
        await until(lambda: tunnel.up, "up")

    async def test_credentials_that_are_not_there(self) -> None:
        """A missing file keeps the tunnel down with its name, and an exit from starting."""
        _, at = self.exit()
        _, said = self.tunnel(at, stem="nobody")
        await until(lambda: said, "the reason")
        self.assertIn("nobody.pem", said[0][1])
        with self.assertRaises(CarryError) as raised:
            self.exit(stem="nobody")
        self.assertIn("nobody.pem", str(raised.exception))


class RecoveryTests(World):
    """A tunnel comes back by itself."""

    async def test_an_exit_that_restarts(self) -> None:
        """An exit that stops is noticed at once; when it is back, so is the tunnel."""
        exit_, at = self.exit()
        tunnel, said = self.tunnel(at)
        await until(lambda: tunnel.up, "up")
        ends: list[str] = []
        flow = tunnel.open_udp(_TARGET, ignore, ends.append)
        await exit_.stop()
        await until(lambda: not tunnel.up, "down")
        self.assertEqual(len(ends), 1)
        self.assertIn("the exit stops", ends[0])
        self.assertFalse(flow.send(b"late"))
        with self.assertRaises(CarryError):
            tunnel.open_udp(_TARGET, ignore, ignore)
        self.exit(at=at)
        await until(lambda: tunnel.up, "up again")
        self.assertEqual([is_up for is_up, _ in said][:2], [True, False])
        self.assertEqual(said[-1], (True, "exit us-east: up"))
        got: list[bytes] = []
        tunnel.open_udp(self.udp(UdpEcho()), got.append, ignore).send(b"back")
        await until(lambda: got, "an echo")

    async def test_an_exit_that_vanishes(self) -> None:
        """An exit that is gone without a word is noticed by its silence."""
        transfer = Transfer(idle_timeout_s=0.6)
        exit_, at = self.exit(transfer=transfer)
        tunnel, said = self.tunnel(at, transfer=transfer)
        await until(lambda: tunnel.up, "up")
        await pause(1.0)
        self.assertTrue(tunnel.up)  # its pings keep it up
        exit_.transport.pauseProducing()  # type: ignore[union-attr]  # IUDPTransport is a reader
        await until(lambda: not tunnel.up, "down")
        self.assertEqual(said[-1], (False, "exit us-east: silent for 0.6 s"))

    async def test_nobody_there(self) -> None:
        """An exit that never answers is said once, however often it is tried."""
        at = self.udp(DatagramProtocol())
        said: list[tuple[bool, str]] = []
        tunnel = Tunnel(
            reactor,
            ExitAddress("gone", f"https://{at}{WELL_KNOWN}"),
            credentials("gateway"),
            Direct(),
            random=Random(1),
            on_change=lambda is_up, sentence: said.append((is_up, sentence)),
            patience=replace(QUICK, connect_s=0.1),
        )
        tunnel.start()
        self.addCleanup(tunnel.stop)
        await until(lambda: tunnel.counters["attempts"] > 3, "attempts")
        self.assertEqual(said, [(False, "exit gone: no answer in 0.1 s")])

    async def test_stop_is_the_end(self) -> None:
        """After stop() the flows are closed, the exit knows, and nothing is tried again."""
        exit_, at = self.exit()
        tunnel, said = self.tunnel(at)
        await until(lambda: tunnel.up, "up")
        ends: list[str] = []
        got: list[bytes] = []
        flow = tunnel.open_udp(self.udp(UdpEcho()), got.append, ends.append)
        flow.send(b"first words")
        await until(lambda: got == [b"first words"], "the echo")
        flow.send(b"last words")
        await tunnel.stop()
        self.assertEqual(ends, ["the tunnel was stopped"])
        self.assertEqual(said[-1], (False, "exit us-east: stopped"))
        await until(lambda: exit_.counters["connections"] == 0, "the goodbye")
        self.assertEqual(exit_.counters["datagrams_received"], 2)
        self.assertEqual(tunnel.counters["attempts"], 1)


class HostileTests(World):
    """Packets that are none of ours cost an exit nothing."""

    async def test_garbage_is_counted(self) -> None:
        """Short, random, truncated and forged packets are dropped, and a tunnel works on."""
        exit_, at = self.exit()
        tunnel, _ = self.tunnel(at)
        await until(lambda: tunnel.up, "up")
        stranger = DatagramProtocol()
        self.udp(stranger)
        chance = Random(3)
        initial = _initial()
        packets = [b"", b"\x40", b"\x80", b"\xc0\0\0\0\1\x08", chance.randbytes(1200)]
        packets += [chance.randbytes(chance.randrange(1, 1500)) for _ in range(500)]
        forged = initial[:100] + bytes([initial[100] ^ 1]) + initial[101:]
        packets += [initial[:1199], initial[:60], forged, initial[:100] + chance.randbytes(1100)]
        for number, packet in enumerate(packets):
            send(stranger, packet, (at.host, at.port))
            if number % 20 == 0:
                await pause(0)

        def dropped() -> int:
            names = ("packets_malformed", "packets_unknown", "packets_short_initial", "retries")
            return sum(exit_.counters.get(name, 0) for name in names)

        # The tunnel's own first packet was asked for its address too.
        await until(lambda: dropped() == len(packets) + 1, "every packet")
        self.assertEqual(exit_.counters["packets_short_initial"], 1)
        self.assertEqual(exit_.counters["connections"], 1)
        self.assertTrue(tunnel.up)
        got: list[bytes] = []
        tunnel.open_udp(self.udp(UdpEcho()), got.append, ignore).send(b"still here")
        await until(lambda: got, "the echo")

    async def test_connections_are_bounded_and_slow_ones_end(self) -> None:
        """Half-open connections hold no more places than there are, and not for long."""
        exit_, at = self.exit(limits=ExitLimits(max_connections=5, handshake_s=0.3))
        for _ in range(20):
            stranger = HalfOpen(at)
            self.udp(stranger)
            stranger.begin()
        await until(lambda: exit_.counters.get("connections_over_limit") == 15, "the bound")
        self.assertEqual(exit_.counters["connections"], 5)
        await until(lambda: exit_.counters["connections"] == 0, "their end")
        self.assertEqual(exit_.counters["gateways_too_slow"], 5)
        tunnel, _ = self.tunnel(at)
        await until(lambda: tunnel.up, "up")

    async def test_addresses_are_validated(self) -> None:
        """Whoever does not show that the address is its own holds no place, and gets less than it
        sent; another's token is of no use."""
        exit_, at = self.exit()
        stranger, thief = HalfOpen(at), HalfOpen(at)
        self.udp(stranger)
        self.udp(thief)
        stranger.is_mute = True
        stranger.begin()
        await until(lambda: stranger.answers, "the retry")
        self.assertLess(len(stranger.answers[0]), 300)
        self.assertEqual(exit_.counters["connections"], 0)
        stranger.connection.receive_datagram(
            stranger.answers[0], (at.host, at.port), now=reactor.seconds()
        )
        ((stolen, _),) = stranger.connection.datagrams_to_send(now=reactor.seconds())
        send(thief, stolen, (at.host, at.port))
        await until(lambda: exit_.counters.get("tokens_invalid"), "the theft")
        send(stranger, stolen, (at.host, at.port))
        await until(lambda: exit_.counters["connections"] == 1, "its owner")

    async def test_a_port_that_is_taken(self) -> None:
        """An exit that cannot listen says where and why."""
        _, at = self.exit()
        with self.assertRaises(CarryError) as raised:
            self.exit(at=at)
        self.assertIn(f"cannot listen on {at}", str(raised.exception))


class HalfOpen(DatagramProtocol):
    """A client that shows that its address is its own, and says no more."""

    def __init__(self, exit_at: Endpoint) -> None:
        self._exit = (exit_at.host, exit_at.port)
        self.connection = Connection(
            configuration(credentials("gateway"), Transfer(), "127.0.0.1"), Bounds()
        )
        self.answers: list[bytes] = []
        self.is_mute = False

    def begin(self) -> None:
        """Send the first packet."""
        self.connection.connect(self._exit, now=reactor.seconds())
        self._flush()

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """DatagramProtocol API."""
        self.answers.append(datagram)
        if len(self.answers) == 1 and not self.is_mute:
            self.connection.receive_datagram(datagram, addr, now=reactor.seconds())
            self._flush()

    def _flush(self) -> None:
        for packet, to in self.connection.datagrams_to_send(now=reactor.seconds()):
            send(self, packet, to)


def _initial() -> bytes:
    """Give the first packet of an honest client that says no more."""
    quic = configuration(credentials("gateway"), Transfer(), "127.0.0.1")
    connection = Connection(quic, Bounds())
    connection.connect(("127.0.0.1", 1), now=reactor.seconds())
    return connection.datagrams_to_send(now=reactor.seconds())[0][0]
