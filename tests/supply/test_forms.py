"""forms: every file gives what it says, or our error."""

from __future__ import annotations

import contextlib
import gzip
import io
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.config.updates import Form
from gateway.errors import DataError
from gateway.geo.bundle import encode
from gateway.model import Axis
from gateway.supply.column import Column, Range
from gateway.supply.forms import parse, unpacked
from tests.geo.worlds import write_mmdb
from tests.supply.world import SAME, A, delegated, fetched, in_use
from tests.support.rows import rows

_FORMS = st.sampled_from(
    [
        (Form.DELEGATED, None, delegated()),
        (Form.CSV, Axis.LOCATION, SAME),
        (Form.CSV, Axis.OPERATOR, "11.0.0.0,11.0.0.255,AS64496\n"),
        (Form.IPTOASN, None, "11.0.0.0\t11.0.0.255\t64496\tUS\tEXAMPLE\n"),
        (Form.OWNERS, None, "asn,country\n64496,US\n"),
        (Form.BUNDLE, None, ""),
        (Form.MMDB, Axis.LOCATION, ""),
        (Form.IPTOCC, None, ""),
        (Form.IPTOASN_COUNTRY, None, ""),
    ]
)


def mmdb(axis: Axis) -> bytes:
    """Make a MaxMind DB of 11.0.0.0/8."""
    record = {
        "country": {"iso_code": "US"},
        "autonomous_system_number": 64496,
    }
    with tempfile.TemporaryDirectory() as folder:
        records: dict[str, dict[str, Any]] = {
            "11.0.0.0/8": record,
            "12.0.0.0/8": {"country": {"iso_code": "ZZ"}},
        }
        name = "GeoLite2-ASN" if axis is Axis.OPERATOR else "DBIP-Country-Lite"
        return write_mmdb(Path(folder, "a.mmdb"), records, database_type=name).read_bytes()


def tarred(*names: str) -> bytes:
    """Make a tar.gz of files that are all the same database."""
    raw, data = io.BytesIO(), mmdb(Axis.LOCATION)
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        for name in names:
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return raw.getvalue()


_CUT = delegated().rsplit("\n", 2)[0]


@rows(
    refused={
        "registry: cut": (Form.DELEGATED, _CUT, "0 ipv6 records; expected 1"),
        "registry: empty": (Form.DELEGATED, "", "is empty"),
        "registry: no registry": (Form.DELEGATED, delegated("nic"), "file:1: 'nic' is no registry"),
        "registry: no record": (Form.DELEGATED, delegated() + "what\n", "file:8: 'what' is no rec"),
        "registry: a country": (Form.DELEGATED, delegated(code="CHN"), "'CHN' is no country"),
        "registry: too far": (Form.DELEGATED, delegated(first="255.1.0.0"), "are no range"),
        "csv: turned round": (Form.CSV, "11.0.0.9,11.0.0.1,US\n", "is no range"),
        "csv: families mixed": (Form.CSV, "11.0.0.9,::1,US\n", "is no range"),
        "csv: a column is missing": (Form.CSV, "11.0.0.9,11.0.0.10\n", "expected lines"),
        "csv: empty": (Form.CSV, "", "is empty"),
        "iptoasn: no number": (Form.IPTOASN, "11.0.0.0\t11.0.0.1\tx\tUS\tX\n", "is no AS number"),
        "owners: other columns": (Form.OWNERS, "as,cc\n1,US\n", "has no owners"),
        "bundle: another file": (Form.BUNDLE, "evidence", "a file of build-data"),
        "mmdb: another file": (Form.MMDB, "evidence", "a whole MaxMind DB file"),
        "iptocc: another file": (Form.IPTOCC, "evidence", "the library of iptocc"),
    }
)
class FormTests(SynchronousTestCase):
    """Files of every form."""

    def check_refused(self, form: Form, text: str, says: str) -> None:
        """A file that is not whole or not of its form is refused with what is wrong."""
        axis = Axis.LOCATION if form in (Form.CSV, Form.MMDB) else None
        error = self.assertRaises(
            DataError, parse, fetched(text.encode(), form, axis, "2026-11-20")
        )
        self.assertIn(says, str(error))

    def test_delegated(self) -> None:
        """A registry's file tells registrations, countries of AS numbers and its last day."""
        supply = parse(fetched(delegated().encode(), Form.DELEGATED))
        self.assertEqual(supply.said.built, "2026-11-19")
        self.assertEqual(supply.registry, "apnic")
        v4, v6 = supply.ranges[Column.REGISTRATION]
        self.assertEqual(v4, [Range(A + (1 << 24), A + (2 << 24) - 1, "CN")])
        self.assertEqual(len(v6), 1)
        self.assertEqual(supply.numbers[Column.AS_COUNTRIES], {64497: "CN", 64498: "CN"})

    def test_reserved(self) -> None:
        """What a registry has not given to anybody is nobody's."""
        text = delegated().replace("allocated", "reserved")
        supply = parse(fetched(text.encode(), Form.DELEGATED))
        self.assertEqual(supply.ranges[Column.REGISTRATION], ([], []))

    def test_mmdb(self) -> None:
        """A database tells countries or AS numbers and its date; ZZ is no country."""
        supply = parse(fetched(gzip.compress(mmdb(Axis.LOCATION)), Form.MMDB, Axis.LOCATION))
        self.assertEqual(supply.ranges[Column.LOCATION].v4, [Range(A, A + (1 << 24) - 1, "US")])
        self.assertEqual(supply.said.licence, "CC BY 4.0")
        self.assertEqual(supply.said.name, "dbip-country-lite")
        supply = parse(fetched(mmdb(Axis.OPERATOR), Form.MMDB, Axis.OPERATOR))
        self.assertEqual(supply.ranges[Column.NETWORKS].v4[0].value, 64496)

    def test_flat(self) -> None:
        """iptoasn's database of countries, whose records are {country_code: CN}, tells the
        countries of AS numbers by address."""
        with tempfile.TemporaryDirectory() as folder:
            file = write_mmdb(Path(folder, "a.mmdb"), {"11.0.0.0/8": {"country_code": "CN"}})
            supply = parse(fetched(file.read_bytes(), Form.IPTOASN_COUNTRY))
        self.assertEqual(supply.ranges[Column.AS_COUNTRIES].v4[0].value, "CN")

    def test_archive(self) -> None:
        """The one database of a tar.gz is found; none or two are refused."""
        found = unpacked(tarred("x/a.mmdb", "LICENSE"), "it")
        self.assertIn(b"MaxMind.com", found)
        for names in (("README",), ("a.mmdb", "b.mmdb")):
            self.assertRaises(DataError, unpacked, tarred(*names), "it")

    def test_gzip(self) -> None:
        """A gzip file that is cut is refused."""
        packed = gzip.compress(SAME.encode())
        self.assertEqual(unpacked(packed + packed, "it"), 2 * SAME.encode())
        for length in range(2, len(packed)):
            self.assertRaises(DataError, unpacked, packed[:length], "it")

    def test_bundle(self) -> None:
        """A fused file supplies everything, and is as old as its oldest column."""
        supply = parse(fetched(encode(in_use()), Form.BUNDLE))
        self.assertEqual(supply.columns, frozenset(Column))
        self.assertEqual(supply.said.built, "2026-11-01")

    def test_no_date(self) -> None:
        """Data without a date are refused: nobody could say when they grow stale."""
        for built in ("", "soon"):
            error = self.assertRaises(
                DataError, parse, fetched(SAME.encode(), Form.CSV, Axis.LOCATION, built)
            )
            self.assertIn('"built: DATE"', str(error))

    @settings(deadline=None, max_examples=150)
    @given(_FORMS, st.binary(max_size=60), st.integers(0, 400), st.integers(0, 40))
    def test_any_bytes(
        self, sample: tuple[Form, Axis | None, str], noise: bytes, at: int, cut: int
    ) -> None:
        """Whatever a file holds, it gives a supply or our error."""
        form, axis, text = sample
        data = text.encode()
        data = data[: at % (len(data) + 1)] + noise + data[at % (len(data) + 1) + cut :]
        with contextlib.suppress(DataError):
            parse(fetched(data, form, axis, "2026-11-20"))

    @settings(deadline=None, max_examples=60)
    @given(st.binary(min_size=1, max_size=4), st.integers(0, 10_000), st.sampled_from(Form))
    def test_damage(self, noise: bytes, at: int, form: Form) -> None:
        """A packed file with a few octets changed gives a supply or our error."""
        data = encode(in_use()) if form is Form.BUNDLE else mmdb(Axis.LOCATION)
        at %= len(data)
        damaged = data[:at] + noise + data[at + len(noise) :]
        form = form if form is Form.BUNDLE else Form.MMDB
        axis = Axis.LOCATION if form is Form.MMDB else None
        with contextlib.suppress(DataError):
            parse(fetched(damaged, form, axis))
