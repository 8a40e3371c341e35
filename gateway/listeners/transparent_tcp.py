"""Router mode's local proxy for TCP.  Owns: TransparentTcpListener: its two sockets, whose flow a
connection is.  Knows: IP_TRANSPARENT (ip(7)), which needs CAP_NET_ADMIN; nft's tproxy.
Never: verdicts, the rules that send flows here."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from ipaddress import ip_address

from twisted.internet.error import CannotListenError

from gateway.errors import AddressError
from gateway.listeners.forward import PlainConnection
from gateway.listeners.interfaces import Wiring
from gateway.listeners.reactor import Port
from gateway.listeners.stream_door import Accepting, StreamListener, read_address
from gateway.listeners.tally import Drop
from gateway.model import Endpoint

# linux/in.h, linux/in6.h: the socket module lacks them before Python 3.14.
_IP_TRANSPARENT, _IPV6_TRANSPARENT = 19, 75
_V4, _V6 = "127.0.0.1", "::1"
# The kernel holds the connections of a burst that Python has not accepted yet (tcp(7), somaxconn).
_BACKLOG = 1024
# IPv4's free port may be taken for IPv6.
_ATTEMPTS = 16
# What says that the host has no IPv6, or none on its loopback interface.
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class TransparentConnection(PlainConnection):
    """A client's connection to its destination, which the kernel made end here."""

    def opened(self) -> None:
        """ClientConnection API."""
        try:
            destination = read_address(self.client.getHost())
        except AddressError:
            self.cut(Drop.UNROUTABLE)
            return
        if ip_address(destination.address).is_loopback:
            self.cut(Drop.LOOP)
        else:
            self.connect_to(destination)


class TransparentTcpListener(StreamListener):
    """One port on both loopback addresses, to which rules send other destinations' connections.

    `nft ... tproxy ip to 127.0.0.1:PORT`, `tproxy ip6 to [::1]:PORT`.
    """

    def __init__(self, wiring: Wiring) -> None:
        super().__init__(Endpoint.of(_V4, 0), wiring, TransparentConnection)

    def ports(self, factory: Accepting) -> Sequence[Port]:
        """StreamListener API: IPv4's, and IPv6's if the host has it."""
        adopt = self._door.reactor.adoptStreamPort
        opened: list[Port] = []
        with ExitStack() as closing:  # the reactor takes duplicates of the descriptors
            pair = [closing.enter_context(one) for one in _open_pair()]
            try:
                opened.extend(adopt(one.fileno(), one.family, factory) for one in pair)
            except OSError as error:
                for port in opened:
                    self._door.shut(port)
                raise _cannot(_V4, 0, error) from error
        return opened


def _open_pair() -> list[socket.socket]:
    """Open both sockets on one port number, or IPv4's alone.

    Raises:  CannotListenError: the right is missing, or there is no port for both.
    """
    for _attempt in range(_ATTEMPTS):
        four = _open(socket.AF_INET, _V4, 0)
        try:
            return [four, _open(socket.AF_INET6, _V6, four.getsockname()[1])]
        except CannotListenError as error:
            if error.socketError.errno in _NO_IPV6:
                return [four]
            four.close()
            if error.socketError.errno != errno.EADDRINUSE:
                raise
    says = f"no port is free on both loopback addresses, of {_ATTEMPTS} that were tried"
    raise _cannot(_V4, 0, OSError(errno.EADDRINUSE, says))


def _open(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    try:
        one = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise _cannot(host, port, error) from error
    try:
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
        else:
            one.setsockopt(socket.SOL_IP, _IP_TRANSPARENT, 1)
        one.bind((host, port))
        one.listen(_BACKLOG)
    except OSError as error:
        one.close()
        raise _cannot(host, port, error) from error
    return one


def _cannot(host: str, port: int, error: OSError) -> CannotListenError:
    if error.errno == errno.EPERM:
        says = f"{os.strerror(errno.EPERM)}: a transparent socket needs CAP_NET_ADMIN"
        error = OSError(errno.EPERM, says)
    return CannotListenError(host, port, error)  # type: ignore[no-untyped-call]  # Twisted's
