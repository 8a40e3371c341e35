"""gateway.evidence.capture and frame: capture files become packets."""

from __future__ import annotations

import contextlib
import gzip
import struct
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import DataError, WireError
from gateway.evidence.capture import read_frames, read_packets
from gateway.evidence.frame import Frame, Packet, packet_of
from gateway.model import Transport
from tests.support.rows import rows

CAPTURE = Path(__file__).parents[2] / "gateway" / "demo" / "speaker.pcap"

UDP = struct.pack(">HHHH", 5000, 8000, 12, 0) + b"ping"
TCP = struct.pack(">HHIIBBHHH", 5000, 8000, 7, 0, 5 << 4, 0x18, 0, 0, 0) + b"ping"


def ipv4(body: bytes, protocol: int = 17, fragment: int = 0, padding: bytes = b"") -> bytes:
    """Put a body behind an IPv4 header from 10.1.0.2 to 192.0.2.1."""
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 1, fragment, 64, protocol, 0)
    return head + bytes([10, 1, 0, 2]) + bytes([192, 0, 2, 1]) + body + padding


def ipv6(body: bytes, following: int = 17) -> bytes:
    """Put a body behind an IPv6 header from ::1 to 2001:db8::1."""
    head = struct.pack(">IHBB", 6 << 28, len(body), following, 64)
    return head + bytes(15) + b"\1" + bytes.fromhex("20010db8") + bytes(11) + b"\1" + body


ETHERNET = bytes(12)
V4, V6 = b"\x08\x00", b"\x86\xdd"
HOP = bytes([17, 0]) + bytes(6)
AUTHENTICATION = bytes([17, 4]) + bytes(22)
FIRST_FRAGMENT = bytes([17, 0, 0, 1]) + bytes(4)
LATER_FRAGMENT = bytes([17, 0, 0, 8]) + bytes(4)


@rows(
    packet={
        "Ethernet, IPv4, UDP": (1, ETHERNET + V4 + ipv4(UDP)),
        "Ethernet padding is not payload": (1, ETHERNET + V4 + ipv4(UDP, padding=bytes(14))),
        "one VLAN tag": (1, ETHERNET + b"\x81\x00\x00\x05" + V4 + ipv4(UDP)),
        "two VLAN tags": (1, ETHERNET + b"\x88\xa8\0\1\x81\x00\x00\x05" + V4 + ipv4(UDP)),
        "raw IPv4": (101, ipv4(UDP)),
        "raw IPv6": (101, ipv6(UDP)),
        "loopback of another system": (0, b"\x1e\0\0\0" + ipv6(UDP)),
        "Linux cooked": (113, bytes(14) + V4 + ipv4(UDP)),
        "Linux cooked, version 2": (276, V6 + bytes(18) + ipv6(UDP)),
        "IPv6 with a hop-by-hop header": (101, ipv6(HOP + UDP, 0)),
        "IPv6, first fragment": (101, ipv6(FIRST_FRAGMENT + UDP, 44)),
        "TCP": (101, ipv4(TCP, 6)),
        "IPv6 with an authentication header": (101, ipv6(AUTHENTICATION + UDP, 51)),
        "a VLAN tag in Linux cooked": (113, bytes(14) + b"\x81\x00\x00\x05" + V4 + ipv4(UDP)),
        "OpenBSD loopback": (108, b"\0\0\0\x02" + ipv4(UDP)),
    },
    nothing={
        "ARP": (1, ETHERNET + b"\x08\x06" + bytes(28)),
        "ICMP": (101, ipv4(bytes(8), 1)),
        "a later IPv4 fragment": (101, ipv4(UDP, fragment=3)),
        "a later IPv6 fragment": (101, ipv6(LATER_FRAGMENT + UDP, 44)),
    },
)
class FrameTests(SynchronousTestCase):
    """A frame is read down to its UDP or TCP payload."""

    def check_packet(self, link_type: int, octets: bytes) -> None:
        """Whatever the link, the same datagram comes out."""
        packet = packet_of(Frame(1, 0.0, link_type, octets))
        assert packet is not None
        self.assertEqual(packet.payload, b"ping")
        self.assertEqual((packet.source.port, packet.destination.port), (5000, 8000))
        if packet.transport is Transport.TCP:
            self.assertEqual((packet.sequence, packet.flags), (7, 0x18))

    def check_nothing(self, link_type: int, octets: bytes) -> None:
        """What is neither UDP nor TCP, or only the tail of one, is passed over."""
        self.assertIsNone(packet_of(Frame(1, 0.0, link_type, octets)))

    def test_unknown_link(self) -> None:
        """A link type that nobody knows is named."""
        error = self.assertRaises(WireError, packet_of, Frame(1, 0.0, 147, b""))
        self.assertIn("link type 147", str(error))

    def test_cut_anywhere(self) -> None:
        """A frame cut anywhere is a packet, nothing, or our error."""
        for octets in (ETHERNET + V4 + ipv4(UDP), ETHERNET + V6 + ipv6(HOP + TCP, 0)):
            for length in range(len(octets)):
                try:
                    packet_of(Frame(1, 0.0, 1, octets[:length]))
                except WireError:
                    continue

    @given(st.sampled_from([0, 1, 12, 101, 113, 276]), st.binary(max_size=80))
    def test_any_octets(self, link_type: int, octets: bytes) -> None:
        """Any octets are a packet, nothing, or our error."""
        try:
            packet = packet_of(Frame(1, 0.0, link_type, octets))
        except WireError:
            return
        self.assertIsInstance(packet, (Packet, type(None)))


def pcap(frames: list[bytes], order: str = "<", magic: int = 0xA1B2C3D4) -> bytes:
    """Write a pcap file of raw IP frames, one second apart."""
    file = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, 101)
    for number, frame in enumerate(frames):
        file += struct.pack(order + "IIII", 100 + number, 500, len(frame), len(frame)) + frame
    return file


def block(kind: int, body: bytes) -> bytes:
    """Write one pcapng block, little-endian."""
    body += bytes(-len(body) % 4)
    size = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + size + body + size


SECTION = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
INTERFACE = block(1, struct.pack("<HHI", 101, 0, 65535) + struct.pack("<HHB3x", 9, 1, 9))


def enhanced(frame: bytes, ticks: int) -> bytes:
    """Write one enhanced packet block of interface 0."""
    head = struct.pack("<IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return block(6, head + frame)


class CaptureTests(SynchronousTestCase):
    """pcap and pcapng files are read in order, and a broken one is named."""

    def file(self, octets: bytes) -> Path:
        path = Path(self.mktemp())
        path.write_bytes(octets)
        return path

    def test_real_capture(self) -> None:
        """The demo's capture has the frames that other tools count in it."""
        packets = list(read_packets(CAPTURE))
        self.assertEqual(len(packets), 1182)
        self.assertEqual(packets[-1].number, 1182)
        sent = [packet for packet in packets if packet.destination.port == 4001]
        self.assertEqual(len(sent), 892)
        self.assertAlmostEqual(packets[-1].time_s - packets[0].time_s, 15.640040, places=5)

    def test_orders_and_clocks(self) -> None:
        """Either byte order and either resolution gives the same packets."""
        for order, magic, fraction in (("<", 0xA1B2C3D4, 5e-4), (">", 0xA1B23C4D, 5e-7)):
            (packet,) = read_packets(self.file(pcap([ipv4(UDP)], order, magic)))
            self.assertAlmostEqual(packet.time_s, 100 + fraction, places=9)

    def test_pcapng(self) -> None:
        """Blocks that are not packets are passed over; time has the interface's resolution."""
        unknown = block(0x0BAD, b"whatever")
        path = self.file(SECTION + INTERFACE + unknown + enhanced(ipv4(UDP), 2_500_000_000))
        (packet,) = read_packets(path)
        self.assertEqual((packet.number, packet.time_s), (1, 2.5))

    def test_sections_and_interfaces(self) -> None:
        """Each section has its own byte order and interfaces; old and simple blocks are read."""
        order = ">"
        section = struct.pack(">IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)

        def big(kind: int, body: bytes) -> bytes:
            body += bytes(-len(body) % 4)
            size = struct.pack(order + "I", 12 + len(body))
            return struct.pack(order + "I", kind) + size + body + size

        raw = big(1, struct.pack(">HHI", 101, 0, 40) + struct.pack(">HHq", 14, 8, 1_000))
        cooked = big(1, struct.pack(">HHI", 113, 0, 0))
        frame = ipv4(UDP)
        of_second = bytes(14) + V4 + frame
        second = big(6, struct.pack(">IIIII", 1, 0, 2_000_000, *[len(of_second)] * 2) + of_second)
        old = big(2, struct.pack(">HHIIII", 0, 0, 0, 3_000_000, len(frame), 99) + frame)
        simple = big(3, struct.pack(">I", len(frame)) + frame)
        path = self.file(
            SECTION
            + INTERFACE
            + enhanced(frame, 10**9)
            + section
            + raw
            + cooked
            + second
            + old
            + simple
        )
        frames = list(read_frames(path))
        self.assertEqual([one.time_s for one in frames], [1.0, 2.0, 1003.0, 0.0])
        self.assertEqual([one.link_type for one in frames], [101, 113, 101, 101])
        self.assertEqual((frames[2].original_len, len(frames[3].octets)), (99, len(frame)))
        self.assertEqual([one.payload for one in read_packets(path)], [b"ping"] * 4)

    def test_packed(self) -> None:
        """A .gz is read; a broken one gives what can be unpacked, then says so."""
        octets = gzip.compress(pcap([ipv4(UDP)] * 3))
        self.assertEqual(len(list(read_packets(self.file(octets)))), 3)
        for broken in (octets[:-12], octets[:30] + b"\xff" * 30, octets[:5]):
            error = self.assertRaises(DataError, list, read_frames(self.file(broken)))
            self.assertRegex(str(error), "gzip|cut off|claims|begins with")

    def test_larger_than_what_is_read_at_once(self) -> None:
        """Frames that lie across the pieces of a file are whole."""
        big = [ipv4(UDP + bytes(1400)) for _ in range(1600)]
        frames = list(read_frames(self.file(pcap(big))))
        self.assertEqual([one.octets for one in frames], big)

    def test_where(self) -> None:
        """A fault is told with its octet, counted from the file's start."""
        sound = pcap([ipv4(UDP)])
        path = self.file(sound + struct.pack("<IIII", 0, 0, 300_000, 300_000))
        error = self.assertRaises(DataError, list, read_frames(path))
        self.assertIn(f"frame 2 claims 300000 octets at octet {len(sound)}", str(error))
        lying = bytearray(SECTION + INTERFACE + enhanced(ipv4(UDP), 1))
        lying[-4] ^= 8
        error = self.assertRaises(DataError, list, read_frames(self.file(bytes(lying))))
        self.assertIn(f"malformed at octet {len(SECTION + INTERFACE)}", str(error))

    def test_not_a_capture(self) -> None:
        """Another file is refused by its first octets."""
        error = self.assertRaises(DataError, list, read_packets(self.file(b"PK\3\4 whatever")))
        self.assertIn("504b0304", str(error))
        self.assertRaises(DataError, list, read_packets(self.file(b"")))

    def test_missing(self) -> None:
        """A file that is not there is named."""
        error = self.assertRaises(DataError, list, read_packets("/nonexistent.pcap"))
        self.assertIn("/nonexistent.pcap", str(error))

    def test_cut_anywhere(self) -> None:
        """A file cut anywhere gives its whole packets, then says where it was cut."""
        for octets in (
            pcap([ipv4(UDP), ipv4(TCP, 6)]),
            SECTION + INTERFACE + enhanced(ipv4(UDP), 1) + enhanced(ipv4(TCP, 6), 2),
        ):
            for length in range(4, len(octets)):
                frames = []
                try:
                    for frame in read_frames(self.file(octets[:length])):
                        frames.append(frame)  # noqa: PERF402 (a generator that raises on the way)
                except DataError as error:
                    self.assertRegex(str(error), "cut off|malformed|claims|block")
                self.assertLess(len(frames), 2)

    def test_lying_length(self) -> None:
        """A record that claims gigabytes is refused, not allocated."""
        octets = pcap([]) + struct.pack("<IIII", 0, 0, 0x7FFFFFFF, 0x7FFFFFFF)
        error = self.assertRaises(DataError, list, read_frames(self.file(octets)))
        self.assertIn("claims 2147483647", str(error))

    @settings(deadline=None, max_examples=100)
    @given(st.sampled_from([pcap([]), SECTION, SECTION + INTERFACE]), st.binary(max_size=120))
    def test_any_octets(self, start: bytes, octets: bytes) -> None:
        """Any octets behind a header are packets or our error."""
        with contextlib.suppress(DataError):
            list(read_packets(self.file(start + octets)))
