"""A network interface of our own, by which packets come in as a client's do.  Owns: making it, its
routes, writing packets into it, its end.  Knows: tun(4) (Documentation/networking/tuntap.rst),
pyroute2.  Never: what the packets say, nft."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute  # type: ignore[import-untyped]  # pyroute2 ships no types
from pyroute2.netlink.exceptions import (  # type: ignore[import-untyped]  # likewise
    NetlinkError,
)

from gateway.errors import CarryError
from gateway.model import unpack

DEVICE = Path("/dev/net/tun")
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_MAX_PACKET_LEN = 65_535
# Packets that are read at a time; more are read the next time.
_MAX_READ = 256


class Tun:
    """The interface, which lives as long as this process holds it open.

    What the kernel routes to it is read and thrown away (IReadDescriptor API)."""

    def __init__(self, name: str) -> None:
        """Make nothing yet."""
        self.name = name
        self.number = 0
        """The kernel's number of it."""
        self.addresses: tuple[bytes, ...] = ()
        """Those that are routed to it: a host may not speak a family."""
        self._descriptor = -1

    def open(self, addresses: Iterable[bytes]) -> None:
        """Make it, and route these addresses to it; nothing, if it is open.

        Raises:  CarryError: there is no such device, or we may not; nothing is left behind.
        """
        if self._descriptor >= 0:
            return
        try:
            self._descriptor = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            request = struct.pack("16sH22x", self.name.encode(), _IFF_TUN | _IFF_NO_PI)
            fcntl.ioctl(self._descriptor, _TUNSETIFF, request)
            self.number = socket.if_nametoindex(self.name)
            self.addresses = tuple(self._routed(addresses))
        except OSError as error:
            self.close()
            raise CarryError(self.name, f"cannot be made: {error.strerror}") from error
        except NetlinkError as error:
            self.close()
            raise CarryError(self.name, f"cannot be brought up: {error}") from error
        if not self.addresses:
            self.close()
            raise CarryError(self.name, "nothing can be routed to it")

    def _routed(self, addresses: Iterable[bytes]) -> Iterator[bytes]:
        """It has no address of its own: what comes by it with one would be taken for the host's."""
        ipr: Any
        with IPRoute() as ipr:
            ipr.link("set", index=self.number, state="up")
            for address in addresses:
                with suppress(NetlinkError):
                    to = f"{unpack(address)}/{8 * len(address)}"
                    ipr.route("replace", dst=to, oif=self.number)
                    yield address

    def write(self, packet: bytes) -> None:
        """Have an IP packet come in by it.

        Raises:  CarryError: the interface is gone, or down.
        """
        try:
            os.write(self._descriptor, packet)
        except OSError as error:
            raise CarryError(self.name, f"takes no packet: {error.strerror}") from error

    def fileno(self) -> int:
        """IReadDescriptor API."""
        return self._descriptor

    def doRead(self) -> None:
        """IReadDescriptor API: what comes back, nobody waits for."""
        with suppress(OSError):  # BlockingIOError: that was all; another: writing says so
            for _ in range(_MAX_READ):
                os.read(self._descriptor, _MAX_PACKET_LEN)

    def connectionLost(self, reason: object) -> None:
        """IReadDescriptor API."""

    def logPrefix(self) -> str:
        """IReadDescriptor API."""
        return self.name

    def close(self) -> None:
        """Remove it, and its routes with it; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def lacking() -> str:
    """Say in a sentence why there can be none; "": there can."""
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return f"{DEVICE} cannot be opened: {error.strerror}"
    return ""
