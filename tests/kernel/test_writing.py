"""gateway.kernel.writing: packets that anybody can read back, with sums that are right."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import CarryError
from gateway.kernel import datagram
from gateway.kernel.datagram import SYN
from gateway.kernel.writing import checksum, packet
from gateway.model import Endpoint, FlowKey, Transport
from tests.support.rows import rows

_ENDS = st.one_of(
    st.tuples(st.binary(min_size=4, max_size=4), st.binary(min_size=4, max_size=4)),
    st.tuples(
        st.binary(min_size=16, max_size=16).filter(lambda octets: octets[:10] != bytes(10)),
        st.binary(min_size=16, max_size=16).filter(lambda octets: octets[:10] != bytes(10)),
    ),
)
_PORTS = st.integers(0, 65535)
_PROTOCOLS = {(Transport.UDP, 4): 17, (Transport.UDP, 16): 17, (Transport.TCP, 4): 6,
              (Transport.TCP, 16): 6, (Transport.ICMP, 4): 1, (Transport.ICMP, 16): 58}  # fmt: skip


@rows(
    refused={
        "two families": ("udp 192.0.2.1:1 > [2001:db8::1]:2", b""),
        "too long": ("udp 192.0.2.1:1 > 192.0.2.2:2", bytes(1473)),
        "a protocol that is not written": ("other 192.0.2.1 > 192.0.2.2", b""),
    }
)
class WritingTests(SynchronousTestCase):
    """packet and checksum."""

    @given(_ENDS, _PORTS, _PORTS, st.binary(max_size=1400), st.sampled_from(["udp", "tcp", "icmp"]))
    @settings(deadline=None, max_examples=60)
    def test_read_back(
        self, ends: tuple[bytes, bytes], near: int, far: int, payload: bytes, which: str
    ) -> None:
        """What is written is read back as the same flow and payload, and every sum is right."""
        transport = Transport(which)
        if transport is Transport.ICMP:
            near = far = 0
        key = FlowKey(transport, Endpoint(ends[0], near), Endpoint(ends[1], far))
        octets = packet(key, payload, 2)
        read = datagram.read(octets)
        assert read is not None, "it can be read"
        self.assertEqual(read.key, key)
        self.assertEqual(read.payload, payload if transport is Transport.UDP else b"")
        self.assertEqual(read.flags, SYN if transport is Transport.TCP else 0)
        start = 20 if len(ends[0]) == 4 else 40
        self.assertEqual(octets[8 if start == 20 else 7], 2)
        if start == 20:
            self.assertEqual(checksum(octets[:20]), 0)
        segment, protocol = octets[start:], _PROTOCOLS[transport, len(ends[0])]
        pseudo = ends[0] + ends[1] + len(segment).to_bytes(4) + protocol.to_bytes(4)
        self.assertEqual(checksum((b"" if protocol == 1 else pseudo) + segment), 0)

    def test_known(self) -> None:
        """The example of RFC 1071 section 3 has the sum that it gives."""
        self.assertEqual(checksum(bytes.fromhex("0001f203f4f5f6f7")), 0xFFFF - 0xDDF2)

    def check_refused(self, flow: str, payload: bytes) -> None:
        """What cannot be written is refused."""
        self.assertRaises(CarryError, packet, FlowKey.parse(flow), payload, 2)
