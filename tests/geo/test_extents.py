"""Where countries are: distances are right, and none is longer than it can be."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.geo import Extents, Position, distance_km
from gateway.policy.countries import COUNTRIES
from tests.support.rows import rows

EXTENTS = Extents.bundled()
_BERLIN, _NEW_YORK = Position(52.52, 13.40), Position(40.71, -74.01)
_FIJI, _SINGAPORE = Position(-17.8, 178.0), Position(1.29, 103.85)


@rows(
    within={
        "a capital in its country": ("DE", _BERLIN, 0, 0),
        "a city state": ("SG", _SINGAPORE, 0, 0),
        "over the antimeridian": ("FJ", Position(-17.0, -179.5), 0, 0),
        "a neighbour": ("PL", _BERLIN, 0, 70),
        "across an ocean": ("US", _BERLIN, 5_300, 6_100),
        "islands far off belong to it": ("US", Position(19.7, -155.1), 0, 0),
        "parts overseas too": ("FR", Position(4.9, -52.3), 0, 0),
        "to the other side of the earth": ("NZ", Position(40.4, -3.7), 16_000, 19_900),
    }
)
class ExtentsTests(SynchronousTestCase):
    """The table that comes along."""

    def check_within(self, country: str, position: Position, least: int, most: int) -> None:
        """A country is as near as it is, or nearer by its cells' size."""
        found = EXTENTS.least_km(country, position)
        assert found is not None
        self.assertTrue(least <= found <= most, found)

    def test_distances(self) -> None:
        """Distances are those of an atlas, both ways."""
        self.assertEqual(round(distance_km(_BERLIN, _NEW_YORK), -1), 6390)
        self.assertEqual(distance_km(_FIJI, _BERLIN), distance_km(_BERLIN, _FIJI))
        self.assertEqual(distance_km(_BERLIN, _BERLIN), 0)

    def test_countries(self) -> None:
        """The table has nearly all countries, and nothing else; what it does not know has no
        distance."""
        self.assertLessEqual(set(EXTENTS.countries), COUNTRIES)
        self.assertGreater(len(EXTENTS.countries), 225)
        self.assertIsNone(EXTENTS.least_km("EU", _BERLIN))
