"""Packets and captures for the audit's tests.  Owns: their octets.
Knows: Ethernet, IPv4, UDP, TCP, pcap.  Never: what the audit makes of them."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from gateway.audit.flows import AuditedFlow
from gateway.audit.observers import Observer
from gateway.audit.parties import Parties
from gateway.audit.reading import Audit
from gateway.evidence.capture import Block
from gateway.evidence.frame import Frame
from gateway.model import pack
from tests.support.epochs import epoch

CLIENT, AMERICAN, CHINESE = "10.1.0.2", "192.0.2.7", "198.51.100.7"
SYN, ACK, FIN = 2, 16, 1


def udp(payload: bytes, source: str, destination: str, ports: tuple[int, int]) -> bytes:
    """Make a UDP datagram in IPv4."""
    body = struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload
    return ip(body, source, destination, 17)


def tcp(
    payload: bytes,
    source: str,
    destination: str,
    ports: tuple[int, int],
    sequence: int,
    flags: int = ACK,
) -> bytes:
    """Make a TCP segment in IPv4."""
    head = struct.pack(">HHIIBBHHH", *ports, sequence % (1 << 32), 0, 5 << 4, flags, 0, 0, 0)
    return ip(head + payload, source, destination, 6)


def ip(
    body: bytes, source: str, destination: str, protocol: int, part: int = 0, number: int = 1
) -> bytes:
    """Make an IPv4 packet, or with `part` (flags and offset) a fragment."""
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), number, part, 64, protocol, 0)
    return head + pack(source) + pack(destination) + body


def ethernet(packet: bytes) -> bytes:
    """Put an IPv4 packet into an Ethernet frame."""
    return bytes(12) + b"\x08\x00" + packet


def frames(packets: Iterable[bytes], start_s: float = 1_000.0) -> list[Frame]:
    """Put IPv4 packets into Ethernet frames, a tenth of a second apart."""
    made = [ethernet(packet) for packet in packets]
    return [
        Frame(at + 1, start_s + at / 10, 1, octets, len(octets)) for at, octets in enumerate(made)
    ]


def pcap(packets: Iterable[bytes], start_s: float = 1_000.0) -> bytes:
    """Write a pcap file of those frames."""
    file = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for frame in frames(packets, start_s):
        fraction = round(frame.time_s % 1 * 1e6)
        length = len(frame.octets)
        file += struct.pack("<IIII", int(frame.time_s), fraction, length, length) + frame.octets
    return file


def audited(
    packets: Iterable[bytes],
    clients: tuple[str, ...] = (),
    observers: tuple[Observer, ...] = (),
    max_flows: int = 1_000,
) -> tuple[list[AuditedFlow], Audit]:
    """Audit packets by the promise over the fake atlas."""
    flows: list[AuditedFlow] = []
    audit = Audit(
        epoch(),
        flows.append,
        parties=Parties(clients),
        observers=observers,
        max_flows=max_flows,
    )
    audit.read([Block.of(frames(packets))])
    audit.end()
    return flows, audit
