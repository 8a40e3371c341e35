"""Gateways of others that carry every datagram themselves.  Owns: their configurations.
Knows: sing-box, Envoy, nginx stream, HAProxy; TPROXY.  Never: what is measured.

Each is set up for one core as its own documentation recommends, and closed where it fails.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scripts.benchmarks.router.peers import Peer, Unavailable
from scripts.benchmarks.router.stage import PROBE_PORT, RELAYED, Space, Stage

_DOOR = 15001
_STREAMS = (RELAYED.asked, RELAYED.bulk)


def _found(name: str) -> str:
    """Find a command beside the running Python, or on the path.

    Raises:  Unavailable.
    """
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise Unavailable(f"{name} is not installed")
    return found


class Proxy(Peer):
    """What runs a program, and takes streams by relaying them."""

    relays_tcp = True
    program: str

    def __init__(self, *arguments: Any) -> None:
        """Peer API."""
        super().__init__(*arguments)
        self.command = _found(self.program)

    @property
    def own(self) -> str:
        """The address that clients see."""
        return Stage.GATEWAY[self.places.family == 6]

    def write(self, name: str, text: str) -> str:
        """Write a file into the scratch folder; give its path."""
        path = self.scratch / name
        path.write_text(text, encoding="utf-8")
        return str(path)


class Divert(Proxy):
    """A proxy that clients do not know of: the kernel hands it their packets (TPROXY).

    The mark comes first: without a listener the packet is then routed to loopback, and dies there.
    """

    protocols = "{ tcp, udp }"

    def divert(self) -> None:
        """Have the kernel hand over."""
        six = self.places.family == 6
        ip, loopback = ("ip6", "[::1]") if six else ("ip", "127.0.0.1")
        own = "2001:db8:1::/64" if six else "10.1.0.0/24"
        rules = f"""table inet bench {{ chain in {{
            type filter hook prerouting priority mangle; policy accept;
            meta l4proto tcp socket transparent 1 meta mark set 1 accept
            iifname != "clients" accept
            {ip} daddr {own} accept
            icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
            meta l4proto {self.protocols} meta mark set 1 tproxy {ip} to {loopback}:{_DOOR} accept
            drop
        }}
        }}"""
        self.stage.command(Space.GATEWAY, ["nft", "-f", "-"], rules)
        family = "-6" if six else "-4"
        self.stage.command(
            Space.GATEWAY, ["ip", family, "rule", "add", "fwmark", "1", "lookup", "100"]
        )
        route = ["ip", family, "route", "add", "local", "default", "dev", "lo", "table", "100"]
        self.stage.command(Space.GATEWAY, route)

    def stop(self) -> None:
        """Peer API."""
        super().stop()
        family = "-6" if self.places.family == 6 else "-4"
        self.stage.command(Space.GATEWAY, ["nft", "flush", "ruleset"])
        self.stage.command(Space.GATEWAY, ["ip", family, "rule", "del", "fwmark", "1"])
        self.stage.command(Space.GATEWAY, ["ip", family, "route", "flush", "table", "100"])


class SingBox(Divert):
    """sing-box: TPROXY in, a compiled rule set, direct out."""

    name = program = "sing-box"
    max_flows = 8_000

    def start(self, denied: Iterable[str]) -> None:
        """Peer API."""
        rules = {"version": 3, "rules": [{"ip_cidr": list(denied)}]}
        source, compiled = (
            self.write("denied.json", json.dumps(rules)),
            str(self.scratch / "denied.srs"),
        )
        compile_ = [self.command, "rule-set", "compile", "--output", compiled, source]
        self.stage.command(Space.GATEWAY, compile_)
        door = {
            "type": "tproxy",
            "tag": "in",
            "listen": "::",
            "listen_port": _DOOR,
            "udp_timeout": "5m",
        }
        rule = {"rule_set": ["denied"], "action": "reject", "method": "drop"}
        set_ = {"type": "local", "tag": "denied", "format": "binary", "path": compiled}
        configuration = {
            "log": {"level": "error"},
            "inbounds": [door],
            "outbounds": [{"type": "direct", "tag": "direct"}],
            "route": {"rule_set": [set_], "rules": [rule], "final": "direct"},
        }
        path = self.write("sing-box.json", json.dumps(configuration))
        self.process = self.stage.spawn(Space.GATEWAY, [self.command, "run", "-c", path])
        self.wait_listening(_DOOR, is_udp=True)
        self.wait_listening(_DOOR)
        self.divert()


class HaProxy(Divert):
    """HAProxy: TPROXY in, a list of denied addresses, splice; it has no UDP."""

    name = program = "haproxy"
    carries_udp = False
    protocols = "tcp"

    def start(self, denied: Iterable[str]) -> None:
        """Peer API."""
        denied_path = self.write("denied.txt", "\n".join(denied) + "\n")
        any_ = "[::]" if self.places.family == 6 else "0.0.0.0"
        path = self.write(
            "haproxy.cfg",
            f"""
global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  option splice-auto
frontend in
  bind {any_}:{_DOOR} transparent
  tcp-request connection silent-drop if {{ dst -f {denied_path} }}
  default_backend out
backend out
  source {any_} usesrc clientip
  server direct {any_}
""",
        )
        self.process = self.stage.spawn(Space.GATEWAY, [self.command, "-db", "-f", path])
        self.wait_listening(_DOOR)
        self.divert()


class Nginx(Proxy):
    """nginx stream: fixed ports, since it has no way to take an address that the client chose."""

    name = program = "nginx"
    listens = True
    max_flows = 8_000

    def start(self, denied: Iterable[str]) -> None:
        """Peer API."""
        six = self.places.family == 6
        own = f"[{self.own}]" if six else self.own
        server = f"[{self.places.allowed}]" if six else self.places.allowed
        streams = "\n".join(
            f"server {{ listen {own}:{port} backlog=4096; proxy_pass {server}:{port}; }}"
            for port in _STREAMS
        )
        udp = f"{own}:{PROBE_PORT} udp reuseport rcvbuf=4m sndbuf=4m"
        text = f"""
worker_processes 1; daemon off; pid nginx.pid; error_log nginx.log error;
worker_rlimit_nofile 19000;
events {{ worker_connections 18000; multi_accept on; }}
stream {{
  proxy_timeout 60s;
  proxy_half_close on;
  server {{ listen {udp}; proxy_pass {server}:{PROBE_PORT}; }}
  {streams}
}}
"""
        module = _stream_module(self.command)
        path = self.write("nginx.conf", f"load_module {module};\n{text}" if module else text)
        argv = [self.command, "-p", str(self.scratch), "-c", path]
        self.process = self.stage.spawn(Space.GATEWAY, argv)
        self.wait_listening(PROBE_PORT, is_udp=True)


def _stream_module(command: str) -> str | None:
    """Find the module where it is not built in; None: it is, or is not there."""
    places = (Path("/usr/lib/nginx/modules"), Path(command).parents[1] / "lib/nginx/modules")
    found = (place / "ngx_stream_module.so" for place in places)
    return next((str(path) for path in found if path.exists()), None)


class Envoy(Proxy):
    """Envoy: udp_proxy and tcp_proxy, fixed ports, one worker."""

    name = program = "envoy"
    listens = True
    max_flows = 8_000

    def start(self, denied: Iterable[str]) -> None:
        """Peer API."""
        ports = (PROBE_PORT, *_STREAMS)
        configuration = {
            "static_resources": {
                "listeners": [
                    _envoy_udp(self.own),
                    *(_envoy_tcp(self.own, one) for one in _STREAMS),
                ],
                "clusters": [_envoy_cluster(self.places.allowed, port) for port in ports],
            }
        }
        path = self.write("envoy.json", json.dumps(configuration))
        argv = [
            self.command,
            "-c",
            path,
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "-l",
            "error",
        ]
        self.process = self.stage.spawn(Space.GATEWAY, argv)
        self.wait_listening(PROBE_PORT, is_udp=True)
        self.wait_listening(_STREAMS[-1])


_TYPE = "type.googleapis.com/envoy.extensions.filters"


def _envoy_address(address: str, port: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"socket_address": {"protocol": protocol, "address": address, "port_value": port}}


def _envoy_udp(own: str) -> dict[str, Any]:
    route = {"@type": f"{_TYPE}.udp.udp_proxy.v3.Route", "cluster": str(PROBE_PORT)}
    config = {
        "@type": f"{_TYPE}.udp.udp_proxy.v3.UdpProxyConfig",
        "stat_prefix": "udp",
        "matcher": {"on_no_match": {"action": {"name": "route", "typed_config": route}}},
        "idle_timeout": "60s",
    }
    return {
        "name": "udp",
        "address": _envoy_address(own, PROBE_PORT, "UDP"),
        "udp_listener_config": {"downstream_socket_config": {"max_rx_datagram_size": 2048}},
        "listener_filters": [
            {"name": "envoy.filters.udp_listener.udp_proxy", "typed_config": config}
        ],
    }


def _envoy_tcp(own: str, port: int) -> dict[str, Any]:
    config = {
        "@type": f"{_TYPE}.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "tcp",
        "cluster": str(port),
    }
    filters = [{"name": "envoy.filters.network.tcp_proxy", "typed_config": config}]
    chains = [{"filters": filters}]
    return {"name": str(port), "address": _envoy_address(own, port), "filter_chains": chains}


def _envoy_cluster(server: str, port: int) -> dict[str, Any]:
    protocol = "UDP" if port == PROBE_PORT else "TCP"
    endpoint = {"endpoint": {"address": _envoy_address(server, port, protocol)}}
    most = {"max_connections": 1 << 20, "max_pending_requests": 1 << 20, "max_requests": 1 << 20}
    return {
        "name": str(port),
        "type": "STATIC",
        "connect_timeout": "2s",
        "circuit_breakers": {"thresholds": [most]},
        "load_assignment": {
            "cluster_name": str(port),
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }
