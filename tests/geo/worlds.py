"""Small worlds for the tests of geo.  Owns: a bundle and an .mmdb file of a few lines.
Never: the bundled data."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet

from gateway.geo import Atlas, Bundled, Mmdb, Override, load
from gateway.geo.bundle import Bundle, Origin, encode
from gateway.geo.partition import Partition
from gateway.model import Axis

TODAY = date(2026, 11, 23)
COUNTRIES = ("", "AU", "CN", "DE", "HK", "SG", "US")
# AS number, country of its registration, jurisdiction of its owner.
NETWORKS = (
    (0, "", ""),
    (64496, "US", ""),
    (64497, "CN", ""),
    (64498, "HK", "CN"),
    (64499, "", ""),
    (64500, "SG", "SG"),
    (64501, "", ""),
)
Said = tuple[str, str, int]
Rows = Sequence[tuple[int, Said]]


@cache
def bundled() -> Atlas:
    """Load the data that come with the package, once; on a day on which they are fresh."""
    return load([Bundled()], today=date(2026, 11, 1), max_age_days=120)


def origins(built: Mapping[str, str]) -> tuple[Origin, ...]:
    """Name the four columns; those not in `built` are of 2026-11-01."""
    rows = (
        ("dbip-lite", Axis.LOCATION),
        ("nro", Axis.REGISTRATION),
        ("iptoasn", Axis.OPERATOR),
        ("operators", Axis.OPERATOR),
    )
    return tuple(
        Origin(name, axis, built.get(name, "2026-11-01"), "CC BY 4.0", "", "a test", "0" * 64)
        for name, axis in rows
    )


def bundle(
    v4: Rows, v6: Rows = ((0, ("", "", 0)),), built: Mapping[str, str] | None = None
) -> Bundle:
    """Make a bundle of (start, (location, registration, AS number)), the first start 0."""
    tuples = list(dict.fromkeys(said for _, said in (*v4, *v6)))
    asns = [asn for asn, _, _ in NETWORKS]
    code = COUNTRIES.index
    return Bundle(
        origins=origins(built or {}),
        countries=COUNTRIES,
        asn=array("I", asns),
        as_country=bytes(code(country) for _, country, _ in NETWORKS),
        as_operator=bytes(code(owner) for _, _, owner in NETWORKS),
        location=bytes(code(said[0]) for said in tuples),
        registration=bytes(code(said[1]) for said in tuples),
        as_at=array("I", [asns.index(said[2]) for said in tuples]),
        v4=Partition(
            32,
            array("I", [start for start, _ in v4]),
            array("Q"),
            array("I", [tuples.index(said) for _, said in v4]),
        ),
        v6=Partition(
            128,
            array("Q", [start >> 64 for start, _ in v6]),
            array("Q", [start & (1 << 64) - 1 for start, _ in v6]),
            array("I", [tuples.index(said) for _, said in v6]),
        ),
    )


def atlas(
    folder: Path,
    made: Bundle,
    *overrides: Override,
    databases: Sequence[Mmdb] = (),
    today: date = TODAY,
    nat64_prefixes: Sequence[str] = (),
) -> Atlas:
    """Write the bundle into a folder and load it, data older than 120 days being stale."""
    file = folder / "evidence.xz"
    file.write_bytes(encode(made))
    return load(
        [Bundled(file), *databases],
        overrides,
        today=today,
        max_age_days=120,
        nat64_prefixes=nat64_prefixes,
    )


def write_mmdb(
    file: Path,
    records: Mapping[str, dict[str, Any]],
    *,
    database_type: str = "GeoLite2-Country",
    ip_version: int = 6,
) -> Path:
    """Write a MaxMind DB of network → record, built now; wider networks come first."""
    writer = MMDBWriter(ip_version, database_type, ipv4_compatible=ip_version == 6, int_type="u32")
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(file))
    return file
