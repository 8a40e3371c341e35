"""Countries on a grid.  Owns: each country's name, and where its tile is on a map of tiles.
Knows: ISO 3166-1 (countries.csv).  Never: whose an address is."""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Country:
    """One country."""

    code: str
    """ISO 3166-1 alpha-2."""
    name: str
    """In English."""
    column: int
    """Counted from 1, west to east."""
    row: int
    """Counted from 1, north to south."""


@functools.cache
def countries() -> Mapping[str, Country]:
    """Give every country by its code, ISO 3166-1 alpha-2."""
    text = files("gateway.audit").joinpath("countries.csv").read_text("utf-8")
    return {
        one["code"]: Country(one["code"], one["name"], int(one["column"]), int(one["row"]))
        for one in csv.DictReader(text.splitlines())
    }
