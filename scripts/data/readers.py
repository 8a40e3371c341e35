"""Reading what others packed, for scripts/build-data.  Owns: each source's form → ranges.
Knows: MaxMind DB, our own csv files.
Never: the network; the form of our own file."""

from __future__ import annotations

import csv
import gzip
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import maxminddb

from gateway.supply.column import Families, Range


def mmdb_ranges(data: bytes, value_of: Callable[[dict[str, Any]], str | int | None]) -> Families:
    """Read every network of a MaxMind DB; one without a value is left out."""
    families = Families([], [])
    with tempfile.NamedTemporaryFile(suffix=".mmdb") as file:
        file.write(data)
        file.flush()
        with maxminddb.open_database(file.name) as reader:
            for network, record in reader:
                value = value_of(record)
                if value:
                    first, last = int(network.network_address), int(network.broadcast_address)
                    family = families.v4 if last < 1 << 32 else families.v6
                    family.append(Range(first, last, value))
    return families


def edges(ranges: list[Range], bits: int) -> Iterator[tuple[int, str | int]]:
    """Give (address, value) for the first and last address of each range and of each gap."""
    reached = 0
    for each in ranges:
        if each.first > reached:
            yield from ((reached, ""), (each.first - 1, ""))
        yield from ((each.first, each.value), (each.last, each.value))
        reached = each.last + 1
    if reached < 1 << bits:
        yield from ((reached, ""), ((1 << bits) - 1, ""))


def registrations(path: Path) -> dict[int, str]:
    """Read AS number → country of its registration."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return {int(row["asn"]): row["cc"] for row in csv.DictReader(file)}
