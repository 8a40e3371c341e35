"""Supplies and what is in use → the next fused file.  Owns: which source a column is taken from,
and what is said of the column then.  Knows: the four origins of a fused file, in their order.
Never: whether it is any good (checks)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date

from gateway.errors import DataError
from gateway.geo.bundle import Bundle, Origin
from gateway.model import Axis
from gateway.supply.column import BY_ADDRESS, Column, Families, Said, Supply
from gateway.supply.fetched import sha256
from gateway.supply.fusion import bundle_of, fused, joined, numbers_of, ranges_of

# A fused file has one origin for each of these, in this order.
_ORIGINS = (
    (Axis.LOCATION, (Column.LOCATION,)),
    (Axis.REGISTRATION, (Column.REGISTRATION,)),
    (Axis.OPERATOR, (Column.NETWORKS, Column.AS_COUNTRIES)),
    (Axis.OPERATOR, (Column.OWNERS,)),
)
_REVIEWED = ", reviewed "


def merged(
    supplies: Sequence[Supply], bases: Sequence[Bundle], owners_reviewed: date | None
) -> Bundle:
    """Make the next fused file.

    A column that is supplied is replaced as a whole; one that is not is taken over from the base
    whose column is newest.
    Args:    bases: what is in use, and what comes with the gateway.
    Raises:  DataError: two sources about one column that are not parts of one; a base that is not
             of four origins; countries of AS numbers that nobody announces.
    """
    _check_rivals(supplies)
    base = {column: _newest(bases, at) for at, (_, of) in enumerate(_ORIGINS) for column in of}
    families = {column: _families(column, supplies, base[column]) for column in BY_ADDRESS}
    columns = [families[column] for column in BY_ADDRESS]
    segments = {
        bits: fused([column[at] for column in columns], bits) for at, bits in enumerate((32, 128))
    }
    registered = _as_countries(supplies, families[Column.NETWORKS], base[Column.AS_COUNTRIES])
    judged = _numbers(Column.OWNERS, supplies) or numbers_of(base[Column.OWNERS], Column.OWNERS)
    return bundle_of(segments, registered, judged, _origins(supplies, base, owners_reviewed))


def _check_rivals(supplies: Sequence[Supply]) -> None:
    for column in Column:
        rivals = [one for one in supplies if column in one.columns]
        if len(rivals) < 2 or column is Column.AS_COUNTRIES:
            continue  # of several about an AS number's country, the first one counts
        parts = [one.registry for one in rivals if one.registry]
        if len(parts) < len(rivals) or len(set(parts)) < len(parts) or "nro" in parts:
            names = ", ".join(one.said.package for one in rivals)
            raise DataError(names, f"all supply {column}", "one, or one file of each registry")


def _newest(bases: Sequence[Bundle], at: int) -> Bundle:
    for base in bases:
        if tuple(one.axis for one in base.origins) != tuple(axis for axis, _ in _ORIGINS):
            raise DataError("data in use", "they have other columns", "a file of build-data")
    return max(bases, key=lambda base: base.origins[at].built)


def _families(column: Column, supplies: Iterable[Supply], base: Bundle) -> Families:
    ours = [one.ranges[column] for one in supplies if column in one.ranges]
    return joined(ours) if ours else ranges_of(base, column)


def _numbers(column: Column, supplies: Iterable[Supply]) -> dict[int, str]:
    found: dict[int, str] = {}
    for one in supplies:
        found = {**one.numbers.get(column, {}), **found}
    return found


def _as_countries(
    supplies: Sequence[Supply], networks: Families, base: Bundle
) -> Mapping[int, str]:
    told = _numbers(Column.AS_COUNTRIES, supplies)
    by_address = [one.ranges[Column.AS_COUNTRIES] for one in supplies if _by_address(one)]
    if not told and not by_address:
        return numbers_of(base, Column.AS_COUNTRIES)
    for families in by_address:
        told = {**as_countries(joined([families]), networks), **told}
    return told


def _by_address(one: Supply) -> bool:
    return Column.AS_COUNTRIES in one.ranges


def as_countries(countries: Families, networks: Families) -> dict[int, str]:
    """Find each AS number's country where a source tells it by address only.

    Where it tells several, it is that of most of its space, IPv4 before IPv6.
    """
    found: dict[int, str] = {}
    for at, bits in enumerate((32, 128)):
        sizes: Counter[tuple[int, str]] = Counter()
        segments = fused([countries[at], [], networks[at]], bits)
        ends = [*(start for start, _ in segments[1:]), 1 << bits]
        for (start, (country, _, asn)), end in zip(segments, ends, strict=True):
            if country and asn:
                sizes[asn, country] += end - start
        largest = {asn: country for (asn, country), _ in reversed(sizes.most_common())}
        found = {**largest, **found}
    return found


def _origins(
    supplies: Sequence[Supply], base: Mapping[Column, Bundle], reviewed: date | None
) -> tuple[Origin, ...]:
    origins = []
    for at, (axis, columns) in enumerate(_ORIGINS):
        said: list[Said] = []
        for column in columns:
            ours = [one.said for one in supplies if column in one.columns]
            said += ours or [_said(base[column].origins[at])]
        origin = _origin(axis, said)
        if columns == (Column.OWNERS,) and reviewed and reviewed.isoformat() > origin.built:
            package = origin.package.partition(_REVIEWED)[0]
            day = reviewed.isoformat()
            origin = replace(origin, built=day, package=f"{package}{_REVIEWED}{day}")
        origins.append(origin)
    return tuple(origins)


def _said(origin: Origin) -> Said:
    return Said(
        origin.name,
        origin.built,
        origin.licence,
        origin.credit,
        origin.package,
        origin.sha256,
    )


def _origin(axis: Axis, said: Sequence[Said]) -> Origin:
    """Say of a column what is said of its parts: it is as old as its oldest."""

    def all_of(texts: Iterable[str], between: str) -> str:
        return between.join(dict.fromkeys(text for text in texts if text))

    digests = list(dict.fromkeys(one.sha256 for one in said))
    return Origin(
        all_of((one.name for one in said), " + ") or axis.value,
        axis,
        min(one.built for one in said),
        all_of((one.licence for one in said), "; "),
        all_of((one.credit for one in said), "; "),
        all_of((one.package for one in said), "; "),
        digests[0] if len(digests) == 1 else sha256("".join(digests).encode()),
    )
