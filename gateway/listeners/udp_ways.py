"""The ways out of one UDP session: its upstream sockets and its tunnel flows.
Owns: UpstreamPort, DirectWay, TunnelWay.  Knows: RFC 4787 (address-dependent filtering).
Never: verdicts, and connect() on a UDP socket: one ICMP error would make epoll close it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol, cast

from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.protocol import DatagramProtocol

from gateway.errors import CarryError
from gateway.listeners.door import Door
from gateway.listeners.interfaces import Carrier, UdpFlow
from gateway.listeners.reactor import DatagramTransport, SocketAddress
from gateway.listeners.tally import Drop, Tally
from gateway.model import Endpoint

# Twisted cuts what is longer than its default of 8192; a UDP payload has at most 65507 octets.
MAX_PACKET_LEN = 65535


def socket_address(endpoint: Endpoint) -> SocketAddress:
    """Spell an endpoint exactly as Twisted spells the sender of a datagram."""
    family = socket.AF_INET if len(endpoint.address) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, endpoint.address), endpoint.port


def send_datagram(
    transport: DatagramTransport | None, payload: bytes, address: SocketAddress, tally: Tally
) -> bool:
    """Write one datagram; count it as dropped and give False if the socket does not take it."""
    try:
        if transport is not None:
            transport.write(payload, address)
            return True
    except (OSError, MessageLengthError):
        pass  # counted below: an unreachable network or a full buffer is the network's daily life
    tally.drop(Drop.NOT_SENT)
    return False


class Way(Protocol):
    """Where one destination's datagrams go, for one kind of verdict."""

    epoch: int
    """Of the verdict that used it last: answers pass only while no newer policy was asked."""

    def send(self, payload: bytes) -> None:
        """Send one datagram on, or count it."""

    def close(self) -> None:
        """Let no more answers in; may be called twice."""


Answer = Callable[[Way, bytes], None]
"""Gets each answer, with the way that it came on."""


class UpstreamPort(DatagramProtocol):
    """One socket that speaks to the network for one client.

    A datagram passes only if it comes from an address that a way of this session sends to.
    """

    def __init__(self, door: Door, family: int) -> None:
        """Open the socket.

        Args:    family: octets of its addresses, 4 or 16.
        Raises:  CarryError: the system has no more sockets.
        """
        self.family = family
        self.ways: dict[SocketAddress, DirectWay] = {}
        self._door = door
        try:
            self._port = door.reactor.listenUDP(
                0, self, interface="0.0.0.0" if family == 4 else "::", maxPacketSize=MAX_PACKET_LEN
            )
        except (OSError, CannotListenError) as error:
            raise CarryError("direct", f"no upstream socket: {error}") from error

    def datagramReceived(self, datagram: bytes, addr: SocketAddress) -> None:
        """DatagramProtocol API."""
        way = self.ways.get(addr)
        if way is None:
            self._door.tally.drop(Drop.UNSOLICITED)
        else:
            way.answer(way, datagram)

    def write(self, payload: bytes, address: SocketAddress) -> None:
        """Send one datagram."""
        transport = cast("DatagramTransport | None", self.transport)  # mypy: zope has no self
        if send_datagram(transport, payload, address, self._door.tally):
            self._door.tally.up_datagram(len(payload))

    def close(self) -> None:
        """Close the socket."""
        self.ways.clear()
        self._door.shut(self._port)


class DirectWay:
    """A destination that is dialled from an upstream socket: itself, or the relay in its place."""

    def __init__(self, port: UpstreamPort, address: SocketAddress, answer: Answer) -> None:
        self.epoch = 0
        self.answer = answer
        self._port = port
        self._address = address
        port.ways[address] = self

    def send(self, payload: bytes) -> None:
        """Way API."""
        self._port.write(payload, self._address)

    def close(self) -> None:
        """Way API."""
        self._port.ways.pop(self._address, None)


class TunnelWay:
    """A destination that is reached through an exit."""

    def __init__(
        self, carrier: Carrier, destination: Endpoint, answer: Answer, tally: Tally
    ) -> None:
        """Open the flow.

        Raises:  CarryError: the exit is down.
        """
        self.epoch = 0
        self.is_closed = False
        self._answer = answer
        self._tally = tally
        self._flow: UdpFlow = carrier.open_udp(destination, self._received, self._lost)

    def _received(self, payload: bytes) -> None:
        if not self.is_closed:
            self._answer(self, payload)

    def _lost(self, reason: str) -> None:
        self.is_closed = True

    def send(self, payload: bytes) -> None:
        """Way API."""
        if self._flow.send(payload):
            self._tally.up_datagram(len(payload))
        else:
            self._tally.drop(Drop.NOT_SENT)

    def close(self) -> None:
        """Way API."""
        self.is_closed = True
        self._flow.close()
