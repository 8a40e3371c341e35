"""Frames of a capture for the audit.  Owns: frame → the flow it belongs to and its payload; the
count of what could not be read.  Knows: evidence's frame and fragments.
Never: flows' counters, recognisers."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from gateway.errors import WireError
from gateway.evidence.fragments import Fragments
from gateway.evidence.frame import TCP, UDP, Frame, IpPacket, behind_options, ip_of, transport_of
from gateway.model import Endpoint, Transport, canonical

_ICMP = frozenset({1, 58})
TCP_MARK = b"t"
"""What the keys of TCP end with, behind addresses and ports."""


@dataclass(slots=True)
class Unread:
    """Frames that tell nothing, or not all."""

    not_ip: int = 0
    """ARP and the like."""
    unknown_link: int = 0
    """Of a link type that is not read."""
    malformed: int = 0
    """A header that lies, or is cut off."""
    cut_short: int = 0
    """Captured with a snap length: what is missing was not looked at."""
    fragments_refused: int = 0
    """Packets whose fragments overlap (RFC 5722)."""
    fragments_missing: int = 0
    """Packets of which fragments are not in the capture."""
    segments_in_conflict: int = 0
    """TCP segments that say other octets than others at the same place."""


class Received(NamedTuple):
    """A packet, as far as its transport."""

    key: bytes
    """Which flow and direction: equal for packets from one endpoint to another."""
    answer_key: bytes
    """The same, the other way round."""
    transport: Transport
    source: Endpoint
    destination: Endpoint
    payload: bytes
    sequence: int
    flags: int


class Packets:
    """Reads frames that are not the plainest; puts fragments together."""

    def __init__(self) -> None:
        self.unread = Unread()
        self.unknown_links: set[int] = set()
        self._fragments = Fragments()

    def read(self, frame: Frame) -> Received | None:
        """Read a frame; None for what is no whole packet, which is counted."""
        try:
            ip = ip_of(frame)
            if ip is None:
                self.unread.not_ip += 1
                return None
            if ip.fragment is not None:
                ip = self._fragments.add(ip, frame.time_s)
                if ip is None:
                    return None
            return _received(frame, ip)
        except WireError as error:
            if error.what.startswith("link type"):
                self.unread.unknown_link += 1
                self.unknown_links.add(frame.link_type)
            else:
                self.unread.malformed += 1
        except (struct.error, IndexError):
            if len(frame.octets) >= frame.original_len:  # else it is counted as cut short
                self.unread.malformed += 1
        return None

    def end(self) -> None:
        """Count the packets that will never be whole."""
        self.unread.fragments_refused = self._fragments.refused
        self.unread.fragments_missing = self._fragments.abandoned + self._fragments.missing


def _received(frame: Frame, ip: IpPacket) -> Received:
    packet = transport_of(frame, ip)
    if packet is None:
        return _portless(ip)
    sender = ip.source, packet.source.port.to_bytes(2, "big")
    receiver = ip.destination, packet.destination.port.to_bytes(2, "big")
    return Received(
        _key(packet.transport, sender, receiver),
        _key(packet.transport, receiver, sender),
        packet.transport,
        packet.source,
        packet.destination,
        packet.payload,
        packet.sequence,
        packet.flags,
    )


def _key(transport: Transport, sender: tuple[bytes, bytes], receiver: tuple[bytes, bytes]) -> bytes:
    """Make a flow's key; the plainest, UDP over IPv4, as the octets stand in the packet."""
    addresses = sender[0] + receiver[0] + sender[1] + receiver[1]
    return addresses if transport is Transport.UDP else addresses + TCP_MARK


def _portless(ip: IpPacket) -> Received:
    protocol = ip.protocol
    if len(ip.source) == 16:
        protocol, _ = behind_options(protocol, ip.body)
    assert protocol not in (TCP, UDP)
    transport = Transport.ICMP if protocol in _ICMP else Transport.OTHER
    mark = str(protocol).encode()
    source, destination = (Endpoint(canonical(one), 0) for one in (ip.source, ip.destination))
    keys = (ip.source + ip.destination + mark, ip.destination + ip.source + mark)
    return Received(*keys, transport, source, destination, b"", 0, 0)
