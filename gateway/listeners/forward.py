"""The fixed forwards: everything that arrives goes to one destination, if the policy lets it.
Owns: the UDP and the TCP forward.  Knows: nothing of what they carry.  Never: verdicts."""

from __future__ import annotations

from typing import cast

from twisted.internet.protocol import DatagramProtocol

from gateway.listeners.answers import Failing
from gateway.listeners.door import Door, Doorkeeper
from gateway.listeners.interfaces import Wiring
from gateway.listeners.reactor import DatagramTransport, SocketAddress
from gateway.listeners.stream_door import ClientConnection, StreamListener
from gateway.listeners.tally import Drop
from gateway.listeners.udp_session import Give
from gateway.listeners.udp_sessions import UdpSessions
from gateway.listeners.udp_ways import MAX_PACKET_LEN, send_datagram
from gateway.model import Endpoint, Verdict
from gateway.udp_ports import listen_udp


class PlainConnection(ClientConnection):
    """The connection of a client that does not know us: it has asked by coming."""

    def handshake(self) -> None:
        """ClientConnection API: there is none."""

    def accept(self) -> None:
        """Answers API: the client thinks so already."""

    def refuse(self, verdict: Verdict) -> None:
        """Answers API: a reset is the only word that plain TCP has for no."""
        self.abort()

    def fail(self, why: Failing) -> None:
        """Answers API."""
        self.abort()


class ForwardConnection(PlainConnection):
    """One whose destination is the same for all."""

    def __init__(self, door: Door, to: Endpoint) -> None:
        super().__init__(door)
        self._to = to

    def opened(self) -> None:
        """ClientConnection API."""
        self.connect_to(self._to)


class TcpForwardListener(StreamListener):
    """A TCP port that stands for one destination."""

    def __init__(self, address: Endpoint, to: Endpoint, wiring: Wiring) -> None:
        super().__init__(address, wiring, lambda door: ForwardConnection(door, to))


class UdpForwardListener(Doorkeeper, DatagramProtocol):
    """A UDP port that stands for one destination."""

    noisy = False

    def __init__(self, address: Endpoint, to: Endpoint, wiring: Wiring) -> None:
        super().__init__(wiring)
        self._address = address
        self._to = (to,)
        self._sessions = UdpSessions(self._door, self._giver)

    def listen(self) -> Endpoint:
        """Listener API."""
        port = listen_udp(
            self._door.reactor, self._address.port, self, self._address.host, MAX_PACKET_LEN
        )
        return self._door.open(port)

    def datagramReceived(self, datagram: bytes, addr: SocketAddress) -> None:
        """DatagramProtocol API."""
        self._door.packets.into += 1
        self._sessions.send(addr, self._to, datagram)

    def _giver(self, client: SocketAddress) -> Give:
        def give(_source: Endpoint, payload: bytes) -> None:
            transport = cast("DatagramTransport | None", self.transport)
            if send_datagram(transport, payload, client) is None:
                self._door.tally.down_datagram(len(payload))
            else:
                self._door.tally.drop(Drop.NOT_SENT)

        return give
