"""SOCKS 5 UDP ASSOCIATE: the relay port of one association.  Owns: Association.
Knows: RFC 1928 sections 6 and 7.  Never: the control connection, verdicts."""

from __future__ import annotations

from typing import cast

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol

from gateway.errors import CarryError, WireError
from gateway.listeners.destination import Name
from gateway.listeners.door import Door
from gateway.listeners.names import Addresses, NameLookups
from gateway.listeners.reactor import DatagramTransport, SocketAddress
from gateway.listeners.socks5_wire import read_datagram, write_datagram_header
from gateway.listeners.tally import Drop
from gateway.listeners.udp_session import Give
from gateway.listeners.udp_sessions import UdpSessions
from gateway.listeners.udp_ways import MAX_PACKET_LEN, send_datagram, socket_address
from gateway.model import Endpoint
from gateway.udp_ports import listen_udp


class Association(DatagramProtocol):
    """A relay port for one client host; each of its source ports has its own session."""

    noisy = False

    def __init__(self, door: Door, client: Endpoint, local: Endpoint) -> None:
        """Open the port.

        Args:    client: who may send: this address, and this port if it is not 0.
                 local: the gateway's end of the control connection.
        Raises:  CarryError: the system has no more sockets.
        """
        self._door = door
        self._client_host, self._client_port = socket_address(client)
        self._sessions = UdpSessions(door, self._giver)
        self._names = NameLookups(door)
        try:
            self._port = listen_udp(door.reactor, 0, self, local.host, MAX_PACKET_LEN)
        except (OSError, CannotListenError) as error:
            raise CarryError("association", f"no relay port: {error}") from error
        host = self._port.getHost()
        self.bound = Endpoint.of(host.host, host.port)

    def datagramReceived(self, datagram: bytes, addr: SocketAddress) -> None:
        """DatagramProtocol API."""
        self._door.packets.into += 1
        host, port = addr
        if host != self._client_host or self._client_port not in (0, port):
            self._drop(Drop.FOREIGN)
            return
        try:
            header = read_datagram(datagram)
        except WireError:
            self._drop(Drop.MALFORMED)
            return
        if header.fragment:
            self._drop(Drop.FRAGMENT)
            return
        payload = datagram[header.length :]
        if isinstance(header.destination, Name):
            self._send_to_name(addr, header.destination, payload)
        else:
            self._sessions.send(addr, (header.destination,), payload)

    def _drop(self, reason: Drop) -> None:
        self._door.tally.drop(reason)
        self._door.packets.dropped += 1

    def _send_to_name(self, addr: SocketAddress, name: Name, payload: bytes) -> None:
        def then(addresses: Addresses) -> None:
            endpoints = tuple(Endpoint(address, name.port) for address in addresses)
            self._sessions.send(addr, endpoints, payload, (name.host,))

        self._names.find(Endpoint.of(*addr), name.host, then)

    def _giver(self, client: SocketAddress) -> Give:
        def give(source: Endpoint, payload: bytes) -> None:
            transport = cast("DatagramTransport | None", self.transport)
            datagram = write_datagram_header(source) + payload
            if send_datagram(transport, datagram, client) is None:
                self._door.tally.down_datagram(len(payload))
            else:
                self._door.tally.drop(Drop.NOT_SENT)

        return give

    def close(self) -> None:
        """End every session and close the port."""
        self._names.close()
        self._sessions.abort()
        self._door.shut(self._port)
