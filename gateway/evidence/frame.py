"""Link and network layers of captured frames.  Owns: frame octets → Packet.
Knows: RFC 791, 8200, 768, 9293, IEEE 802.1Q, the LINKTYPE values of pcap.
Never: files, what a payload means."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from gateway.errors import WireError
from gateway.model import Endpoint, Transport, canonical

_U16 = struct.Struct(">H")
_PORTS = struct.Struct(">HH")

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_IPV6 = 0x86DD
_VLAN_TAGS = frozenset({0x8100, 0x88A8, 0x9100})
_PROTOCOLS = {6: Transport.TCP, 17: Transport.UDP}
# Hop-by-hop, routing, destination options (RFC 8200 section 4), and fragment.
_IPV6_OPTIONS = frozenset({0, 43, 60})
_IPV6_FRAGMENT = 44


@dataclass(frozen=True, slots=True)
class Packet:
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


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured frame, not yet understood."""

    number: int
    time_s: float
    link_type: int
    octets: bytes


def packet_of(frame: Frame) -> Packet | None:
    """Read a frame down to its transport payload.

    Returns: None for what is neither UDP nor TCP over IP, and for later fragments.
    Raises:  WireError: a link type that nobody knows, or a frame cut short.
    """
    reader = _LINKS.get(frame.link_type)
    if reader is None:
        known = ", ".join(str(number) for number in sorted(_LINKS))
        raise WireError(f"link type {frame.link_type}", 0, f"one of {known}")
    try:
        network = reader(frame.octets)
        return None if network is None else _read_ip(frame, *network)
    except (struct.error, IndexError):
        raise WireError(f"frame {frame.number}", len(frame.octets), "more octets") from None


def _ethernet(octets: bytes) -> tuple[int, bytes] | None:
    at = 12
    kind = _U16.unpack_from(octets, at)[0]
    while kind in _VLAN_TAGS:
        at += 4
        kind = _U16.unpack_from(octets, at)[0]
    return kind, octets[at + 2 :]


def _cooked(octets: bytes) -> tuple[int, bytes] | None:
    return _U16.unpack_from(octets, 14)[0], octets[16:]


def _cooked2(octets: bytes) -> tuple[int, bytes] | None:
    return _U16.unpack_from(octets, 0)[0], octets[20:]


def _raw(octets: bytes) -> tuple[int, bytes] | None:
    return (ETHERTYPE_IPV6 if octets[0] >> 4 == 6 else ETHERTYPE_IPV4), octets


def _loopback(octets: bytes) -> tuple[int, bytes] | None:
    # The family is in the capturing host's order, and IPv6's number differs by system: the
    # version nibble behind it says the same without guessing.
    return _raw(octets[4:])


_LINKS: dict[int, Callable[[bytes], tuple[int, bytes] | None]] = {
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


def _read_ip(frame: Frame, kind: int, octets: bytes) -> Packet | None:
    if kind == ETHERTYPE_IPV4:
        return _read_ipv4(frame, octets)
    if kind == ETHERTYPE_IPV6:
        return _read_ipv6(frame, octets)
    return None


def _read_ipv4(frame: Frame, octets: bytes) -> Packet | None:
    header_len = (octets[0] & 15) * 4
    total_len = _U16.unpack_from(octets, 2)[0] or len(octets)  # 0: segmentation offload
    fragment_offset = _U16.unpack_from(octets, 6)[0] & 0x1FFF
    transport = _PROTOCOLS.get(octets[9])
    if transport is None or fragment_offset:
        return None
    body = octets[header_len:total_len]
    return _read_transport(frame, transport, octets[12:16], octets[16:20], body)


def _read_ipv6(frame: Frame, octets: bytes) -> Packet | None:
    payload_len = _U16.unpack_from(octets, 4)[0] or len(octets)
    end = 40 + payload_len
    following, at = octets[6], 40
    while following in _IPV6_OPTIONS or following == _IPV6_FRAGMENT:
        if following == _IPV6_FRAGMENT:
            if _U16.unpack_from(octets, at + 2)[0] & 0xFFF8:
                return None
            size = 8
        else:
            size = 8 + octets[at + 1] * 8
        following, at = octets[at], at + size
    transport = _PROTOCOLS.get(following)
    if transport is None:
        return None
    return _read_transport(frame, transport, octets[8:24], octets[24:40], octets[at:end])


def _read_transport(
    frame: Frame, transport: Transport, source: bytes, destination: bytes, body: bytes
) -> Packet:
    source_port, destination_port = _PORTS.unpack_from(body)
    sequence = flags = 0
    if transport is Transport.UDP:
        payload = body[8 : max(8, _U16.unpack_from(body, 4)[0] or len(body))]
    else:
        sequence = struct.unpack_from(">I", body, 4)[0]
        flags = body[13]
        payload = body[(body[12] >> 4) * 4 :]
    return Packet(
        number=frame.number,
        time_s=frame.time_s,
        transport=transport,
        source=Endpoint(canonical(source), source_port),
        destination=Endpoint(canonical(destination), destination_port),
        payload=payload,
        sequence=sequence,
        flags=flags,
    )
