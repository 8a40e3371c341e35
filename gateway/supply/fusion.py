"""Columns of ranges ⇄ the fused file.  Owns: the cut, the numbering of countries and tuples.
Knows: geo's Bundle.  Never: where ranges come from; scripts/build-data uses it too."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import chain
from typing import Any

from gateway.errors import DataError
from gateway.geo.bundle import Bundle, Origin
from gateway.geo.partition import Partition
from gateway.supply.column import BY_ADDRESS, Column, Families, Range

Evidence = tuple[str, str, int]
"""Location, registration, AS number; "" and 0 for none."""
Segments = list[tuple[int, Evidence]]
"""Where each segment begins, and what is said of it."""

_LOW_64 = (1 << 64) - 1
# A country is an octet in the file, and 0 means none.
_MAX_COUNTRIES = 255


def disjoint(ranges: Iterable[Range]) -> list[Range]:
    """Sort ranges; where two overlap, the one that begins first counts, then the later one."""
    clean: list[Range] = []
    reached = 0
    for one in sorted(ranges, key=lambda one: (one.first, one.last)):
        first = max(one.first, reached)
        if first <= one.last:
            clean.append(Range(first, one.last, one.value))
            reached = one.last + 1
    return clean


def fused(columns: Sequence[Sequence[Range]], bits: int) -> Segments:
    """Cut the address space wherever a column changes.

    Args:    columns: by BY_ADDRESS, each ascending and disjoint.
    """
    nothing: Evidence = ("", "", 0)
    current: list[Any] = list(nothing)
    segments: Segments = [(0, nothing)]
    streams = (_changes(ranges, at, nothing[at]) for at, ranges in enumerate(columns))
    for address, _, column, value in merge(*streams, key=_order):
        if address >= 1 << bits:
            break
        current[column] = value
        if segments[-1][0] == address:
            segments.pop()
        segments.append((address, (current[0], current[1], current[2])))
    return list(without_repetition(segments))


_Change = tuple[int, int, int, Any]


def _order(change: _Change) -> tuple[int, int, int]:
    return change[:3]


def _changes(ranges: Sequence[Range], column: int, nothing: object) -> Iterator[_Change]:
    for one in ranges:
        yield one.first, 1, column, one.value
        yield one.last + 1, 0, column, nothing


def without_repetition(segments: Segments) -> Iterator[tuple[int, Evidence]]:
    """Leave out a segment that says the same as the one before it."""
    before = None
    for start, evidence in segments:
        if evidence != before:
            yield start, evidence
        before = evidence


def bundle_of(
    segments: Mapping[int, Segments],
    registered: Mapping[int, str],
    judged: Mapping[int, str],
    origins: tuple[Origin, ...],
) -> Bundle:
    """Number countries, networks and tuples.

    Args:    segments: by 32 and 128; registered: AS number → country; judged: → owner's.
    Raises:  DataError: more countries than the file can tell apart.
    """
    tuples = list(dict.fromkeys(each for part in segments.values() for _, each in part))
    number_of = {each: number for number, each in enumerate(tuples)}
    asn = sorted({0, *(each[2] for each in tuples), *registered, *judged})
    at = {number: position for position, number in enumerate(asn)}
    codes = {code for each in tuples for code in each[:2]}
    codes |= {*registered.values(), *judged.values()}
    countries = ("", *sorted(codes - {""}))
    if len(countries) > _MAX_COUNTRIES:
        what = f"{len(countries) - 1} countries"
        raise DataError("the data", what, f"{_MAX_COUNTRIES - 1} at most")
    code_of = {code: number for number, code in enumerate(countries)}
    return Bundle(
        origins=origins,
        countries=countries,
        asn=array("I", asn),
        as_country=bytes(code_of[registered.get(number, "")] for number in asn),
        as_operator=bytes(code_of[judged.get(number, "")] for number in asn),
        location=bytes(code_of[each[0]] for each in tuples),
        registration=bytes(code_of[each[1]] for each in tuples),
        as_at=array("I", [at[each[2]] for each in tuples]),
        v4=_partition(segments[32], 32, number_of),
        v6=_partition(segments[128], 128, number_of),
    )


def _partition(segments: Segments, bits: int, number_of: Mapping[Evidence, int]) -> Partition:
    numbers = array("I", [number_of[evidence] for _, evidence in segments])
    if bits == 32:
        return Partition(bits, array("I", [start for start, _ in segments]), array("Q"), numbers)
    high = array("Q", [start >> 64 for start, _ in segments])
    return Partition(bits, high, array("Q", [start & _LOW_64 for start, _ in segments]), numbers)


def evidence_of(bundle: Bundle, number: int) -> Evidence:
    """Give what a tuple says."""
    countries = bundle.countries
    asn = bundle.asn[bundle.as_at[number]]
    return countries[bundle.location[number]], countries[bundle.registration[number]], asn


def ranges_of(bundle: Bundle, column: Column) -> Families:
    """Give one column by address as ranges again."""
    at = BY_ADDRESS.index(column)
    said = [evidence_of(bundle, number)[at] for number in range(len(bundle.location))]
    v4, v6 = (list(_joined(part, said)) for part in (bundle.v4, bundle.v6))
    return Families(v4, v6)


def _joined(part: Partition, said: Sequence[str | int]) -> Iterator[Range]:
    begun, value = 0, said[part.numbers[0]]
    for position in range(1, len(part.numbers)):
        following = said[part.numbers[position]]
        if following != value:
            start = part.start(position)
            if value:
                yield Range(begun, start - 1, value)
            begun, value = start, following
    if value:
        yield Range(begun, part.top, value)


def numbers_of(bundle: Bundle, column: Column) -> dict[int, str]:
    """Give one column by AS number."""
    by = bundle.as_country if column is Column.AS_COUNTRIES else bundle.as_operator
    pairs = zip(bundle.asn, (bundle.countries[code] for code in by), strict=True)
    return {asn: country for asn, country in pairs if country}


def joined(ranges: Iterable[Families]) -> Families:
    """Join the ranges of several files of one column."""
    all_of = list(ranges)
    v4, v6 = (disjoint(chain.from_iterable(one[at] for one in all_of)) for at in (0, 1))
    return Families(v4, v6)
