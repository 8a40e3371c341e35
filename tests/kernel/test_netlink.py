"""Netlink messages are read as they were written."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import WireError
from gateway.kernel import conntrack, netlink
from gateway.model import FlowKey


class NetlinkTests(SynchronousTestCase):
    """Messages and attributes."""

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=20))))
    def test_attributes(self, pairs: list[tuple[int, bytes]]) -> None:
        """Attributes come back, aligned or not."""
        octets = b"".join(netlink.attribute(kind, value) for kind, value in pairs)
        self.assertEqual(len(octets) % 4, 0)
        self.assertEqual(list(netlink.attributes(octets)), pairs)

    @settings(deadline=None, max_examples=100)
    @given(
        st.lists(
            st.tuples(
                st.integers(0, 65535), st.binary(max_size=20).map(lambda b: b + bytes(-len(b) % 4))
            )
        )
    )
    def test_messages(self, pairs: list[tuple[int, bytes]]) -> None:
        """Messages come back, however many one read gave."""
        octets = b"".join(netlink.message(kind, 1, 7, body) for kind, body in pairs)
        got = [(one.kind, one.body) for one in netlink.messages(octets)]
        self.assertEqual(got, pairs)

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=80))
    def test_anything(self, octets: bytes) -> None:
        """Whatever comes, it is a value or a WireError."""
        for read in (netlink.messages, netlink.attributes):
            try:
                list(read(octets))
            except WireError as error:
                self.assertIn("netlink", str(error))

    def test_error(self) -> None:
        """An answer's errno is positive, and 0 is none; less than that is no answer."""
        self.assertEqual(netlink.error_of((-2).to_bytes(4, "little", signed=True)), 2)
        self.assertEqual(netlink.error_of(bytes(4)), 0)
        self.assertRaises(WireError, netlink.error_of, b"\0")


class ConntrackTests(SynchronousTestCase):
    """What conntrack is told."""

    def test_flow(self) -> None:
        """A flow is named by its five parts, in either family."""
        for text, sizes in (
            ("udp 10.1.0.2:5000 > 192.0.2.1:8000", (4, 4)),
            ("tcp [2001:db8::2]:5000 > [2001:db8::1]:443", (16, 16)),
        ):
            (one,) = netlink.messages(conntrack.delete_flow(FlowKey.parse(text)))
            ((kind, nested),) = netlink.attributes(one.body, 4)
            self.assertEqual(kind, 1)
            (_, addresses), (_, ports) = netlink.attributes(nested)
            self.assertEqual(tuple(len(v) for _, v in netlink.attributes(addresses)), sizes)
            self.assertEqual([len(v) for _, v in netlink.attributes(ports)], [1, 2, 2])

    def test_epoch(self) -> None:
        """An epoch is named by a mark and its mask."""
        (one,) = netlink.messages(conntrack.delete_epoch(7))
        self.assertEqual(
            [value.hex() for _, value in netlink.attributes(one.body, 4)], ["07000000", "ff000000"]
        )
