"""All addresses at once.  Owns: the walk through a family's whole space, by what is said of it;
which numbers say the same.
Knows: the layers' numbers; RFC 4291 (IPv4-mapped addresses).
Never: what the classes mean; one address's place."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

from gateway.geo.bundle import Bundle
from gateway.geo.layers import Layers
from gateway.geo.partition import Partition, Piece
from gateway.model import Place

Classify = Callable[[Place | None, bool], int]
"""What a survey asks of each place: 0..255, where 0 means "of no interest".

The first argument is None for addresses that only spell others.  The second: True if the user's
own databases, which are not walked through, may say more of each address than its place."""

_RUN = re.compile(rb"([^\0])\1*", re.DOTALL)
_MAPPED = (0xFFFF << 32, (0x1_0000 << 32) - 1)


class Survey:
    """Gives the runs of addresses whose places are classed alike.

    Addresses inside others (ISATAP may stand in any /64) are not looked for: who classifies 16
    octets must bear in mind that each address may be judged together with others.
    """

    def __init__(self, layers: Layers, place: Callable[[int], Place], asns: frozenset[int]) -> None:
        """Begin one.

        Args:    place: gives a number's place.
                 asns: the networks that matter; places that differ in others only are asked for
                 once.
        """
        self._layers, self._place = layers, place
        self._alike = alike(layers, asns)

    def classes(self, classify: Classify) -> Mapping[int, int]:
        """Have every place classed, when it is first met in `runs`."""
        return _Classes(self._layers, self._place, classify)

    def runs(
        self, classes: Mapping[int, int], octets: int, first: int, last: int
    ) -> Iterator[Piece]:
        """Give the runs between two addresses, both included: ascending, those of class 0 left out.

        IPv4-mapped addresses are IPv4 addresses and never among those of 16 octets.
        """
        if octets == 4:
            yield from self._runs(classes, self._layers.v4, first, last)
            return
        before, after = _MAPPED[0] - 1, _MAPPED[1] + 1
        yield from self._runs(classes, self._layers.v6, first, min(last, before))
        yield from self._runs(classes, self._layers.v6, max(first, after), last)

    def _runs(
        self, classes: Mapping[int, int], partition: Partition, first: int, last: int
    ) -> Iterator[Piece]:
        if first > last:
            return
        begin = partition.find(first)
        numbers = partition.numbers[begin : partition.find(last) + 1]
        # One octet a segment, so that runs are found without a step of Python for each segment.
        classed = bytes(map(classes.__getitem__, map(self._alike.__getitem__, numbers)))
        for run in _RUN.finditer(classed):
            start, end = run.span()
            yield Piece(
                max(first, partition.start(begin + start)),
                min(last, partition.last(begin + end - 1)),
                classed[start],
            )


class _Classes(dict[int, int]):
    """The class of each number, asked for when it is first met."""

    def __init__(self, layers: Layers, place: Callable[[int], Place], classify: Classify) -> None:
        super().__init__()
        self._layers, self._place, self._classify = layers, place, classify
        self._may_grow = any(is_fresh for _, is_fresh in layers.databases)

    def __missing__(self, number: int) -> int:
        at = number - self._layers.tuple_count
        if at < 0:
            found = self._classify(self._place(number), self._may_grow)
        else:
            settled = self._layers.settled[at]
            found = self._classify(None if settled.is_spelling else settled.place, False)
        self[number] = found
        return found


def alike(layers: Layers, asns: Iterable[int]) -> array[int]:
    """Give, by number, the first number that says the same.

    Args:    asns: the AS numbers that matter; of others only whether there is one.
    """
    settled = range(layers.tuple_count, layers.tuple_count + len(layers.settled))
    return array("I", chain(_alike(layers.bundle, asns), settled))


def _alike(bundle: Bundle, asns: Iterable[int]) -> Iterator[int]:
    """Give for each tuple the first one that says the same, but for AS numbers of no matter."""
    matters = [1] * len(bundle.asn)
    matters[0] = 0  # no AS number is known
    for asn in asns:
        at = bisect_left(bundle.asn, asn)
        if at < len(bundle.asn) and bundle.asn[at] == asn:
            matters[at] = 1 + at
    by_as = (bundle.as_country, bundle.as_operator, matters)
    columns = (map(column.__getitem__, bundle.as_at) for column in by_as)
    said = zip(bundle.location, bundle.registration, *columns, strict=True)
    firsts: dict[tuple[int, ...], int] = {}
    return (firsts.setdefault(each, number) for number, each in enumerate(said))
