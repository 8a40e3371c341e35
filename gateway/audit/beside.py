"""The observer's test on captures.  Owns: captures behind a gateway, and in front of it → what
someone on the wire can tell; who is carried by which trace.
Knows: the leak finders' test.  Never: what the numbers mean; chance is handed in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape

from gateway.audit.captures import Captures
from gateway.audit.flows import AuditedFlow
from gateway.audit.observers import FinderObserver, TraceObserver, finding_account
from gateway.audit.parties import Parties
from gateway.audit.reading import Audit
from gateway.flow.account import Account
from gateway.flow.epoch import Epoch
from gateway.leaks import (
    GivenFinder,
    Match,
    ObserverReport,
    Traces,
    UnnamedFinder,
    observe,
)
from gateway.leaks.matching import Shuffle
from gateway.model import unpack

Shown = TraceObserver | FinderObserver


@dataclass(frozen=True, slots=True)
class Beside:
    """What was read."""

    report: ObserverReport
    packets: int
    faults: tuple[str, ...]
    """Captures that could not be read to their end, and why."""
    carriage: str
    """How users in front were joined with traces behind; "": there was no capture in front."""

    @property
    def tells(self) -> bool:
        """Whether someone on this wire can tell something of users."""
        matches = (self.report.again, self.report.across)
        return (
            bool(self.report.identifiers)
            or any(one is not None and one.tells for one in matches)
            or any(one.p_value < 0.05 for one in self.report.presence)
        )


def take(
    epoch: Epoch,
    wire: tuple[str, ...],
    front: tuple[str, ...],
    parties: tuple[Parties, Parties],
    shuffle: Shuffle,
) -> Beside:
    """Take the observer's test.

    Args:    wire: captures behind the gateway; front: of the same time in front of it, by the same
             clock; (): none.  parties: who the clients are, behind and in front.
             shuffle: of a seeded generator.
    """
    between, by_client = Traces(by_client=False), Traces(by_client=True)
    finders = [FinderObserver(UnnamedFinder(), reads_streams=False)]
    if epoch.values is not None:
        finders.append(FinderObserver(GivenFinder(epoch.values), reads_streams=True))
    behind: tuple[Shown, ...] = (TraceObserver(between), TraceObserver(by_client), *finders)
    packets, faults = _read(epoch, wire, parties[0], behind)
    found = [one for finder in finders for one in finder.found()]
    clients, carries, carriage, traces = None, dict[bytes, Hashable](), "", between
    if front:
        clients = Traces(by_client=True)
        _, more = _read(epoch, front, parties[1], (TraceObserver(clients),))
        faults += more
        traces, carries, carriage = _carries(clients, between, by_client)
    report = observe(traces, found, shuffle, clients=clients, carries=carries)
    return Beside(report, packets, faults, carriage)


def _read(
    epoch: Epoch,
    paths: tuple[str, ...],
    parties: Parties,
    observers: tuple[Shown, ...],
) -> tuple[int, tuple[str, ...]]:
    files = Captures(paths)
    counted: Counter[str] = Counter()

    def ended(flow: AuditedFlow) -> None:
        counted["packets"] += flow.client.packets + flow.server.packets

    audit = Audit(epoch, ended, parties=parties, observers=observers, is_thorough=True)
    audit.read(files.blocks())
    audit.end()
    return counted["packets"], tuple(one.fault for one in files.files if one.fault)


def _carries(
    clients: Traces, between: Traces, by_client: Traces
) -> tuple[Traces, dict[bytes, Hashable], str]:
    """Join users with what carries them: the trace that carried most, if it is the gateway's own;
    else each by its address, if it is seen behind the gateway too."""
    front = [label for label in clients.traces() if isinstance(label, bytes)]
    tunnels = between.traces()
    if not tunnels:
        return between, {}, "nothing was seen behind the gateway"
    largest = max(tunnels, key=lambda label: sum(tunnels[label].sizes.values()))
    if not (isinstance(largest, tuple) and largest[0] in front):
        carriage = f"{len(front)} users are taken to share the largest of {len(tunnels)} traces"
        return between, dict.fromkeys(front, largest), carriage
    behind = by_client.traces()
    same: dict[bytes, Hashable] = {one: one for one in front if one in behind}
    return by_client, same, f"{len(same)} users have the same address on both sides"


def account(one: Beside) -> Account:
    """Give the answer as a JSON object."""
    report = one.report
    return {
        "answer": report.sentence,
        "tells": one.tells,
        "packets": one.packets,
        "faults": list(one.faults),
        "carriage": one.carriage or None,
        "identifiers": [finding_account(finding) for finding in report.identifiers],
        "sizes": None if report.sizes is None else asdict(report.sizes),
        "again": _match(report.again),
        "across": _match(report.across),
        "presence": [
            {"user": _label(each.label), "correlation": each.correlation, "p_value": each.p_value}
            for each in report.presence
        ],
    }


def text(console: Console, one: Beside) -> None:
    """Print the answer and its numbers."""
    said = account(one)
    console.print(f"[bold]{escape(said['answer'])}[/]", soft_wrap=True)
    for fault in one.faults:
        console.print(f"[bold red]broken:[/] {escape(fault)}", soft_wrap=True)
    console.print(f"  {one.packets:,} packets were read")
    if one.carriage:
        console.print(f"  {escape(one.carriage)}")
    for finding in said["identifiers"]:
        console.print(f"  {finding['kind']}: {escape(finding['sentence'])}", soft_wrap=True)
    if (sizes := one.report.sizes) is not None:
        console.print(
            f"  sizes: {sizes.distinct} of {sizes.datagrams:,} datagrams, "
            f"{sizes.entropy_bits:.2f} bits each; {sizes.commonest_share:.0%} have "
            f"{sizes.commonest} octets"
        )
    for name, found in (("by sizes again", one.report.again), ("across", one.report.across)):
        console.print(f"  {name}: {_numbers(found)}")
    for each in said["presence"]:
        numbers = f"correlation {each['correlation']:.2f}, p = {each['p_value']:.3f}"
        console.print(f"  rhythm of {each['user']} in the shared tunnel: {numbers}")


def _numbers(one: Match | None) -> str:
    if one is None:
        return "not measured: it takes two users at least"
    low, high = one.top1_interval
    return (
        f"{one.top1:.0%} of {one.users} users found (95 % {low:.0%} to {high:.0%}; a guess "
        f"{one.chance:.0%}), AUC {one.auc:.2f}, p = {one.p_value:.3f}"
    )


def _match(one: Match | None) -> Mapping[str, Any] | None:
    return None if one is None else {**asdict(one), "tells": one.tells}


def _label(label: Hashable) -> str:
    return unpack(label) if isinstance(label, bytes) else str(label)
