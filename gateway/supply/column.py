"""What a source says, before it is joined with others.  Owns: columns, ranges, where they are from.
Never: forms of files, checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Column(StrEnum):
    """What the fused file is made of."""

    LOCATION = "location"
    REGISTRATION = "registration"
    NETWORKS = "networks"
    """Which AS number announces an address."""
    AS_COUNTRIES = "AS countries"
    """AS number → country of its registration."""
    OWNERS = "owners"
    """AS number → jurisdiction of its owner, as judged by people."""


BY_ADDRESS = (Column.LOCATION, Column.REGISTRATION, Column.NETWORKS)


class Range(NamedTuple):
    """What a source says of a range of addresses."""

    first: int
    last: int
    """Inclusive."""
    value: str | int
    """A country; for networks an AS number."""


class Families(NamedTuple):
    """A source's ranges."""

    v4: list[Range]
    v6: list[Range]


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of data."""

    name: str
    built: str
    """ISO date; "" if nobody says."""
    licence: str
    """"" if unknown."""
    credit: str
    """The sentence that the licence asks for; "" for none."""
    package: str
    """What they were taken from; never a key."""
    sha256: str


@dataclass(frozen=True, slots=True)
class Supply:
    """What one file supplies."""

    said: Said
    ranges: Mapping[Column, Families] = field(default_factory=dict)
    numbers: Mapping[Column, Mapping[int, str]] = field(default_factory=dict)
    """For AS_COUNTRIES and OWNERS."""
    registry: str = ""
    """Whose part of the whole it is: "apnic", "nro" for all of them; "" if it is no registry's."""

    @property
    def columns(self) -> frozenset[Column]:
        """What it speaks of."""
        return frozenset(self.ranges) | frozenset(self.numbers)
