"""What several commands need.  Owns: shared options, clear errors, finding policies and data.
Knows: click, rich.  Never: a command."""

from __future__ import annotations

import datetime
import functools
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ParamSpec

import click
from rich.console import Console

from gateway import config, geo, logs, policy, starter
from gateway.document import Document, read
from gateway.errors import AddressError, DataError, GatewayError
from gateway.flow.discs import Discs
from gateway.flow.epoch import Epoch
from gateway.regular import open_regular
from gateway.sources import load_atlas, load_policy

# Keys that only a configuration has; a policy file has others.
_CONFIG_KEYS = frozenset(
    {"listeners", "exits", "exit", "relays", "geo", "evidence", "limits", "router"}
)
# No datagram is longer (RFC 768), and of a stream less is looked at.
_MAX_PAYLOAD_LEN = 65_535

Arguments = ParamSpec("Arguments")


def now() -> datetime.datetime:
    """Give the time of day, UTC."""
    return datetime.datetime.now(datetime.UTC)


def clear_errors(command: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Print our errors without a traceback, and leave with status 2."""

    @functools.wraps(command)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except GatewayError as error:
            click.echo(str(error), err=True)
            sys.exit(2)

    return wrapped


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
log_format_option = click.option(
    "--log-format", type=click.Choice(logs.FORMATS), default="text", help="Text or JSON lines."
)
log_level_option = click.option("--log-level", type=click.Choice(logs.LEVELS), default="info")
today_option = click.option(
    "--today",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Judge expiry and the age of data as on this day.  Omitted: today, UTC.",
)
geo_option = click.option(
    "--config", "config_path", help="Take geo (sources, overrides) from this gateway.yaml."
)
rtt_option = click.option(
    "--rtt",
    "rtts",
    multiple=True,
    metavar="NAME=MS",
    help="A round trip that was measured: from an exit of --config with a position to the address,"
    ' or from "gateway"; more than one may be given.',
)


def discs_told(
    config_path: str | None, rtts: Iterable[str], addresses: Iterable[bytes]
) -> Discs | None:
    """Take round trips to some addresses from a command line; None: there are none.

    Raises:  UsageError: one cannot be read, or who measured has no position.
    """
    told = [_rtt(one) for one in rtts]
    if not told:
        return None
    positions = {} if config_path is None else config.load(config_path).positions
    for name, _ in told:
        if name not in positions:
            raise click.UsageError(f'--rtt: "{name}" has no position; --config has to give it one')
    discs = Discs(positions, geo.Extents.bundled(), lambda: 0.0)
    for address in addresses:
        for name, rtt_s in told:
            discs.tell(name, address, rtt_s)
    return discs


def _rtt(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    try:
        rtt_ms = float(value)
    except ValueError:
        rtt_ms = 0.0
    if not name or not 0 < rtt_ms < 100_000:
        raise click.UsageError(f'--rtt: "{text}" is not of the form NAME=MS, such as eu=7.5')
    return name, rtt_ms / 1e3


def print_json(value: object) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def stdout() -> Console:
    """Give standard output as a rich console."""
    # Not a terminal: wide enough that no column is broken.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 140)


def day_of(today: datetime.datetime | None) -> datetime.date:
    """Give the day of --today, or today."""
    return now().date() if today is None else today.date()


def atlas_of(config_path: str | None, day: datetime.date) -> geo.Atlas:
    """Give the atlas that a configuration names, or the bundled one; warnings go to stderr."""
    default = starter.folder_of_policies() / "default.yaml"
    loaded = config.built_in(default) if config_path is None else config.load(config_path)
    atlas = load_atlas(loaded, day)
    for sentence in atlas.warnings:
        click.echo(sentence, err=True)
    return atlas


def epoch_of(policy_path: str, config_path: str | None, day: datetime.date) -> Epoch:
    """Give a policy over that atlas, and the identifiers that the configuration names."""
    values = None if config_path is None else config.load(config_path).values()
    return Epoch(0, load_policy(policy_path, day), atlas_of(config_path, day), values)


def payload_of(text: str) -> bytes:
    """Read hex:… or file:PATH."""
    kind, _, value = text.partition(":")
    try:
        if kind == "hex":
            return bytes.fromhex(value)
        if kind == "file":
            with open_regular(value) as file:
                return file.read(_MAX_PAYLOAD_LEN)
    except OSError as error:
        raise DataError(value, str(error.strerror), "a file with the payload") from error
    except ValueError as error:
        raise AddressError(text, f"hexadecimal ({error})") from error
    raise AddressError(text, "a payload such as hex:3800… or file:PATH")


def is_configuration(document: Document) -> bool:
    """Say whether a file is a gateway.yaml; else it is meant to be a policy."""
    return isinstance(document.value, dict) and bool(_CONFIG_KEYS & document.value.keys())


def policy_files(paths: tuple[str, ...]) -> list[Path]:
    """Give the policy files of paths, looking into folders; files of cases, configurations and
    jurisdiction lists are not policies."""
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            files += [one for one in files_within(path) if _is_policy(read(one))]
        else:
            files.append(path)
    if not files:
        raise DataError(", ".join(paths), "holds no policy", "files that end with .yaml")
    return files


def files_within(folder: Path) -> list[Path]:
    """Give the YAML files of a folder and of those in it, without files of cases."""
    inside = (one for one in sorted(folder.rglob("*.yaml")) if ".cases" not in one.suffixes)
    return [one for one in inside if not one.is_dir()]


def _is_policy(document: Document) -> bool:
    return not is_configuration(document) and not policy.is_list(document)
