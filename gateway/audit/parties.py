"""Who is the client of a flow.  Owns: that guess, and its order of reasons.
Knows: RFC 1918, 4193 (private addresses), 9293 (SYN).  Never: payloads."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from netaddr import IPAddress, IPNetwork, IPSet

from gateway.errors import AddressError
from gateway.model import Endpoint, unpack

_SYN, _ACK = 2, 16
# IANA's system ports (RFC 6335): no client's unless it is old or odd.
_FIRST_USER_PORT = 1024
# One side talks with many, the other with few: then the first is the client of a capture that was
# taken beside it.
_MANY, _FEW = 8, 2
_MAX_COUNTED = 65_536


class Parties:
    """Tells clients from servers."""

    def __init__(self, clients: Iterable[str] = ()) -> None:
        """Begin.

        Args:    clients: networks or addresses of the clients; empty: guess.
        Raises:  AddressError: one that is neither.
        """
        self._clients = IPSet([_network(text) for text in clients]) if clients else None
        self._contacts: dict[bytes, int] = {}
        self._is_client = lru_cache(maxsize=65_536)(self._look_up)

    def sender_is_client(self, sender: Endpoint, receiver: Endpoint, flags: int = 0) -> bool | None:
        """Say whether who sent a flow's first packet is its client.

        Asked in this order: the clients that were named; the private one of two addresses; TCP's
        SYN; a system port; who talks with many; who sent first.
        Args:    flags: TCP's.
        Returns: None if clients were named, and it is neither's.
        """
        if self._clients is not None:
            if self._is_client(sender.address):
                return True
            return False if self._is_client(receiver.address) else None
        return self._guess(sender, receiver, flags)

    def _guess(self, sender: Endpoint, receiver: Endpoint, flags: int) -> bool:
        ours, theirs = self._count(sender.address), self._count(receiver.address)
        is_private = _is_private(sender.address)
        if is_private != _is_private(receiver.address):
            return is_private
        if flags & _SYN:
            return not flags & _ACK
        is_service = sender.port < _FIRST_USER_PORT
        if is_service != (receiver.port < _FIRST_USER_PORT):
            return not is_service
        return not (theirs >= _MANY and ours <= _FEW)

    def _count(self, address: bytes) -> int:
        count = self._contacts.get(address, 0) + 1
        if count > 1 or len(self._contacts) < _MAX_COUNTED:
            self._contacts[address] = count
        return count

    def _look_up(self, address: bytes) -> bool:
        return self._clients is not None and IPAddress(unpack(address)) in self._clients


@lru_cache(maxsize=65_536)
def _is_private(address: bytes) -> bool:
    one = ipaddress.ip_address(address)
    return one in _PRIVATE_4 if one.version == 4 else one in _PRIVATE_6


class _Ranges(tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]):
    def __contains__(self, address: object) -> bool:
        return any(address in network for network in self)


# RFC 1918, 6598 (behind a carrier's NAT), loopback; unique local, link-local, loopback.
_PRIVATE_4 = _Ranges(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8")
)
_PRIVATE_6 = _Ranges(ipaddress.ip_network(text) for text in ("fc00::/7", "fe80::/10", "::1/128"))


@lru_cache(maxsize=65_536)
def is_local(address: bytes) -> bool:
    """Say whether no router forwards to an address: multicast, broadcast, link-local, none."""
    one = ipaddress.ip_address(address)
    is_broadcast = address == b"\xff\xff\xff\xff"
    return one.is_multicast or one.is_link_local or one.is_unspecified or is_broadcast


def _network(text: str) -> IPNetwork:
    try:
        return IPNetwork(str(ipaddress.ip_network(text, strict=False)))
    except ValueError:
        raise AddressError(text, 'a network such as "10.1.0.0/16", or an address') from None
