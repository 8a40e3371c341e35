"""gateway.policy.networks and names: sets that policies list."""

from __future__ import annotations

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import AddressError
from gateway.model import pack
from gateway.policy.names import NameSet
from gateway.policy.networks import AddressSet, address_range
from tests.support.rows import rows

NETWORKS = st.one_of(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(
        lambda pair: ipaddress.ip_network(pair, strict=False)
    ),
    st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128)).map(
        lambda pair: (
            ipaddress.ip_network((pair[0], pair[1]), strict=False)
            if pair[0] > 2**48  # not IPv4-mapped
            else ipaddress.ip_network("2001:db8::/32")
        )
    ),
)


@rows(
    member={
        "first of a network": (["192.0.2.0/24"], "192.0.2.0", True),
        "last of a network": (["192.0.2.0/24"], "192.0.2.255", True),
        "behind a network": (["192.0.2.0/24"], "192.0.3.0", False),
        "before a network": (["192.0.2.0/24"], "192.0.1.255", False),
        "one address": (["192.0.2.7"], "192.0.2.7", True),
        "a range": (["192.0.2.7-192.0.2.9"], "192.0.2.9", True),
        "behind a range": (["192.0.2.7-192.0.2.9"], "192.0.2.10", False),
        "IPv6": (["2001:db8::/32"], "2001:db8:ffff::1", True),
        "the other family": (["0.0.0.0/0"], "2001:db8::1", False),
        "a network inside another": (["10.0.0.0/8", "10.1.0.0/16"], "10.200.0.1", True),
        "a mapped address is its IPv4 address": (["192.0.2.0/24"], "::ffff:192.0.2.1", True),
        "no network at all": ([], "192.0.2.1", False),
    },
    fault={
        "host bits": ("192.0.2.1/24", 'did you mean "192.0.2.0/24"?'),
        "a prefix too long": ("192.0.2.0/33", "must be 0..32"),
        "a backward range": ("192.0.2.9-192.0.2.7", "the lower end first"),
        "a range across families": ("192.0.2.9-2001:db8::1", "both ends of one family"),
        "an old spelling": ("127.1", "an address or a range"),
        "a mask": ("10.0.0.0/255.0.0.0", "prefix length"),
        "nothing": ("", "address"),
    },
)
class AddressSetTests(SynchronousTestCase):
    """Networks and ranges are read strictly and merged."""

    def check_member(self, texts: list[str], address: str, expected: bool) -> None:
        """Membership is exact at the borders."""
        self.assertIs(pack(address) in AddressSet(texts), expected)

    def check_fault(self, text: str, words: str) -> None:
        """What is no network is refused with what was expected."""
        self.assertIn(words, str(self.assertRaises(AddressError, address_range, text)))

    @settings(deadline=None, max_examples=150)
    @given(st.lists(NETWORKS, max_size=8), st.data())
    def test_agrees_with_ipaddress(
        self, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network], data: st.DataObject
    ) -> None:
        """A set says what the standard library says of each of its networks."""
        chosen = AddressSet([str(network) for network in networks])
        probes = [pack("192.0.2.1")]
        for network in networks:
            offset = data.draw(st.integers(0, network.num_addresses - 1))
            probes.append(network[offset].packed)
        for probe in probes:
            if len(probe) == 16 and probe.startswith(bytes(10) + b"\xff\xff"):
                continue
            address = ipaddress.ip_address(probe)
            inside = any(address in network for network in networks)
            self.assertIs(probe in chosen, inside)

    def test_edges(self) -> None:
        """A set's edges are where addresses begin and cease to be in it, neighbours joined."""
        edges = AddressSet(["0.0.1.0/24", "0.0.2.0-0.0.2.9", "255.0.0.0/8", "::5"])
        self.assertEqual(edges.edges(4), (256, 512 + 10, 255 << 24, 1 << 32))
        self.assertEqual(edges.edges(16), (5, 6))

    @settings(deadline=None, max_examples=200)
    @given(st.text(alphabet="0123456789.:/-abcdef %", max_size=30))
    def test_any_text(self, text: str) -> None:
        """Any text is a range or our error."""
        try:
            found = address_range(text)
        except AddressError:
            return
        self.assertLessEqual(found.first, found.last)


@rows(
    matching={
        "below a pattern": (["*.example.cn"], "ap.example.cn", True),
        "far below a pattern": (["*.example.cn"], "a.b.example.cn", True),
        "the pattern's own name": (["*.example.cn"], "example.cn", False),
        "another name with the same end": (["*.example.cn"], "badexample.cn", False),
        "an exact name": (["ap.example.cn"], "ap.example.cn", True),
        "a pattern in capitals": (["*.EXAMPLE.cn"], "ap.example.cn", True),
        "no pattern": ([], "ap.example.cn", False),
    },
    fault={
        "a star inside": ("a.*.cn",),
        "a star alone": ("*",),
        "a space": ("a b.cn",),
        "nothing": ("",),
        "a double dot": ("a..cn",),
    },
)
class NameSetTests(SynchronousTestCase):
    """Patterns mean what is below them."""

    def check_matching(self, patterns: list[str], name: str, expected: bool) -> None:
        """A name matches exactly, or below a star."""
        self.assertEqual(NameSet(patterns).matching([name]), name if expected else None)

    def check_fault(self, pattern: str) -> None:
        """What is no pattern is refused."""
        self.assertRaises(AddressError, NameSet, [pattern])
