"""All addresses of one atlas as cells of equal evidence.  Owns: the user's databases folded into
the partitions of the bundled data, and each source's word on a cell.  Knows: the layers' numbers.
Never: one address's look-up; addresses inside addresses; jurisdictions."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from gateway.geo.bundle import Origin
from gateway.geo.layers import Layers
from gateway.geo.mmdb import Database, Word
from gateway.geo.partition import Partition, Piece, flattened
from gateway.geo.survey import alike
from gateway.model import Axis, Place

_SILENT = Word()


class Said(NamedTuple):
    """One source's word on a cell."""

    source: str
    axis: Axis | None
    """None: the word is that nobody's word counts (a special-purpose address)."""
    value: str


class _Folded(NamedTuple):
    """What a cell of a folded partition is made of."""

    number: int
    words: tuple[Word, ...]


class Cells:
    """Two partitions, and what is known of each of their numbers.

    Every address of a cell has the same place in `Atlas.place`, those aside that spell others.
    """

    def __init__(
        self,
        layers: Layers,
        place: Callable[[int], Place],
        widened: Callable[[Place, tuple[Word, ...]], Place],
    ) -> None:
        """Make the cells.

        Args:    place: gives the place of a number of the layers.
                 widened: adds what the fresh databases say.
        Raises:  DataError: a database is corrupt.
        """
        self._layers, self._place, self._widened = layers, place, widened
        self._databases = tuple(one for one, is_fresh in layers.databases if is_fresh)
        self._folded: list[_Folded] = []
        self.v4, self.v6 = layers.v4, layers.v6
        if self._databases:
            ids: dict[_Folded, int] = {}
            self.v4, self.v6 = (self._fold(part, ids) for part in (layers.v4, layers.v6))
            self._folded = list(ids)

    def of(self, octets: int) -> Partition:
        """Give the partition of a family: 4 or 16 octets."""
        return self.v4 if octets == 4 else self.v6

    def place(self, number: int) -> Place:
        """Give the place of a cell's number, addresses inside its addresses aside."""
        if not self._databases:
            return self._place(number)
        base, words = self._folded[number]
        place = self._place(base)
        return self._widened(place, words) if base < self._layers.tuple_count else place

    def alike(self, asns: Iterable[int]) -> Sequence[int]:
        """Give for each cell's number one that says the same, so that places are made of few.

        Args:    asns: the AS numbers that matter; of others only whether there is one.
        """
        if self._databases:
            return range(len(self._folded))
        return alike(self._layers, asns)

    def said(self, number: int) -> tuple[Said, ...]:
        """Give what each fresh source says of a cell, in the order of the axes."""
        words: tuple[Word, ...] = ()
        if self._databases:
            number, words = self._folded[number]
        layers = self._layers
        if number >= layers.tuple_count:
            settled = layers.settled[number - layers.tuple_count]
            evidence = (Said(one.source, one.axis, one.value) for one in settled.evidence)
            return (*evidence, *(Said("special", None, doubt) for doubt in settled.place.doubts))
        return (*self._bundled(number), *self._of_databases(words))

    def _bundled(self, number: int) -> Iterator[Said]:
        bundle = self._layers.bundle
        countries, at = bundle.countries, bundle.as_at[number]
        asn = f"AS{bundle.asn[at]}" if at else ""
        columns = (
            (Axis.LOCATION, 0, countries[bundle.location[number]]),
            (Axis.REGISTRATION, 0, countries[bundle.registration[number]]),
            (Axis.OPERATOR, 0, asn),
            (Axis.OPERATOR, 0, countries[bundle.as_country[at]]),
            (Axis.OPERATOR, 1, countries[bundle.as_operator[at]]),
        )
        for axis, rank, value in columns:
            if value and axis in self._layers.fresh:
                yield Said(_origin(bundle.origins, axis, rank), axis, value)

    def _of_databases(self, words: tuple[Word, ...]) -> Iterator[Said]:
        for database, word in zip(self._databases, words, strict=True):
            value = word.country or (f"AS{word.asn}" if word.asn else word.fault)
            if value:
                yield Said(database.name, database.axis, value)

    def _fold(self, base: Partition, ids: dict[_Folded, int]) -> Partition:
        said = [_partition(database, base.bits) for database in self._databases]
        parts = [base, *(part for part, _ in said)]
        starts = sorted({part.start(at) for part in parts for at in range(len(part.numbers))})
        result = Partition(base.bits, array(base.high.typecode), array("Q"), array("I"))
        for start in starts:
            words = tuple(known[part.numbers[part.find(start)]] for part, known in said)
            cell = _Folded(base.numbers[base.find(start)], words)
            number = ids.setdefault(cell, len(ids))
            if not result.numbers or result.numbers[-1] != number:
                _append(result, start, number)
        return result


def _origin(origins: tuple[Origin, ...], axis: Axis, rank: int) -> str:
    return [one.name for one in origins if one.axis is axis][rank]


def _partition(database: Database, bits: int) -> tuple[Partition, list[Word]]:
    """Cut a family by what a database says; numbers are positions in the list."""
    ids: dict[Word, int] = {_SILENT: 0}
    pieces = [
        Piece(first, last, ids.setdefault(word, len(ids)))
        for first, last, word in database.networks(bits)
    ]
    return Partition.whole(bits).overlaid(flattened(pieces)), list(ids)


def _append(partition: Partition, start: int, number: int) -> None:
    if partition.bits == 32:
        partition.high.append(start)
    else:
        partition.high.append(start >> 64)
        partition.low.append(start & (1 << 64) - 1)
    partition.numbers.append(number)
