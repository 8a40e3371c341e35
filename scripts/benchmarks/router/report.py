"""What a run says.  Owns: tables, remarks, JSON.  Knows: rich.  Never: measuring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.benchmarks.router.figures import Results, Summary

BASES = ("plain", "nft")
# Spread of plain forwarding's own rate beyond which a run is called noisy.
_NOISY_SPREAD = 0.15
_OURS = ("gateway", "fast", "toy")
# What must be zero, by figure; the rest of the table is more or less.
_LEAKS = ("leaked", "leaked_denied", "leaked_new", "leaked_established")


@dataclass(frozen=True, slots=True)
class Column:
    """A figure, and what a person calls it."""

    figure: str
    title: str
    form: str = ",.0f"
    has_ratio: bool = False


_LATENCY = (
    Column("p50_us", "p50 µs"),
    Column("p99_us", "p99 µs"),
    Column("added_p99_us", "added p99 µs"),
)
_STREAMS = (
    Column("bulk_gbit_s", "Gbit/s", ".2f", True),
    Column("connections_per_s", "connections/s", has_ratio=True),
    Column("failed", "failed"),
    Column("is_relayed", "relayed", ".0%"),
)
_FLOOD = (
    Column("flood_pps", "flood pps"),
    Column("lost_share", "allowed lost", ".2%"),
    Column("p99_us", "allowed p99 µs"),
    Column("leaked", "leaked"),
)
_RELOAD = (
    Column("done_s", "done s", ".2f"),
    Column("in_effect_s", "in effect s", ".2f"),
    Column("leaked_denied", "leaked: denied"),
    Column("leaked_new", "newly denied"),
    Column("leaked_established", "its old flows"),
    Column("lost", "allowed lost"),
    Column("lost_new", "new allowed lost"),
)
_TABLES = {
    "steady": (
        Column("rate_pps", "pps at ≤ 1 % loss", has_ratio=True),
        Column("overload_pps", "pps when overloaded", has_ratio=True),
        Column("generator_held_up", "generator held up"),
    ),
    "newflow": (Column("rate_per_s", "new flows/s", has_ratio=True), *_LATENCY),
    "tcp": _STREAMS,
    "relay": _STREAMS,
    "flood": _FLOOD,
    "flood-max": _FLOOD,
    "kill": (
        Column("leaked", "leaked"),
        Column("goes_on_share", "allowed flows go on", ".1%"),
        Column("tcp_goes_on", "a TCP flow goes on", ".0%"),
        Column("new_share", "new flows pass", ".1%"),
    ),
}
# These are reported by their worst trial: one leak is a leak.
_WORST = frozenset((*_LEAKS, "lost", "lost_new"))


def show(results: Results, remarks: list[str], console: Console) -> None:
    """Print a table for each measure, and what must be known of the run."""
    for measure in _measures(results):
        console.print(_table(results, measure))
    for remark in (*remarks, *noise(results), *leaks(results)):
        console.print(f"• {remark}", highlight=False)


def noise(results: Results) -> Iterator[str]:
    """Say how noisy the machine was, where it was."""
    noisy = sum(not one.is_quiet for one in results.trials)
    if noisy:
        every = len(results.trials)
        yield f"{noisy} of {every} trials had to share the machine; medians leave them out"
    for measure, columns in _TABLES.items():
        for column in columns:
            spread = results.spread("plain", measure, column.figure) if column.has_ratio else None
            if spread is not None and spread > _NOISY_SPREAD:
                yield (
                    f"noisy: the middle half of plain forwarding's {column.title} ({measure}) lies "
                    f"{spread:.0%} apart; read smaller differences as none"
                )


def leaks(results: Results) -> list[str]:
    """Name every trial in which something leaked through ours; the others' are in the tables."""
    return [
        f"LEAK: {one.peer}, {one.measure}: {one.figures[figure]:.0f} packets ({figure})"
        for one in results.trials
        if one.peer in _OURS
        for figure in _LEAKS
        if one.figures.get(figure)
    ]


def as_json(results: Results, remarks: list[str]) -> dict[str, Any]:
    """Give every figure's median and ratios, and all trials."""
    figures: dict[str, Any] = {}
    for measure in _measures(results):
        for peer in _peers(results, measure):
            for figure in _figures(results, peer, measure):
                entry: dict[str, Any] = {"median": _plain(results.of(peer, measure, figure))}
                for base in BASES:
                    entry[f"to_{base}"] = _plain(results.ratio(peer, measure, figure, base))
                figures.setdefault(measure, {}).setdefault(peer, {})[figure] = entry
    return {
        "figures": figures,
        "remarks": [*remarks, *noise(results)],
        "leaks": leaks(results),
        "trials": [asdict(one) for one in results.trials],
    }


def _plain(summary: Summary | None) -> dict[str, Any] | None:
    return None if summary is None else asdict(summary)


def _table(results: Results, measure: str) -> Table:
    columns = _TABLES.get(measure, _RELOAD)
    table = Table(title=measure, title_justify="left")
    table.add_column("peer")
    for column in columns:
        table.add_column(column.title, justify="right")
        for base in BASES if column.has_ratio else ():
            table.add_column(f"/ {base}", justify="right")
    table.add_column("trials", justify="right")
    for peer in _peers(results, measure):
        cells = [cell for column in columns for cell in _cells(results, peer, measure, column)]
        count = sum((one.peer, one.measure) == (peer, measure) for one in results.trials)
        table.add_row(peer, *cells, str(count))
    return table


def _cells(results: Results, peer: str, measure: str, column: Column) -> Iterator[str]:
    found = results.of(peer, measure, column.figure)
    is_worst = column.figure in _WORST
    yield _cell(found, column.form, is_worst=is_worst)
    for base in BASES if column.has_ratio else ():
        yield _cell(results.ratio(peer, measure, column.figure, base), ".2f")


def _cell(found: Summary | None, form: str, *, is_worst: bool = False) -> str:
    """Write a figure; "~" before it: no trial was quiet."""
    if found is None:
        return "–"
    value = found.high if is_worst else found.median
    return ("~" if found.is_noisy else "") + format(value, form)


def _measures(results: Results) -> list[str]:
    return list(dict.fromkeys(one.measure for one in results.trials))


def _peers(results: Results, measure: str) -> list[str]:
    found = dict.fromkeys(one.peer for one in results.trials if one.measure == measure)
    return sorted(found, key=lambda name: BASES.index(name) if name in BASES else len(BASES))


def _figures(results: Results, peer: str, measure: str) -> list[str]:
    chosen = (one for one in results.trials if (one.peer, one.measure) == (peer, measure))
    return list(dict.fromkeys(name for one in chosen for name in one.figures))
