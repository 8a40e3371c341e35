"""scripts/bench tunnel: what a datagram costs a gateway and an exit, beside plain relays.

Real programs on loopback: `gateway run` with a forward and a policy that wraps, `gateway exit`, and
two plain Twisted relays in a row, before one echo.  Trials take turns; printed are medians of
processor time (user and system, all threads) a datagram, their ratios to the relay of the same
round, and what the tunnel adds to the median round trip at a steady rate.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from scripts.benchmarks.tunnel.load import Flows, Result, flows
from scripts.benchmarks.tunnel.stage import Chain, chains

_FLOWS, _WINDOW = 8, 32
_AIMS = {"gateway": 1.5, "exit": 2.5, "added": 0.3}


@dataclass(frozen=True, slots=True)
class Trial:
    """One chain's figures, in one round."""

    near_us: float
    """Processor time a datagram, of the program next to the client."""
    far_us: float
    rate_hz: float
    """Datagrams a second, both directions."""
    median_ms: float
    """Of the round trips; 0: of a closed loop."""
    lost: int


@dataclass(frozen=True, slots=True)
class Line:
    """The figures of one load."""

    load: str
    idle_flows: int
    relay_us: float
    gateway_us: float
    gateway_ratio: float
    exit_us: float
    exit_ratio: float
    added_ms: float | None
    """To the median round trip; None: of a closed loop."""
    tunnel_hz: float
    relay_hz: float
    lost: int


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1))
@click.option("--seconds", default=2.0, show_default=True, help="Of one trial.")
@click.option("--octets", default=200, show_default=True, type=click.IntRange(8, 1149))
@click.option("--idle", default="0,100,500", show_default=True, help="Idle flows beside the load.")
@click.option("--rate", default=1000.0, show_default=True, help="Datagrams a second, one way.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(rounds: int, seconds: float, octets: int, idle: str, rate: float, as_json: bool) -> None:
    """Measure what a datagram costs at both ends of a tunnel."""
    try:
        idle_flows = sorted({int(one) for one in idle.split(",")})
    except ValueError:
        raise click.UsageError("--idle is a list of numbers, such as 0,500") from None
    with tempfile.TemporaryDirectory(prefix="bench-tunnel-") as name:
        try:
            with ExitStack() as stack:
                both = stack.enter_context(chains(Path(name)))
                lines = _measure(stack, both, idle_flows, rounds, (seconds, octets, rate))
        except RuntimeError as fault:
            print(f"scripts/bench tunnel: {fault}", file=sys.stderr)
            for log in sorted(Path(name).glob("*.log")):
                print(f"{log.stem}: {log.read_text(errors='replace')[-500:]}", file=sys.stderr)
            sys.exit(2)
    if as_json:
        print(json.dumps([asdict(line) for line in lines], indent=1))
    else:
        _print(lines, octets, rate)


def _measure(
    stack: ExitStack,
    both: tuple[Chain, Chain],
    idle_flows: list[int],
    rounds: int,
    load: tuple[float, int, float],
) -> list[Line]:
    seconds, octets, rate = load
    senders = [stack.enter_context(flows(one.entrance, _FLOWS, octets)) for one in both]
    lines, idle = [], 0
    for wanted in idle_flows:
        if wanted > idle:
            for one in both:
                stack.enter_context(flows(one.entrance, wanted - idle, octets))
            idle = wanted
        for paced in (False, True):
            taken: list[list[Trial]] = [[], []]
            for _ in range(rounds):
                for chain, sender, trials in zip(both, senders, taken, strict=True):
                    trials.append(_trial(chain, sender, seconds, rate if paced else None))
            lines.append(line_of(f"{rate:g}/s" if paced else "closed loop", idle, *taken))
    return lines


def _trial(chain: Chain, sender: Flows, seconds: float, rate: float | None) -> Trial:
    before = chain.near.cpu_s(), chain.far.cpu_s()
    if rate is None:
        result = sender.closed_loop(_WINDOW, seconds)
    else:
        result = sender.paced(rate, seconds)
    after = chain.near.cpu_s(), chain.far.cpu_s()
    near_us, far_us = (_us(end - begin, result) for begin, end in zip(before, after, strict=True))
    median_ms = 1e3 * statistics.median(result.trips_s) if result.trips_s else 0.0
    return Trial(near_us, far_us, 2 * result.answered / result.took_s, median_ms, result.lost)


def _us(cpu_s: float, result: Result) -> float:
    if not result.answered:
        raise RuntimeError("nothing came back")
    return 1e6 * cpu_s / (2 * result.answered)


def line_of(load: str, idle: int, plain: list[Trial], tunnel: list[Trial]) -> Line:
    """Make the figures of one load of the trials of both chains, round by round."""
    pairs = list(zip(plain, tunnel, strict=True))
    middle = statistics.median
    added = middle([ours.median_ms - theirs.median_ms for theirs, ours in pairs])
    return Line(
        load=load,
        idle_flows=idle,
        relay_us=middle([one.near_us for one in plain]),
        gateway_us=middle([one.near_us for one in tunnel]),
        gateway_ratio=middle([ours.near_us / theirs.near_us for theirs, ours in pairs]),
        exit_us=middle([one.far_us for one in tunnel]),
        exit_ratio=middle([ours.far_us / theirs.near_us for theirs, ours in pairs]),
        added_ms=added if plain[0].median_ms else None,
        tunnel_hz=middle([one.rate_hz for one in tunnel]),
        relay_hz=middle([one.rate_hz for one in plain]),
        lost=sum(one.lost for one in (*plain, *tunnel)),
    )


def _print(lines: list[Line], octets: int, rate: float) -> None:
    table = Table(title=f"datagrams of {octets} octets; processor time each, both directions")
    for name in ("load", "idle flows", "relay µs", "gateway µs", "ratio", "exit µs", "ratio"):
        table.add_column(name, justify="right")
    for name in ("added ms", "tunnel/s", "relays/s", "lost"):
        table.add_column(name, justify="right")
    for one in lines:
        table.add_row(
            one.load,
            str(one.idle_flows),
            f"{one.relay_us:.1f}",
            f"{one.gateway_us:.1f}",
            f"{one.gateway_ratio:.2f}",
            f"{one.exit_us:.1f}",
            f"{one.exit_ratio:.2f}",
            "" if one.added_ms is None else f"{one.added_ms:.2f}",
            f"{one.tunnel_hz:,.0f}",
            f"{one.relay_hz:,.0f}",
            str(one.lost),
        )
    console = Console()
    console.print(table)
    console.print(
        f"aims: gateway <= {_AIMS['gateway']}, exit <= {_AIMS['exit']} times the relay; "
        f"added < {_AIMS['added']} ms at {rate:g} a second"
    )


if __name__ == "__main__":
    main()
