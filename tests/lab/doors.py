"""A client's ways to the network.  Owns: Router, Socks5.  Knows: RFC 1928 as a client.
Never: what is said."""

from __future__ import annotations

import socket
from typing import Protocol

from gateway.model import Endpoint, FlowKey, canonical


class Door(Protocol):
    """How a client speaks to the network."""

    def open(self, client: socket.socket) -> None:
        """Prepare, for one client address; the TCP socket is bound to it."""

    def outward(self, key: FlowKey, payload: bytes) -> tuple[bytes, Endpoint]:
        """Give what is sent for a datagram, and where to."""

    def inward(self, octets: bytes, source: Endpoint) -> tuple[bytes, Endpoint]:
        """Give the datagram in what was received, and whom it is from."""

    def connect(self, stream: socket.socket, destination: Endpoint) -> None:
        """Open a stream; raises OSError."""

    def close(self) -> None:
        """End."""


class Router:
    """Straight to the destination: the gateway is the router, or is not there."""

    def open(self, client: socket.socket) -> None:
        """Door API."""
        client.close()

    def outward(self, key: FlowKey, payload: bytes) -> tuple[bytes, Endpoint]:
        """Door API."""
        return payload, key.destination

    def inward(self, octets: bytes, source: Endpoint) -> tuple[bytes, Endpoint]:
        """Door API."""
        return octets, source

    def connect(self, stream: socket.socket, destination: Endpoint) -> None:
        """Door API."""
        stream.connect((destination.host, destination.port))

    def close(self) -> None:
        """Door API."""


class Socks5:
    """Through a SOCKS 5 listener (RFC 1928), of the clients' address family."""

    def __init__(self, listener: Endpoint) -> None:
        self._listener = listener
        self._relays: dict[bytes, Endpoint] = {}
        self._controls: list[socket.socket] = []

    def open(self, client: socket.socket) -> None:
        """Door API."""
        self._controls.append(client)
        own = Endpoint.of(client.getsockname()[0], 0)
        relay = self._ask(client, 3, Endpoint(bytes(len(own.address)), 0))
        self._relays[own.address] = relay

    def outward(self, key: FlowKey, payload: bytes) -> tuple[bytes, Endpoint]:
        """Door API."""
        return bytes(3) + _address(key.destination) + payload, self._relays[key.client.address]

    def inward(self, octets: bytes, source: Endpoint) -> tuple[bytes, Endpoint]:
        """Door API."""
        size = {1: 4, 4: 16}[octets[3]]
        port = int.from_bytes(octets[4 + size : 6 + size], "big")
        return octets[6 + size :], Endpoint(canonical(octets[4 : 4 + size]), port)

    def connect(self, stream: socket.socket, destination: Endpoint) -> None:
        """Door API."""
        self._ask(stream, 1, destination)

    def close(self) -> None:
        """Door API."""
        for control in self._controls:
            control.close()

    def _ask(self, control: socket.socket, command: int, about: Endpoint) -> Endpoint:
        """Greet and ask; give the bound endpoint."""
        control.connect((self._listener.host, self._listener.port))
        control.sendall(b"\x05\x01\x00")
        if (greeting := _exactly(control, 2)) != b"\x05\x00":
            raise ConnectionRefusedError(f"SOCKS greeting {greeting.hex()}")
        control.sendall(bytes([5, command, 0]) + _address(about))
        head = _exactly(control, 4)
        if head[1]:
            raise ConnectionRefusedError(f"SOCKS reply {head[1]}")
        size = {1: 4, 4: 16}[head[3]]
        bound = _exactly(control, size + 2)
        return Endpoint(canonical(bound[:size]), int.from_bytes(bound[size:], "big"))


def _address(endpoint: Endpoint) -> bytes:
    """Write ATYP, address and port (RFC 1928 section 5)."""
    kind = b"\x01" if len(endpoint.address) == 4 else b"\x04"
    return kind + endpoint.address + endpoint.port.to_bytes(2, "big")


def _exactly(stream: socket.socket, length: int) -> bytes:
    octets = b""
    while len(octets) < length:
        more = stream.recv(length - len(octets))
        if not more:
            raise ConnectionResetError("the SOCKS listener hung up")
        octets += more
    return octets
