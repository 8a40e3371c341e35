"""What a tunnel does on a bad network: loss, reordering, duplicates, and seconds without any."""

from __future__ import annotations

from hashlib import sha256
from random import Random
from typing import cast

from twisted.internet.endpoints import connectProtocol
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from gateway.model import Endpoint
from gateway.tunnel.client import Tunnel
from gateway.tunnel.quic import Bounds
from gateway.tunnel.reactor import Address
from tests.tunnel.test_tcp import Echo, Talker
from tests.tunnel.world import Forwarder, UdpEcho, World, reactor, until

_CLOCK = cast(IReactorTime, reactor)


class BadNetwork(Forwarder):
    """A path that loses, doubles and delays packets, or carries none; the same ones each time."""

    def __init__(self, to: Endpoint) -> None:
        super().__init__(to)
        self.is_bad = self.is_cut = False
        self.carried = 0
        self._chance = Random(11)
        self._late: list[IDelayedCall] = []

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """DatagramProtocol API."""
        if self.is_cut:
            return
        luck = self._chance.random() if self.is_bad else 1.0
        if luck < 0.1:
            return
        self.carried += 1
        if luck < 0.2:  # later than the next ones
            self._late.append(_CLOCK.callLater(0.02, super().datagramReceived, datagram, addr))
            return
        super().datagramReceived(datagram, addr)
        if luck < 0.3:
            super().datagramReceived(datagram, addr)

    def settle(self) -> None:
        """Let nothing that is late arrive any more."""
        for call in self._late:
            if call.active():
                call.cancel()


class WeatherTests(World):
    """A tunnel over a bad network."""

    async def over(self) -> tuple[BadNetwork, Tunnel]:
        """Start an exit and a tunnel to it over a bad network."""
        _, at = self.exit()
        network = BadNetwork(at)
        self.addCleanup(network.settle)
        tunnel, _ = self.tunnel(self.udp(network))
        await until(lambda: tunnel.up, "up")
        return network, tunnel

    async def test_datagrams(self) -> None:
        """Of a flow's datagrams those are lost that the network loses, none comes twice, and the
        flow goes on."""
        network, tunnel = await self.over()
        network.is_bad = True
        echo = UdpEcho()
        got: list[bytes] = []
        ends: list[str] = []
        flow = tunnel.open_udp(self.udp(echo), got.append, ends.append)
        for number in range(300):
            flow.send(b"%d" % number)
            carried = network.carried
            await until(lambda carried=carried: network.carried > carried, "it")  # type: ignore[misc]
        network.is_bad = False
        await until(lambda: flow.send(b"last") and b"last" in got, "the last")
        numbered = [one for one in got if one != b"last"]
        self.assertEqual(len(set(numbered)), len(numbered))
        self.assertGreater(len(numbered), 200)
        self.assertEqual((ends, tunnel.counters["attempts"]), ([], 1))

    async def test_stream(self) -> None:
        """A stream arrives whole and in order."""
        network, tunnel = await self.over()
        network.is_bad = True
        talker = Talker()
        octets = Random(5).randbytes(200_000)
        await connectProtocol(tunnel.stream_endpoint(self.tcp(Echo)), talker)
        talker.tcp.write(octets)
        talker.tcp.loseWriteConnection()
        await until(lambda: talker.has_heard_end or talker.lost, "the end", within_s=60)
        self.assertEqual(sha256(talker.heard).hexdigest(), sha256(octets).hexdigest())

    async def test_outage(self) -> None:
        """After a second without any network a flow goes on within two; what waited is bounded,
        and the oldest of it is dropped."""
        network, tunnel = await self.over()
        got: list[bytes] = []
        ends: list[str] = []
        flow = tunnel.open_udp(self.udp(UdpEcho()), got.append, ends.append)
        flow.send(b"before")
        await until(lambda: got, "the first echo")
        network.is_cut = True
        cut_s = reactor.seconds()
        sent = 0

        def outage_is_over() -> bool:
            nonlocal sent
            for _ in range(10):
                flow.send(b"%d" % sent)
                sent += 1
            return reactor.seconds() - cut_s > 1.0

        await until(outage_is_over, "a second")
        connection = tunnel._attempt.session.connection  # type: ignore[union-attr]
        self.assertLessEqual(connection.datagrams_waiting, Bounds().datagram_queue)
        network.is_cut = False
        back_s = reactor.seconds()
        await until(lambda: flow.send(b"after") and b"after" in got, "an echo")
        self.assertLess(reactor.seconds() - back_s, 2.0)
        self.assertEqual((ends, tunnel.counters["attempts"]), ([], 1))
        self.assertGreater(tunnel.counters["datagrams_overflowed"], 0)
