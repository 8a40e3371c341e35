"""The audit as text.  Owns: lines of flows, and the summary on a console.
Knows: rich, click (styles).  Never: computing what it prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.audit.account import time_text
from gateway.audit.flows import AuditedFlow, most_common
from gateway.flow.account import Account

_COLOURS = {"allow": "green", "block": "red", "wrap": "cyan", "reroute": "magenta"}
_MAX_CONTACTS = 40
UNREAD = {
    "not_ip": "frames that are not IP (ARP and the like)",
    "unknown_link": "frames of a link type that is not read",
    "malformed": "frames whose headers lie or are cut off",
    "cut_short": "frames that were captured cut short; what is missing was not looked at",
    "fragments_refused": "packets whose fragments overlap",
    "fragments_missing": "packets of which fragments are missing",
    "segments_in_conflict": "TCP segments that contradict others",
}


def flow(one: AuditedFlow, *, is_styled: bool) -> str:
    """Give a flow's line.  There may be a hundred thousand: styled without a console's layout."""
    style = click.style if is_styled else _unstyled
    actions = dict.fromkeys(
        [tally.verdict.action for tally in one.client.tallies.values() if tally.verdict]
    )
    would = "/".join([style(str(action), _COLOURS[action]) for action in actions])
    said = ", ".join([f"{name} {count}" for name, count in most_common(one.messages())[:4]])
    kinds = ", ".join([f"{kind} {count}" for kind, count in most_common(one.identifiers())])
    parts = (
        time_text(one.first_s)[11:23],
        would or "not judged",
        str(one.key),
        f"{one.client.packets + one.server.packets} packets",
        said,
        style(f"plaintext: {kinds}", "red", bold=True) if kinds else "",
    )
    return "  ".join(part for part in parts if part)


def _unstyled(text: str, colour: str, *, bold: bool = False) -> str:
    return text


def summary(console: Console, one: Account) -> None:
    """Print the summary."""
    console.print(f'\n[bold]Audit[/] by policy "{escape(one["policy"]["name"])}"')
    for capture in one["captures"]:
        console.print(f"  {escape(capture['path'])}: {capture['frames']:,} frames", soft_wrap=True)
        if capture["fault"]:
            console.print(f"  [bold red]broken:[/] {escape(capture['fault'])}", soft_wrap=True)
    if one["first"]:
        console.print(f"  {one['first']} to {one['last']}")
    counted = f"{one['clients']:,} clients, {one['flows']:,} flows"
    console.print(f"  {counted}, {one['packets']:,} packets, {one['bytes']:,} bytes")
    _contacts(console, one["contacts"])
    _plaintext(console, one["plaintext"])
    _verdicts(console, one["rules"])
    _unread(console, one)
    console.print()
    for finding in one["findings"]:
        console.print(f"[bold red]Finding:[/] {escape(sentence(finding))}", soft_wrap=True)
    for note in one["notes"]:
        console.print(f"[bold]Note:[/] {escape(sentence(note))}", soft_wrap=True)
    if not one["findings"]:
        console.print("[bold green]Nothing was found in what could be read.[/]")
    for credit in one["credits"]:
        console.print(f"[dim]{escape(credit)}[/]", soft_wrap=True)


def _contacts(console: Console, rows: list[Mapping[str, Any]]) -> None:
    table = _table("Who was contacted, where", "located", "registered", "operator", "jurisdictions")
    for heading in ("addresses", "sent", "identifiers", "the policy", "sources"):
        table.add_column(heading, overflow="fold")
    for row in rows[:_MAX_CONTACTS]:
        where = row["countries"]
        sources = sorted({f"{one['source']} {one['built']}" for one in row["evidence"]})
        members = [*row["jurisdictions"], *(f"{name}?" for name in row["undetermined"])]
        cells = (
            ", ".join(where["location"]) or "?",
            ", ".join(where["registration"]) or "?",
            row["operator"],
            ", ".join(members) or "none",
            f"{row['addresses']:,} ({row['example']})",
            f"{row['packets']:,}",
            counts(row["identifiers"]),
            counts(row["would"]),
            "; ".join(sources or row["doubts"]),
        )
        table.add_row(*map(escape, cells))
    console.print(table)
    if len(rows) > _MAX_CONTACTS:
        console.print(f"  and {len(rows) - _MAX_CONTACTS:,} more, in --json")


def _plaintext(console: Console, rows: list[Mapping[str, Any]]) -> None:
    table = _table("What was in plaintext", "protocol", "message", "traffic", "sent by")
    for heading in ("messages", "identifiers", "to"):
        table.add_column(heading, overflow="fold")
    for row in rows[:_MAX_CONTACTS]:
        who = "client" if row["from"] == "client" else "the other side"
        cells = (row["protocol"], row["message"], row["traffic"] or "?", who)
        more = (f"{row['messages']:,}", counts(row["identifiers"]), counts(row["countries"]))
        table.add_row(*map(escape, cells + more))
    console.print(table if rows else "\nNothing that could be read was in plaintext.")


def _verdicts(console: Console, rows: list[Mapping[str, Any]]) -> None:
    table = _table("What the policy would have done", "action", "rule", "flows", "packets", "bytes")
    table.add_column("reason", overflow="fold")
    for row in rows:
        action = f"[{_COLOURS[row['action']]}]{row['action']}[/]"
        numbers = [f"{row[name]:,}" for name in ("flows", "packets", "bytes")]
        table.add_row(action, escape(row["rule"]), *numbers, escape(row["reason"]))
    console.print(table)


def _unread(console: Console, one: Account) -> None:
    unread = one["unread"]
    console.print("\n[bold]What could not be read[/]")
    share = unread["unknown_share"]
    if share is not None:
        console.print(f"  {share:.1%} of the packets speak a protocol that is not known")
    for name, words in UNREAD.items():
        if unread[name]:
            console.print(f"  {unread[name]:,} {words}")
    if one["not_judged"]["flows"]:
        what = "flows are nobody's or local (multicast, link-local) and were counted only"
        console.print(f"  {one['not_judged']['flows']:,} {what}")
    if one["flows_ended_early"]:
        what = "flows were written down early, as too many were open; they may come again"
        console.print(f"  {one['flows_ended_early']:,} {what}")


def sentence(finding: Mapping[str, Any]) -> str:
    """Say what a finding or note is: what it could be and how sure that is, then the evidence."""
    if "certainty" not in finding:
        return str(finding["sentence"])
    return f"{finding['kind']} ({finding['certainty']}): {finding['sentence']}"


def counts(each: Mapping[str, int]) -> str:
    """Write counts by name."""
    return ", ".join(f"{name} {count:,}" for name, count in each.items()) or "-"


def _table(title: str, *headings: str) -> Table:
    table = Table(title=f"\n{title}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.title_style = "bold"
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
