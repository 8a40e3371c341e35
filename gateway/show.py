"""What commands print for a person.  Owns: accounts, evidence and case results as text.
Knows: rich.  Never: computing what it prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.flow.account import Account
from gateway.flow.cases import CaseResult
from gateway.review.coverage import Coverage, Seen
from gateway.review.results import PolicyResults

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
    for trip in place.get("round_trips", ()):
        console.print(f"  {round_trip(trip)}")
    evidence(console, place["evidence"])
    console.print()
    _considered(console, one["considered"], place["address"])
    if one["not_asked"]:
        _say(console, f"[dim]not asked: {escape(', '.join(one['not_asked']))}[/]")
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


def round_trip(one: Mapping[str, Any]) -> str:
    """Say what one who measured says of where an address is."""
    refutes = ", ".join(one["refutes"])
    return (
        f"{escape(one['from'])}: {one['rtt_ms']:g} ms, so within {one['within_km']:,.0f} km of it"
        + (f"; [bold]not in {escape(refutes)}[/]" if refutes else "")
    )


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


def _considered(
    console: Console, considered: Iterable[Mapping[str, Any]], destination: str
) -> None:
    """Print each rule, under it the conditions that decided, under these their evidence, which is
    told once; an address that is judged with the destination is named."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("rule considered", "result", "why"):
        table.add_column(heading, overflow="fold")
    told: set[str] = set()
    for one in considered:
        why = "" if one["parts"] else escape(one["why"])
        table.add_row(f"[bold]{one['rule']}[/]", _RESULT[str(one["result"])], why)
        for part in one["parts"]:
            result = _RESULT[str(part["result"])]
            about = "" if part["address"] == destination else f"{part['address']}: "
            table.add_row(f"  {escape(part['condition'])}", result, escape(about + part["why"]))
            words = dict.fromkeys(_word(word) for word in part["evidence"])
            for word in (word for word in words if word not in told):
                table.add_row("", "", f"[dim]{escape(word)}[/]")
            told.update(words)
    console.print(table)


def _word(word: Mapping[str, Any]) -> str:
    built = f" of {word['built']}" if word["built"] else ""
    return f"{word['axis']} {word['value']}: {word['source']}{built}, {word['prefix']}"


def failed_case(console: Console, result: CaseResult) -> None:
    """Print a case that failed: what was expected beside what it gave, and the explanation."""
    _say(console, f"[bold red]FAILED[/] {escape(str(result.case.place))}: {result.failure}")
    for what, given, wanted in result.case.compared(result.verdict):
        if given == wanted:
            _say(console, f"    {what}: {escape(wanted)}")
        else:
            _say(console, f"  [red]- {what}: {escape(wanted)}[/]   [dim]expected[/]")
            _say(console, f"  [green]+ {what}: {escape(str(given or 'none'))}[/]   [dim]given[/]")
    account(console, result.account)
    console.print()


def tried(console: Console, policies: Sequence[PolicyResults]) -> None:
    """Print what the cases of policies gave; the last line counts them."""
    for one in policies:
        for failure in one.failures:
            failed_case(console, failure)
    for one in policies:
        if one.coverage is not None:
            coverage(console, one.path, one.coverage)
        else:
            for remark in one.remarks:
                _say(console, escape(remark))
    failed = sum(len(one.failures) for one in policies)
    passed = sum(len(one.results) for one in policies) - failed
    _say(console, f"{passed} cases passed, {failed} failed")


def coverage(console: Console, path: str, one: Coverage) -> None:
    """Print what the cases of a policy try of it, and what none does."""
    _say(console, f"[bold]{escape(path)}[/]: cases by what they try")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("", "decided", "true", "false", "undetermined"):
        table.add_column(heading, overflow="fold")
    for rule, count in one.rules.items():
        table.add_row(f"rule {rule}", _count(count))
        for (its, condition), seen in one.conditions.items():
            if its == rule:
                table.add_row(f"  {escape(condition)}", "", *_seen(seen))
    for name, seen in one.jurisdictions.items():
        table.add_row(f"jurisdiction {name}", "", *_seen(seen))
    console.print(table)
    gaps = list(one.gaps())
    for gap in gaps:
        _say(console, f"[yellow]not tried[/] {escape(gap)}")
    if not gaps:
        _say(console, "every rule, condition and jurisdiction is tried")


def _seen(seen: Seen) -> tuple[str, str, str]:
    return _count(seen.true), _count(seen.false), str(seen.undetermined)


def _count(count: int) -> str:
    return str(count) if count else "[yellow]0[/]"
