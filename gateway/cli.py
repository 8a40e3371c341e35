"""The commands.  Owns: `gateway COMMAND`, their options and exit statuses: 0 fine, 1 findings or
failures, 2 bad usage or configuration.  Knows: click, rich.  Never: doing the work itself."""

from __future__ import annotations

import datetime
import functools
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

import click
from rich.console import Console

from gateway import config, demo, geo, logs, policy, show, starter
from gateway.core import World, load_atlas, load_epoch
from gateway.document import read
from gateway.errors import AddressError, DataError, GatewayError, Problem
from gateway.flow.account import account_of, evidence_account
from gateway.flow.cases import CaseResult, run_cases, unreached
from gateway.flow.epoch import Epoch
from gateway.model import FlowKey, Traffic, pack
from gateway.service import ExitServer, Gateway

Arguments = ParamSpec("Arguments")

# Keys that only a configuration has; a policy file has others.
_CONFIG_KEYS = frozenset({"listeners", "exits", "exit", "relays", "geo", "evidence", "limits"})


def real_world() -> World:
    """Give the host's own clock and chance."""
    return World(now=_now, random_octets=os.urandom)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _clear_errors(command: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Print our errors without a traceback, and leave with status 2."""

    @functools.wraps(command)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except GatewayError as error:
            click.echo(str(error), err=True)
            sys.exit(2)

    return wrapped


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_log_format = click.option(
    "--log-format", type=click.Choice(logs.FORMATS), default="text", help="Text or JSON lines."
)
_log_level = click.option("--log-level", type=click.Choice(logs.LEVELS), default="info")
_today = click.option(
    "--today",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Judge expiry and the age of data as on this day.  Omitted: today, UTC.",
)
_geo_config = click.option(
    "--config", "config_path", help="Take geo (sources, overrides) from this gateway.yaml."
)


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _console() -> Console:
    # Not a terminal: wide enough that no column is broken.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 140)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rtc-gateway", prog_name="gateway")
def main() -> None:
    """Routing-policy enforcement gateway for real-time audio apps."""


# --- running -------------------------------------------------------------------------------------


@main.command()
@click.option("--config", "config_path", help="gateway.yaml; without: ./gateway.yaml or built in.")
@_log_format
@_log_level
@_clear_errors
def run(config_path: str | None, log_format: str, log_level: str) -> None:
    """Run the gateway.  SIGTERM drains and stops it; SIGHUP loads policy and data again."""
    if config_path is not None or Path("gateway.yaml").exists():
        loaded = config.load(config_path or "gateway.yaml")
    else:
        loaded = config.built_in(starter.folder_of_policies() / "default.yaml")
    _serve(Gateway, loaded, log_format, log_level)


@main.command("exit")
@click.option("--config", "config_path", default="exit.yaml", show_default=True)
@_log_format
@_log_level
@_clear_errors
def exit_(config_path: str, log_format: str, log_level: str) -> None:
    """Run an exit: the far end of gateways' tunnels, with a policy of its own."""
    _serve(ExitServer, config.load(config_path), log_format, log_level)


def _serve(
    kind: type[Gateway] | type[ExitServer], loaded: config.Config, log_format: str, log_level: str
) -> None:
    from twisted.internet import reactor  # installed on first import

    logs.begin(sys.stderr, log_format, log_level)
    twisted_reactor: Any = reactor
    served = kind(twisted_reactor, loaded, real_world())
    # Before anything listens: whoever saw it listen may send the signal.
    signal.signal(signal.SIGHUP, lambda *_: twisted_reactor.callFromThread(served.core.reload))
    served.start()
    twisted_reactor.addSystemEventTrigger("before", "shutdown", served.stop)
    twisted_reactor.run()


@main.command()
@click.argument("directory", default=".")
@click.option("--exit-host", default="exit.example", show_default=True, help="Name or address.")
@click.option("--exit-port", default=4433, show_default=True)
@_as_json
@_clear_errors
def init(directory: str, exit_host: str, exit_port: int, as_json: bool) -> None:
    """Write a starter: gateway.yaml, exit.yaml, policies, and keys for both ends."""
    plan = starter.Plan(exit_host=exit_host, exit_port=exit_port)
    files = starter.write(Path(directory), plan, _now())
    if as_json:
        _print_json({"files": [str(path) for path in files]})
        return
    for path in files:
        click.echo(path)
    click.echo(
        "\nTake exit.yaml, exit-policy.yaml, exit.pem, exit.key and ca.pem to the exit, and keep"
        "\nca.key off both machines.  Then: gateway exit there, gateway run here."
    )


@main.command("demo")
@click.argument("capture", required=False, type=click.Path(path_type=Path))
@click.option("--fast", is_flag=True, help="As quickly as it goes, not at the capture's pace.")
@_as_json
@_clear_errors
def demo_(capture: Path | None, fast: bool, as_json: bool) -> None:
    """Play a real client's traffic through gateway and exit, all on loopback."""
    result = demo.play(real_world(), capture, fast=fast, quiet=as_json)
    if as_json:
        _print_json(demo.as_json(result))
    else:
        demo.show(result, _console())
    sys.exit(0 if result.is_good else 1)


# --- policies ------------------------------------------------------------------------------------


@main.command()
@click.argument("paths", nargs=-1, required=True)
@_as_json
@_clear_errors
def check(paths: tuple[str, ...], as_json: bool) -> None:
    """Check policies and configurations: every fault at its line."""
    faults: list[Problem] = []
    remarks: list[str] = []
    for path in paths:
        try:
            remarks += _check(path)
        except GatewayError as error:
            faults += getattr(error, "problems", ()) or [Problem(path, 0, 0, str(error))]
    if as_json:
        rows = [
            {"file": one.file, "line": one.line, "column": one.column, "problem": one.sentence}
            for one in faults
        ]
        _print_json({"ok": not faults, "problems": rows, "remarks": remarks})
    else:
        for line in (*remarks, *faults):
            click.echo(str(line), err=line in faults)
    sys.exit(2 if faults else 0)


def _check(path: str) -> list[str]:
    document = read(path)
    if isinstance(document.value, dict) and _CONFIG_KEYS & document.value.keys():
        loaded = config.load(path)
        epoch = load_epoch(loaded, 0, _now().date())
        warnings = [*map(str, epoch.policy.warnings), *epoch.atlas.warnings]
        return [*warnings, f"{path}: a sound configuration"]
    one = policy.load(path, _now().date())
    counts = f"{len(one.rules)} rules, {len(one.cases)} cases"
    return [*map(str, one.warnings), f'{path}: policy "{one.name}" is sound, {counts}']


@main.command()
@click.argument("policy_path", metavar="POLICY")
@click.argument("flow")
@click.option("--payload", help="hex:… or file:PATH")
@click.option("--traffic", type=click.Choice([str(one) for one in Traffic]), help="The class.")
@click.option("--name", "names", multiple=True, help="A name the client asked for.")
@_geo_config
@_today
@_as_json
@_clear_errors
def explain(
    policy_path: str,
    flow: str,
    payload: str | None,
    traffic: str | None,
    names: tuple[str, ...],
    config_path: str | None,
    today: datetime.datetime | None,
    as_json: bool,
) -> None:
    """Say what a policy does with a flow such as "udp 10.1.0.2:5000 > 118.190.148.38:8000"."""
    epoch = _epoch(policy_path, config_path, _day(today))
    facts = epoch.seen(
        FlowKey.parse(flow),
        None if payload is None else _payload(payload),
        tuple(name.lower().rstrip(".") for name in names),
        None if traffic is None else Traffic(traffic),
    )
    account = account_of(epoch, facts)
    _print_json(account) if as_json else show.account(_console(), account)


@main.command()
@click.argument("paths", nargs=-1, required=True)
@_geo_config
@_today
@_as_json
@_clear_errors
def test(
    paths: tuple[str, ...],
    config_path: str | None,
    today: datetime.datetime | None,
    as_json: bool,
) -> None:
    """Run the cases of policies: files, or folders of them."""
    day = _day(today)
    results: list[CaseResult] = []
    remarks: list[str] = []
    atlas = _atlas(config_path, day)
    for path in _policy_files(paths):
        epoch = Epoch(0, policy.load(path, day), atlas)
        ours = list(run_cases(epoch))
        results += ours
        remarks += [f'{path}: no case reaches rule "{rule}"' for rule in unreached(epoch, ours)]
    failures = [result for result in results if result.failure]
    if as_json:
        _print_json(
            {
                "passed": len(results) - len(failures),
                "failed": len(failures),
                "failures": [
                    {"case": str(one.case.place), "failure": one.failure, **one.account}
                    for one in failures
                ],
                "remarks": remarks,
            }
        )
    else:
        for failure in failures:
            show.failed_case(_console(), failure)
        for remark in remarks:
            click.echo(remark)
        click.echo(f"{len(results) - len(failures)} cases passed, {len(failures)} failed")
    sys.exit(1 if failures else 0)


@main.command()
@click.argument("addresses", nargs=-1, required=True)
@click.option("--policy", "policy_path", help="Say which of its jurisdictions they belong to.")
@_geo_config
@_today
@_as_json
@_clear_errors
def locate(
    addresses: tuple[str, ...],
    policy_path: str | None,
    config_path: str | None,
    today: datetime.datetime | None,
    as_json: bool,
) -> None:
    """Show the evidence on addresses, with its sources and dates."""
    packed = [pack(address) for address in addresses]
    atlas = _atlas(config_path, _day(today))
    epoch = None
    if policy_path is not None:
        epoch = Epoch(0, policy.load(policy_path, _day(today)), atlas)
    located = [
        _located(text, one, atlas, epoch) for text, one in zip(addresses, packed, strict=True)
    ]
    if as_json:
        _print_json(located)
        return
    console = _console()
    for one in located:
        console.print(f"\n[bold]{one['address']}[/]")
        if epoch is not None:
            console.print(f"  jurisdictions: {', '.join(one['jurisdictions']) or 'none'}")
            if one["undetermined"]:
                console.print(f"  may be in: {', '.join(one['undetermined'])}")
        for doubt in one["doubts"]:
            console.print(f"  {doubt}")
        show.evidence(console, one["evidence"])
    for credit in sorted({source.credit for source in atlas.sources if source.credit}):
        console.print(f"[dim]{credit}[/]")


def _located(text: str, address: bytes, atlas: geo.Atlas, epoch: Epoch | None) -> dict[str, Any]:
    located: dict[str, Any] = {
        "address": text,
        "evidence": [evidence_account(one) for one in atlas.evidence(address)],
        "doubts": list(atlas.place(address).doubts),
    }
    if epoch is not None:
        key = FlowKey.parse("udp 0.0.0.0:0 > 0.0.0.0:0")
        key = key._replace(destination=key.destination._replace(address=address))
        found = epoch.policy.jurisdictions_of(epoch.facts(key, None))
        located["jurisdictions"] = sorted(found.members)
        located["undetermined"] = sorted(found.undetermined)
    return located


# --- what several commands need ------------------------------------------------------------------


def _day(today: datetime.datetime | None) -> datetime.date:
    return _now().date() if today is None else today.date()


def _atlas(config_path: str | None, day: datetime.date) -> geo.Atlas:
    default = starter.folder_of_policies() / "default.yaml"
    loaded = config.built_in(default) if config_path is None else config.load(config_path)
    atlas = load_atlas(loaded, day)
    for sentence in atlas.warnings:
        click.echo(sentence, err=True)
    return atlas


def _epoch(policy_path: str, config_path: str | None, day: datetime.date) -> Epoch:
    return Epoch(0, policy.load(policy_path, day), _atlas(config_path, day))


def _payload(text: str) -> bytes:
    kind, _, value = text.partition(":")
    try:
        if kind == "hex":
            return bytes.fromhex(value)
        if kind == "file":
            return Path(value).read_bytes()
    except OSError as error:
        raise DataError(value, str(error.strerror), "a file with the payload") from error
    except ValueError as error:
        raise AddressError(text, f"hexadecimal ({error})") from error
    raise AddressError(text, "a payload such as hex:3800… or file:PATH")


def _policy_files(paths: tuple[str, ...]) -> list[Path]:
    files: list[Path] = []
    for path in map(Path, paths):
        inside = sorted(path.rglob("*.yaml")) if path.is_dir() else [path]
        files += [one for one in inside if not one.name.endswith(".cases.yaml") or one == path]
    if not files:
        raise DataError(", ".join(paths), "holds no policy", "files that end with .yaml")
    return files
