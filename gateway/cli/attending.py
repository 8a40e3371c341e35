"""Commands to a running process.  Owns: status, reload.
Knows: the control socket (RFC 9110 over a Unix socket).  Never: what a status means; it says so."""

from __future__ import annotations

import http.client
import json
import socket
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from gateway import config
from gateway.cli.common import clear_errors, json_option, print_json, stdout
from gateway.console import control
from gateway.errors import CarryError

_NOT_THERE = 2
# A policy and the whole data are loaded in a second; of the largest, sets are put into the kernel.
_TIMEOUT_S = 120.0

config_option = click.option(
    "--config", "config_path", default="gateway.yaml", show_default=True, help="Of the process."
)


@click.command()
@config_option
@json_option
@clear_errors
def status(config_path: str, as_json: bool) -> None:
    """Say how a running gateway or exit is: status 0 if all is well, 1 if not, 2 if none runs."""
    _, said = ask(config_path, "GET", "/status")
    print_json(said) if as_json else _show(stdout(), said)
    sys.exit(0 if said["health"] == "ok" else 1)


@click.command()
@config_option
@json_option
@clear_errors
def reload(config_path: str, as_json: bool) -> None:
    """Have a running gateway or exit load policy and data again; 1 if they are refused."""
    code, said = ask(config_path, "POST", "/reload")
    is_good = code == http.client.OK
    if as_json:
        print_json({"accepted": is_good, **said})
    elif is_good:
        policy = said["policy"]
        click.echo(f'epoch {policy["epoch"]}: policy "{policy["name"]}" {policy["revision"]}')
    else:
        click.echo(f"refused, epoch {said['policy']['epoch']} stays:", err=True)
        for fault in said["last_load"]["faults"]:
            click.echo(fault, err=True)
    sys.exit(0 if is_good else 1)


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """HTTPConnection API."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(str(self._path))


def ask(config_path: str, method: str, what: str) -> tuple[int, dict[str, Any]]:
    """Ask a process; raises CarryError where none answers."""
    path = control.path_of(config.load(config_path))
    connection = _Connection(path)
    try:
        connection.request(method, what)
        answer = connection.getresponse()
        said: dict[str, Any] = json.loads(answer.read())
    except (FileNotFoundError, ConnectionRefusedError):
        raise CarryError(str(path), "no gateway of this configuration runs") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise CarryError(str(path), f"no answer: {error}") from error
    finally:
        connection.close()
    return answer.status, said


def _show(console: Console, said: dict[str, Any]) -> None:
    """Print a status in one screen."""
    policy, data, log = said["policy"], said["data"], said["log"]
    colour = "green" if said["health"] == "ok" else "red"
    _say(console, f"[bold {colour}]{said['health']}[/]")
    for trouble in said["troubles"]:
        _say(console, f"  [red]{escape(trouble)}[/]")
    _row(console, "process", f"{said['pid']}, {said['version']}, since {said['started']}")
    shadow = ", shadow: nothing is enforced" if policy["mode"] == "shadow" else ""
    _row(
        console,
        "policy",
        f'"{policy["name"]}" {policy["revision"]}, {policy["rules"]} rules, '
        f"epoch {policy['epoch']} since {policy['since']}{shadow}",
    )
    last = said["last_load"]
    _row(console, "last load", f"{last['at']} {'accepted' if last['accepted'] else 'refused'}")
    for fault in last["faults"]:
        _row(console, "", fault)
    for one in data["sources"]:
        stale = " [red]stale[/]" if one["stale"] else ""
        _row(console, "data", f"{one['name']}, {one['axis']}, {one['built'] or 'no date'}", stale)
    for one in said["listeners"]:
        _row(console, "listener", f"{one['kind']} {one['at']}")
    for one in said["exits"]:
        rtt = "" if one["rtt_s"] is None else f", {one['rtt_s'] * 1000:.1f} ms"
        _row(console, "exit", f"{one['name']} {'up' if one['up'] else 'down'}: {one['says']}{rtt}")
    if said["nearest"] is not None:
        _row(
            console, "nearest", said["nearest"]["exit"] or "none: what is wrapped to it is blocked"
        )
    _row(console, "flows", str(said["flows"]))
    for reason, count in said["refusals"].items():
        _row(console, "refused", f"{count} new flows: {reason}")
    for one in said["workers"]:
        age = "no report yet" if one["age_s"] is None else f"reported {one['age_s']} s ago"
        ended = f", ended {one['ends']} times" if one["ends"] else ""
        flows = "" if one["flows"] is None else f", {one['flows']} flows"
        judges = "judges" if one["up"] else "[red]is not there[/]"
        _row(console, "worker", f"queue {one['queue']}: {age}{flows}{ended}, ", judges)
    where = log["path"] or "nothing is written down"
    _row(console, "log", f"{where}, {log['written']} written, {log['lost']} lost")


def _row(console: Console, name: str, text: str, more: str = "") -> None:
    _say(console, f"{name:>10}  {escape(text)}{more}")


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)
