"""Making places, one object for each distinct evidence.  Owns: Words, joining them, interning.
Knows: nothing of formats.
Never: addresses, files; which source said what."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from gateway.model import Axis, Place

# Joined places that are remembered (about 0.3 kB each).  Who sends random Teredo addresses makes
# us forget and join again, never grow.
_MAX_REMEMBERED = 16384


Values = tuple[tuple[str, ...], ...]
"""Country codes, one tuple for each axis in the order of Axis."""
AXES = tuple(Axis)
SILENCE: Values = tuple(() for _ in AXES)
Item = TypeVar("Item")
Key = TypeVar("Key")


class Words(NamedTuple):
    """What is said of an address; each value once, in the order of the sources."""

    values: Values = SILENCE
    asns: tuple[int, ...] = ()
    doubts: tuple[str, ...] = ()


def of_axis(axis: Axis, *values: str) -> Words:
    """Say values on one axis; "" says nothing."""
    said = tuple(dict.fromkeys(filter(None, values)))
    return Words(tuple(said if each is axis else () for each in AXES))


def joined(said: Sequence[Words]) -> Words:
    """Put together what several sources say of one address."""
    return Words(
        tuple(_merged(column) for column in zip(*(each.values for each in said), strict=True)),
        _merged(each.asns for each in said),
        _merged(each.doubts for each in said),
    )


def _merged(columns: Iterable[tuple[Item, ...]]) -> tuple[Item, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(columns)))


class Places:
    """Places by their evidence."""

    def __init__(self) -> None:
        # As many as there are distinct values in the sources: a few thousand.
        self._values: dict[Values, Mapping[Axis, tuple[str, ...]]] = {}
        self._joined: dict[tuple[Place, ...], Place] = {}
        self._widened: dict[tuple[Place, Hashable], Place] = {}

    @property
    def remembered(self) -> int:
        """How many joined places are remembered now."""
        return len(self._joined) + len(self._widened)

    def make(self, words: Words) -> Place:
        """Make the place of what is said."""
        values = self._values.get(words.values)
        if values is None:
            values = MappingProxyType(
                {axis: said for axis, said in zip(AXES, words.values, strict=True) if said}
            )
            self._values[words.values] = values
        return Place(values, words.asns, words.doubts)

    def widened(self, place: Place, said: Hashable, words: Callable[[], Words]) -> Place:
        """Give the place that has what is said more.

        Args:    said: the same for the same words; words: them, asked for once.
        Returns: the same object for the same place and `said`.
        """
        found = self._widened.get((place, said))
        if found is None:
            found = self.make(joined((words_of(place), words())))
            _bound(self._widened)[place, said] = found
        return found

    def together(self, places: tuple[Place, ...]) -> Place:
        """Judge several addresses as one: every value counts, and every gap is a doubt.

        Args:    places: at least one.  The same arguments give the same object.
        """
        distinct = tuple(dict.fromkeys(places))
        if len(distinct) == 1:
            return distinct[0]
        found = self._joined.get(distinct)
        if found is None:
            words = joined([words_of(place) for place in distinct])
            gaps = [f"no evidence of {axis} for all addresses in it" for axis in _gaps(distinct)]
            found = self.make(words._replace(doubts=(*words.doubts, *gaps)))
            _bound(self._joined)[distinct] = found
        return found


def words_of(place: Place) -> Words:
    """Give what is said of a place."""
    return Words(tuple(place.values.get(axis, ()) for axis in Axis), place.asns, place.doubts)


def _gaps(places: tuple[Place, ...]) -> list[Axis]:
    """Find the axes that some of the places know and others do not."""
    return [axis for axis in Axis if len({axis in place.values for place in places}) == 2]


def _bound(memo: dict[Key, Place]) -> dict[Key, Place]:
    if len(memo) >= _MAX_REMEMBERED:
        memo.clear()
    return memo
