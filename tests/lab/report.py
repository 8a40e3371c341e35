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
from gateway.evidence.frame import Packet
from gateway.model import Endpoint, Transport
from tests.lab.answers import Captured
from tests.lab.deployment import Deployment
from tests.lab.doors import Router, Socks5
from tests.lab.identifiers import Identifiers
from tests.lab.internet import Internet
from tests.lab.replay import replay
from tests.lab.topology import Lab, Space
from tests.lab.wire import Wire

_HANDSHAKES = "more are bare handshakes of streams that were then blocked for their content"


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
    is_awaited: bool = False
    """Was a stream's content awaited?  Its handshake passes, and none of its octets."""

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
    """Of those, to or from what was blocked, addresses of which everything was and else endpoints,
    but for handshakes: must be 0."""
    handshakes: int
    """Of those, segments without an octet of streams that were blocked for their content."""
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
    blocked, handshakes = of_blocked(rows, uplink), handshakes_of(rows, uplink)
    return Report(
        rows=rows,
        answers=replayed.answers.total(),
        identifiers=len(identifiers.values),
        uplink=len(uplink.frames()),
        to_blocked=len(blocked - handshakes),
        handshakes=len(blocked & handshakes),
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
        *([(report.handshakes, _HANDSHAKES)] if report.handshakes else []),
        (report.leaked, f"of them show any of the capture's {report.identifiers} identifiers"),
        (report.missed, "were missed by the captures"),
    ):
        colour = "green" if count == 0 else "yellow" if what is _HANDSHAKES else "bold red"
        console.print(f"[{colour}]{count:5}[/] {what}")


def _rows(
    sent: Iterable[tuple[str, Endpoint, Endpoint]], internet: Internet, deployment: Deployment
) -> Iterable[Row]:
    said = Counter(f"{transport} {destination}" for transport, _, destination in sent)
    arrived = Counter(
        (f"{each.transport} {each.destination}", each.source.host in Lab.EXIT)
        for each in internet.arrived()
    )
    settled, awaited = _verdicts(deployment.decisions())
    for to, count in said.most_common():
        counts = arrived[to, False], arrived[to, True]
        verdicts = settled.get(to) or awaited.get(to, {})
        yield Row(to, count, *counts, tuple(verdicts), to in awaited)


def _verdicts(decisions: Iterable[dict[str, Any]]) -> list[dict[str, dict[str, None]]]:
    """Give the verdicts on each destination: settled ones, and those of streams whose content was
    awaited."""
    found: list[dict[str, dict[str, None]]] = [{}, {}]
    for decision in decisions:
        match decision["flow"].split():
            case transport, _, ">", destination:
                verdict = decision["verdict"]
                ours = found[not verdict.get("settled", True)]
                text = f"{verdict['action']} {verdict['rule']}"
                ours.setdefault(f"{transport} {destination}", {})[text] = None
    return found


def of_blocked(rows: Iterable[Row], uplink: Wire) -> set[int]:
    """Give the numbers of the frames of what was blocked."""
    blocked = {_end(row) for row in rows if row.is_blocked}
    passing = {_end(row)[1].host for row in rows if not row.is_blocked}
    hosts = {destination.host for _, destination in blocked} - passing
    numbers = {frame.number for frame in uplink.between(*hosts)}
    return numbers | {one.number for one in uplink.packets() if blocked & _ends(one)}


def handshakes_of(rows: Iterable[Row], uplink: Wire) -> set[int]:
    """Give the numbers of the frames without an octet of streams whose content was awaited."""
    awaited = {_end(row) for row in rows if row.is_awaited}
    bare = (one for one in uplink.packets() if not one.payload and awaited & _ends(one))
    return {one.number for one in bare if one.transport is Transport.TCP}


def _end(row: Row) -> tuple[Transport, Endpoint]:
    transport, destination = row.destination.split()
    return Transport(transport), Endpoint.parse(destination)


def _ends(packet: Packet) -> set[tuple[Transport, Endpoint]]:
    return {(packet.transport, packet.source), (packet.transport, packet.destination)}


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
