"""The atlas: address → place.  Owns: the look-up, and which addresses are judged together.
Knows: nothing of formats; survey, for all addresses at once.
Never: files, today; jurisdictions."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.errors import AddressError
from gateway.geo.cells import Cells
from gateway.geo.detail import evidence_of
from gateway.geo.layers import Layers
from gateway.geo.mmdb import Word
from gateway.geo.places import Places, Words, joined
from gateway.geo.sources import SourceInfo
from gateway.geo.spellings import Embedded, Form
from gateway.geo.survey import Survey
from gateway.model import Evidence, Place, unpack


class Atlas:
    """Answers whose an address is.  Does no IO; the answers of one atlas never change."""

    def __init__(
        self,
        layers: Layers,
        places: Places,
        *,
        sources: tuple[SourceInfo, ...],
        warnings: tuple[str, ...],
        revision: str,
    ) -> None:
        self.sources = sources
        """What was loaded, with dates."""
        self.warnings = warnings
        """Sentences for the operator: stale sources, expired overrides."""
        self.revision = revision
        """Twelve hexadecimal digits: changes with the data, the overrides and what is stale."""
        self.layers = layers
        self._places = places
        self._v4 = layers.v4
        self._v6 = layers.v6
        self._spellings = layers.spellings
        self._databases = tuple(database for database, is_fresh in layers.databases if is_fresh)
        self._tuple_count = layers.tuple_count
        # By number.  Of the bundle's tuples a place is made when it is first met.
        self._known: list[Place | None] = [None] * self._tuple_count
        self._known += [each.place for each in layers.settled]

    def place(self, address: bytes) -> Place:
        """Give the place of an address, judged together with every address that it spells.

        Args:    address: 4 or 16 octets.
        Returns: the same object for the same evidence (while fewer than 16,384 combinations of
                 embedded addresses or of the user's databases were met since).
        Raises:  AddressError: of another length.
        """
        if len(address) == 4 or (len(address) == 16 and self._spellings.is_plain(address)):
            return self._own(address)
        return self._together(address)

    def embedded(self, address: bytes) -> tuple[bytes, ...]:
        """Give the IPv4 addresses that an address spells (6to4, NAT64, Teredo, ...)."""
        return tuple(found.address for found in self._spellings.embedded(address))

    def evidence(self, address: bytes, *, widest: bool = True) -> tuple[Evidence, ...]:
        """Give each source's word on an address and on every address that it spells.

        Stale words too, marked.  For an embedded address `source` says which one it is about:
        "dbip-lite for 192.0.2.1 (6to4)".

        Args:    widest: give each word's widest range, which takes up to milliseconds; else the
                 range around the address for which all bundled sources say the same.
        Raises:  AddressError: not 4 or 16 octets.
        """
        inner = self._inner(address)
        said = evidence_of(self.layers, address, widest=widest)
        for found in inner:
            about = f" for {unpack(found.address)} ({found.spelling})"
            said += evidence_of(self.layers, found.address, about, widest=widest)
        return said

    def survey(self, asns: frozenset[int]) -> Survey:
        """Begin a walk through all addresses.

        Args:    asns: the AS numbers that matter; of others only whether there is one.
        """
        return Survey(self.layers, self._of_number, asns)

    def cells(self) -> Cells:
        """Cut all addresses by their evidence, the user's databases included.

        With such databases it takes some µs for each of their networks.
        Raises:  DataError: a database is corrupt.
        """
        return Cells(
            self.layers,
            self._of_number,
            lambda place, said: self._places.widened(place, said, lambda: self._words(said)),
        )

    def forms(self) -> tuple[Form, ...]:
        """Give the parts of IPv6 whose addresses spell others there; ISATAP has none."""
        return self._spellings.forms()

    def _inner(self, address: bytes) -> tuple[Embedded, ...]:
        if len(address) not in (4, 16):
            raise AddressError(address.hex(), "an address of 4 or 16 octets")
        return self._spellings.embedded(address)

    def _own(self, address: bytes) -> Place:
        part = self._v4 if len(address) == 4 else self._v6
        number = part.numbers[part.find(int.from_bytes(address))]
        place = self._known[number] or self._make(number)
        if self._databases and number < self._tuple_count:
            said = tuple([database.word(address) for database in self._databases])
            return self._places.widened(place, said, lambda: self._words(said))
        return place

    def _of_number(self, number: int) -> Place:
        return self._known[number] or self._make(number)

    def _make(self, number: int) -> Place:
        place = self._known[number] = self._places.make(self.layers.bundled_words(number))
        return place

    def _words(self, said: tuple[Word, ...]) -> Words:
        pairs = zip(self._databases, said, strict=True)
        return joined([self.layers.words_of(database, word) for database, word in pairs])

    def _together(self, address: bytes) -> Place:
        inner = self._inner(address)
        judged: Iterable[bytes] = (found.address for found in inner)
        if not (inner and self._is_spelling(address)):
            judged = (address, *judged)
        return self._places.together(tuple(map(self._own, judged)))

    def _is_spelling(self, address: bytes) -> bool:
        number = self._v6.numbers[self._v6.find(int.from_bytes(address))]
        at = number - self._tuple_count
        return at >= 0 and self.layers.settled[at].is_spelling
