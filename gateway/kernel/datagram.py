"""IP packets.  Owns: octets → whose they are, and what they carry.
Knows: RFC 791, RFC 8200 (extension headers), RFC 768, RFC 9293.  Never: payloads, policy."""

from __future__ import annotations

import struct
from typing import NamedTuple

from gateway.model import Endpoint, FlowKey, Transport, canonical

TCP, UDP = 6, 17
_ICMP, _ICMPV6 = 1, 58
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _OPTIONS = 0, 43, 44, 51, 60
_EXTENSIONS = frozenset((_HOP_BY_HOP, _ROUTING, _AUTHENTICATION, _OPTIONS))
# RFC 8200 section 4.1 lets each appear once, one of them twice; a longer chain is an attack.
_MAX_EXTENSIONS = 6
_TCP = struct.Struct("!HHIIBB")
# Version and header length, length, fragment, protocol, addresses; ports and length of UDP.
_UDP4 = struct.Struct("!BxH2xHxB2x4s4sHHH")
_PLAIN = 0x45  # version 4, and no options
_FRAGMENT_BITS = 0x3FFF
# A NamedTuple's own constructor takes twice as long, and an enum's member as long as all the rest.
_tuple = tuple.__new__
_UDP_FLOW = Transport.UDP


class Packet(NamedTuple):
    """One IP packet of a client."""

    key: FlowKey
    """Of ICMP, a fragment and any other protocol: without ports, and judged by address alone."""
    payload: bytes
    """Of UDP and TCP; b"" for others."""
    flags: int = 0
    """Of TCP: FIN, SYN, RST, ACK."""
    sequence: int = 0
    """Of TCP: the number of the payload's first octet; of a SYN, the one before."""


def read(octets: bytes) -> Packet | None:
    """Read one IP packet; None: malformed, or cut short.

    The kernel puts fragments together before they are queued, so one that comes is judged by
    address.  A source route (IPv4 options aside, RFC 5095 deprecates IPv6's) that is not used up
    hides the destination: malformed.
    """
    try:
        # Nearly all packets are UDP over IPv4 without options: what is not, or is malformed, goes
        # on below.
        first, end, fragment, protocol, client, destination, near, far, length = _UDP4.unpack_from(
            octets
        )
        if first == _PLAIN and protocol == UDP and not fragment & _FRAGMENT_BITS:
            if end <= len(octets) and 8 <= length <= end - 20:
                ends = _tuple(Endpoint, (client, near)), _tuple(Endpoint, (destination, far))
                key = _tuple(FlowKey, (_UDP_FLOW, *ends))
                return _tuple(Packet, (key, octets[28 : 20 + length], 0, 0))
            return None
    except struct.error:
        pass  # shorter than that
    try:
        version = octets[0] >> 4
        if version == 4:
            return _v4(octets)
        if version == 6:
            return _v6(octets)
    except (IndexError, struct.error):
        pass  # shorter than its headers say: malformed, as below
    return None


def _v4(octets: bytes) -> Packet | None:
    start, end = (octets[0] & 15) * 4, octets[2] << 8 | octets[3]
    if start < 20 or end < start or end > len(octets):
        return None
    client, destination, protocol = octets[12:16], octets[16:20], octets[9]
    if octets[6] & 0x3F or octets[7]:  # more fragments, or an offset
        return _portless(Transport.OTHER, client, destination)
    return _carried(octets, start, end, protocol, client, destination)


def _v6(octets: bytes) -> Packet | None:
    # A jumbogram's length is 0 (RFC 2675); nothing that we could queue is one.
    start, end = 40, 40 + (octets[4] << 8 | octets[5])
    if end > len(octets):
        return None
    client, destination = canonical(octets[8:24]), canonical(octets[24:40])
    following = octets[6]
    for _ in range(_MAX_EXTENSIONS):
        if following not in _EXTENSIONS:
            break
        if following == _ROUTING and octets[start + 3]:
            return None
        units = octets[start + 1]
        length = 4 * (units + 2) if following == _AUTHENTICATION else 8 * (units + 1)
        following, start = octets[start], start + length
    if following in _EXTENSIONS or start > end:
        return None
    if following == _FRAGMENT:
        return _portless(Transport.OTHER, client, destination)
    return _carried(octets, start, end, following, client, destination)


def _carried(
    octets: bytes, start: int, end: int, protocol: int, client: bytes, destination: bytes
) -> Packet | None:
    if protocol == UDP:
        if end - start < 8:
            return None
        near, far, length, _ = struct.unpack_from("!HHHH", octets, start)
        if not 8 <= length <= end - start:
            return None
        key = FlowKey(Transport.UDP, Endpoint(client, near), Endpoint(destination, far))
        return Packet(key, octets[start + 8 : start + length])
    if protocol == TCP:
        if end - start < 20:
            return None
        near, far, sequence, _, offset, flags = _TCP.unpack_from(octets, start)
        payload = start + (offset >> 4) * 4
        if not start + 20 <= payload <= end:
            return None
        key = FlowKey(Transport.TCP, Endpoint(client, near), Endpoint(destination, far))
        return Packet(key, octets[payload:end], flags, sequence)
    is_icmp = protocol == (_ICMP if len(client) == 4 else _ICMPV6)
    return _portless(Transport.ICMP if is_icmp else Transport.OTHER, client, destination)


def _portless(transport: Transport, client: bytes, destination: bytes) -> Packet:
    return Packet(FlowKey(transport, Endpoint(client, 0), Endpoint(destination, 0)), b"")
