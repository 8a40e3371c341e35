"""Promises of gateway.geo.mmdb and of atlases that ask the user's own databases."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import DataError
from gateway.geo import Atlas, Mmdb, Override, load
from gateway.geo.mmdb import Database, Word
from gateway.model import Axis, pack
from tests.geo import worlds
from tests.support.rows import rows

CHINA = {"country": {"iso_code": "CN"}, "registered_country": {"iso_code": "US"}}
# mmdb_writer dates what it writes by the clock.
TODAY = datetime.now(UTC).date()
NOW = TODAY.isoformat()
NAMES = ("dbip-lite", "nro", "iptoasn", "operators")
RECORDS: dict[str, dict[str, Any]] = {
    "2.0.0.0/8": CHINA,
    "2.2.0.0/16": {"registered_country": {"iso_code": "DE"}},
    "2.3.0.0/16": {"country": {"iso_code": "Germany"}},
    "2.4.0.0/16": {"autonomous_system_number": 64498},
    "2.5.0.0/16": {"traits": {"autonomous_system_number": 64497}},
    "2.6.0.0/16": {"autonomous_system_number": 4200000000},
    "2.7.0.0/16": {"country": "CN", "traits": [], "autonomous_system_number": "64497"},
    "2400::/16": CHINA,
}


@rows(
    reads={
        "location is the country": (Axis.LOCATION, "2.0.0.1", Word("CN")),
        "registration is the registered country": (Axis.REGISTRATION, "2.0.0.1", Word("US")),
        "location is never the registered country": (Axis.LOCATION, "2.2.0.1", Word()),
        "a record without country": (Axis.REGISTRATION, "2.2.0.1", Word("DE")),
        "what is no country code": (Axis.LOCATION, "2.3.0.1", Word()),
        "registration falls back to the country": (Axis.REGISTRATION, "2.4.0.1", Word()),
        "operator is the AS": (Axis.OPERATOR, "2.4.0.1", Word(asn=64498)),
        "operator is the AS among traits": (Axis.OPERATOR, "2.5.0.1", Word(asn=64497)),
        "operator is not the country": (Axis.OPERATOR, "2.0.0.1", Word()),
        "fields of other types": (Axis.OPERATOR, "2.7.0.1", Word()),
        "a country of another type": (Axis.LOCATION, "2.7.0.1", Word()),
        "an address it does not have": (Axis.LOCATION, "9.9.9.9", Word()),
        "IPv6": (Axis.LOCATION, "2400::1", Word("CN")),
    },
    any_type={
        name: (name,)
        for name in ("GeoLite2-Country", "DBIP-Country-Lite", "GeoIP2-Enterprise", "ours")
    },
)
class DatabaseTests(SynchronousTestCase):
    """A MaxMind DB of the user's own answers on the axis that the configuration names."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.file = worlds.write_mmdb(self.folder / "mine.mmdb", RECORDS)

    def check_reads(self, axis: Axis, address: str, expected: Word) -> None:
        """The field of the axis is read, and nothing is made up."""
        self.assertEqual(Database(self.file, axis).word(pack(address)), expected)

    def check_any_type(self, database_type: str) -> None:
        """Every database type is read."""
        file = worlds.write_mmdb(
            self.folder / "other.mmdb", {"2.0.0.0/8": CHINA}, database_type=database_type
        )
        self.assertEqual(Database(file, Axis.LOCATION).word(pack("2.1.1.1")), Word("CN"))

    def test_says_which_network(self) -> None:
        """The network of the record is told, in IPv4 terms for IPv4."""
        word, network = Database(self.file, Axis.REGISTRATION).word_with_network(pack("2.2.9.9"))
        self.assertEqual((word.country, network), ("DE", "2.2.0.0/16"))

    def test_ipv4_only_file(self) -> None:
        """A file for IPv4 says nothing of IPv6."""
        file = worlds.write_mmdb(self.folder / "v4.mmdb", {"2.0.0.0/8": CHINA}, ip_version=4)
        database = Database(file, Axis.LOCATION)
        self.assertEqual(database.word(pack("2400::1")), Word())
        self.assertEqual(database.word(pack("2.1.1.1")), Word("CN"))

    def test_missing_and_corrupt(self) -> None:
        """A file that is missing, a folder, or another format is an error with its path."""
        other = self.folder / "other.mmdb"
        other.write_bytes(b"no database at all")
        for path in (self.folder / "none.mmdb", self.folder, other):
            error = self.assertRaises(DataError, Database, path, Axis.LOCATION)
            self.assertEqual(error.path, str(path))
            self.assertIn("expected a MaxMind DB file", str(error))

    def test_cut_anywhere(self) -> None:
        """A file that is cut is refused, or says that it is corrupt, or answers: no exception."""
        whole = self.file.read_bytes()
        for length in range(0, len(whole), 17):
            cut = self.folder / f"cut{length}.mmdb"
            cut.write_bytes(whole[:length])
            try:
                word = Database(cut, Axis.LOCATION).word(pack("2.1.1.1"))
            except DataError:
                continue
            self.assertTrue(word == Word("CN") or word.fault, length)

    def test_corrupt_inside(self) -> None:
        """A record that cannot be read is a doubt, so that nothing is allowed because of it."""
        data = bytearray(self.file.read_bytes())
        at = data.index(b"iso_code")
        data[at - 1 : at + 60] = b"\xff" * 61
        bad = self.folder / "bad.mmdb"
        bad.write_bytes(data)
        atlas = load([Mmdb(bad, Axis.LOCATION)], today=TODAY, max_age_days=9)
        place = atlas.place(pack("2.1.1.1"))
        self.assertEqual(dict(place.values), {})
        self.assertIn("bad is corrupt", place.doubts[0])


class AtlasWithDatabaseTests(SynchronousTestCase):
    """The user's own databases count beside the bundled data."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.file = worlds.write_mmdb(self.folder / "mine.mmdb", RECORDS)
        self.bundle = worlds.bundle([(0, ("US", "US", 64496))], built=dict.fromkeys(NAMES, NOW))

    def atlas(self, axis: Axis, *overrides: Override) -> Atlas:
        """Load the small bundle and the file, on the day of the test."""
        return worlds.atlas(
            self.folder, self.bundle, *overrides, databases=[Mmdb(self.file, axis)], today=TODAY
        )

    def test_both_count(self) -> None:
        """Where two sources disagree, both values are there."""
        place = self.atlas(Axis.LOCATION).place(pack("2.0.0.1"))
        self.assertEqual(place.values[Axis.LOCATION], ("US", "CN"))
        self.assertEqual(place.values[Axis.REGISTRATION], ("US",))

    def test_one_object(self) -> None:
        """Addresses of the same evidence share a place; of other evidence they do not."""
        atlas = self.atlas(Axis.LOCATION)
        self.assertIs(atlas.place(pack("2.0.0.1")), atlas.place(pack("2.1.2.3")))
        self.assertIsNot(atlas.place(pack("2.0.0.1")), atlas.place(pack("2.2.0.1")))

    def test_operator_through_the_table(self) -> None:
        """An AS number counts as its country and as its owner's, as the bundled table says."""
        place = self.atlas(Axis.OPERATOR).place(pack("2.4.0.1"))
        self.assertEqual(place.values[Axis.OPERATOR], ("US", "HK", "CN"))
        self.assertEqual(place.asns, (64496, 64498))

    def test_unknown_operator(self) -> None:
        """An AS number that the table does not have is told, without a country."""
        atlas = load([Mmdb(self.file, Axis.OPERATOR)], today=TODAY, max_age_days=9)
        place = atlas.place(pack("2.6.0.1"))
        self.assertEqual((dict(place.values), place.asns), ({}, (4200000000,)))

    @settings(deadline=None, max_examples=150)
    @given(st.binary(min_size=1, max_size=4), st.integers(0, 10_000), st.sampled_from(Axis))
    def test_any_damage(self, noise: bytes, at: int, axis: Axis) -> None:
        """A file with a few octets changed answers, says that it is corrupt, or is refused."""
        octets = self.file.read_bytes()
        at %= len(octets)
        damaged = self.folder / "damaged.mmdb"
        damaged.write_bytes(octets[:at] + noise + octets[at + len(noise) :])
        with contextlib.suppress(DataError):
            database = Database(damaged, axis)
            for host in ("2.2.3.4", "9.9.9.9", "2400::1", "::1"):
                database.word_with_network(pack(host))
            for bits in (32, 128):
                list(database.networks(bits))

    def test_special_and_overridden_are_not_asked(self) -> None:
        """Special-purpose ranges and overrides win over the user's databases too."""
        override = Override(network="2.0.0.0/9", reason="a test", location="DE")
        atlas = self.atlas(Axis.LOCATION, override)
        self.assertEqual(atlas.place(pack("2.0.0.1")).values[Axis.LOCATION], ("DE",))
        self.assertEqual(dict(atlas.place(pack("2002:a00:1::1")).values), {})

    def test_evidence_names_file_network_and_date(self) -> None:
        """Its word is shown with the file's name, its network and its own date."""
        words = self.atlas(Axis.LOCATION).evidence(pack("2.0.0.1"))
        (mine,) = [word for word in words if word.source == "mine"]
        self.assertEqual((mine.value, mine.axis, mine.built), ("CN", Axis.LOCATION, NOW))
        self.assertEqual(mine.prefix, "2.0.0.0/15")
        self.assertFalse(mine.stale)

    def test_stale(self) -> None:
        """A database that is too old is shown and does not count."""
        late = TODAY + timedelta(days=500)
        atlas = load([Mmdb(self.file, Axis.LOCATION)], today=late, max_age_days=400)
        self.assertEqual(dict(atlas.place(pack("2.0.0.1")).values), {})
        self.assertTrue(atlas.evidence(pack("2.0.0.1"))[0].stale)
        self.assertIn("mine (location) was built on", atlas.warnings[0])

    def test_revision_changes_with_the_file(self) -> None:
        """Another content of the file, or another axis, is another revision."""
        first = self.atlas(Axis.LOCATION).revision
        self.assertEqual(self.atlas(Axis.LOCATION).revision, first)
        self.assertNotEqual(self.atlas(Axis.REGISTRATION).revision, first)
        self.file = worlds.write_mmdb(self.folder / "mine2.mmdb", {"2.0.0.0/8": CHINA})
        self.assertNotEqual(self.atlas(Axis.LOCATION).revision, first)
