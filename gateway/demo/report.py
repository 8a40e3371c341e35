"""The demo's result.  Owns: what was decided, delivered and seen on the wire, as table and as JSON.
Knows: rich.  Never: running anything."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from gateway.flow.table import Judged
from gateway.model import Action
from gateway.policy import Policy

_COLOURS = {
    Action.ALLOW: "green",
    Action.BLOCK: "red",
    Action.WRAP: "cyan",
    Action.REROUTE: "magenta",
}


@dataclass(frozen=True, slots=True)
class Row:
    """Packets of one kind to one destination, and what was decided for them."""

    flow: str
    """Transport and destination; the clients' ports are left out, so that rows add up."""
    protocol: str
    traffic: str
    jurisdiction: str
    verdict: str
    target: str | None
    rule: str
    packets: int = 0
    messages: Mapping[str, int] = field(default_factory=dict, compare=False)
    """Packets by the protocol's own names of its messages."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a demo run gave."""

    capture: str
    rows: tuple[Row, ...]
    sent: int
    """Datagrams and streams that the clients sent."""
    delivered: dict[str, int]
    """Datagrams and streams that arrived at the stand-in: `direct`, and by the `exit`."""
    blocked_arrived: int
    """Of those, to destinations that were blocked: must be 0."""
    answers: int
    """Datagrams and pieces of streams that came back to the clients."""
    identifiers: int
    """Distinct identifiers that the clients sent in plaintext."""
    tunnel_datagrams: int
    tunnel_octets: int
    tunnel_found: int
    """Datagrams between gateway and exit that show an identifier: must be 0."""
    direct_found: int
    """Datagrams that left the gateway outside the tunnel and show an identifier: must be 0."""
    other_ports: int
    lost: int
    """Packets that were allowed or wrapped and did not arrive."""

    @property
    def is_good(self) -> bool:
        """Whether the promise was kept and everything allowed arrived."""
        leaked = self.blocked_arrived + self.tunnel_found + self.direct_found
        return leaked == 0 and self.lost == 0 and bool(self.rows)


def rows_of(judged: list[Judged], policy: Policy) -> tuple[Row, ...]:
    """Add up decisions by destination and kind, most packets first within each verdict."""
    totals: dict[Row, Counter[str]] = {}
    for one in judged:
        facts, verdict = one.facts, one.verdict
        content = facts.content
        jurisdictions = policy.jurisdictions_of(facts)
        names = ", ".join(sorted(jurisdictions.members)) or (
            "undetermined" if jurisdictions.undetermined else "elsewhere"
        )
        row = Row(
            f"{facts.key.transport} {facts.key.destination}",
            str(content.protocol) if content else "-",
            str(content.traffic or "-") if content else "-",
            names,
            str(verdict.action),
            verdict.target,
            verdict.rule,
        )
        # A stream that is refused before it says a word has sent nothing; it counts as its SYN.
        message = content.message if content else ""
        totals.setdefault(row, Counter())[message] += max(one.packets, 1)
    order = {"block": 0, "wrap": 1, "reroute": 2, "allow": 3}
    rows = (
        dataclasses.replace(row, packets=messages.total(), messages=messages)
        for row, messages in totals.items()
    )
    return tuple(sorted(rows, key=lambda row: (order[row.verdict], -row.packets)))


def as_json(result: Result) -> dict[str, Any]:
    """Give the result as a JSON object."""
    return {
        "capture": result.capture,
        "flows": [{name: getattr(row, name) for name in Row.__slots__} for row in result.rows],
        "sent": result.sent,
        "delivered": result.delivered,
        "blocked_arrived": result.blocked_arrived,
        "lost": result.lost,
        "answers": result.answers,
        "wire": {
            "datagrams": result.tunnel_datagrams,
            "octets": result.tunnel_octets,
            "identifiers": result.identifiers,
            "found": result.tunnel_found,
            "found_outside_the_tunnel": result.direct_found,
        },
        "ok": result.is_good,
    }


def show(result: Result, console: Console) -> None:
    """Print the result for a person."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for heading in ("flow", "protocol", "traffic", "jurisdiction", "verdict", "rule"):
        table.add_column(heading, overflow="fold")
    table.add_column("packets", justify="right")
    for row in result.rows:
        verdict = row.verdict if row.target is None else f"{row.verdict} ({row.target})"
        colour = _COLOURS[Action(row.verdict)]
        table.add_row(
            row.flow,
            row.protocol,
            row.traffic,
            row.jurisdiction,
            f"[{colour}]{verdict}[/]",
            row.rule,
            str(row.packets),
        )
    console.print(table)
    delivered = result.delivered
    console.print(
        f"{result.sent} packets from the clients; {delivered['exit']} arrived by the exit, "
        f"{delivered['direct']} directly, {result.answers} answers came back."
    )
    if result.other_ports:
        console.print(f"{result.other_ports} source ports of the capture were taken here.")
    for count, what in (
        (result.blocked_arrived, "packets arrived where they were blocked"),
        (result.lost, "allowed or wrapped packets were lost"),
        (
            result.tunnel_found,
            f"of {result.tunnel_datagrams} datagrams between gateway and exit show any of the "
            f"capture's {result.identifiers} identifiers",
        ),
        (result.direct_found, "packets that left outside the tunnel show one"),
    ):
        console.print(f"[{'green' if count == 0 else 'bold red'}]{count:5}[/] {what}")
