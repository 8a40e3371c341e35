"""The audit as a page.  Owns: the summary → one self-contained HTML file, which asks nobody for
anything.  Knows: the sheet.  Never: identifiers; computing what it tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.audit.account import time_text
from gateway.audit.countries import countries
from gateway.audit.sheet import template
from gateway.audit.specimens import Specimen
from gateway.audit.text import UNREAD, counts, sentence
from gateway.audit.timeline import Timeline
from gateway.flow.account import Account

_OCTETS_A_LINE = 16


@dataclass(frozen=True, slots=True)
class Report:
    """What a page is made of."""

    summary: Account
    timeline: Timeline
    specimens: list[Specimen]


@dataclass(frozen=True, slots=True)
class Tile:
    """One country on the map."""

    code: str
    name: str
    column: int
    row: int
    packets: int = 0
    identifiers: int = 0
    barred: int = 0

    @property
    def state(self) -> str:
        """The most important thing to say of it."""
        if self.identifiers:
            return "exposed"
        if self.barred:
            return "barred"
        return "contacted" if self.packets else "quiet"

    @property
    def sentence(self) -> str:
        """All there is to say of it."""
        if not self.packets:
            return f"{self.name}: not contacted"
        said = f"{self.name}: {self.packets:,} packets sent"
        said += f", {self.identifiers:,} identifiers in plaintext" if self.identifiers else ""
        return said + (f", {self.barred:,} packets blocked by the policy" if self.barred else "")


@dataclass(frozen=True, slots=True)
class Bar:
    """One step of the timeline, in percent of the largest."""

    left: float
    width: float
    total: float
    exposed: float
    barred: float
    sentence: str


def render(report: Report) -> str:
    """Make the page; everything that came from a capture is escaped."""
    filters: dict[str, Callable[..., object]] = {
        "counts": counts,
        "sentence": sentence,
        "time": time_text,
    }
    page = template("gateway.audit", "page.html", filters)
    tiles = _tiles(report.summary["contacts"])
    return page.render(
        one=report.summary,
        tiles=tiles,
        contacted=sorted((tile for tile in tiles if tile.packets), key=lambda tile: -tile.packets),
        bars=_bars(report.timeline),
        step=report.timeline.step_s,
        specimens=[(one, _dump(one)) for one in report.specimens],
        unread=[(words, report.summary["unread"][name]) for name, words in UNREAD.items()],
    )


def _tiles(contacts: list[Mapping[str, Any]]) -> list[Tile]:
    """Sum up contacts by country: one counts for each country that a source names on any axis."""
    sums: dict[str, list[int]] = {}
    for contact in contacts:
        for country in {one for named in contact["countries"].values() for one in named}:
            each = sums.setdefault(country, [0, 0, 0])
            each[0] += contact["packets"]
            each[1] += sum(contact["identifiers"].values())
            each[2] += contact["would"].get("block", 0)
    return [
        Tile(one.code, one.name, one.column, one.row, *sums.get(one.code, ()))
        for one in countries().values()
    ]


def _bars(timeline: Timeline) -> list[Bar]:
    steps = timeline.steps()
    most = max((counted[0] for _, counted in steps), default=1)
    width = 100 / max(1, len(steps))
    return [
        Bar(
            at * width,
            width * 0.9,
            100 * total / most,
            100 * exposed / most,
            100 * barred / most,
            f"{time_text(start)}: {total:,} packets, {exposed:,} with identifiers, "
            f"{barred:,} that the policy blocks",
        )
        for at, (start, (total, exposed, barred)) in enumerate(steps)
    ]


def _dump(one: Specimen) -> str:
    """Write octets as hexadecimal, sixteen a line; masked ones as blocks."""
    words = ["██" if octet is None else f"{octet:02x}" for octet in one.octets]
    return "\n".join(
        f"{at:04x}  {' '.join(words[at : at + _OCTETS_A_LINE])}"
        for at in range(0, len(words), _OCTETS_A_LINE)
    )
