"""The report as a page.  Owns: the account → one self-contained HTML file, to be printed.
Knows: the sheet that audits share.  Never: computing what it tells; asking anybody for anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.audit.countries import countries
from gateway.audit.sheet import template
from gateway.reporting.report import Account
from gateway.reporting.wording import WORDS

# What a row says of itself besides its dimensions and numbers.
_OWN = ("row", "records", "first", "last", "where")


@dataclass(frozen=True, slots=True)
class Tile:
    """One country on the map."""

    code: str
    column: int
    row: int
    state: str
    sentence: str


def render(account: Account) -> str:
    """Make the page; everything that came from a log is escaped."""
    page = template("gateway.reporting", "report.html", {"cell": cell})
    return page.render(
        one=account,
        tables=[(name, words, _table(account["tables"][name])) for name, words in WORDS.items()],
        tiles=_tiles(account["tables"]["countries"]["rows"]),
    )


@dataclass(frozen=True, slots=True)
class _Table:
    names: tuple[str, ...]
    rows: list[Mapping[str, Any]]
    left_out: int


def _table(account: Mapping[str, Any]) -> _Table:
    rows = account["rows"]
    names = tuple(name for name in rows[0] if name not in _OWN) if rows else ()
    # A column in which nothing stands says nothing.
    told = tuple(name for name in names if any(row[name] not in (None, 0) for row in rows))
    return _Table(told, rows, account["left_out"])


def cell(value: object) -> str:
    """Spell one cell."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else str(value)


def _tiles(rows: list[Mapping[str, Any]]) -> list[Tile]:
    by_code = {row["country"]: row for row in rows}
    return [
        Tile(one.code, one.column, one.row, *_told(one.name, by_code.get(one.code)))
        for one in countries().values()
    ]


def _told(name: str, row: Mapping[str, Any] | None) -> tuple[str, str]:
    """Give a tile's state and sentence."""
    if row is None:
        return "quiet", f"{name}: nothing"
    sentence = f"{name}: " + ", ".join(
        f"{row[action]:,} {word}"
        for action, word in (
            ("allow", "allowed"),
            ("reroute", "rerouted"),
            ("wrap", "wrapped"),
            ("block", "blocked"),
        )
        if row[action]
    )
    if row["block"] == row["records"]:
        return "barred", sentence
    return "contacted", sentence
