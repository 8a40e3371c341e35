"""The host's network interfaces, as they come, go and change their names.  Owns: noticing it;
their numbers and MTUs.  Knows: rtnetlink(7), pyroute2.  Never: nft, what follows from it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from pyroute2 import IPRoute  # type: ignore[import-untyped]  # pyroute2 ships no types
from pyroute2.netlink.exceptions import (  # type: ignore[import-untyped]  # likewise
    NetlinkError,
)

from gateway.errors import CarryError

_GROUP_LINK = 1  # RTMGRP_LINK
_ETHERNET = 1  # ARPHRD_ETHER
# RFC 791: what every link carries, and what no packet exceeds.
_MIN_MTU, _MAX_MTU = 68, 65_535
# Events that are read at a time; more are read the next time.
_MAX_READ = 1_000


@dataclass(frozen=True, slots=True)
class Link:
    """One interface."""

    numbers: frozenset[int]
    """Its own, and that of what it is a port of (a bridge, a bond), for that is where its packets
    then come in."""
    mtu: int
    """Octets of an IP packet, 68..65535."""
    number: int = 0
    """Its own."""
    is_ethernet: bool = False
    """Whether its packets have an Ethernet header."""


class Links:
    """Hears of every change of an interface, from `listen` to `close`."""

    def __init__(self) -> None:
        """Hear nothing yet."""
        self._door: socket.socket | None = None
        self._changes = 0

    def listen(self) -> None:
        """Begin; nothing, if it has begun.

        Raises:  CarryError: there is no such socket.
        """
        if self._door is not None:
            return
        try:
            door = socket.socket(
                socket.AF_NETLINK,
                socket.SOCK_RAW | socket.SOCK_NONBLOCK,
                socket.NETLINK_ROUTE,
            )
            door.bind((0, _GROUP_LINK))
        except OSError as error:
            raise CarryError("interfaces", f"cannot be watched: {error.strerror}") from error
        self._door = door

    def changes(self) -> int:
        """Give a number that grows whenever an interface has changed."""
        if self._door is None:
            return self._changes
        for _ in range(_MAX_READ):
            try:
                self._door.recv(1)  # what it says does not matter: all of them are looked at
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # more changes than there was room for
                    raise CarryError("interfaces", error.strerror or "unknown") from error
            self._changes += 1
        return self._changes

    def close(self) -> None:
        """End; may be called twice."""
        if self._door is not None:
            self._door.close()
            self._door = None


def look(names: Iterable[str]) -> dict[str, Link]:
    """Look for interfaces by their names.  It blocks: in a thread.

    Returns: without those that there are not.
    Raises:  CarryError: the kernel does not say.
    """
    wanted = set(names)
    found: dict[str, Link] = {}
    try:
        with IPRoute() as ipr:
            for link in ipr.get_links():
                if (name := link.get_attr("IFLA_IFNAME")) in wanted:
                    both = link["index"], link.get_attr("IFLA_MASTER")
                    numbers = frozenset(int(one) for one in both if one is not None)
                    mtu = min(max(int(link.get_attr("IFLA_MTU")), _MIN_MTU), _MAX_MTU)
                    is_ethernet = link["ifi_type"] == _ETHERNET
                    found[name] = Link(numbers, mtu, int(link["index"]), is_ethernet)
    except (NetlinkError, OSError) as error:
        raise CarryError("interfaces", str(error)) from error
    return found
