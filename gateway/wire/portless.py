"""What has no ports.  Owns: what ICMP and every other protocol of IP count as, unread.
Knows: RFC 792, 4443 (ICMP reports errors and answers echoes).  Never: their octets."""

from __future__ import annotations

from gateway.model import UNKNOWN, Content, Protocol, Traffic, Transport

_ICMP = Content(Protocol.ICMP, traffic=Traffic.OTHER, plaintext=())


def recognise(transport: Transport) -> Content:
    """Tell what a packet of a transport without ports is: ICMP, or what nobody knows."""
    return _ICMP if transport is Transport.ICMP else UNKNOWN
