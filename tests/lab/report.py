"""A capture through a gateway in the lab.  Owns: running it once, and a report for a person.
Knows: rich.  Never: what should happen."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from gateway.demo.conversation import Conversation, conversations
from gateway.errors import DataError
from gateway.evidence.capture import read_packets
from gateway.model import Endpoint
from tests.lab.answers import Captured
from tests.lab.deployment import Deployment
from tests.lab.doors import Router, Socks5
from tests.lab.identifiers import Identifiers
from tests.lab.internet import Internet
from tests.lab.replay import replay
from tests.lab.topology import Lab, Space
from tests.lab.wire import Wire


@dataclass(frozen=True, slots=True)
class Row:
    """What became of what was said to one destination."""

    destination: str
    """Transport and endpoint."""
    sent: int
    """Datagrams and pieces of streams; a stream that was refused counts as one."""
    direct: int
    """Arrivals from the client or the gateway itself."""
    wrapped: int
    """Arrivals from the exit."""
    verdicts: tuple[str, ...]
    """What the gateway decided, with the rules: "block never-ping-china".  (): it was not asked,
    for the kernel drops by itself what is denied whatever the flow."""

    @property
    def is_blocked(self) -> bool:
        """Was everything to this destination blocked?"""
        return all(verdict.startswith("block ") for verdict in self.verdicts)


@dataclass(frozen=True, slots=True)
class Report:
    """What one replay gave."""

    rows: tuple[Row, ...]
    answers: int
    """Datagrams and pieces of streams that came back to the clients."""
    identifiers: int
    """Distinct identifiers that the clients sent in plaintext."""
    uplink: int
    """Frames on the gateway's uplink, both ways."""
    to_blocked: int
    """Of those, to or from what was blocked: addresses of which everything was, and else endpoints:
    must be 0."""
    leaked: int
    """Of those, such as show an identifier: must be 0."""
    missed: int
    """Frames that were not captured: must be 0, or the rest proves nothing."""
    left_out: int = 0
    """Flows of the capture that no router ever sees."""

    @property
    def is_good(self) -> bool:
        """Was the promise kept?"""
        return not (self.to_blocked or self.leaked or self.missed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """What is replayed, and how."""

    capture: Path
    policy: Path | None = None
    """None: the default policy."""
    is_router: bool = True
    """True: the gateway is the clients' router, of which they know nothing; False: they use its
    SOCKS 5 listener."""
    speed: float = 1.0
    """Times the capture's own pace."""
    save: Path | None = None
    """A folder for the captures of each side; None: they are not kept."""


def run(play: Play, folder: Path) -> Report:
    """Replay a capture through `gateway run` in a lab of its own.

    Args:    folder: for configuration and evidence.
    Raises:  DataError: no capture, or one without a client's UDP or TCP; TimeoutError: the gateway
             does not come up; with what it said.
    """
    captured = conversations(read_packets(play.capture))
    talks = _routed(captured)
    if not talks:
        raise DataError(str(play.capture), "holds no UDP or TCP payload", "a client's traffic")
    with ExitStack() as stack:
        lab = stack.enter_context(Lab.create())
        internet = stack.enter_context(Internet(lab, Captured(talks)))
        deployment = Deployment(lab, folder, play.policy, router="" if play.is_router else None)
        deployment.start()
        sides = {
            name: stack.enter_context(Wire(lab, space, interface))
            for name, space, interface in (
                ("clients", Space.GATEWAY, "clients"),
                ("uplink", Space.GATEWAY, "uplink"),
                ("exit", Space.EXIT, "internet"),
            )
        }
        door = Router() if play.is_router else Socks5(Deployment.SOCKS5)
        replayed = replay(lab, talks, door=door, speed=play.speed)
        internet.wait_quiet()
        for wire in sides.values():
            wire.stop()
    if play.save is not None:
        play.save.mkdir(parents=True, exist_ok=True)
        for name, wire in sides.items():
            wire.write(play.save / f"{name}.pcap")
    rows = tuple(_rows([*replayed.sent.elements(), *replayed.refused], internet, deployment))
    uplink, identifiers = sides["uplink"], Identifiers(talks)
    return Report(
        rows=rows,
        answers=replayed.answers.total(),
        identifiers=len(identifiers.values),
        uplink=len(uplink.frames()),
        to_blocked=_to_blocked(rows, uplink),
        leaked=len(identifiers.leaked(uplink.frames(), uplink.between(*Lab.EXIT))),
        missed=uplink.missed + internet.missed,
        left_out=len(captured) - len(talks),
    )


def show(report: Report, console: Console) -> None:
    """Print a report."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("destination", overflow="fold")
    for heading in ("sent", "direct", "by exit"):
        table.add_column(heading, justify="right")
    table.add_column("decided", overflow="fold")
    for row in report.rows:
        counts = (str(count) if count else "-" for count in (row.sent, row.direct, row.wrapped))
        colour = "red" if row.is_blocked else "cyan" if row.wrapped else "green"
        decided = ", ".join(row.verdicts) or "block, by the kernel: nothing goes there"
        table.add_row(row.destination, *counts, f"[{colour}]{decided}[/]")
    console.print(table)
    sent, direct, wrapped = (
        sum(getattr(row, name) for row in report.rows) for name in ("sent", "direct", "wrapped")
    )
    console.print(
        f"{sent} packets from the clients; {wrapped} arrived by the exit, {direct} directly, "
        f"{report.answers} answers came back."
    )
    if report.left_out:
        console.print(f"{report.left_out} flows of the capture never leave their link: left out.")
    for count, what in (
        (report.to_blocked, f"of {report.uplink} frames on the uplink are of blocked destinations"),
        (report.leaked, f"of them show any of the capture's {report.identifiers} identifiers"),
        (report.missed, "were missed by the captures"),
    ):
        console.print(f"[{'green' if count == 0 else 'bold red'}]{count:5}[/] {what}")


def _rows(
    sent: Iterable[tuple[str, Endpoint, Endpoint]], internet: Internet, deployment: Deployment
) -> Iterable[Row]:
    said = Counter(f"{transport} {destination}" for transport, _, destination in sent)
    arrived = Counter(
        (f"{each.transport} {each.destination}", each.source.host in Lab.EXIT)
        for each in internet.arrived()
    )
    verdicts = _verdicts(deployment.decisions())
    for destination, count in said.most_common():
        counts = arrived[destination, False], arrived[destination, True]
        yield Row(destination, count, *counts, tuple(verdicts.get(destination, ())))


def _verdicts(decisions: Iterable[dict[str, Any]]) -> dict[str, dict[str, None]]:
    """Give the verdicts on each destination; before a stream has said anything they are not yet
    its verdict, unless it never says anything."""
    found: dict[bool, dict[str, dict[str, None]]] = {True: {}, False: {}}
    for decision in decisions:
        transport, _, _, destination = decision["flow"].split()
        verdict = decision["verdict"]
        text = f"{verdict['action']} {verdict['rule']}"
        ours = found[verdict.get("settled", True)]
        ours.setdefault(f"{transport} {destination}", {})[text] = None
    return found[False] | found[True]


def _to_blocked(rows: Iterable[Row], uplink: Wire) -> int:
    """Count the frames of what was blocked."""
    ends = {True: set[tuple[str, Endpoint]](), False: set[tuple[str, Endpoint]]()}
    for row in rows:
        transport, destination = row.destination.split()
        ends[row.is_blocked].add((transport, Endpoint.parse(destination)))
    blocked, passing = ends[True], {destination.host for _, destination in ends[False]}
    hosts = {destination.host for _, destination in blocked} - passing
    numbers = {frame.number for frame in uplink.between(*hosts)}
    for packet in uplink.packets():
        if blocked & {(packet.transport, packet.source), (packet.transport, packet.destination)}:
            numbers.add(packet.number)
    return len(numbers)


def _routed(talks: list[Conversation]) -> list[Conversation]:
    """Give the conversations that pass a router: not those on one link or within one host."""
    clients = {talk.key.client.host for talk in talks}
    return [
        talk
        for talk in talks
        if _leaves(talk.key.client)
        and _leaves(talk.key.destination)
        and talk.key.destination.host not in clients
    ]


def _leaves(end: Endpoint) -> bool:
    address = ipaddress.ip_address(end.host)
    stays = address.is_link_local or address.is_multicast or address.is_loopback
    return not (stays or address.is_unspecified or end.host == "255.255.255.255")
