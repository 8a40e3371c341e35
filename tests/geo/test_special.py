"""Promises of gateway.geo.special, as an atlas keeps them."""

from __future__ import annotations

import ipaddress

from twisted.trial.unittest import SynchronousTestCase

from gateway.geo import of_overrides_only
from gateway.geo.special import Special, table
from gateway.model import Axis, Place, pack
from tests.geo import worlds
from tests.support.rows import rows


def ends(entry: Special) -> tuple[bytes, bytes]:
    """Give the first and last address of an entry."""
    return entry.network.network_address.packed, entry.network.broadcast_address.packed


@rows(
    wins={str(entry.network): (entry,) for entry in table() if not entry.is_spelling},
    names={
        "private": ("10.1.2.3", "RFC 1918"),
        "carrier-grade NAT": ("100.64.0.1", "RFC 6598"),
        "multicast": ("239.1.1.1", "RFC 5771"),
        "broadcast inside reserved": ("255.255.255.255", "RFC 919"),
        "site-local, which Python calls global": ("fec0::1", "RFC 3879"),
        "documentation, which Python calls global": ("3fff::1", "RFC 9637"),
        "segment routing, which Python calls global": ("5f00::1", "RFC 9602"),
        "local-use NAT64, which Python calls global": ("64:ff9b:1::1", "RFC 8215"),
        "multicast, which Python calls global": ("ff0e::1", "RFC 4291"),
        "outside 2000::/3": ("4000::1", "reserved by the IETF"),
        "the last of 6to4's neighbours": ("2001:db8::1", "RFC 3849"),
    },
    not_special={
        "before 10/8": ("9.255.255.255",),
        "after 10/8": ("11.0.0.0",),
        "before the carriers' space": ("100.63.255.255",),
        "after the carriers' space": ("100.128.0.0",),
        "before multicast": ("223.255.255.255",),
        "after 172.16/12": ("172.32.0.0",),
        "before the protocol assignments": ("2000:ffff::1",),
        "after the protocol assignments": ("2001:200::",),
        "after documentation": ("2001:db9::",),
        "after 6to4": ("2003::",),
    },
)
class SpecialTests(SynchronousTestCase):
    """A special-purpose address is in nobody's jurisdiction."""

    def check_wins(self, entry: Special) -> None:
        """No data source has a word on it, at its first and its last address."""
        for address in ends(entry):
            place = worlds.bundled().place(address)
            self.assertEqual(dict(place.values), {})
            self.assertTrue(place.doubts)

    def check_names(self, text: str, expected: str) -> None:
        """The doubt names the entry."""
        self.assertIn(expected, self.doubt(of_overrides_only().place(pack(text))))

    def check_not_special(self, text: str) -> None:
        """What lies beside an entry has no doubt of this kind."""
        self.assertEqual(of_overrides_only().place(pack(text)).doubts, ())

    def doubt(self, place: Place) -> str:
        """Give the one doubt of a place."""
        (doubt,) = place.doubts
        return doubt

    def test_entries_are_networks_once(self) -> None:
        """No network is listed twice: which sentence holds would be chance."""
        networks = [entry.network for entry in table()]
        self.assertEqual(len(set(networks)), len(networks))

    def test_covers_what_python_knows(self) -> None:
        """Whatever `ipaddress` calls not global has a doubt here, at the edges of our entries."""
        atlas = of_overrides_only()
        for entry in table():
            for end in (entry.network.network_address, entry.network.broadcast_address):
                for step in (-1, 0, 1):
                    try:
                        address = end + step
                    except ipaddress.AddressValueError:
                        continue
                    if not address.is_global and not atlas.embedded(address.packed):
                        self.assertTrue(atlas.place(address.packed).doubts, str(address))

    def test_spellings_have_no_doubt_of_their_own(self) -> None:
        """A 6to4 address of a public address is judged as that address, nothing more."""
        spelled = worlds.bundled().place(pack("2002:7272:7272::1"))
        self.assertIs(spelled, worlds.bundled().place(pack("114.114.114.114")))
        self.assertEqual(spelled.values[Axis.LOCATION], ("CN",))
