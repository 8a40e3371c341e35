"""Promises of gateway.geo.loading: what is too old, what is missing, and the revision."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import DataError
from gateway.geo import Atlas, Bundled, Override, load
from gateway.geo.bundle import encode
from gateway.model import Axis, pack
from tests.geo import worlds
from tests.support.rows import rows

ADDRESS = pack("8.8.8.8")
EDGE = Override(
    network="203.0.113.0/24", reason="a test", location="US", expires=date(2026, 11, 23)
)


@rows(
    stale={
        "location": ("dbip-lite", Axis.LOCATION),
        "registration": ("nro", Axis.REGISTRATION),
        "operator, by the AS numbers": ("iptoasn", Axis.OPERATOR),
    }
)
class LoadingTests(SynchronousTestCase):
    """Data that are missing, corrupt or too old never open a door."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def atlas(self, *overrides: Override, today: date = worlds.TODAY) -> Atlas:
        """Load one small bundle: the same everywhere."""
        bundle = worlds.bundle([(0, ("US", "DE", 64498))])
        return worlds.atlas(self.folder, bundle, *overrides, today=today)

    def check_stale(self, name: str, axis: Axis) -> None:
        """An axis with a column that is too old has no value, shows it, and says so."""
        atlas = self.old(name)
        self.assertEqual(set(atlas.place(ADDRESS).values), set(Axis) - {axis})
        shown = {word.axis for word in atlas.evidence(ADDRESS) if word.stale}
        self.assertEqual(shown, {axis})
        stale = [source.name for source in atlas.sources if source.stale]
        self.assertIn(name, stale)
        self.assertIn("counts as no evidence", atlas.warnings[0])
        if axis is Axis.OPERATOR:
            self.assertEqual(atlas.place(ADDRESS).asns, ())

    def old(self, name: str) -> Atlas:
        """Load a bundle with one column of 121 days ago."""
        bundle = worlds.bundle([(0, ("US", "DE", 64498))], built={name: "2026-07-25"})
        return worlds.atlas(self.folder, bundle)

    def test_the_last_day(self) -> None:
        """Data count on the last day of their age, and not on the next."""
        last = date(2026, 11, 1) + timedelta(days=120)
        self.assertEqual(set(self.atlas(today=last).place(ADDRESS).values), set(Axis))
        late = self.atlas(today=last + timedelta(days=1))
        self.assertEqual(dict(late.place(ADDRESS).values), {})
        self.assertEqual(len(late.warnings), 4)
        self.assertIn(
            "operators (operator) was built on 2026-11-01, and its axis", late.warnings[3]
        )

    def test_owners(self) -> None:
        """The table of owners counts 400 days, or as long as one says; then nobody's operator is
        known, though all else is fresh."""
        for reviewed, days, is_known in (
            ("2025-10-19", None, True),
            ("2025-10-18", None, False),
            ("2026-11-22", 1, True),
            ("2026-11-21", 1, False),
        ):
            atlas = self.reviewed(reviewed, days)
            self.assertEqual(Axis.OPERATOR in atlas.place(ADDRESS).values, is_known)
            stale = {source.name for source in atlas.sources if source.stale}
            self.assertEqual(stale, set() if is_known else {"iptoasn", "operators"})
            self.assertIn("axis is stale" if not is_known else "reviewed", str(atlas.warnings))

    def test_owners_of_the_long_lived(self) -> None:
        """Where all data may be older than 400 days, so may the table of owners."""
        atlas = self.reviewed("2000-01-01", max_age_days=36_500)
        self.assertEqual((atlas.warnings, len(atlas.place(ADDRESS).values)), ((), 3))

    def test_owners_end_is_told(self) -> None:
        """From 300 days on people are told when the table of owners ends, and what to do."""
        self.assertEqual(self.reviewed("2026-01-27").warnings, ())
        (says,) = self.reviewed("2026-01-26").warnings
        self.assertIn("last reviewed on 2026-01-26: after 2027-03-02 nobody's operator", says)
        self.assertIn("gateway update --owners", says)
        early = self.reviewed("2026-01-27").revision
        self.assertNotEqual(self.reviewed("2026-01-26").revision, early)

    def reviewed(self, day: str, days: int | None = None, max_age_days: int = 120) -> Atlas:
        """Load a bundle whose table of owners was reviewed on a day."""
        bundle = worlds.bundle([(0, ("US", "DE", 64498))], built={"operators": day})
        (self.folder / "evidence.xz").write_bytes(encode(bundle))
        return load(
            [Bundled(self.folder / "evidence.xz")],
            today=worlds.TODAY,
            max_age_days=max_age_days,
            owners_max_age_days=days,
        )

    def test_no_source(self) -> None:
        """Without any source there is no atlas."""
        error = self.assertRaises(DataError, load, [], today=worlds.TODAY, max_age_days=1)
        self.assertIn("there is none", str(error))

    def test_bundled_twice(self) -> None:
        """The bundled data cannot be asked for twice."""
        twice = [Bundled(), Bundled()]
        self.assertRaises(DataError, load, twice, today=worlds.TODAY, max_age_days=1)

    def test_missing_file(self) -> None:
        """A file that is not there is an error with its path."""
        missing = self.folder / "none.xz"
        error = self.assertRaises(
            DataError, load, [Bundled(missing)], today=worlds.TODAY, max_age_days=1
        )
        self.assertEqual(error.path, str(missing))

    def test_corrupt_file(self) -> None:
        """A file that is cut is an error with its path."""
        cut = self.folder / "cut.xz"
        cut.write_bytes(b"\xfd7zXZ\0")
        error = self.assertRaises(
            DataError, load, [Bundled(cut)], today=worlds.TODAY, max_age_days=1
        )
        self.assertEqual(error.path, str(cut))

    def test_override_expires(self) -> None:
        """An override counts on its last day; from the next it is left out, with a warning."""
        edge = pack("203.0.113.5")
        self.assertEqual(set(self.atlas(EDGE).place(edge).values), set(Axis))
        late = self.atlas(EDGE, today=date(2026, 11, 24))
        self.assertIn("RFC 5737", late.place(edge).doubts[0])
        self.assertEqual(
            late.warnings,
            ("the override of 203.0.113.0/24 (a test) expired on 2026-11-23 and is ignored",),
        )

    def test_sources_are_named(self) -> None:
        """What was loaded is listed with its axis and date."""
        listed = [(source.name, source.axis, source.built) for source in self.atlas().sources]
        self.assertEqual(listed[0], ("dbip-lite", Axis.LOCATION, "2026-11-01"))
        self.assertEqual([name for name, _, _ in listed][1:], ["nro", "iptoasn", "operators"])

    def test_revision(self) -> None:
        """The revision is the same for the same input, and another for any other."""
        first = self.atlas().revision
        self.assertRegex(first, "^[0-9a-f]{12}$")
        self.assertEqual(self.atlas().revision, first)
        self.assertEqual(self.atlas(today=worlds.TODAY + timedelta(days=1)).revision, first)
        other = worlds.bundle([(0, ("US", "DE", 64497))])
        others = [
            self.atlas(EDGE).revision,
            self.atlas(today=date(2027, 11, 1)).revision,
            worlds.atlas(self.folder, other).revision,
            worlds.atlas(
                self.folder, worlds.bundle([(0, ("US", "DE", 64498))]), nat64_prefixes=["fd00::/96"]
            ).revision,
        ]
        self.assertEqual(len({first, *others}), 5)

    def test_expired_override_has_no_part_in_the_revision(self) -> None:
        """An override that has expired changes the revision on the day that it does."""
        after = date(2026, 11, 24)
        self.assertEqual(self.atlas(EDGE, today=after).revision, self.atlas().revision)
