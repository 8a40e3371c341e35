"""The tap.  Owns: a wire between gateway and exit that writes down what passes.
Knows: UDP.  Never: changing a datagram."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IUDPTransport
from twisted.internet.protocol import DatagramProtocol

from gateway.model import Endpoint

_LOOPBACK = "127.0.0.1"
# A form this long does not stand in ciphertext by chance.
_TELLING_LEN = 6


class Tap(DatagramProtocol):
    """Forwards datagrams between one gateway and one exit, and keeps a copy of each."""

    transport: IUDPTransport

    def __init__(self, reactor: Any, exit_: Endpoint) -> None:
        self._reactor = reactor
        self._exit = (exit_.host, exit_.port)
        self._gateway: tuple[str, int] | None = None
        self._port: IListeningPort | None = None
        self.datagrams: list[bytes] = []

    def listen(self) -> Endpoint:
        """Open the wire; give the end that the gateway dials."""
        port = self._port = self._reactor.listenUDP(0, self, _LOOPBACK, 65_535)
        return Endpoint.of(_LOOPBACK, port.getHost().port)

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """DatagramProtocol API."""
        self.datagrams.append(datagram)
        if addr == self._exit:
            if self._gateway is not None:
                self.transport.write(datagram, self._gateway)
        else:
            self._gateway = addr
            self.transport.write(datagram, self._exit)

    def stop(self) -> Deferred[object]:
        """Close the wire."""
        assert self._port is not None, "listen() comes first"
        return maybeDeferred(self._port.stopListening)


def spellings(identifier: bytes) -> Iterable[bytes]:
    """Give the forms in which an identifier might be read on a wire: as it was found, in the other
    byte order, and in hexadecimal and decimal text."""
    yield identifier
    yield identifier.hex().encode()
    yield identifier.hex().upper().encode()
    if len(identifier) in (4, 8):
        yield identifier[::-1]
        yield identifier[::-1].hex().encode()
        yield str(int.from_bytes(identifier, "little")).encode()
        yield str(int.from_bytes(identifier, "big")).encode()


def found_in(identifiers: Iterable[bytes], wire: Iterable[bytes]) -> int:
    """Count the datagrams that show any of the identifiers in any spelling.

    A form of 4 octets stands in a megabyte of ciphertext by chance once in some hundred runs for a
    dozen such forms; a client says its ids in nearly every message.  So one single sight of so
    short a form is none.
    """
    forms = {form for identifier in identifiers for form in spellings(identifier) if len(form) >= 4}
    short = {form for form in forms if len(form) < _TELLING_LEN}
    told = by_chance = 0
    for datagram in wire:
        if any(form in datagram for form in forms - short):
            told += 1
        elif any(form in datagram for form in short):
            by_chance += 1
    return told + (by_chance if by_chance > 1 else 0)
