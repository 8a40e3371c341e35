"""Datagrams to clients as from another address.  Owns: transparent sockets, as many as are allowed.
Knows: IP_TRANSPARENT (ip(7)), which needs CAP_NET_ADMIN; SO_MARK.  Never: who may be answered.

They bear a mark on which the rules keep them out of connection tracking: otherwise the client's
next datagram would look like a reply to ours."""

from __future__ import annotations

import socket
from collections import Counter, OrderedDict

from gateway.errors import CarryError
from gateway.kernel.marks import REPLY, mark
from gateway.model import Endpoint

# linux/in.h, linux/in6.h, asm-generic/socket.h: the socket module lacks them before Python 3.14.
_SOL_IPV6 = 41
_IP_TRANSPARENT, _IPV6_TRANSPARENT = 19, 75
_SO_MARK = 36


class Replies:
    """Sends as from the addresses that clients asked for."""

    def __init__(self, max_sockets: int = 1_024) -> None:
        """Open nothing yet.

        Args:    max_sockets: one an address and port; above it the least used is closed.
        """
        self.counters: Counter[str] = Counter()
        self._max_sockets = max_sockets
        self._sockets: OrderedDict[Endpoint, socket.socket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sockets)

    def send(self, asked: Endpoint, client: Endpoint, payload: bytes) -> bool:
        """Send one datagram to a client as from the endpoint that it asked for.

        Returns: False, and counted, if the system did not take it.
        Raises:  CarryError: no such socket can be opened.
        """
        if len(asked.address) != len(client.address):
            raise CarryError(str(asked), "the client is of the other family")
        door = self._sockets.get(asked)
        if door is None:
            door = self._open(asked)
        self._sockets.move_to_end(asked)
        try:
            door.sendto(payload, (client.host, client.port))
        except OSError as error:
            self.counters[f"not sent: {error.strerror}"] += 1
            return False
        self.counters["sent"] += 1
        return True

    def close(self) -> None:
        """Close every socket; may be called twice."""
        while self._sockets:
            self._sockets.popitem()[1].close()

    def _open(self, asked: Endpoint) -> socket.socket:
        family = socket.AF_INET if len(asked.address) == 4 else socket.AF_INET6
        door = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            if family == socket.AF_INET:
                door.setsockopt(socket.SOL_IP, _IP_TRANSPARENT, 1)
            else:
                door.setsockopt(_SOL_IPV6, _IPV6_TRANSPARENT, 1)
            # Another worker may speak for the same address.
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.setsockopt(socket.SOL_SOCKET, _SO_MARK, mark(0, REPLY))
            door.bind((asked.host, asked.port))
        except OSError as error:
            door.close()
            what = f"cannot be answered for: {error.strerror}"
            raise CarryError(str(asked), what) from error
        self._sockets[asked] = door
        if len(self._sockets) > self._max_sockets:
            self._sockets.popitem(last=False)[1].close()
        return door
