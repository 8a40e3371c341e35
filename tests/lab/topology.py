"""The lab.  Owns: four namespaces, the links between them, their addresses and routes.
Knows: iproute2, the kernel's network settings.  Never: what is sent through it.

    client ── clients:gateway:uplink ── gateway:internet:exit ── exit

The internet owns every address that is not on a link of the lab: whatever is sent anywhere arrives
there.  The exit is a host on the internet, for the far end of a tunnel.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TypeVar

from tests.lab import namespaces
from tests.lab.namespaces import skip_reason
from tests.lab.process import Process

__all__ = ["Lab", "Space", "skip_reason"]

Result = TypeVar("Result")


class Space(StrEnum):
    """The lab's namespaces."""

    CLIENT = "client"
    GATEWAY = "gateway"
    INTERNET = "internet"
    EXIT = "exit"


# One link a line: both ends' namespace, interface, and addresses.
_LINKS = (
    (
        (Space.CLIENT, "gateway", "10.1.0.2/24", "2001:db8:1::2/64"),
        (Space.GATEWAY, "clients", "10.1.0.1/24", "2001:db8:1::1/64"),
    ),
    (
        (Space.GATEWAY, "uplink", "10.2.0.1/24", "2001:db8:2::1/64"),
        (Space.INTERNET, "gateway", "10.2.0.2/24", "2001:db8:2::2/64"),
    ),
    (
        (Space.INTERNET, "exit", "192.0.2.9/30", "2001:db8:3::1/64"),
        (Space.EXIT, "internet", "192.0.2.10/30", "2001:db8:3::2/64"),
    ),
)
_ROUTES = {
    Space.CLIENT: ("default via 10.1.0.1", "default via 2001:db8:1::1"),
    Space.GATEWAY: ("default via 10.2.0.2", "default via 2001:db8:2::2"),
    Space.INTERNET: (
        # In table main: iproute2 would take table local, which comes before the routes below.
        "local 0.0.0.0/0 dev lo table main",
        "local ::/0 dev lo table main",
        "10.1.0.0/24 via 10.2.0.1",
        "2001:db8:1::/64 via 2001:db8:2::1",
    ),
    Space.EXIT: ("default via 192.0.2.9", "default via 2001:db8:3::1"),
}
# Written before there are links, which take "default" over.  No duplicate address detection: an
# address is there at once.  No reverse path filter, and sources are accepted that the receiver
# itself owns: what a gateway leaks must be seen, whatever it looks like.
_SETTINGS = (
    ("net/ipv6/conf/all/disable_ipv6", 0),
    ("net/ipv6/conf/default/disable_ipv6", 0),
    ("net/ipv6/conf/all/accept_dad", 0),
    ("net/ipv6/conf/default/accept_dad", 0),
    ("net/ipv6/conf/default/accept_ra", 0),
    ("net/ipv4/conf/all/rp_filter", 0),
    ("net/ipv4/conf/default/rp_filter", 0),
    ("net/ipv4/conf/all/accept_local", 1),
    ("net/ipv4/conf/default/accept_local", 1),
)
_FORWARDING = (("net/ipv4/ip_forward", 1), ("net/ipv6/conf/all/forwarding", 1))


class Lab:
    """A client, its gateway, the internet and an exit: make it with `create`, end it with `remove`.

    Several labs may be open at once, in one process and in many.
    """

    CLIENT = ("10.1.0.2", "2001:db8:1::2")
    """The client's own addresses; `carry` adds others."""
    GATEWAY = ("10.1.0.1", "2001:db8:1::1")
    """The gateway's, on the clients' side."""
    UPLINK = ("10.2.0.1", "2001:db8:2::1")
    """The gateway's, on the internet's side."""
    EXIT = ("192.0.2.10", "2001:db8:3::2")
    """The exit's."""

    def __init__(self) -> None:
        """Name it; `create` makes it."""
        self._prefix = namespaces.prefix()
        self._closing = ExitStack()
        self._carried: set[str] = set(self.CLIENT)

    @classmethod
    def create(cls) -> Lab:
        """Make a lab; what labs of dead processes left behind is removed first.

        Raises:  RuntimeError: a command failed; with what it said.  Nothing is left behind then.
        """
        namespaces.remove_stale()
        lab = cls()
        try:
            lab._build()
        except BaseException:
            lab.remove()
            raise
        return lab

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """End everything that runs in the lab, and remove it; may be called again."""
        self._closing.close()
        for space in Space:
            namespaces.remove(self.name(space))

    def name(self, space: Space | str) -> str:
        """Give the name of a namespace, as `ip netns exec` knows it."""
        return f"{self._prefix}-{Space(space)}"

    def call(self, space: Space | str, function: Callable[[], Result]) -> Result:
        """Call a function in a namespace, in a thread of its own, and give what it returns."""
        return namespaces.inside(self.name(space), function)

    def enter(self, space: Space | str) -> None:
        """Move the calling thread into a namespace, for as long as it lives."""
        namespaces.enter(self.name(space))

    def socket(self, space: Space | str, family: int, kind: int, proto: int = 0) -> socket.socket:
        """Open a socket in a namespace; it may be used anywhere, and its owner closes it."""
        return self.call(space, lambda: socket.socket(family, kind, proto))

    def run(
        self, space: Space | str, argv: Sequence[str], *, text: str = "", timeout_s: float = 30.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a namespace to its end.

        Args:    text: its standard input.
        Returns: exit status, standard output and error; nothing is raised for a status.
        """
        enter = ["ip", "netns", "exec", self.name(space)]
        return namespaces.completed([*enter, *argv], text=text, timeout_s=timeout_s)

    def spawn(
        self, space: Space | str, argv: Sequence[str], *, copy: Path = Path(os.devnull)
    ) -> Process:
        """Start a command in a namespace; it is ended with the lab at the latest.

        Args:    copy: a file to which its output is appended.
        """
        process = Process(self.name(space), argv, copy)
        self._closing.callback(process.kill)
        return process

    def carry(self, address: str) -> None:
        """Give the client one more address, and the others their routes back to it."""
        if address in self._carried:
            return
        self._carried.add(address)
        six = ":" in address
        host = f"{ipaddress.ip_address(address)}/{128 if six else 32}"
        self._ip(Space.CLIENT, [f"address add {host} dev gateway"])
        self._ip(Space.GATEWAY, [f"route add {host} via {self.CLIENT[six]}"])
        self._ip(Space.INTERNET, [f"route add {host} via {self.UPLINK[six]}"])

    def _build(self) -> None:
        for space in Space:
            namespaces.add(self.name(space))
            forwards = space in (Space.GATEWAY, Space.INTERNET)
            settings = _SETTINGS + (_FORWARDING if forwards else ())
            self.call(space, partial(namespaces.set_sysctls, settings))
        for at, (near, far) in enumerate(_LINKS):
            # Numbers that differ: the kernel sees at once that a link came up, and not after up to
            # a second, only where its two ends do (linkwatch_urgent_event).
            a, b = (
                f"{end[1]} index {10 + 2 * at + side} netns {self.name(end[0])}"
                for side, end in enumerate((near, far))
            )
            line = f"link add name {a} type veth peer name {b}"
            namespaces.command(["ip", "-batch", "-"], text=line)
        for space in Space:
            self._connect(space)
        for end in (end for link in _LINKS for end in link):
            self.call(end[0], partial(namespaces.wait_running, end[1]))

    def _connect(self, space: Space) -> None:
        ends = [end for link in _LINKS for end in link if end[0] is space]
        lines = ["link set lo up"]
        for _, interface, *addresses in ends:
            self.call(space, partial(namespaces.without_offloads, interface))
            lines += [f"address add {address} dev {interface}" for address in addresses]
            lines.append(f"link set {interface} up")
        self._ip(space, [*lines, *(f"route add {route}" for route in _ROUTES[space])])

    def _ip(self, space: Space, lines: Sequence[str]) -> None:
        """Run lines of `ip -batch` in a namespace."""
        argv = ["ip", "-netns", self.name(space), "-batch", "-"]
        namespaces.command(argv, text="\n".join(lines))
