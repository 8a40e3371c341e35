"""gateway.model: the shared words."""

from __future__ import annotations

import contextlib
import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import AddressError
from gateway.model import Endpoint, FlowKey, Transport, canonical, pack, unpack
from tests.support.rows import rows


@rows(
    endpoint={
        "IPv4": ("192.0.2.1:80", b"\xc0\x00\x02\x01", 80, "192.0.2.1:80"),
        "IPv6 in brackets": (
            "[2001:db8::1]:443",
            ipaddress.ip_address("2001:db8::1").packed,
            443,
            "[2001:db8::1]:443",
        ),
        "mapped IPv6 is IPv4": ("[::ffff:192.0.2.1]:80", b"\xc0\x00\x02\x01", 80, "192.0.2.1:80"),
        "port nought": ("192.0.2.1:0", b"\xc0\x00\x02\x01", 0, "192.0.2.1:0"),
    },
    fault={
        "a name": ("ap.example:80",),
        "no port": ("192.0.2.1",),
        "IPv6 without brackets": ("2001:db8::1:80",),
        "a port too high": ("192.0.2.1:65536",),
        "a negative port": ("192.0.2.1:-1",),
        "a port in other digits": ("192.0.2.1:٨٠",),
        "an old spelling": ("127.1:80",),
        "octal octets": ("0300.0.2.1:80",),
        "a zone": ("[fe80::1%eth0]:80",),
        "nothing": ("",),
    },
    flow={
        "UDP": ("udp 10.1.0.2:5000 > 118.190.148.38:8000", Transport.UDP, 8000),
        "TCP over IPv6": ("tcp [2001:db8::1]:5000 > [2001:db8::2]:443", Transport.TCP, 443),
        "ICMP": ("icmp 10.1.0.2 > 118.190.148.38", Transport.ICMP, 0),
        "ICMPv6": ("icmp 2001:db8::1 > 2001:db8::2", Transport.ICMP, 0),
        "any other protocol": ("other 10.1.0.2 > 118.190.148.38", Transport.OTHER, 0),
    },
    flow_fault={
        "no arrow": ("udp 10.0.0.1:1 192.0.2.1:1", "a flow such as"),
        "ICMP with ports": ("icmp 10.0.0.1:0 > 192.0.2.1:0", "no ports"),
        "ICMP with brackets": ("icmp [2001:db8::1] > [2001:db8::2]", "no ports"),
        "UDP without ports": ("udp 10.0.0.1 > 192.0.2.1", "an endpoint such as"),
        "another transport": ("sctp 10.0.0.1:1 > 192.0.2.1:1", "a flow such as"),
        "too many words": ("udp 10.0.0.1:1 > 192.0.2.1:1 now", "a flow such as"),
    },
)
class EndpointTests(SynchronousTestCase):
    """Endpoints and flows are read strictly, and written in one way."""

    def check_endpoint(self, text: str, address: bytes, port: int, written: str) -> None:
        """An endpoint is its canonical octets and port."""
        endpoint = Endpoint.parse(text)
        self.assertEqual((endpoint.address, endpoint.port), (address, port))
        self.assertEqual(str(endpoint), written)

    def check_fault(self, text: str) -> None:
        """What is no endpoint is refused."""
        self.assertRaises(AddressError, Endpoint.parse, text)

    def check_flow_fault(self, text: str, says: str) -> None:
        """What is no flow is refused with an example."""
        error = self.assertRaises(AddressError, FlowKey.parse, text)
        self.assertIn(says, str(error))

    def check_flow(self, text: str, transport: Transport, port: int) -> None:
        """A flow is read and written in the same words; where there are no ports, they are 0."""
        key = FlowKey.parse(text)
        self.assertEqual((key.transport, key.destination.port), (transport, port))
        self.assertEqual(str(key), text)

    @given(
        st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16),
        st.integers(0, 65535),
    )
    def test_round_trip(self, address: bytes, port: int) -> None:
        """Every endpoint survives its text."""
        endpoint = Endpoint(canonical(address), port)
        self.assertEqual(Endpoint.parse(str(endpoint)), endpoint)
        self.assertEqual(pack(unpack(address)), canonical(address))

    @given(st.text(max_size=40))
    def test_any_text(self, text: str) -> None:
        """Any text is an endpoint or our error."""
        with contextlib.suppress(AddressError):
            self.assertIsInstance(Endpoint.parse(text), Endpoint)
