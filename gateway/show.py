"""What commands print for a person.  Owns: accounts, evidence and case results as text.
Knows: rich.  Never: computing what it prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.flow.account import Account
from gateway.flow.cases import CaseResult

_VERDICT = {"allow": "green", "block": "red", "wrap": "cyan", "reroute": "magenta"}
_RESULT = {"True": "[green]true[/]", "False": "[dim]false[/]", "undetermined": "[yellow]undet.[/]"}


def account(console: Console, one: Account) -> None:
    """Print the account of one decision."""
    facts, verdict = one["facts"], one["verdict"]
    _say(console, f"[bold]{escape(one['flow'])}[/]")
    _line(
        console,
        "protocol",
        " ".join(filter(None, (facts["protocol"] or "not seen", facts["message"]))),
    )
    _line(console, "traffic", facts["traffic"] or "cannot be told")
    _line(console, "plaintext", _plaintext(facts["plaintext"]))
    if facts["names"]:
        _line(console, "names", ", ".join(facts["names"]))
    place = facts["to"]
    _line(console, "to", ", ".join(place["jurisdictions"]) or "no jurisdiction of the policy")
    if place["undetermined"]:
        _line(console, "may be in", ", ".join(place["undetermined"]))
    for doubt in place["doubts"]:
        _line(console, "doubt", doubt)
    evidence(console, place["evidence"])
    console.print()
    _considered(console, one["considered"])
    colour = _VERDICT[verdict["action"]]
    target = f" ({verdict['target']})" if verdict["target"] else ""
    _say(
        console,
        f"\n[bold {colour}]{verdict['action']}{escape(target)}[/] by {verdict['rule']}: "
        f"{escape(verdict['reason'])}",
    )
    if verdict.get("settled") is False:
        _say(console, "The payload, once seen, may change this.")
    if "would" in verdict:
        would = verdict["would"]
        _say(console, f"In shadow: {would['action']} by {would['rule']}: {escape(would['reason'])}")


def _say(console: Console, text: str) -> None:
    """Print a line as it is: wrapped by the terminal, never by us, so that it can be searched."""
    console.print(text, soft_wrap=True)


def _line(console: Console, name: str, text: str) -> None:
    _say(console, f"  {name:<10} {escape(text)}")


def _plaintext(found: list[Mapping[str, Any]] | None) -> str:
    if found is None:
        return "cannot be told"
    return ", ".join(f"{one['kind']} at {one['offset']}+{one['length']}" for one in found) or "none"


def evidence(console: Console, words: Iterable[Mapping[str, Any]]) -> None:
    """Print sources' words on an address."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=True, header_style="dim")
    for heading in ("axis", "value", "source", "built", "prefix"):
        table.add_column(heading, overflow="fold")
    for one in words:
        stale = " [red](stale)[/]" if one.get("stale") else ""
        cells = [escape(str(one[name])) for name in ("axis", "value", "source", "built", "prefix")]
        cells[3] += stale
        table.add_row(*cells)
    if table.row_count:
        console.print(table)


def _considered(console: Console, considered: Iterable[Mapping[str, Any]]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("rule considered", "result", "why"):
        table.add_column(heading, overflow="fold")
    for one in considered:
        table.add_row(one["rule"], _RESULT[str(one["result"])], escape(one["why"]))
    console.print(table)


def failed_case(console: Console, result: CaseResult) -> None:
    """Print a case that failed, with the whole explanation."""
    _say(console, f"[bold red]FAILED[/] {escape(str(result.case.place))}: {result.failure}")
    account(console, result.account)
    console.print()
