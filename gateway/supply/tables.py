"""Tables in text.  Owns: FIRST, LAST and a country or an AS number a line; our table of owners.
Knows: DB-IP's csv, iptoasn's tsv.  Never: dates, which such files do not carry."""

from __future__ import annotations

import csv
import ipaddress
from collections.abc import Callable

from gateway.errors import DataError
from gateway.model import Axis
from gateway.supply.column import Column, Families, Range, Said, Supply
from gateway.supply.text import country, lines_of

_JUDGED = "operator_jurisdiction(judged)"


def addresses(data: bytes, said: Said, axis: Axis) -> Supply:
    """Read lines FIRST,LAST,VALUE: a country, or on the axis operator an AS number.

    More columns are ignored.
    Raises:  DataError: not of this form.
    """
    column = Column.NETWORKS if axis is Axis.OPERATOR else Column(axis.value)
    families = Families([], [])

    def take(fields: list[str]) -> None:
        value = _asn(fields[2]) if column is Column.NETWORKS else country(fields[2])
        _add(families, fields, value)

    _each(data, said.package, ",", take, f"lines FIRST,LAST,{column.value}")
    return Supply(said, {column: families})


def iptoasn(data: bytes, said: Said) -> Supply:
    """Read lines FIRST, LAST, AS number, country and name, with tabs between them.

    Raises:  DataError: not of this form.
    """
    families, countries = Families([], []), dict[int, str]()

    def take(fields: list[str]) -> None:
        number, code = _asn(fields[2]), country(fields[3])
        _add(families, fields, number)
        if number and code:
            countries[number] = code

    _each(data, said.package, "\t", take, "lines FIRST LAST AS COUNTRY NAME of iptoasn")
    said = Said(
        said.name, said.built, said.licence or "PDDL 1.0", said.credit, said.package, said.sha256
    )
    return Supply(said, {Column.NETWORKS: families}, {Column.AS_COUNTRIES: countries})


def owners(data: bytes, said: Said) -> Supply:
    """Read AS number → jurisdiction of its owner: a csv with the columns asn and country, or with
    those of scripts/data/operators.csv.

    "US*" is US, with a doubt that another column tells; "vendor" (the vendor's own network) is
    nobody's jurisdiction and says nothing.
    Raises:  DataError: not of this form.
    """
    judged: dict[int, str] = {}
    rows = csv.DictReader(lines_of(data, said.package))
    try:
        for row in rows:
            code = (row.get("country") or row.get(_JUDGED) or "").removesuffix("*")
            if code != "vendor" and (found := country(code)):
                judged[_asn(row.get("asn") or "")] = found
    except (ValueError, csv.Error) as error:
        where = f"{said.package}:{rows.line_num}"
        raise DataError(where, str(error), "columns asn and country") from error
    if not judged:
        raise DataError(said.package, "has no owners", "columns asn and country")
    return Supply(said, {}, {Column.OWNERS: judged})


def _each(
    data: bytes, where: str, delimiter: str, take: Callable[[list[str]], None], form: str
) -> None:
    rows = csv.reader(lines_of(data, where), delimiter=delimiter)
    try:
        for fields in rows:
            if fields:
                take(fields)
    except (ValueError, IndexError, csv.Error) as error:
        raise DataError(f"{where}:{rows.line_num}", str(error), form) from error
    if not rows.line_num:
        raise DataError(where, "is empty", form)


def _add(families: Families, fields: list[str], value: str | int) -> None:
    first, last = (ipaddress.ip_address(text) for text in fields[:2])
    if first.version != last.version or int(first) > int(last):
        raise ValueError(f"{first} to {last} is no range")
    if value:
        family = families.v4 if first.version == 4 else families.v6
        family.append(Range(int(first), int(last), value))


def _asn(text: str) -> int:
    digits = text.removeprefix("AS")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10):
        raise ValueError(f"{text[:20]!r} is no AS number")
    if int(digits) >= 1 << 32:
        raise ValueError(f"{text} is no AS number")
    return int(digits)
