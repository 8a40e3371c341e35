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
from gateway.flow.round_trips import Timing
from gateway.listeners.door import Door
from gateway.listeners.interfaces import Carrier, UdpFlow
from gateway.listeners.reactor import DatagramTransport, SocketAddress
from gateway.listeners.tally import Drop
from gateway.model import Endpoint, FlowKey
from gateway.udp_ports import listen_udp

# Twisted cuts what is longer than its default of 8192; a UDP payload has at most 65507 octets.
MAX_PACKET_LEN = 65535


def socket_address(endpoint: Endpoint) -> SocketAddress:
    """Spell an endpoint exactly as Twisted spells the sender of a datagram."""
    family = socket.AF_INET if len(endpoint.address) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, endpoint.address), endpoint.port


def send_datagram(
    transport: DatagramTransport | None, payload: bytes, address: SocketAddress
) -> str | None:
    """Write one datagram; give the reason if the socket does not take it.

    An unreachable network or a full buffer is the network's daily life.
    """
    if transport is None:
        return "the socket is closed"
    try:
        transport.write(payload, address)
    except MessageLengthError:
        return "too long for the network"
    except OSError as error:
        return f"the socket does not take it: {error.strerror}"
    return None


class Way(Protocol):
    """Where one destination's datagrams go, for one kind of verdict."""

    epoch: int
    """Of the verdict that confirmed it last: answers pass only while that policy is in force."""

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be sent on it any more."""

    def send(self, payload: bytes) -> str | None:
        """Send one datagram on; give the reason if it was dropped."""

    def close(self) -> None:
        """Let no more answers in; may be called twice."""


Answer = Callable[[Way, bytes], None]
"""Gets each answer, with the way that it came on."""


class UpstreamPort(DatagramProtocol):
    """One socket that speaks to the network for one client.

    A datagram passes only if it comes from an address that a way of this session sends to.
    """

    noisy = False

    def __init__(self, door: Door, family: int) -> None:
        """Open the socket.

        Args:    family: octets of its addresses, 4 or 16.
        Raises:  CarryError: the system has no more sockets.
        """
        self.family = family
        self.ways: dict[SocketAddress, DirectWay] = {}
        self._door = door
        try:
            self._port = listen_udp(
                door.reactor, 0, self, "0.0.0.0" if family == 4 else "::", MAX_PACKET_LEN
            )
        except (OSError, CannotListenError) as error:
            raise CarryError("direct", f"no upstream socket: {error}") from error

    def datagramReceived(self, datagram: bytes, addr: SocketAddress) -> None:
        """DatagramProtocol API."""
        way = self.ways.get(addr)
        if way is None:
            self._door.tally.drop(Drop.UNSOLICITED)
        else:
            way.received(datagram)

    def write(self, payload: bytes, address: SocketAddress) -> str | None:
        """Send one datagram; give the reason if it was dropped."""
        transport = cast("DatagramTransport | None", self.transport)  # mypy: zope has no self
        return send_datagram(transport, payload, address)

    def close(self) -> None:
        """Close the socket."""
        self.ways.clear()
        self._door.shut(self._port)


class DirectWay:
    """A destination that is dialled from an upstream socket: itself, or the relay in its place."""

    is_closed = False

    def __init__(
        self,
        port: UpstreamPort,
        address: SocketAddress,
        answer: Answer,
        timing: Timing | None = None,
    ) -> None:
        """Begin.

        Args:    timing: of a destination that is dialled where it is; None: of a relay.
        """
        self.epoch = 0
        self._timing = timing
        self.answer = answer
        self._port = port
        self._address = address
        port.ways[address] = self

    def send(self, payload: bytes) -> str | None:
        """Way API."""
        if self._timing is not None:
            self._timing.sent(payload)
        return self._port.write(payload, self._address)

    def received(self, payload: bytes) -> None:
        """Pass an answer on."""
        if self._timing is not None:
            self._timing.got(payload)
        self.answer(self, payload)

    def close(self) -> None:
        """Way API."""
        self._port.ways.pop(self._address, None)


class TunnelWay:
    """A destination that is reached through an exit."""

    def __init__(self, door: Door, key: FlowKey, carrier: Carrier, answer: Answer) -> None:
        """Open the flow.

        Raises:  CarryError: the exit is down, or refused at once.
        """
        self.epoch = 0
        self.is_closed = False
        self._door = door
        self._key = key
        self._answer = answer
        self._flow: UdpFlow | None = None
        flow = carrier.open_udp(key.destination, self._received, self._lost)
        if self.is_closed:
            raise CarryError("exit", "the flow closed while it was opened")
        self._flow = flow

    def _received(self, payload: bytes) -> None:
        if not self.is_closed:
            self._answer(self, payload)

    def _lost(self, reason: str) -> None:
        """Take note of the end; what waited for the exit's answer went nowhere."""
        self.is_closed = True
        if self._flow is not None and self._flow.unsent:
            self._door.not_carried(self._key, CarryError("exit", reason))

    def send(self, payload: bytes) -> str | None:
        """Way API."""
        if self._flow is None or self.is_closed:
            return "the tunnel's flow is closed"
        try:
            return None if self._flow.send(payload) else "too long for the tunnel"
        except CarryError as error:
            return str(error)

    def close(self) -> None:
        """Way API."""
        self.is_closed = True
        if self._flow is not None:
            self._flow.close()
