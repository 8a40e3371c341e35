"""Captures of several clients in one room.  Owns: one client's capture, replayed as others too.
Knows: the live captures.  Never: what is found in them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from gateway.model import Endpoint, Transport, unpack
from tests.audit.packets import ethernet, udp
from tests.leaks.clients import Rewrite, datagrams
from tests.wire.captures import packets

def together(
    clients: Mapping[bytes, tuple[Path, Rewrite | None]], start_s: float = 43_200.0
) -> bytes:
    """Write one pcap in which each client says what a capture's said, all at the same time.

    Each client's flows keep their own ports.
    """
    frames: list[tuple[float, bytes]] = []
    for client, (path, rewrite) in clients.items():
        ports = _ports(path)
        for number, (time_s, other, payload, is_sent) in enumerate(datagrams(path)):
            octets = payload if rewrite is None else rewrite(payload)
            ends = (unpack(client), other.host), (ports[number], other.port)
            source, destination = ends[0] if is_sent else ends[0][::-1]
            pair = ends[1] if is_sent else ends[1][::-1]
            packet = udp(octets, source, destination, (pair[0], pair[1]))
            frames.append((start_s + time_s, ethernet(packet)))
    file = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for time_s, octets in sorted(frames):
        fraction = min(999_999, round(time_s % 1 * 1e6))
        file += struct.pack("<IIII", int(time_s), fraction, len(octets), len(octets)) + octets
    return file


def _ports(path: Path) -> list[int]:
    """Give the client's port of each datagram of a capture."""
    ends: list[Endpoint] = [
        one.source if one.source.host.startswith("10.98.") else one.destination
        for one in packets(path)
        if one.transport is Transport.UDP
    ]
    return [one.port for one in ends]
