"""IP packets are read, or are nothing; never an exception."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.kernel import datagram
from gateway.kernel.datagram import Packet
from gateway.model import Endpoint, FlowKey, Transport, pack
from tests.support.rows import rows


def udp(payload: bytes, near: int = 5000, far: int = 8000, length: int | None = None) -> bytes:
    """Make a UDP datagram, without a checksum."""
    return (
        struct.pack("!HHHH", near, far, 8 + len(payload) if length is None else length, 0) + payload
    )


def tcp(
    payload: bytes,
    flags: int,
    sequence: int = 0,
    options: bytes = b"",
    *,
    near: int = 5000,
    far: int = 443,
) -> bytes:
    """Make a TCP segment, without a checksum."""
    offset = (20 + len(options)) // 4 << 4
    header = struct.pack("!HHIIBBHHH", near, far, sequence, 0, offset, flags, 1000, 0, 0)
    return header + options + payload


def v4(
    carried: bytes, protocol: int, to: str = "192.0.2.1", options: bytes = b"", fragment: int = 0
) -> bytes:
    """Make an IPv4 packet, without a checksum."""
    head = 0x40 | (20 + len(options)) // 4
    length = 20 + len(options) + len(carried)
    fields = struct.pack("!BBHHHBBH", head, 0, length, 1, fragment, 64, protocol, 0)
    return fields + pack("10.1.0.2") + pack(to) + options + carried


def v6(carried: bytes, protocol: int, to: str = "2001:db8::1", extensions: bytes = b"") -> bytes:
    """Make an IPv6 packet; `protocol` is the first header's."""
    fields = struct.pack("!IHBB", 6 << 28, len(extensions) + len(carried), protocol, 64)
    return fields + pack("2001:db8:1::2") + pack(to) + extensions + carried


_PAD = b"\x01\x04\0\0\0\0"
_UDP4 = FlowKey.parse("udp 10.1.0.2:5000 > 192.0.2.1:8000")
_UDP6 = FlowKey.parse("udp [2001:db8:1::2]:5000 > [2001:db8::1]:8000")
_TCP4 = FlowKey.parse("tcp 10.1.0.2:5000 > 192.0.2.1:443")
_TCP6 = FlowKey.parse("tcp [2001:db8:1::2]:5000 > [2001:db8::1]:443")


@rows(
    flows={
        "UDP over IPv4": (v4(udp(b"abc"), 17), _UDP4, b"abc"),
        "UDP over IPv6": (v6(udp(b"abc"), 17), _UDP6, b"abc"),
        "UDP without payload": (v4(udp(b""), 17), _UDP4, b""),
        "IPv4 options": (v4(udp(b"abc"), 17, options=b"\1" * 8), _UDP4, b"abc"),
        "a tail behind IPv4": (v4(udp(b"abc"), 17) + b"tail", _UDP4, b"abc"),
        "a tail behind UDP": (v4(udp(b"abc", length=10), 17), _UDP4, b"ab"),
        "hop-by-hop and destination options": (
            v6(udp(b"abc"), 0, extensions=bytes([60, 0]) + _PAD + bytes([17, 0]) + _PAD),
            _UDP6, b"abc"),
        "a longer extension": (
            v6(udp(b"abc"), 60, extensions=bytes([17, 1]) + bytes(14)), _UDP6, b"abc"),
        "an authentication header": (
            v6(udp(b"abc"), 51, extensions=bytes([17, 4]) + bytes(22)), _UDP6, b"abc"),
        "a routing header that is used up": (
            v6(udp(b"abc"), 43, extensions=bytes([17, 0, 0, 0]) + bytes(4)), _UDP6, b"abc"),
        "TCP over IPv4": (v4(tcp(b"abc", 0x18), 6), _TCP4, b"abc"),
        "TCP over IPv6": (v6(tcp(b"abc", 0x18), 6), _TCP6, b"abc"),
        "TCP options": (v4(tcp(b"abc", 0x18, options=b"\1" * 12), 6), _TCP4, b"abc"),
    },
    by_address={
        "ICMP": (v4(b"\x08\0\0\0\0\0\0\0", 1), 1, "192.0.2.1"),
        "ICMPv6": (v6(b"\x80\0\0\0\0\0\0\0", 58), 58, "2001:db8::1"),
        "no payload at all": (v4(b"", 50), 50, "192.0.2.1"),
        "SCTP": (v6(bytes(12), 132), 132, "2001:db8::1"),
        "a first fragment": (v4(udp(b"abc"), 17, fragment=0x2000), 17, "192.0.2.1"),
        "a later fragment": (v4(b"abc", 17, fragment=5), 17, "192.0.2.1"),
        "an IPv6 fragment": (
            v6(udp(b"abc"), 44, extensions=bytes([17]) + bytes(7)), 17, "2001:db8::1"),
        "no next header": (v6(b"", 59), 59, "2001:db8::1"),
    },
    malformed={
        "nothing": (b"",),
        "another version": (b"\x50" + bytes(40),),
        "an IPv4 header too short": (b"\x44" + v4(udp(b"abc"), 17)[1:],),
        "IPv4 cut short": (v4(udp(b"abc"), 17)[:-1],),
        "IPv6 cut short": (v6(udp(b"abc"), 17)[:-1],),
        "UDP that is longer than IP": (v4(udp(b"abc", length=12), 17),),
        "UDP shorter than its header": (v4(udp(b"abc", length=7), 17),),
        "half a UDP header": (v4(b"\0\0\0\0", 17),),
        "half a TCP header": (v4(bytes(19), 6),),
        "TCP options longer than IP": (v4(tcp(b"", 2)[:12] + b"\xf0" + bytes(7), 6),),
        "a TCP header too short": (v4(tcp(b"", 2)[:12] + b"\x40" + bytes(7), 6),),
        "a source route": (v6(udp(b"a"), 43, extensions=bytes([17, 0, 0, 1]) + bytes(4)),),
        "an extension past the end": (v6(b"", 60, extensions=bytes([17, 9]) + bytes(6)),),
        "too many extensions": (v6(udp(b"a"), 60, extensions=(bytes([60, 0]) + _PAD) * 7),),
    },
)  # fmt: skip
class DatagramTests(SynchronousTestCase):
    """read."""

    def check_flows(self, octets: bytes, key: FlowKey, payload: bytes) -> None:
        """A packet with ports gives its flow and its payload"""
        packet = datagram.read(octets)
        assert packet is not None
        self.assertEqual((packet.key, packet.payload), (key, payload))

    def check_by_address(self, octets: bytes, protocol: int, to: str) -> None:
        """A packet without ports gives its addresses"""
        packet = datagram.read(octets)
        client = Endpoint.of("2001:db8:1::2" if ":" in to else "10.1.0.2", 0)
        transport = Transport.ICMP if protocol in (1, 58) else Transport.OTHER
        self.assertEqual(packet, Packet(FlowKey(transport, client, Endpoint.of(to, 0)), b""))

    def check_malformed(self, octets: bytes) -> None:
        """What is malformed is nothing"""
        self.assertIsNone(datagram.read(octets))

    def test_tcp_numbers(self) -> None:
        """TCP's flags and sequence number are given."""
        packet = datagram.read(v4(tcp(b"x", 0x12, 0xFFFFFFFF), 6))
        assert packet is not None
        self.assertEqual((packet.flags, packet.sequence), (0x12, 0xFFFFFFFF))

    def test_mapped(self) -> None:
        """An IPv4-mapped address is the IPv4 address: there is no second spelling to slip by."""
        octets = bytearray(v6(udp(b"x"), 17))
        octets[24:40] = bytes(10) + b"\xff\xff" + pack("192.0.2.1")
        packet = datagram.read(bytes(octets))
        assert packet is not None
        self.assertEqual(packet.key.destination.address, pack("192.0.2.1"))

    def test_cut_everywhere(self) -> None:
        """A packet cut anywhere is nothing."""
        for octets in (v4(tcp(b"abc", 2), 6), v6(udp(b"abc"), 0, extensions=bytes([17, 0]) + _PAD)):
            for end in range(len(octets)):
                self.assertIsNone(datagram.read(octets[:end]), end)

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=12), st.integers(0, 24), st.integers(-3, 3), st.integers(0, 65535))
    def test_without_options(self, payload: bytes, length: int, cut: int, fragment: int) -> None:
        """A datagram without IP options is read as the same one with options is."""
        carried = udp(payload, length=length)
        both = [v4(carried, 17, options=some, fragment=fragment) for some in (b"", b"\1" * 4)]
        plain, long = (datagram.read(one[: len(one) + cut] + bytes(max(cut, 0))) for one in both)
        self.assertEqual(plain, long)

    @settings(deadline=None, max_examples=500)
    @given(st.binary(max_size=100), st.sampled_from([b"", b"\x45", b"\x4f", b"\x60"]))
    def test_anything(self, octets: bytes, start: bytes) -> None:
        """Whatever comes, it is a packet or nothing."""
        packet = datagram.read(start + octets)
        if packet is not None:
            self.assertIn(len(packet.key.destination.address), (4, 16))
            portless = packet.key.transport in (Transport.ICMP, Transport.OTHER)
            self.assertEqual(packet.payload if portless else b"", b"")
