"""Link and network layers of captured frames.  Owns: frame octets → Packet.
Knows: RFC 791, 8200, 4302, 768, 9293, IEEE 802.1Q, the LINKTYPE values of pcap.
Never: files, what a payload means, a second frame (fragments does)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from gateway.errors import WireError
from gateway.model import Endpoint, Transport, canonical

_U16 = struct.Struct(">H")
_PORTS = struct.Struct(">HH")

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_IPV6 = 0x86DD
_VLAN_TAGS = frozenset({0x8100, 0x88A8, 0x9100})
_PROTOCOLS = {6: Transport.TCP, 17: Transport.UDP}
# Hop-by-hop, routing, destination options (RFC 8200 section 4), mobility, HIP, shim6.
_IPV6_OPTIONS = frozenset({0, 43, 60, 135, 139, 140})
_IPV6_FRAGMENT, _AUTHENTICATION = 44, 51
TCP, UDP = 6, 17


class Packet(NamedTuple):
    """One UDP datagram or TCP segment of a capture."""

    number: int
    """The frame's number in its file, from 1, as Wireshark counts."""
    time_s: float
    """Seconds since 1970, as captured."""
    transport: Transport
    source: Endpoint
    destination: Endpoint
    payload: bytes
    """b"" for a bare TCP segment (SYN, ACK)."""
    sequence: int = 0
    """TCP sequence number; 0 for UDP."""
    flags: int = 0
    """TCP flags (FIN=1, SYN=2, RST=4, ACK=16); 0 for UDP."""


class Frame(NamedTuple):
    """One captured frame, not yet understood.

    A tuple, since there are millions.
    """

    number: int
    time_s: float
    link_type: int
    octets: bytes
    original_len: int = 0
    """Octets that it had on the wire; 0 if unknown."""


class Fragment(NamedTuple):
    """Which part of an IP packet a fragment is."""

    identification: int
    start: int
    """Octets."""
    has_more: bool


class IpPacket(NamedTuple):
    """One IP packet, or a fragment of one."""

    source: bytes
    destination: bytes
    protocol: int
    """Of what is behind the last extension header; of a later fragment, as its header says."""
    body: bytes
    fragment: Fragment | None = None


def packet_of(frame: Frame) -> Packet | None:
    """Read a frame down to its transport payload.

    Returns: None for what is neither UDP nor TCP over IP, and for later fragments.
    Raises:  WireError: a link type that nobody knows, or a frame cut short.
    """
    try:
        ip = ip_of(frame)
        if ip is None or (ip.fragment is not None and ip.fragment.start):
            return None
        return transport_of(frame, ip)
    except (struct.error, IndexError):
        raise WireError(f"frame {frame.number}", len(frame.octets), "more octets") from None


def ip_of(frame: Frame) -> IpPacket | None:
    """Read a frame down to its IP packet; None if it holds none.

    Raises:  WireError: a link type that nobody knows, a header that is none.
             struct.error, IndexError: a frame cut short.
    """
    link = _LINKS.get(frame.link_type)
    if link is None:
        known = ", ".join(str(number) for number in sorted(_LINKS))
        raise WireError(f"link type {frame.link_type}", 0, f"one of {known}")
    kind, at = link(frame.octets)
    while kind in _VLAN_TAGS:
        kind, at = _U16.unpack_from(frame.octets, at + 2)[0], at + 4
    if kind == ETHERTYPE_IPV4:
        return _ipv4(frame.octets, at)
    return _ipv6(frame.octets, at) if kind == ETHERTYPE_IPV6 else None


def _ethernet(octets: bytes) -> tuple[int, int]:
    return _U16.unpack_from(octets, 12)[0], 14


def _cooked(octets: bytes) -> tuple[int, int]:
    return _U16.unpack_from(octets, 14)[0], 16


def _cooked2(octets: bytes) -> tuple[int, int]:
    return _U16.unpack_from(octets, 0)[0], 20


def _raw(octets: bytes) -> tuple[int, int]:
    return (ETHERTYPE_IPV6 if octets[0] >> 4 == 6 else ETHERTYPE_IPV4), 0


def _loopback(octets: bytes) -> tuple[int, int]:
    # The family is in the capturing host's order, and IPv6's number differs by system: the
    # version nibble behind it says the same without guessing.
    return (ETHERTYPE_IPV6 if octets[4] >> 4 == 6 else ETHERTYPE_IPV4), 4


_LINKS: dict[int, Callable[[bytes], tuple[int, int]]] = {
    0: _loopback,  # LINKTYPE_NULL
    1: _ethernet,
    12: _raw,  # DLT_RAW as some systems write it
    101: _raw,
    108: _loopback,  # LINKTYPE_LOOP
    113: _cooked,
    228: _raw,  # LINKTYPE_IPV4
    229: _raw,  # LINKTYPE_IPV6
    276: _cooked2,
}


def _ipv4(octets: bytes, at: int) -> IpPacket:
    header_len = (octets[at] & 15) * 4
    _ = octets[at + 19]  # slices would be short without a word
    if octets[at] >> 4 != 4 or header_len < 20:
        raise WireError("IP header", at, "version 4, at least 20 octets")
    total_len = _U16.unpack_from(octets, at + 2)[0] or len(octets)  # 0: segmentation offload
    part = _U16.unpack_from(octets, at + 6)[0]
    fragment = None
    if part & 0x3FFF:
        identification = _U16.unpack_from(octets, at + 4)[0]
        fragment = Fragment(identification, (part & 0x1FFF) * 8, bool(part & 0x2000))
    source, destination = octets[at + 12 : at + 16], octets[at + 16 : at + 20]
    body = octets[at + header_len : at + total_len]
    return IpPacket(source, destination, octets[at + 9], body, fragment)


def _ipv6(octets: bytes, start: int) -> IpPacket:
    _ = octets[start + 39]
    if octets[start] >> 4 != 6:
        raise WireError("IP header", start, "version 6")
    payload_len = _U16.unpack_from(octets, start + 4)[0] or len(octets)
    end = start + 40 + payload_len
    following, at, fragment = octets[start + 6], start + 40, None
    while following in _IPV6_OPTIONS or following in (_IPV6_FRAGMENT, _AUTHENTICATION):
        size = 8 + octets[at + 1] * 8
        if following == _AUTHENTICATION:
            size = 8 + octets[at + 1] * 4
        elif following == _IPV6_FRAGMENT:
            part, identification = struct.unpack_from(">HI", octets, at + 2)
            if part & 0xFFF9:  # 0 and no more to come: an atomic fragment is whole (RFC 6946)
                fragment = Fragment(identification, part & 0xFFF8, bool(part & 1))
            size = 8
        following, at = octets[at], at + size
        if fragment is not None:
            break  # what follows is in the first fragment only
    source, destination = octets[start + 8 : start + 24], octets[start + 24 : start + 40]
    return IpPacket(source, destination, following, octets[at:end], fragment)


def behind_options(following: int, body: bytes) -> tuple[int, bytes]:
    """Pass over IPv6 extension headers at the start of a body that was put together.

    Raises:  IndexError: cut short.
    """
    at = 0
    while following in _IPV6_OPTIONS or following == _AUTHENTICATION:
        unit = 4 if following == _AUTHENTICATION else 8
        following, at = body[at], at + 8 + body[at + 1] * unit
    return following, body[at:]


def transport_of(frame: Frame, ip: IpPacket) -> Packet | None:
    """Read an IP packet's UDP datagram or TCP segment; None if it holds none.

    Raises:  struct.error, IndexError: cut short.
    """
    following, body = ip.protocol, ip.body
    if len(ip.source) == 16:
        following, body = behind_options(following, body)
    transport = _PROTOCOLS.get(following)
    if transport is None:
        return None
    source_port, destination_port = _PORTS.unpack_from(body)
    sequence = flags = 0
    if transport is Transport.UDP:
        payload = body[8 : max(8, _U16.unpack_from(body, 4)[0] or len(body))]
    else:
        sequence = struct.unpack_from(">I", body, 4)[0]
        flags = body[13]
        payload = body[max(20, (body[12] >> 4) * 4) :]
    return Packet(
        number=frame.number,
        time_s=frame.time_s,
        transport=transport,
        source=Endpoint(canonical(ip.source), source_port),
        destination=Endpoint(canonical(ip.destination), destination_port),
        payload=payload,
        sequence=sequence,
        flags=flags,
    )
