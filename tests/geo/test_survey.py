"""Promises of gateway.geo.survey: all addresses at once."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.geo import Atlas, Mmdb, Override
from gateway.model import Axis, Place, pack
from tests.geo import worlds

_V4 = (
    (0, ("", "", 0)),
    (1 << 24, ("US", "US", 64496)),
    ((1 << 24) + 5, ("CN", "US", 64497)),
    (2 << 24, ("US", "US", 64499)),
    (3 << 24, ("US", "US", 0)),
    (4 << 24, ("CN", "US", 64497)),
)
_V6 = (
    (0, ("", "", 0)),
    (0x2400 << 112, ("US", "US", 64496)),
    ((0x2400 << 112) + 7, ("CN", "", 0)),
    (0x2401 << 112, ("US", "US", 64500)),
)
_OVERRIDE = Override(network="1.0.0.2/32", location="DE", reason="a test")
Run = tuple[int, int, int]


def addresses() -> st.SearchStrategy[tuple[int, int]]:
    """Give addresses as (octets, number): at edges, and anywhere."""
    edges = {
        octets: [start + off for start, _ in rows for off in (-1, 0, 1) if start + off >= 0]
        for octets, rows in ((4, _V4), (16, _V6))
    }
    return st.sampled_from((4, 16)).flatmap(
        lambda octets: st.tuples(
            st.just(octets), st.sampled_from(edges[octets]) | st.integers(0, (1 << 8 * octets) - 1)
        )
    )


class SurveyTests(SynchronousTestCase):
    """A survey says of every address what the atlas says of it alone."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def atlas(self, *databases: Mmdb) -> Atlas:
        today = datetime.now(UTC).date() if databases else worlds.TODAY
        bundle = worlds.bundle(_V4, _V6)
        return worlds.atlas(self.folder, bundle, _OVERRIDE, databases=databases, today=today)

    def runs(
        self, atlas: Atlas, wanted: str, octets: int, asns: Sequence[int] = ()
    ) -> tuple[list[Run], list[Place | None]]:
        """Give the runs of what says a country somewhere, and the places that were asked for."""
        asked: list[Place | None] = []

        def classify(place: Place | None, may_grow: bool) -> int:
            asked.append(place)
            says = place is not None and any(wanted in said for said in place.values.values())
            return 2 if place is None else int(says)

        survey = atlas.survey(frozenset(asns))
        top = (1 << 8 * octets) - 1
        runs = survey.runs(survey.classes(classify), octets, 0, top)
        return [(first, last, run) for first, last, run in runs], asked

    def test_addresses(self) -> None:
        """Each address is in a run as its own place says; one that only spells others by None."""
        atlas = self.atlas()
        found = {octets: self.runs(atlas, "US", octets)[0] for octets in (4, 16)}
        for runs in found.values():
            self.assertEqual(runs, sorted(runs))

        @settings(deadline=None, max_examples=300)
        @given(addresses())
        def check(given_: tuple[int, int]) -> None:
            octets, number = given_
            address = number.to_bytes(octets)
            classes = [run for first, last, run in found[octets] if first <= number <= last]
            if atlas.embedded(address):
                return  # judged by more than itself
            says = any("US" in said for said in atlas.place(address).values.values())
            self.assertEqual(classes, [1] if says else [])

        check()

    def test_spellings(self) -> None:
        """Networks that only spell others are told from those with a place of their own."""
        runs, _ = self.runs(self.atlas(), "XX", 16)
        spelled = [ipaddress.IPv6Address(first) for first, _, run in runs if run == 2]
        texts = [str(address) for address in spelled]
        self.assertEqual(texts, ["::2", "::ffff:0:0:0", "64:ff9b::", "2001::", "2002::"])

    def test_mapped(self) -> None:
        """IPv4-mapped addresses are in no run of IPv6, whatever is said of what is around them."""
        survey = self.atlas().survey(frozenset())
        runs = survey.runs(survey.classes(lambda place, may_grow: 1), 16, 0, (1 << 128) - 1)
        mapped = ipaddress.ip_network("::ffff:0:0/96")
        first, last = (int(mapped[at]) for at in (0, -1))
        self.assertEqual([run[:2] for run in runs], [(0, first - 1), (last + 1, (1 << 128) - 1)])

    def test_between(self) -> None:
        """A survey of a part ends where the part ends."""
        survey = self.atlas().survey(frozenset())
        classes = survey.classes(lambda place, may_grow: 7)
        self.assertEqual(list(survey.runs(classes, 4, 9, 1 << 25)), [(9, 1 << 25, 7)])
        self.assertEqual(list(survey.runs(classes, 4, 9, 9)), [(9, 9, 7)])

    def test_asked_once(self) -> None:
        """Places that differ in nothing that matters are asked for once."""
        said = [("US", "US", asn) for asn in (64499, 64501, 0)]
        rows = ((0, ("", "", 0)), *((at << 24, one) for at, one in enumerate(said, 1)))
        atlas = worlds.atlas(self.folder, worlds.bundle(rows))
        for asns, count in (((), 2), ((64499,), 3), ((64501,), 3), ((1,), 2)):
            _, asked = self.runs(atlas, "US", 4, asns)
            places = [place.asns for place in asked if place is not None and place.values]
            self.assertEqual(len(places), count, asns)
            self.assertIn((), places)

    def test_databases(self) -> None:
        """Of what the user's databases may add to, the survey says so; not of settled networks."""
        file = worlds.write_mmdb(
            self.folder / "own.mmdb", {"2.0.0.0/8": {"country": {"iso_code": "CN"}}}
        )
        atlas = self.atlas(Mmdb(file, Axis.LOCATION))
        survey = atlas.survey(frozenset())
        classes = survey.classes(lambda place, may_grow: 1 + may_grow)
        for host, expected in (("2.0.0.1", 2), ("9.0.0.1", 2), ("10.0.0.1", 1), ("1.0.0.2", 1)):
            number = int.from_bytes(pack(host))
            self.assertEqual(
                list(survey.runs(classes, 4, number, number)), [(number, number, expected)]
            )
