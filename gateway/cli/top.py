"""The command that follows.  Owns: `gateway top`: the console in a terminal.
Knows: rich, the control socket, termios.  Never: what a status means; it says so."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gateway.cli.attending import ask, config_option
from gateway.cli.common import clear_errors, json_option, print_json, stdout

Said = dict[str, Any]

_EVERY_S = 1.0
_COLOURS = {"allow": "green", "wrap": "blue", "reroute": "blue", "block": "red"}
_PARTS = ("status", "flows", "policy", "data")


@click.command()
@config_option
@click.option("--once", is_flag=True, help="Print it once, for scripts.")
@json_option
@clear_errors
def top(config_path: str, once: bool, as_json: bool) -> None:
    """Follow a running gateway or exit in the terminal; q ends it."""
    said = _gather(config_path)
    if as_json:
        print_json(said)
    elif once or not sys.stdout.isatty():
        stdout().print(screen(said, None))
    else:
        _follow(config_path, said)


def _gather(config_path: str) -> Said:
    return {part: ask(config_path, "GET", f"/{part}")[1] for part in _PARTS}


def _follow(config_path: str, said: Said) -> None:
    console = Console(highlight=False)
    before, at_s, rate = _decided(said), time.monotonic(), None
    with _keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            whole = Group(screen(said, rate, console.height), Text("q ends it", style="dim"))
            live.update(whole, refresh=True)
            if keys is not None and _is_ended(keys):
                return
            if keys is None:
                time.sleep(_EVERY_S)
            said = _gather(config_path)
            now, now_s = _decided(said), time.monotonic()
            rate = max(0, now - before) / max(now_s - at_s, 0.001)
            before, at_s = now, now_s


def _is_ended(keys: int) -> bool:
    """Wait for the next turn; say whether q was pressed meanwhile, or the terminal went away."""
    until_s = time.monotonic() + _EVERY_S
    while (left_s := until_s - time.monotonic()) > 0:
        if select.select([keys], [], [], left_s)[0]:
            pressed = os.read(keys, 64)
            if not pressed or b"q" in pressed.lower() or b"\x03" in pressed:
                return True
    return False


@contextlib.contextmanager
def _keys() -> Iterator[int | None]:
    """Give the keyboard's descriptor, key by key; None where there is none."""
    if not sys.stdin.isatty():
        yield None
        return
    import termios
    import tty

    keys = sys.stdin.fileno()
    before = termios.tcgetattr(keys)
    try:
        tty.setcbreak(keys)
        yield keys
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)


def screen(said: Said, rate: float | None, height: int = 0) -> Group:
    """Give one screen.

    Args:    said: by part; rate: decisions a second, None if it is not known yet; height: rows of
             the terminal, 0 for as many as it takes.
    """
    flows, policy = said["flows"], said["policy"]
    parts: list[RenderableType] = [_head(said, rate), _where(flows), _rules(policy), _exits(said)]
    used = 12 + len(policy["rules"]) + len(said["status"]["exits"])
    most = max(3, height - used - 12) if height else 10
    return Group(*parts, _recent(flows["recent"][:most]))


def _head(said: Said, rate: float | None) -> Group:
    status, flows = said["status"], said["flows"]
    is_well = status["health"] == "ok"
    policy, log = status["policy"], status["log"]
    ages = [one["age_days"] for one in said["data"]["sources"] if one["age_days"] is not None]
    shadow = "  [yellow]shadow: nothing is enforced[/]" if policy["mode"] == "shadow" else ""
    of = _share(flows["decided"]["traffic"])
    lines = [
        f"[bold {'green' if is_well else 'red'}]{status['health']}[/]  "
        f'policy "{escape(policy["name"])}" {policy["revision"]}, epoch {policy["epoch"]}{shadow}',
        *(f"  [red]{escape(trouble)}[/]" for trouble in status["troubles"]),
        f"{flows['flows']:,} flows, "
        + ("" if rate is None else f"{rate:,.1f} decisions a second, ")
        + f"{of} of {_decided(said):,} blocked since the start; "
        f"data at most {max(ages, default=0)} days old; {log['written']:,} records, "
        f"{log['lost']:,} lost",
    ]
    return Group(*(Text.from_markup(line) for line in lines))


def _where(flows: Said) -> Table:
    table = _table("flows now", *_COLOURS)
    for name, counts in _largest(flows["now"]["jurisdictions"], 5):
        table.add_row(Text(_jurisdiction(name)), *_numbers(counts))
    table.add_section()
    for name, counts in _largest(flows["now"]["countries"], 6):
        table.add_row(Text("no source places it" if name == "none" else name), *_numbers(counts))
    return table


def _rules(policy: Said) -> Table:
    table = _table("rule", "action", "hits", "")
    rules = [*policy["rules"], {"id": "default", "reason": "where no rule matches"}]
    for one in rules:
        one = {**policy["default"], "target": None, "shadow_percent": 0, **one}
        colour = _COLOURS[one["action"]]
        never = "" if one["hits"] or one["id"] == "default" else "never hit"
        if one["shadow_percent"]:
            never = f"shadow {one['shadow_percent']:g} %: would have, {one['would']:,} times"
        action = f"{one['action']} {one['target'] or ''}".strip()
        hits = Text(f"{one['hits']:,}", justify="right")
        table.add_row(Text(one["id"]), Text(action, style=colour), hits, Text(never, "yellow"))
    return table


def _exits(said: Said) -> Table:
    table = _table("exit", "", "round trip", "")
    for one in said["status"]["exits"]:
        rtt = "" if one["rtt_s"] is None else f"{one['rtt_s'] * 1000:.1f} ms"
        state = Text("up", "green") if one["up"] else Text("down", "red")
        table.add_row(Text(one["name"]), state, rtt, Text(one["says"]))
    if not said["status"]["exits"]:
        table.add_row(Text("none is configured", "dim"))
    return table


def _recent(decisions: list[Said]) -> Table:
    table = _table("latest, UTC", "client", "what", "where", "verdict", "rule")
    for one in decisions:
        what = (one["transport"], one["protocol"], one["message"], one["traffic"])
        verdict = one["action"] + (f" {one['target']}" if one["target"] else "")
        where = one["country"] or ""
        colour = _COLOURS["block" if one["but"] else one["action"]]
        table.add_row(
            one["time"][11:23],
            one["client"],
            Text(" ".join(word for word in what if word)),
            Text({"": "", "none": "not known"}.get(where, where)),
            Text(verdict + (", blocked" if one["but"] else ""), style=colour),
            Text(one["rule"]),
        )
    return table


def _table(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for head in heads:
        is_number = head in _COLOURS or head == "hits"
        table.add_column(head, justify="right" if is_number else "left", no_wrap=True)
    return table


def _numbers(counts: Mapping[str, int]) -> Iterator[Text]:
    for action, colour in _COLOURS.items():
        count = counts.get(action, 0)
        yield Text(f"{count:,}" if count else "·", style=colour if count else "dim")


def _largest(counts: Mapping[str, Mapping[str, int]], most: int) -> list[tuple[str, Any]]:
    return sorted(counts.items(), key=lambda one: -sum(one[1].values()))[:most]


def _jurisdiction(name: str) -> str:
    if name == "none":
        return "no jurisdiction of the policy's"
    return f"perhaps {name[:-1]}" if name.endswith("?") else name


def _decided(said: Said) -> int:
    return sum(sum(counts.values()) for counts in said["flows"]["decided"]["traffic"].values())


def _share(traffic: Mapping[str, Mapping[str, int]]) -> str:
    every = sum(sum(counts.values()) for counts in traffic.values())
    blocked = sum(counts.get("block", 0) for counts in traffic.values())
    return f"{100 * blocked / every:.0f} %" if every else "none"
