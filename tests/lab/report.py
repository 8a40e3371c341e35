"""A capture through a gateway in the lab.  Owns: running it once, and a report for a person.
Knows: rich.  Never: what should happen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from gateway.demo.conversation import conversations
from gateway.errors import DataError
from gateway.evidence.capture import read_packets
from gateway.model import Endpoint
from tests.lab.answers import Captured
from tests.lab.deployment import Deployment
from tests.lab.doors import Socks5
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
    """Arrivals from the gateway itself."""
    wrapped: int
    """Arrivals from the exit."""
    verdicts: tuple[str, ...]
    """What the gateway decided, with the rules: "block never-ping-china"."""

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
    """Of those, to or from addresses of which everything was blocked: must be 0."""
    leaked: int
    """Of those, such as show an identifier: must be 0."""
    missed: int
    """Frames that were not captured: must be 0, or the rest proves nothing."""

    @property
    def is_good(self) -> bool:
        """Was the promise kept?"""
        return not (self.to_blocked or self.leaked or self.missed)


def run(
    capture: Path, policy: Path | None, speed: float, folder: Path, save: Path | None
) -> Report:
    """Replay a capture through `gateway run` in a lab of its own.

    Args:    folder: for configuration and evidence; save: where the captures of each side go.
    Raises:  DataError: no capture, or one without a client's UDP or TCP; TimeoutError: the gateway
             does not come up; with what it said.
    """
    talks = conversations(read_packets(capture))
    if not talks:
        raise DataError(str(capture), "holds no UDP or TCP payload", "a client's traffic")
    with ExitStack() as stack:
        lab = stack.enter_context(Lab.create())
        internet = stack.enter_context(Internet(lab, Captured(talks)))
        deployment = Deployment(lab, folder, policy)
        deployment.start()
        sides = {
            name: stack.enter_context(Wire(lab, space, interface))
            for name, space, interface in (
                ("clients", Space.GATEWAY, "clients"),
                ("uplink", Space.GATEWAY, "uplink"),
                ("exit", Space.EXIT, "internet"),
            )
        }
        replayed = replay(lab, talks, door=Socks5(Deployment.SOCKS5), speed=speed)
        internet.wait_quiet()
        for name, wire in sides.items():
            wire.stop()
            if save is not None:
                save.mkdir(parents=True, exist_ok=True)
                wire.write(save / f"{name}.pcap")
    rows = tuple(_rows([*replayed.sent.elements(), *replayed.refused], internet, deployment))
    uplink, identifiers = sides["uplink"], Identifiers(talks)
    passing = {_host(row) for row in rows if not row.is_blocked}
    blocked = {_host(row) for row in rows if row.is_blocked} - passing
    return Report(
        rows=rows,
        answers=replayed.answers.total(),
        identifiers=len(identifiers.values),
        uplink=len(uplink.frames()),
        to_blocked=len(uplink.between(*blocked)),
        leaked=len(identifiers.leaked(uplink.frames(), uplink.between(*Lab.EXIT))),
        missed=uplink.missed + internet.missed,
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
        table.add_row(row.destination, *counts, f"[{colour}]{', '.join(row.verdicts)}[/]")
    console.print(table)
    sent, direct, wrapped = (
        sum(getattr(row, name) for row in report.rows) for name in ("sent", "direct", "wrapped")
    )
    console.print(
        f"{sent} packets from the clients; {wrapped} arrived by the exit, {direct} directly, "
        f"{report.answers} answers came back."
    )
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
    verdicts: dict[str, dict[str, None]] = {}
    for decision in deployment.decisions():
        transport, _, _, destination = decision["flow"].split()
        verdict = decision["verdict"]
        text = f"{verdict['action']} {verdict['rule']}"
        verdicts.setdefault(f"{transport} {destination}", {})[text] = None
    for destination, count in said.most_common():
        counts = arrived[destination, False], arrived[destination, True]
        yield Row(destination, count, *counts, tuple(verdicts.get(destination, ())))


def _host(row: Row) -> str:
    return Endpoint.parse(row.destination.split()[1]).host
