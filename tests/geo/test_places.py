"""Promises of gateway.geo.places."""

from __future__ import annotations

from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from gateway.geo import places
from gateway.geo.places import Places, Words, of_axis
from gateway.model import Axis


class PlacesTests(SynchronousTestCase):
    """Places are joined once and remembered within a bound."""

    def test_values_cannot_be_changed(self) -> None:
        """A place is shared by many addresses, so nobody can write into it."""
        place = Places().make(of_axis(Axis.LOCATION, "CN"))
        with self.assertRaises(TypeError):
            place.values[Axis.LOCATION] = ("US",)  # type: ignore[index]  # that is the point

    def test_silence(self) -> None:
        """An empty value says nothing, and a value said twice counts once."""
        self.assertEqual(dict(Places().make(of_axis(Axis.LOCATION, "")).values), {})
        twice = Places().make(of_axis(Axis.OPERATOR, "CN", "CN"))
        self.assertEqual(twice.values[Axis.OPERATOR], ("CN",))

    def test_one_place_is_itself(self) -> None:
        """Judged alone, or with itself, a place is the same object."""
        made = Places()
        place = made.make(Words(asns=(1,)))
        self.assertIs(made.together((place,)), place)
        self.assertIs(made.together((place, place)), place)

    def test_memory_is_bounded(self) -> None:
        """However many combinations are met, no more than the bound are remembered."""
        self.patch(places, "_MAX_REMEMBERED", 10)
        made = Places()
        first = made.make(of_axis(Axis.LOCATION, "CN"))
        for asn in range(1, 100):
            other = made.make(Words(asns=(asn,)))
            self.assertEqual(made.together((first, other)).asns, (asn,))
            self.assertEqual(made.widened(first, asn, partial(Words, asns=(asn,))).asns, (asn,))
            self.assertLessEqual(made.remembered, 20)
        self.assertGreater(made.remembered, 0)
