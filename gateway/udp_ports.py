"""UDP ports that write quickly.  Owns: opening one.  Knows: Twisted's udp.Port, sendto(2).
Never: what is sent; names: whoever writes has an address.

Twisted looks at an address's text four times before each datagram, which takes longer than all else
that it does for it.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, cast

from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.udp import Port

_Opened = TypeVar("_Opened")
_Opened_co = TypeVar("_Opened_co", covariant=True)


class ListensUDP(Protocol[_Opened_co]):
    """IReactorUDP."""

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str = ..., maxPacketSize: int = ...
    ) -> _Opened_co: ...


class QuickPort(Port):
    """An unconnected port that hands datagrams to the system as they are."""

    def write(self, datagram: bytes, addr: tuple[str, int] | None = None) -> None:
        """IUDPTransport API."""
        if addr is not None and not self._connectedAddr:
            try:
                self.socket.sendto(datagram, addr)
                return
            except OSError:
                pass  # Twisted tries again, and says what it was; an old ICMP error is gone then
        super().write(datagram, addr)


def listen_udp(
    reactor: ListensUDP[_Opened],
    port: int,
    protocol: DatagramProtocol,
    interface: str,
    max_packet_len: int,
) -> _Opened:
    """Open a port, as reactor.listenUDP does; on another reactor than Twisted's own, by it.

    Raises:  CannotListenError: the address is taken, or not ours.
    """
    if not isinstance(reactor, PosixReactorBase):
        return reactor.listenUDP(port, protocol, interface, max_packet_len)
    opened = cast(Any, QuickPort)(port, protocol, interface, max_packet_len, reactor)
    opened.startListening()
    return cast(_Opened, opened)
