"""A network interface as a way out.  Owns: whether it carries, sockets bound to it, its changes.
Knows: netdevice(7), SO_BINDTODEVICE (socket(7)), rtnetlink(7).  Never: flows, routing tables.

A bound socket is bound to the interface's index for ever: where that one cannot send, the kernel
refuses to send, whatever the routing tables say.  All this belongs to one network namespace: that
of the thread which calls `watch`, and then `open`.
"""

from __future__ import annotations

import errno
import fcntl
import re
import select
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO, Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure

# zope ships no types; its marker says what the class is.
from zope.interface import implementer

from gateway.errors import AddressError

# IFNAMSIZ is 16 with the final NUL.  An empty name would unbind a socket; what follows ":" is an
# address's label, which the ioctls cut off and SO_BINDTODEVICE does not.
_NAME = re.compile(r"[!-.0-9;-~]{1,15}")
_NAME_LEN = 16
_IFREQ = struct.Struct("16s24x")

# linux/sockios.h, linux/if.h, linux/rtnetlink.h; the socket module has none of them.
_SIOCGIFFLAGS, _SIOCGIFADDR = 0x8913, 0x8915
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_RTMGRP_LINK, _RTMGRP_IPV4_IFADDR, _RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100

# The addresses of the namespace in which it is opened; one line each: octets, index, prefix length,
# scope, flags, name.  thread-self, because a namespace is a thread's.
_ADDRESSES = "/proc/thread-self/net/if_inet6"
# A global address that can be a source: not one that failed or awaits duplicate address detection,
# or is deprecated, before which the kernel would prefer another interface's (RFC 6724 rule 3).
_SCOPE_GLOBAL, _NOT_A_SOURCE = 0x00, 0x08 | 0x20 | 0x40

# Messages read a turn of the reactor; only that there are any is of interest.
_BATCH = 64


class Readers(Protocol):
    """The part of IReactorFDSet that is used."""

    def addReader(self, reader: IReadDescriptor, /) -> object: ...
    def removeReader(self, reader: IReadDescriptor, /) -> object: ...


class Link:
    """One interface, by its name."""

    def __init__(self, interface: str) -> None:
        """Take its name; whether there is such an interface shows later.

        Raises:  AddressError: no interface can have this name.
        """
        if not _NAME.fullmatch(interface) or interface in (".", ".."):
            raise AddressError(interface, "a network interface's name, 1..15 octets")
        self.interface = interface
        self._octets = interface.encode()
        self._asking: socket.socket | None = None
        self._addresses: BinaryIO | None = None
        self._bell: Bell | None = None

    def watch(self, readers: Readers, changed: Callable[[], None]) -> None:
        """Look from now on.

        Args:    changed: called after any change of any interface, and when no more can be told.
        Raises:  OSError: the kernel refuses.
        """
        self.unwatch()
        self._bell = Bell(readers, changed)
        self._asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with suppress(FileNotFoundError):  # a kernel without IPv6
            # Kept open, for it is of the namespace in which it was opened; unwatch() closes it.
            self._addresses = open(_ADDRESSES, "rb", buffering=0)  # noqa: SIM115

    def unwatch(self) -> None:
        """Look no more; may be called twice."""
        for one in (self._bell, self._asking, self._addresses):
            if one is not None:
                one.close()
        self._bell = self._asking = self._addresses = None

    @property
    def is_changing(self) -> bool:
        """Has something changed that was not told yet?  Costs one system call."""
        return self._bell is None or self._bell.is_waiting

    def fault(self) -> str | None:
        """Say why it carries nothing; None: it exists, is up and has a carrier."""
        if self._asking is None or self._bell is None or self._bell.is_closed:
            return f"the interface {self.interface} is not watched"
        try:
            told = fcntl.ioctl(self._asking, _SIOCGIFFLAGS, _IFREQ.pack(self._octets))
        except OSError as error:
            return self._refused(error)
        (flags,) = struct.unpack_from("=H", told, _NAME_LEN)
        if not flags & _IFF_UP:
            return f"the interface {self.interface} is down"
        # The kernel says "running" where the operational state is up or, as WireGuard's, unknown.
        return None if flags & _IFF_RUNNING else f"the interface {self.interface} has no carrier"

    def lacks(self, family: int) -> str | None:
        """Say that it has no address of a family: the kernel would take another interface's.

        Args:    family: AF_INET or AF_INET6.
        """
        has_one = self._has_v4() if family == socket.AF_INET else self._has_v6()
        name = "IPv4" if family == socket.AF_INET else "IPv6"
        return None if has_one else f"the interface {self.interface} has no {name} address"

    def open(self, family: int, kind: int) -> socket.socket:
        """Open a socket whose octets leave by this interface or not at all; it does not block.

        Raises:  OSError: there is no such interface, or the kernel does not bind to it (before
                 Linux 5.7 that needs CAP_NET_RAW).
        """
        opened = socket.socket(family, kind)
        try:
            opened.setblocking(False)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._octets + b"\0")
            lost = self.lost(opened)
            if lost is not None:
                raise OSError(errno.ENODEV, lost)
        except BaseException:
            opened.close()
            raise
        return opened

    def lost(self, bound: socket.socket) -> str | None:
        """Say why a socket is not bound to what has this name now; None: it is.

        It was renamed, or removed; where another was given its name, the socket is not of that one.
        """
        try:
            told = bound.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, _NAME_LEN)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return f"what a socket of {self.interface} was bound to is gone"
            return self._refused(error)
        name = told.partition(b"\0")[0]
        if name == self._octets:
            return None
        return f"a socket of {self.interface} is bound to {name.decode() or 'no interface'}"

    def _refused(self, error: OSError) -> str:
        if error.errno == errno.ENODEV:
            return f"there is no interface {self.interface}"
        return f"the kernel does not tell about {self.interface}: {error.strerror}"

    def _has_v4(self) -> bool:
        if self._asking is None:
            return False
        try:
            fcntl.ioctl(self._asking, _SIOCGIFADDR, _IFREQ.pack(self._octets))
        except OSError:
            return False  # EADDRNOTAVAIL, or gone
        return True

    def _has_v6(self) -> bool:
        if self._addresses is None:
            return False
        self._addresses.seek(0)
        for line in self._addresses.read().splitlines():
            _, _, _, scope, flags, name = line.split()
            is_source = int(scope, 16) == _SCOPE_GLOBAL and not int(flags, 16) & _NOT_A_SOURCE
            if is_source and name == self._octets:
                return True
        return False


@implementer(IReadDescriptor)
class Bell:
    """Rings when an interface or an address of one changes.  What changed, it does not say."""

    def __init__(self, readers: Readers, ring: Callable[[], None]) -> None:
        """Listen to the kernel.

        Raises:  OSError: it refuses.
        """
        self.is_closed = False
        self._readers = readers
        self._ring = ring
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.setblocking(False)
        try:
            self._socket.bind((0, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR))
        except BaseException:
            self._socket.close()
            raise
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        readers.addReader(self)

    @property
    def is_waiting(self) -> bool:
        """Will it ring in the reactor's next turn?"""
        return self.is_closed or bool(self._poll.poll(0))

    def close(self) -> None:
        """Listen no more; may be called twice."""
        if not self.is_closed:
            self.is_closed = True
            self._readers.removeReader(self)
            self._socket.close()

    def fileno(self) -> int:
        """IFileDescriptor API."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """ILoggingContext API."""
        return "interfaces"

    def connectionLost(self, reason: Failure) -> None:
        """IFileDescriptor API: nothing more is heard, and whoever relies on it must know."""
        if not self.is_closed:
            self.close()
            self._ring()

    def doRead(self) -> None:
        """IReadDescriptor API."""
        for _ in range(_BATCH):
            try:
                self._socket.recv(1)  # the rest of the message is cut off
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # ENOBUFS: more than its buffer holds has changed
                    self.close()
                    break
        self._ring()
