"""Each source's word on one address, for people.  Owns: Evidence with prefixes and dates.
Never: the hot path; joining words; addresses inside addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateway.geo.layers import Layers
from gateway.geo.mmdb import Database
from gateway.geo.partition import Partition, range_text
from gateway.model import Axis, Evidence


def evidence_of(
    layers: Layers, address: bytes, about: str = "", *, widest: bool = True
) -> tuple[Evidence, ...]:
    """Give every word on an address itself.

    Args:    about: is added to the source's name.
    Returns: in the order of the axes; `prefix` is the widest range around the address for which
             the source says the same, or where that is not asked for, the range around it for
             which all bundled sources say the same.
    """
    part = layers.v4 if len(address) == 4 else layers.v6
    position = part.find(int.from_bytes(address))
    number = part.numbers[position]
    if number >= layers.tuple_count:
        said = iter(layers.settled[number - layers.tuple_count].evidence)
    else:
        said = _asked(layers, address, _Where(part, position, widest))
    order = tuple(Axis)
    ranked = sorted(said, key=lambda word: order.index(word.axis))
    if not about:
        return tuple(ranked)
    return tuple(
        Evidence(word.axis, word.value, word.source + about, word.built, word.prefix, word.stale)
        for word in ranked
    )


class _Where:
    """Where an address lies in the bundle."""

    def __init__(self, part: Partition, position: int, widest: bool) -> None:
        self.part, self.position = part, position
        self.number = part.numbers[position]
        # Found once for all columns: this is most of what an address costs that is met first.
        self.prefix = None if widest else self.range_of(lambda _: False)

    def range_of(self, belongs: Callable[[int], bool]) -> str:
        """Write the range around it of the numbers that belong to its own."""
        return range_text(*self.part.extent(self.position, belongs), self.part.bits)


def _asked(layers: Layers, address: bytes, where: _Where) -> Iterator[Evidence]:
    for column in _columns(layers):
        yield from _bundled(layers, column, where)
    for database, is_fresh in layers.databases:
        yield from _of_database(layers, database, is_fresh, address)


class _Column:
    """One column of the bundle: whose it is, and what it says of a tuple."""

    def __init__(self, axis: Axis, rank: int, says: Callable[[int], str]) -> None:
        self.axis = axis
        self.rank = rank
        """Which of the origins of that axis it comes from."""
        self.says = says


def _columns(layers: Layers) -> list[_Column]:
    bundle, countries = layers.bundle, layers.bundle.countries
    as_at = bundle.as_at
    return [
        _Column(Axis.LOCATION, 0, lambda number: countries[bundle.location[number]]),
        _Column(Axis.REGISTRATION, 0, lambda number: countries[bundle.registration[number]]),
        _Column(Axis.OPERATOR, 0, lambda number: _as_text(bundle.asn[as_at[number]])),
        _Column(Axis.OPERATOR, 0, lambda number: countries[bundle.as_country[as_at[number]]]),
        _Column(Axis.OPERATOR, 1, lambda number: countries[bundle.as_operator[as_at[number]]]),
    ]


def _as_text(asn: int) -> str:
    return f"AS{asn}" if asn else ""


def _bundled(layers: Layers, column: _Column, where: _Where) -> Iterator[Evidence]:
    value = column.says(where.number)
    if not value:
        return

    def belongs(number: int) -> bool:
        return number < layers.tuple_count and column.says(number) == value

    origin = [each for each in layers.bundle.origins if each.axis is column.axis][column.rank]
    prefix = where.prefix or where.range_of(belongs)
    is_stale = column.axis not in layers.fresh
    yield Evidence(column.axis, value, origin.name, origin.built, prefix, is_stale)


def _of_database(
    layers: Layers, database: Database, is_fresh: bool, address: bytes
) -> Iterator[Evidence]:
    word, network = database.word_with_network(address)
    values = [_as_text(word.asn), word.country]
    if word.asn:
        bundle, at = layers.bundle, layers.position_of(word.asn)
        values += [bundle.countries[by[at]] for by in (bundle.as_country, bundle.as_operator)]
    for value in dict.fromkeys(filter(None, values)):
        yield Evidence(database.axis, value, database.name, database.built, network, not is_fresh)
