"""Router mode's local proxy for TCP.  Owns: TransparentTcpListener: its two sockets, whose flow a
connection is.  Knows: SO_ORIGINAL_DST (linux/netfilter_ipv4.h), nft's redirect.
Never: verdicts, the rules that send flows here."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence
from contextlib import ExitStack
from ipaddress import ip_address

from twisted.internet.error import CannotListenError

from gateway.errors import AddressError
from gateway.listeners.forward import PlainConnection
from gateway.listeners.interfaces import Wiring
from gateway.listeners.reactor import ClientTransport, Port
from gateway.listeners.stream_door import Accepting, StreamListener, read_address
from gateway.listeners.tally import Drop
from gateway.model import Endpoint, canonical

# The same number in linux/netfilter_ipv4.h and linux/netfilter_ipv6/ip6_tables.h.
_SO_ORIGINAL_DST = 80
_SOCKADDR = struct.Struct("!2xH4s8x")
_SOCKADDR6 = struct.Struct("!2xH4x16s4x")
_V4, _V6 = "0.0.0.0", "::"
# The kernel holds the connections of a burst that Python has not accepted yet (tcp(7), somaxconn).
_BACKLOG = 1024
# IPv4's free port may be taken for IPv6.
_ATTEMPTS = 16
# What says that the host has no IPv6, or none on any interface.
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class TransparentConnection(PlainConnection):
    """A client's connection to its destination, which the kernel made end here."""

    def opened(self) -> None:
        """ClientConnection API."""
        destination = original_destination(self.client)
        try:
            here = read_address(self.client.getHost())
        except AddressError:
            self.cut(Drop.UNROUTABLE)
            return
        if destination is None or destination == here:
            self.cut(Drop.LOOP)  # nobody sent it here: it would be dialled for ever
            return
        address = ip_address(destination.address)
        if address.is_loopback:
            self.cut(Drop.LOOP)
        elif address.is_link_local and address.version == 6:
            self.cut(Drop.UNROUTABLE)
        else:
            self.connect_to(destination)


def original_destination(client: ClientTransport) -> Endpoint | None:
    """Give where a client wanted to go before the kernel made its connection end here; None: the
    kernel knows of no such thing."""
    handle = client.getHandle()
    six = handle.family == socket.AF_INET6
    level, form = (socket.IPPROTO_IPV6, _SOCKADDR6) if six else (socket.SOL_IP, _SOCKADDR)
    try:
        port, address = form.unpack(handle.getsockopt(level, _SO_ORIGINAL_DST, form.size))
    except OSError:
        return None
    return Endpoint(canonical(address), port)


class TransparentTcpListener(StreamListener):
    """One port of both families, to which rules send other destinations' connections (`nft ...
    redirect to :PORT`); who comes here by himself is cut."""

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

    Raises:  CannotListenError: there is no port for both.
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
    says = f"no port is free for both families, of {_ATTEMPTS} that were tried"
    raise _cannot(_V4, 0, OSError(errno.EADDRINUSE, says))


def _open(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    try:
        one = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise _cannot(host, port, error) from error
    try:
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((host, port))
        one.listen(_BACKLOG)
    except OSError as error:
        one.close()
        raise _cannot(host, port, error) from error
    return one


def _cannot(host: str, port: int, error: OSError) -> CannotListenError:
    return CannotListenError(host, port, error)  # type: ignore[no-untyped-call]  # Twisted's
