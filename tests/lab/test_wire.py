"""Tests of the lab's captures."""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from pathlib import Path

from gateway.evidence.capture import read_frames, read_packets
from gateway.evidence.frame import Frame
from gateway.model import Transport
from tests.lab.case import LabCase
from tests.lab.topology import Lab, Space
from tests.lab.wire import Wire


def _sum(octets: bytes) -> int:
    """Add up 16-bit words as RFC 1071 does; 0xffff where a checksum is right."""
    total: int = sum(struct.unpack(f">{len(octets) // 2}H", octets[: len(octets) // 2 * 2]))
    total += octets[-1] << 8 if len(octets) % 2 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _transport_sum(frame: Frame) -> int | None:
    """Add up a UDP or TCP packet with its pseudo-header; None for what is neither."""
    octets = frame.octets
    if octets[12:14] == b"\x08\x00" and octets[23] in (6, 17):
        body = octets[14 + (octets[14] & 15) * 4 : 14 + int.from_bytes(octets[16:18], "big")]
        return _sum(octets[26:34] + struct.pack(">HH", octets[23], len(body)) + body)
    if octets[12:14] == b"\x86\xdd" and octets[20] in (6, 17):
        body = octets[54 : 54 + int.from_bytes(octets[18:20], "big")]
        return _sum(octets[22:54] + struct.pack(">IHBB", len(body), 0, 0, octets[20]) + body)
    return None


class WireTests(LabCase):
    """A capture is what passed, neither more nor less."""

    def test_exactly_what_passes(self) -> None:
        """Every datagram, and its answer, is seen once on each side of the gateway, unchanged."""
        self.internet()
        wires = [
            Wire(self.lab, space, interface)
            for space, interface in (
                ("client", "gateway"),
                ("gateway", "clients"),
                ("gateway", "uplink"),
            )
        ]
        self.say(socket.SOCK_DGRAM, Lab.CLIENT[0], "8.8.8.8:53", b"before")
        for wire in wires:
            wire.start()
        with self.lab.socket(Space.CLIENT, socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5.0)
            for number in range(200):
                client.sendto(number.to_bytes(2, "big") * 300, ("8.8.8.8", 53))
                client.recv(1000)
        for wire in wires:
            wire.stop()
        self.say(socket.SOCK_DGRAM, Lab.CLIENT[0], "8.8.8.8:53", b"after")
        expected = Counter({number.to_bytes(2, "big") * 300: 2 for number in range(200)})
        for wire in wires:
            self.assertEqual(Counter(packet.payload for packet in wire.packets()), expected)
            self.assertEqual(wire.missed, 0)

    def test_as_on_a_wire(self) -> None:
        """No frame is longer than the link takes, and every checksum is right: bulk TCP too."""
        self.internet()
        wire = self.wire(Space.GATEWAY, "uplink")
        for source, to in zip(Lab.CLIENT, ("8.8.8.8", "2001:db9::8"), strict=True):
            self.say(socket.SOCK_DGRAM, source, f"[{to}]:9" if ":" in to else f"{to}:9", b"odd")
            family = socket.AF_INET6 if ":" in to else socket.AF_INET
            with self.lab.socket(Space.CLIENT, family, socket.SOCK_STREAM) as client:
                client.settimeout(5.0)
                client.connect((to, 80))
                threading.Thread(target=client.sendall, args=[bytes(200_001)]).start()
                left = 200_001
                while left:
                    left -= len(client.recv(65_536))
        wire.stop()
        sums = [_transport_sum(frame) for frame in wire.frames()]
        self.assertGreater(len(sums), 500)
        self.assertEqual({each for each in sums if each is not None}, {0xFFFF})
        self.assertLessEqual(max(len(frame.octets) for frame in wire.frames()), 1514)

    def test_between(self) -> None:
        """Frames of an address are found whatever protocol they carry: ICMP too."""
        wire = self.wire(Space.GATEWAY, "uplink")
        with self.lab.socket(Space.CLIENT, socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("8.8.4.4", 53))
            client.settimeout(5.0)
            client.send(b"nobody listens here")
            self.assertRaises(ConnectionRefusedError, client.recv, 100)
        wire.stop()
        self.assertEqual(len(wire.between("8.8.4.4")), 2)
        self.assertEqual(len(wire.packets()), 1)
        self.assertEqual(wire.between("8.8.8.8"), [])

    def test_pcap(self) -> None:
        """What is written as pcap reads back as it was captured."""
        self.internet()
        wire = self.wire(Space.GATEWAY, "uplink")
        for source, to in zip(Lab.CLIENT, ("8.8.8.8:53", "[2001:db9::8]:53"), strict=True):
            self.say(socket.SOCK_DGRAM, source, to, b"hello")
        wire.stop()
        path = Path(self.mktemp())
        wire.write(path)
        self.assertEqual(
            [frame.octets for frame in read_frames(path)], [f.octets for f in wire.frames()]
        )
        read = [(each.transport, each.source, each.payload) for each in read_packets(path)]
        kept = [(each.transport, each.source, each.payload) for each in wire.packets()]
        self.assertEqual(read, kept)
        self.assertEqual(len([each for each in read if each[0] is Transport.UDP]), 4)

    def test_bounded(self) -> None:
        """Frames beyond the bound are counted, not kept."""
        self.internet()
        wire = Wire(self.lab, Space.GATEWAY, "uplink", max_octets=2_000)
        with wire:
            for _ in range(5):
                self.say(socket.SOCK_DGRAM, Lab.CLIENT[0], "8.8.8.8:53", bytes(900))
        self.assertLessEqual(sum(len(frame.octets) for frame in wire.frames()), 2_000)
        self.assertGreaterEqual(wire.missed, 8)
