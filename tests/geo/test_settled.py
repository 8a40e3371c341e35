"""Promises of gateway.geo.settled: overrides and configured NAT64 prefixes."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import DataError
from gateway.geo import Override, of_overrides_only
from gateway.model import Axis, pack
from tests.geo import worlds
from tests.support.rows import rows


def override(network: str, **axes: str) -> Override:
    """Make an override with a reason."""
    return Override(network=network, reason="a test", **axes)  # type: ignore[arg-type]  # axes only


def values(place_of: str, *overrides: Override) -> dict[str, tuple[str, ...]]:
    """Give the values of an address where nothing but the overrides is known."""
    return {
        axis.value: said
        for axis, said in of_overrides_only(*overrides).place(pack(place_of)).values.items()
    }


@rows(
    states={
        "all axes have the location": (
            {"location": "US"},
            {"location": ("US",), "registration": ("US",), "operator": ("US",)},
        ),
        "but those that are named": (
            {"location": "US", "operator": "CN"},
            {"location": ("US",), "registration": ("US",), "operator": ("CN",)},
        ),
        "without a location the others stay unknown": (
            {"operator": "CN"},
            {"operator": ("CN",)},
        ),
    },
    refuses={
        "no network": (override("203.0.113.0/33", location="US"), "a network such as"),
        "bits after the prefix": (override("203.0.113.1/24", location="US"), "host bits set"),
        "a name": (override("edge.example", location="US"), "a network such as"),
        "no country": (override("203.0.113.0/24", location="USA"), "two capital letters"),
        "a country in small letters": (override("203.0.113.0/24", operator="us"), "'us'"),
        "no axis": (override("203.0.113.0/24"), "says nothing"),
    },
)
class OverrideTests(SynchronousTestCase):
    """The operator's word replaces all evidence of a network."""

    def check_states(self, axes: dict[str, str], expected: dict[str, tuple[str, ...]]) -> None:
        """Axes that are not named have the location's value."""
        self.assertEqual(values("203.0.113.7", override("203.0.113.0/24", **axes)), expected)

    def check_refuses(self, wrong: Override, expected: str) -> None:
        """An override that is wrong is an error that names it."""
        error = self.assertRaises(DataError, of_overrides_only, wrong)
        self.assertIn(expected, str(error))
        self.assertIn(f"override of {wrong.network}", str(error))

    def test_two_of_one_network(self) -> None:
        """Two words on the same network are refused: which one holds would be chance."""
        twice = [override("203.0.113.0/24", location=country) for country in ("US", "DE")]
        error = self.assertRaises(DataError, of_overrides_only, *twice)
        self.assertIn("has two overrides", str(error))

    def test_most_specific_wins(self) -> None:
        """Of networks inside each other the narrowest holds, in whatever order they are given."""
        words = [
            override("203.0.113.8/29", location="CN"),
            override("203.0.0.0/16", location="DE"),
            override("203.0.113.0/24", location="US"),
        ]
        for order in (words, words[::-1]):
            for address, country in (
                ("203.0.112.255", "DE"),
                ("203.0.113.7", "US"),
                ("203.0.113.8", "CN"),
                ("203.0.113.15", "CN"),
                ("203.0.113.16", "US"),
                ("203.0.114.0", "DE"),
            ):
                self.assertEqual(values(address, *order)["location"], (country,), address)

    def test_wins_over_special_inside_it(self) -> None:
        """A network of the operator's wins over a special-purpose range, a narrower one too."""
        self.assertEqual(
            values("10.1.1.1", override("0.0.0.0/0", location="US"))["operator"], ("US",)
        )
        self.assertEqual(
            values("2001:db8::1", override("::/0", location="US"))["operator"], ("US",)
        )

    def test_ends_where_it_ends(self) -> None:
        """The addresses beside the network keep what they had."""
        folder = Path(self.mktemp())
        folder.mkdir()
        bundle = worlds.bundle([(0, ("CN", "CN", 64497))])
        atlas = worlds.atlas(folder, bundle, override("8.8.8.0/24", location="US"))
        said = {
            text: (atlas.place(pack(text)).values[Axis.LOCATION], atlas.place(pack(text)).asns)
            for text in ("8.8.7.255", "8.8.8.0", "8.8.8.255", "8.8.9.0")
        }
        china, america = (("CN",), (64497,)), (("US",), ())
        self.assertEqual(list(said.values()), [china, america, america, china])

    def test_holds_for_spellings(self) -> None:
        """The 6to4, NAT64 and mapped spellings of an overridden address are overridden too."""
        atlas = of_overrides_only(override("203.0.113.0/24", location="US"))
        place = atlas.place(pack("203.0.113.5"))
        mapped = bytes(10) + b"\xff\xff" + pack("203.0.113.5")
        for address in (pack("2002:cb00:7105::1"), pack("64:ff9b::203.0.113.5"), mapped):
            self.assertIs(atlas.place(address), place)

    def test_mapped_network_means_its_ipv4(self) -> None:
        """A network written IPv4-mapped is the IPv4 network."""
        said = values("203.0.113.5", override("::ffff:203.0.113.0/120", location="US"))
        self.assertEqual(said["location"], ("US",))

    def test_evidence_gives_the_reason(self) -> None:
        """The evidence shows each value with the reason and the network."""
        atlas = of_overrides_only(override("203.0.113.0/24", location="US", operator="CN"))
        said = [
            (word.axis, word.value, word.source, word.prefix)
            for word in atlas.evidence(pack("203.0.113.5"))
        ]
        self.assertEqual(
            said,
            [
                (Axis.LOCATION, "US", "override: a test", "203.0.113.0/24"),
                (Axis.REGISTRATION, "US", "override: a test", "203.0.113.0/24"),
                (Axis.OPERATOR, "CN", "override: a test", "203.0.113.0/24"),
            ],
        )


class Nat64Tests(SynchronousTestCase):
    """A configured NAT64 prefix is a spelling."""

    def test_in_special_space(self) -> None:
        """One in local-use or unique-local space has no place but that of what it spells."""
        prefixes = ("64:ff9b:1::/96", "fd00:64::/96")
        atlas = of_overrides_only(
            override("203.0.113.0/24", location="US"), nat64_prefixes=prefixes
        )
        place = atlas.place(pack("203.0.113.5"))
        self.assertIs(atlas.place(pack("64:ff9b:1::203.0.113.5")), place)
        self.assertIs(atlas.place(pack("fd00:64::203.0.113.5")), place)
        self.assertTrue(atlas.place(pack("fd00:65::203.0.113.5")).doubts)

    def test_in_global_space(self) -> None:
        """One in global unicast space is judged with the network it stands in."""
        edges = (override("203.0.113.0/24", location="US"), override("2400:64::/32", location="CN"))
        atlas = of_overrides_only(*edges, nat64_prefixes=["2400:64::/96"])
        place = atlas.place(pack("2400:64::203.0.113.5"))
        self.assertEqual(place.values[Axis.LOCATION], ("CN", "US"))
