"""Address → evidence on three axes → place.  Owns: the bundled data, the user's own databases,
overrides, special-purpose ranges, spellings of addresses.  Knows: xz, MaxMind DB, the IANA
special-purpose registries.
Never: jurisdictions, policy, IO at look-up, the clock.

An address's place is what the sources say, value by value: where they disagree, or where an
anycast address is announced in many countries, all their values are there and policy decides."""

from gateway.geo.atlas import Atlas
from gateway.geo.extents import Extents, Position, distance_km
from gateway.geo.loading import load, of_overrides_only
from gateway.geo.sources import Bundled, Mmdb, Override, SourceInfo

__all__ = [
    "Atlas",
    "Bundled",
    "Extents",
    "Mmdb",
    "Override",
    "Position",
    "SourceInfo",
    "distance_km",
    "load",
    "of_overrides_only",
]
