"""The command that reads captures.  Owns: audit.  Knows: click, rich's progress bar.
Never: what is found, and how it is told."""

from __future__ import annotations

import datetime
import gc
import json
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from gateway import config, policy, starter
from gateway.audit import beside, page, text
from gateway.audit.account import Accounts
from gateway.audit.captures import Captures
from gateway.audit.flows import AuditedFlow
from gateway.audit.observers import FinderObserver, Observer
from gateway.audit.parties import Parties
from gateway.audit.reading import Audit
from gateway.audit.summary import Summary
from gateway.cli.common import (
    atlas_of,
    clear_errors,
    day_of,
    geo_option,
    json_option,
    print_json,
    stdout,
    today_option,
)
from gateway.errors import DataError
from gateway.flow.account import Account
from gateway.flow.epoch import Epoch
from gateway.leaks import GivenFinder, SweepFinder, UnnamedFinder
from gateway.sources import load_epoch

# So that a report can be had again.
_SEED = 1


@click.command()
@click.argument("captures", nargs=-1, required=True)
@click.option(
    "--policy", "policy_path", help="Judge by this policy.  Omitted: --config's, or ours."
)
@click.option("--html", "html_path", help="Write a report for people to this file.")
@click.option(
    "--client", "clients", multiple=True, help="A network of clients.  Omitted: it is guessed."
)
@click.option(
    "--identifiers",
    "identifiers_path",
    help="Search for these values too: a file with what gateway.yaml has under `identifiers`.",
)
@click.option("--no-unnamed", is_flag=True, help="Do not search for identifiers nobody named.")
@click.option(
    "--no-recognisers", is_flag=True, help="Know no protocol: only values and patterns are found."
)
@click.option(
    "--observer",
    "as_observer",
    is_flag=True,
    help="The captures are of a gateway's far side: what can someone on that wire tell?",
)
@click.option(
    "--beside",
    "front",
    multiple=True,
    help="With --observer: a capture of the same time from the clients' side.",
)
@geo_option
@today_option
@json_option
@clear_errors
def audit(
    captures: tuple[str, ...],
    policy_path: str | None,
    html_path: str | None,
    clients: tuple[str, ...],
    identifiers_path: str | None,
    no_unnamed: bool,
    no_recognisers: bool,
    as_observer: bool,
    front: tuple[str, ...],
    config_path: str | None,
    today: datetime.datetime | None,
    as_json: bool,
) -> None:
    """Say what captures (pcap, pcapng, .gz) show to anyone on the wire, and where it went."""
    if front and not as_observer:
        raise click.UsageError("--beside belongs to --observer")
    if as_observer and (html_path or no_unnamed or no_recognisers):
        raise click.UsageError("--observer has no --html, --no-unnamed or --no-recognisers")
    epoch = _epoch(policy_path, config_path, day_of(today))
    if identifiers_path is not None:
        epoch = replace(epoch, values=config.load_identifiers(identifiers_path))
    if as_observer:
        sys.exit(_observe(epoch, captures, front, clients, as_json=as_json))
    result = run(
        epoch,
        captures,
        Parties(clients),
        as_json=as_json,
        observers=_observers(epoch, unnamed=not no_unnamed),
        recognises=not no_recognisers,
    )
    if html_path is not None:
        _write(html_path, result)
    if as_json:
        click.echo(json.dumps({"summary": result.summary}, ensure_ascii=False))
    else:
        text.summary(stdout(), result.summary)
    sys.exit(_status(result.summary))


def run(
    epoch: Epoch,
    paths: tuple[str, ...],
    parties: Parties,
    *,
    as_json: bool,
    observers: tuple[Observer, ...],
    recognises: bool = True,
) -> page.Report:
    """Read captures, print a line a flow, and give what a page needs."""
    accounts, is_terminal = Accounts(epoch), sys.stdout.isatty()
    summary = Summary(epoch, accounts)

    def ended(flow: AuditedFlow) -> None:
        summary.add(flow)
        if as_json:
            print(json.dumps(accounts.of(flow), ensure_ascii=False))
        else:
            print(text.flow(flow, is_styled=is_terminal))

    with _bar(paths) as files, _few_collections():
        reading = Audit(
            epoch,
            ended,
            parties=parties,
            observers=observers,
            file=lambda: files.current.path,
            recognises=recognises,
        )
        reading.read(files.blocks())
        reading.end()
    findings = [one for observer in observers for one in observer.findings()]
    account = summary.account(reading, files.files, findings)
    return page.Report(account, reading.timeline, reading.specimens.all())


def _observers(epoch: Epoch, *, unnamed: bool) -> tuple[Observer, ...]:
    found: list[Observer] = [FinderObserver(SweepFinder(), reads_streams=False)]
    if unnamed:
        found.insert(0, FinderObserver(UnnamedFinder(), reads_streams=False))
    if epoch.values is not None:
        found.insert(0, FinderObserver(GivenFinder(epoch.values), reads_streams=True))
    return tuple(found)


def _observe(
    epoch: Epoch,
    wire: tuple[str, ...],
    front: tuple[str, ...],
    clients: tuple[str, ...],
    *,
    as_json: bool,
) -> int:
    """Take the observer's test; 2 if nothing could be read, 1 if someone can tell, else 0."""
    parties = (Parties() if front else Parties(clients)), Parties(clients)
    result = beside.take(epoch, wire, front, parties, random.Random(_SEED).shuffle)
    if as_json:
        print_json({"observer": beside.account(result)})
    else:
        beside.text(stdout(), result)
    if not result.packets:
        return 2
    return 1 if result.tells or result.faults else 0


def _epoch(policy_path: str | None, config_path: str | None, day: datetime.date) -> Epoch:
    if policy_path is None and config_path is not None:
        epoch = load_epoch(config.load(config_path), 0, day)
        for sentence in epoch.atlas.warnings:
            click.echo(sentence, err=True)
        return epoch
    path = policy_path or starter.folder_of_policies() / "default.yaml"
    values = None if config_path is None else config.load(config_path).values()
    return Epoch(0, policy.load(path, day), atlas_of(config_path, day), values)


@contextmanager
def _bar(paths: tuple[str, ...]) -> Iterator[Captures]:
    """Show on a terminal how much was read."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Captures(paths)
        return
    columns = TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading")
        files = Captures(paths, lambda octets: bar.update(task, completed=octets))
        bar.update(task, total=files.size)
        yield files


@contextmanager
def _few_collections() -> Iterator[None]:
    """Have garbage collected seldom: what is there stays, and thousands of flows are made anew."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(200_000, 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _write(path: str, report: page.Report) -> None:
    try:
        Path(path).write_text(page.render(report), encoding="utf-8")
    except OSError as error:
        raise DataError(path, error.strerror or str(error), "a file that can be written") from error


def _status(summary: Account) -> int:
    """2 if no packet could be read, 1 if something was found or a capture is broken, else 0."""
    if not summary["packets"]:
        click.echo("no packet could be read, so nobody can say that nothing is there", err=True)
        return 2
    broken = any(one["fault"] for one in summary["captures"])
    return 1 if broken or summary["findings"] else 0
