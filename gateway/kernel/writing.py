"""IP packets of our own.  Owns: a flow and its payload → the octets of one packet.
Knows: RFC 791, RFC 8200, RFC 768, RFC 9293, RFC 792, RFC 4443, RFC 1071 (checksums).
Never: sockets, interfaces."""

from __future__ import annotations

import struct

from gateway.errors import CarryError
from gateway.kernel.datagram import SYN, TCP, UDP
from gateway.model import FlowKey, Transport

_ICMP, _ICMPV6 = 1, 58
_ECHO, _ECHOV6 = 8, 128
_MTU = 1_500
_WINDOW = 64_240


def packet(key: FlowKey, payload: bytes, hops: int) -> bytes:
    """Write the first packet of a flow: a UDP datagram, a TCP SYN, or an ICMP echo request.

    Args:    payload: of UDP; others carry none.  hops: the hop limit, or time to live.
    Raises:  CarryError: of another protocol, of two families, or longer than 1500 octets.
    """
    source, destination = key.client.address, key.destination.address
    if len(source) != len(destination):
        raise CarryError(str(key), "is of two families")
    pseudo = source + destination
    if key.transport is Transport.UDP:
        protocol, segment = UDP, _udp(key, payload, pseudo)
    elif key.transport is Transport.TCP:
        protocol, segment = TCP, _syn(key, pseudo)
    elif key.transport is Transport.ICMP:
        protocol = _ICMP if len(source) == 4 else _ICMPV6
        segment = _echo(protocol, pseudo)
    else:
        raise CarryError(str(key), "is of a protocol that is not written")
    whole = _header(protocol, len(segment), pseudo, hops) + segment
    if len(whole) > _MTU:
        raise CarryError(str(key), f"is longer than {_MTU} octets")
    return whole


def checksum(octets: bytes) -> int:
    """Give the Internet's checksum (RFC 1071)."""
    octets += bytes(len(octets) % 2)
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _header(protocol: int, length: int, pseudo: bytes, hops: int) -> bytes:
    if len(pseudo) == 32:
        return struct.pack("!IHBB", 6 << 28, length, protocol, hops) + pseudo
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, hops, protocol, 0) + pseudo
    return head[:10] + checksum(head).to_bytes(2) + head[12:]


def _sum(segment: bytes, protocol: int, pseudo: bytes) -> int:
    return checksum(pseudo + struct.pack("!II", len(segment), protocol) + segment)


def _udp(key: FlowKey, payload: bytes, pseudo: bytes) -> bytes:
    ports = struct.pack("!HHH", key.client.port, key.destination.port, 8 + len(payload))
    summed = _sum(ports + bytes(2) + payload, UDP, pseudo)
    return ports + (summed or 0xFFFF).to_bytes(2) + payload


def _syn(key: FlowKey, pseudo: bytes) -> bytes:
    ports = struct.pack("!HH", key.client.port, key.destination.port)
    head = ports + struct.pack("!IIBBHHH", 1, 0, 5 << 4, SYN, _WINDOW, 0, 0)
    return head[:16] + _sum(head, TCP, pseudo).to_bytes(2) + head[18:]


def _echo(protocol: int, pseudo: bytes) -> bytes:
    kind = _ECHO if protocol == _ICMP else _ECHOV6
    head = struct.pack("!BBHHH", kind, 0, 0, 1, 1)
    summed = checksum(head) if protocol == _ICMP else _sum(head, protocol, pseudo)
    return head[:2] + summed.to_bytes(2) + head[4:]
