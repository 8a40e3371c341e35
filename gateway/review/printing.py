"""A comparison for a terminal.  Owns: how it is laid out.  Knows: rich.
Never: computing what it prints."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape

from gateway.review import wording
from gateway.review.change import Comparison, Sort
from gateway.review.traffic import Replayed

_COLOUR = {Sort.ALLOWED: "red", Sort.BLOCKED: "yellow", Sort.OTHER: "cyan"}
_MAX_RANGES = 6


def show(console: Console, found: Comparison, replayed: Replayed | None) -> None:
    """Print what changes; the gravest first."""
    if found.is_nothing and not (replayed and replayed.changes):
        _say(console, "Nothing changes.")
        return
    first, *more = wording.summary(found, replayed)
    colour = "red" if found.newly_allowed.extent else "green"
    _say(console, f"[bold {colour}]{escape(first)}[/]")
    for line in more:
        _say(console, escape(line))
    for one in wording.paragraphs(found):
        title = str(one.sort).capitalize()
        _say(console, f"\n[bold {_COLOUR[one.sort]}]{title}[/]: {escape(one.title)}")
        ranges = f"ranges: {wording.ranges(one.extent, _MAX_RANGES)}"
        _lines(console, (*one.outcomes, *one.remarks, ranges))
    if replayed is not None and replayed.changes:
        _say(console, "\n[bold]Recorded flows[/]")
        for each in replayed.changes:
            _say(console, f"[{_COLOUR[each.sort]}]{escape(wording.flows(each))}[/]")
            _lines(console, wording.examples(each))
    _listed(console, "Policy", wording.policy(found.policy))
    _listed(console, "Jurisdictions", map(wording.membership, found.memberships))


def _listed(console: Console, title: str, lines: Iterable[str]) -> None:
    told = list(lines)
    if told:
        _say(console, f"\n[bold]{title}[/]")
        _lines(console, told)


def _lines(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        _say(console, f"  {escape(line)}")


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)
