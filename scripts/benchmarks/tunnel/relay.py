"""A plain relay of UDP, or an echo, as a program.  Owns: what the tunnel's ends are compared with.
Knows: Twisted's UDP ports.  Never: this project's code, policy, encryption.

Usage: relay.py PORT [TO-PORT]; without a second port it sends everything back.
"""

from __future__ import annotations

import sys
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.protocol import DatagramProtocol

reactor = cast(Any, _reactor)  # Twisted's reactor has no type of its own
Address = tuple[str, int]
_HOST = "127.0.0.1"


class Relay(DatagramProtocol):
    """Sends what each client says on from a socket of its own, and the answers back."""

    noisy = False

    def __init__(self, to: Address) -> None:
        self._to = to
        self._upstream: dict[Address, Upstream] = {}

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """DatagramProtocol API."""
        upstream = self._upstream.get(addr)
        if upstream is None:
            upstream = self._upstream[addr] = Upstream(self, addr)
            reactor.listenUDP(0, upstream, _HOST)
        cast(Any, upstream.transport).write(datagram, self._to)


class Upstream(DatagramProtocol):
    """One client's socket towards the destination."""

    noisy = False

    def __init__(self, relay: Relay, client: Address) -> None:
        self._relay = relay
        self._client = client

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """DatagramProtocol API."""
        cast(Any, self._relay.transport).write(datagram, self._client)


class Echo(DatagramProtocol):
    """Sends everything back."""

    noisy = False

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """DatagramProtocol API."""
        cast(Any, self.transport).write(datagram, addr)


def main(port: int, to_port: int | None = None) -> None:
    """Run until killed."""
    protocol = Echo() if to_port is None else Relay((_HOST, to_port))
    reactor.listenUDP(port, protocol, _HOST)
    reactor.run()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
