"""A stage for one peer.  Owns: three namespaces, their links, addresses, cores and counters.
Knows: iproute2, nftables, receive packet steering.  Never: what the peer in the middle does.

    client ── clients:gateway:uplink ── server

Every peer has a stage of its own, and all stages stand at once, so that trials of all peers can
follow each other at once.  The server owns every address; behind the client are 65,536 others.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.lab import namespaces
from tests.lab.process import Process

LOAD_CORE, GATEWAY_CORE = 0, 1
"""Generators and server on the one; what the gateway's interfaces receive, and the peer, on the
other: so every peer has one core, and the generators' cost is in no ratio."""


class Space(StrEnum):
    """A stage's namespaces."""

    CLIENT = "client"
    GATEWAY = "gateway"
    SERVER = "server"


class Receiving(StrEnum):
    """What the server does with the probes."""

    COUNT = "count"
    """Counts them at its interface, still on the gateway's core, so that the generators' core has
    nothing to do but to generate: otherwise the generators are what is measured."""
    TAKE = "take"
    """A program takes them at the interface; nothing else gets them."""
    ANSWER = "answer"
    """They go to a socket."""


PROBE_PORT = 5300
"""Where probes go."""


class StreamPorts(NamedTuple):
    """The server's ports for streams."""

    asked: int
    """Answers one octet, and closes."""
    bulk: int
    """Takes all."""
    echo: int
    """Gives back all."""


FORWARDED, RELAYED = StreamPorts(443, 993, 995), StreamPorts(5400, 5401, 5402)
"""What a stream says decides on it.  To the first ports clients speak TLS from the first octet on,
so that the kernel may carry them (docs/router.md); to others, a gateway has to relay them."""

_NETLINK_NETFILTER = 12  # linux/netlink.h
# Each link: both ends' namespace, interface, hardware address, and addresses.
_LINKS = (
    (
        (Space.CLIENT, "gateway", "02:00:00:00:01:02", "10.1.0.2/24", "2001:db8:1::2/64"),
        (Space.GATEWAY, "clients", "02:00:00:00:01:01", "10.1.0.1/24", "2001:db8:1::1/64"),
    ),
    (
        (Space.GATEWAY, "uplink", "02:00:00:00:02:01", "10.2.0.1/24", "2001:db8:2::1/64"),
        (Space.SERVER, "gateway", "02:00:00:00:02:02", "10.2.0.2/24", "2001:db8:2::2/64"),
    ),
)
_ROUTES = {
    Space.CLIENT: ("default via 10.1.0.1", "default via 2001:db8:1::1"),
    Space.GATEWAY: (
        "default via 10.2.0.2",
        "default via 2001:db8:2::2",
        "10.64.0.0/16 via 10.1.0.2",
        "2001:db8:40::/64 via 2001:db8:1::2",
    ),
    Space.SERVER: (
        "local 0.0.0.0/0 dev lo table main",
        "local ::/0 dev lo table main",
        "10.1.0.0/24 via 10.2.0.1",
        "10.64.0.0/16 via 10.2.0.1",
        "2001:db8:1::/64 via 2001:db8:2::1",
        "2001:db8:40::/64 via 2001:db8:2::1",
    ),
}
_SETTINGS = {
    "net/ipv6/conf/all/accept_dad": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/ip_local_port_range": "1100 65000",
    # A network card checks checksums; without one, connection tracking would do it, packet by
    # packet, and every peer that uses it would pay for what costs nothing elsewhere.
    "net/netfilter/nf_conntrack_checksum": "0",
}
_FORWARDING = {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"}
# What comes back to the clients that are only made up is for the generator's ring alone.
_CLIENT_RULES = """
table netdev bench { chain in { type filter hook ingress device "gateway" priority 0;
    meta l4proto udp drop
}
}"""
_SERVER_RULES = """
table netdev bench {
    counter probes { }
    counter denied { }
    chain probes { }
    chain in { type filter hook ingress device "gateway" priority 0;
        ip daddr 198.51.100.7 counter name denied
        ip6 daddr 2001:db8:c::7 counter name denied
        jump probes
    }
}"""


class Stage:
    """Make it with `create`, end it with `remove`."""

    GATEWAY_MAC = _LINKS[0][1][2]
    GATEWAY = ("10.1.0.1", "2001:db8:1::1")
    """The gateway's addresses on the clients' side, for peers that listen."""

    def __init__(self) -> None:
        """Name it; `create` makes it."""
        self._prefix = namespaces.prefix()
        self._closing = ExitStack()

    @classmethod
    def create(cls) -> Stage:
        """Make a stage.

        Raises:  RuntimeError: a command failed; with what it said.  Nothing is left behind then.
        """
        stage = cls()
        try:
            stage._build()
        except BaseException:
            stage.remove()
            raise
        return stage

    def remove(self) -> None:
        """End everything that runs here, and remove it; may be called again."""
        self._closing.close()
        for space in Space:
            namespaces.remove(self.name(space))

    def name(self, space: Space) -> str:
        """Give a namespace's name."""
        return f"{self._prefix}-{space}"

    def command(
        self, space: Space, argv: Sequence[str], text: str = "", timeout_s: float = 120.0
    ) -> str:
        """Run a command to its end; give what it said.

        Raises:  RuntimeError: it failed; with what it said.
        """
        whole = ["ip", "netns", "exec", self.name(space), *argv]
        done = namespaces.completed(whole, text=text, timeout_s=timeout_s)
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)[:200]}: {done.stderr.strip()[-800:]}")
        return done.stdout

    def spawn(self, space: Space, argv: Sequence[str]) -> Process:
        """Start a command, in the gateway on the gateway's core; it ends with the stage."""
        core = GATEWAY_CORE if space is Space.GATEWAY else LOAD_CORE
        process = Process(self.name(space), ["taskset", "-c", str(core), *argv])
        self._closing.callback(process.kill)
        return process

    def connect(self, address: str, port: int, timeout_s: float) -> socket.socket:
        """Open a stream from the client."""
        where = self.name(Space.CLIENT)
        return namespaces.inside(
            where, lambda: socket.create_connection((address, port), timeout_s)
        )

    def pids(self, space: Space) -> list[int]:
        """Give every process that runs in a namespace."""
        said = namespaces.command(["ip", "netns", "pids", self.name(space)])
        return [int(pid) for pid in said.split() if int(pid) != os.getpid()]

    def receive(self, how: Receiving, *, is_on_gateway_core: bool = False) -> None:
        """Say what the server does with the probes from now on, and on which core they reach it;
        what is only counted always does so on the gateway's."""
        verdict = {Receiving.COUNT: "counter name probes drop", Receiving.TAKE: "drop"}.get(how)
        rule = f"add rule netdev bench probes udp dport {PROBE_PORT} {verdict}" if verdict else ""
        self.command(Space.SERVER, ["nft", "-f", "-"], f"flush chain netdev bench probes\n{rule}\n")
        stays = is_on_gateway_core or how is Receiving.COUNT
        self._steer(Space.SERVER, "gateway", None if stays else LOAD_CORE)

    def counted(self) -> dict[str, int]:
        """Give the server's counters: "probes" (where they are counted) and "denied"."""
        said = self.command(
            Space.SERVER, ["nft", "-j", "list", "counters", "table", "netdev", "bench"]
        )
        entries = [one["counter"] for one in json.loads(said)["nftables"] if "counter" in one]
        return {str(one["name"]): int(one["packets"]) for one in entries}

    def has_streams(self, port: int) -> bool:
        """Say whether the gateway itself holds an open stream to a port: it relays."""
        lines = self.command(Space.GATEWAY, ["cat", "/proc/net/tcp", "/proc/net/tcp6"]).splitlines()
        fields = [line.split() for line in lines]
        return any(
            len(one) > 3 and one[3] == "01" and one[2].endswith(f":{port:04X}") for one in fields
        )

    def forget_flows(self) -> None:
        """Empty the gateway's connection tracking, so that every flow is new once more."""
        namespaces.inside(self.name(Space.GATEWAY), _flush_conntrack)

    def _build(self) -> None:
        for space in Space:
            namespaces.add(self.name(space))
            settings = _SETTINGS | (_FORWARDING if space is Space.GATEWAY else {})
            namespaces.inside(self.name(space), partial(_write_settings, settings))
        for near, far in _LINKS:
            a, b = (f"{one[1]} address {one[2]} netns {self.name(one[0])}" for one in (near, far))
            namespaces.command(
                ["ip", "-batch", "-"], text=f"link add name {a} type veth peer name {b}"
            )
        for space in Space:
            self._connect(space)
        for near, far in _LINKS:
            for one, other in ((near, far), (far, near)):
                namespaces.inside(self.name(one[0]), partial(namespaces.wait_running, one[1]))
                self._steer(one[0], one[1], GATEWAY_CORE if one[0] is Space.GATEWAY else LOAD_CORE)
                self._know(one[0], one[1], other)
        self.command(Space.CLIENT, ["nft", "-f", "-"], _CLIENT_RULES)
        self.command(Space.SERVER, ["nft", "-f", "-"], _SERVER_RULES)

    def _connect(self, space: Space) -> None:
        lines = ["link set lo up"]
        for _, interface, _, *addresses in (e for link in _LINKS for e in link if e[0] is space):
            lines += [f"address add {address} dev {interface}" for address in addresses]
            lines.append(f"link set {interface} up")
        lines += [f"route add {route}" for route in _ROUTES[space]]
        namespaces.command(["ip", "-netns", self.name(space), "-batch", "-"], text="\n".join(lines))

    def _know(self, space: Space, interface: str, other: tuple[Space, str, str, str, str]) -> None:
        """Make a neighbour permanent: nobody shall ask for it in the middle of a trial."""
        hosts = (address.partition("/")[0] for address in other[3:])
        lines = [
            f"neigh replace {host} dev {interface} lladdr {other[2]} nud permanent"
            for host in hosts
        ]
        namespaces.command(["ip", "-netns", self.name(space), "-batch", "-"], text="\n".join(lines))

    def _steer(self, space: Space, interface: str, core: int | None) -> None:
        """Have one core do what an interface receives; None: the one that sent it."""
        mask = 0 if core is None else 1 << core
        path = f"/sys/class/net/{interface}/queues/rx-0/rps_cpus"
        self.command(space, ["sh", "-c", f"echo {mask:x} >{path}"])


def _write_settings(settings: dict[str, str]) -> None:
    for name, value in settings.items():
        path = Path("/proc/sys") / name
        if path.exists():
            path.write_text(value)


def _flush_conntrack() -> None:
    # A deletion that names no flow deletes all (linux/netfilter/nfnetlink_conntrack.h): 16 octets
    # of netlink, type NFNL_SUBSYS_CTNETLINK and IPCTNL_MSG_CT_DELETE, request and ack; nfgenmsg.
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as door:
        door.send(
            (20).to_bytes(4, "little")
            + (1 << 8 | 2).to_bytes(2, "little")
            + (1 | 4).to_bytes(2, "little")
            + bytes(8)
            + bytes(4)
        )
        door.recv(4096)
