"""Captures of several clients in one room.  Owns: one client's capture, replayed as others too.
Knows: the live captures.  Never: what is found in them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from gateway.model import Transport, unpack
from tests.audit.packets import ethernet, udp
from tests.leaks.clients import Rewrite
from tests.wire.captures import packets

_LOCAL = "10.98."


class Part(NamedTuple):
    """What one client says."""

    path: Path
    rewrite: Rewrite = bytes
    """Makes another user of it."""
    delay_s: float = 0.0


def together(clients: Mapping[bytes, Part], start_s: float = 43_200.0) -> bytes:
    """Write one pcap in which each client says what a capture's said, to everybody but its own
    network, from the same ports."""
    frames = [frame for client, part in clients.items() for frame in _frames(client, part)]
    file = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for time_s, octets in sorted(frames):
        second, fraction = divmod(round((start_s + time_s) * 1e6), 1_000_000)
        file += struct.pack("<IIII", second, fraction, len(octets), len(octets)) + octets
    return file


def _frames(client: bytes, part: Part) -> list[tuple[float, bytes]]:
    made, first_s = [], None
    for one in packets(part.path):
        ends = (one.source, one.destination)
        ours = [end.host.startswith(_LOCAL) for end in ends]
        if one.transport is not Transport.UDP or all(ours):
            continue
        first_s = one.time_s if first_s is None else first_s
        hosts = [unpack(client) if own else end.host for end, own in zip(ends, ours, strict=True)]
        ports = (one.source.port, one.destination.port)
        packet = udp(part.rewrite(one.payload), hosts[0], hosts[1], ports)
        made.append((one.time_s - first_s + part.delay_s, ethernet(packet)))
    return made
