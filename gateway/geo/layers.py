"""What an atlas answers from.  Owns: the layers together, and what they say of one number.
Knows: nothing of formats.
Never: addresses, which addresses are judged together."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from gateway.geo.bundle import Bundle
from gateway.geo.mmdb import Database, Word
from gateway.geo.partition import Partition
from gateway.geo.places import AXES, SILENCE, Words, of_axis
from gateway.geo.settled import Settled
from gateway.geo.spellings import Spellings
from gateway.model import Axis


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """All that an atlas answers from."""

    bundle: Bundle
    fresh: frozenset[Axis]
    """The axes of the bundle that are young enough to count."""
    databases: tuple[tuple[Database, bool], ...]
    """The user's own, each with whether it is fresh."""
    settled: tuple[Settled, ...]
    v4: Partition
    """Numbers below `tuple_count` are tuples of the bundle, the others are settled networks."""
    v6: Partition
    spellings: Spellings

    @property
    def tuple_count(self) -> int:
        """How many distinct tuples of evidence the bundle has."""
        return len(self.bundle.location)

    def bundled_words(self, number: int) -> Words:
        """Say what the bundle's fresh columns say in a tuple."""
        bundle, countries = self.bundle, self.bundle.countries
        # Not by `joined`, which takes longer: a survey asks for some 25,000 tuples at once.
        by_as = self.operator_words(bundle.as_at[number]) if Axis.OPERATOR in self.fresh else None
        codes = {
            Axis.LOCATION: countries[bundle.location[number]],
            Axis.REGISTRATION: countries[bundle.registration[number]],
        }
        values = dict(zip(AXES, by_as.values if by_as else SILENCE, strict=True))
        values |= {axis: (code,) for axis, code in codes.items() if code and axis in self.fresh}
        return Words(tuple(values.values()), by_as.asns if by_as else ())

    def operator_words(self, at: int) -> Words:
        """Say who runs the AS at a position of the bundle's table: both columns count."""
        bundle = self.bundle
        if not at:
            return Words()
        by = (bundle.as_country, bundle.as_operator)
        countries = (bundle.countries[column[at]] for column in by)
        return of_axis(Axis.OPERATOR, *countries)._replace(asns=(bundle.asn[at],))

    def words_of(self, database: Database, word: Word) -> Words:
        """Say what a user's database said, as evidence on its axis."""
        if word.fault:
            return Words(doubts=(word.fault,))
        if not word.asn:
            return of_axis(database.axis, word.country)
        is_told = Axis.OPERATOR in self.fresh
        known = self.operator_words(self.position_of(word.asn)) if is_told else Words()
        return known._replace(asns=(word.asn,))

    def position_of(self, asn: int) -> int:
        """Find an AS number in the bundle's table; 0 if it is not there."""
        at = bisect_left(self.bundle.asn, asn)
        return at if at < len(self.bundle.asn) and self.bundle.asn[at] == asn else 0
