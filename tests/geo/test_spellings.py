"""Promises of gateway.geo.spellings."""

from __future__ import annotations

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import DataError
from gateway.geo.spellings import Spellings, nat64_prefix
from gateway.model import unpack
from tests.support.rows import rows

# The prefixes and addresses of RFC 6052 section 2.4, table 3.
RFC6052 = {
    "2001:db8::/32": "2001:db8:c000:221::",
    "2001:db8:100::/40": "2001:db8:1c0:2:21::",
    "2001:db8:122::/48": "2001:db8:122:c000:2:2100::",
    "2001:db8:122:300::/56": "2001:db8:122:3c0:0:221::",
    "2001:db8:122:344::/64": "2001:db8:122:344:c0:2:2100::",
    "2001:db8:122:344::/96": "2001:db8:122:344::192.0.2.33",
}


def found(text: str, *prefixes: str) -> list[tuple[str, str]]:
    """Find what an address spells, as text."""
    spellings = Spellings(map(nat64_prefix, prefixes))
    address = ipaddress.ip_address(text).packed
    return [(unpack(each.address), each.spelling) for each in spellings.embedded(address)]


@rows(
    finds={
        "mapped": ("::ffff:192.0.2.1", [("192.0.2.1", "IPv4-mapped")]),
        "compatible": ("::192.0.2.1", [("192.0.2.1", "IPv4-compatible")]),
        "translated": ("::ffff:0:192.0.2.1", [("192.0.2.1", "IPv4-translated")]),
        "well-known NAT64": ("64:ff9b::192.0.2.1", [("192.0.2.1", "NAT64")]),
        "6to4": ("2002:c000:201::5", [("192.0.2.1", "6to4")]),
        # RFC 4380 section 4: the server, then flags, port and client, the last two inverted.
        "Teredo, server and client": (
            "2001:0:c000:201:8000:63bf:3fff:fdd2",
            [("192.0.2.1", "Teredo server"), ("192.0.2.45", "Teredo client")],
        ),
        "ISATAP of a private address": ("2001:db8::5efe:192.0.2.1", [("192.0.2.1", "ISATAP")]),
        "ISATAP of a global address": (
            "2001:db8::200:5efe:192.0.2.1",
            [("192.0.2.1", "ISATAP")],
        ),
        "ISATAP inside 6to4": (
            "2002:c000:201::5efe:192.0.2.2",
            [("192.0.2.1", "6to4"), ("192.0.2.2", "ISATAP")],
        ),
        "a plain address": ("2001:db8::1", []),
        "loopback is not compatible": ("::1", []),
        "nor is the unspecified address": ("::", []),
        "IPv4 spells nothing else": ("192.0.2.1", []),
        "local-use translation is not the well-known prefix": ("64:ff9b:1::192.0.2.1", []),
    },
    configured={f"a prefix of {p.split('/')[1]} bits": (p, a) for p, a in RFC6052.items()},
    refuses={
        "a length that is not allowed": ("2001:db8::/44", "one of 32, 40, 48, 56, 64, 96"),
        "bits after the prefix": ("2001:db8::1/64", "an IPv6 prefix"),
        "IPv4": ("192.0.2.0/24", "an IPv6 prefix"),
    },
)
class SpellingsTests(SynchronousTestCase):
    """An address that spells another is not a way round."""

    def check_finds(self, text: str, expected: list[tuple[str, str]]) -> None:
        """Every address inside is found, with the name of its form."""
        self.assertEqual(found(text), expected)

    def check_configured(self, prefix: str, address: str) -> None:
        """A configured NAT64 prefix is taken apart as RFC 6052's own example."""
        self.assertEqual(found(address, prefix), [("192.0.2.33", "NAT64")])
        self.assertEqual(found(address), [])

    def check_refuses(self, prefix: str, expected: str) -> None:
        """A NAT64 prefix that RFC 6052 does not allow is an error."""
        error = self.assertRaises(DataError, nat64_prefix, prefix)
        self.assertIn(expected, str(error))

    @settings(deadline=None, max_examples=300)
    @given(address=st.binary(min_size=16, max_size=16))
    def test_any_octets(self, address: bytes) -> None:
        """Any 16 octets give addresses of 4 octets, and none exactly if they are plain."""
        spellings = Spellings([nat64_prefix("64:ff9b:1::/48")])
        inner = spellings.embedded(address)
        self.assertTrue(all(len(each.address) == 4 for each in inner))
        if spellings.is_plain(address):
            self.assertEqual(inner, ())
