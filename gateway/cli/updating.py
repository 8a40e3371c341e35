"""Bringing newer data.  Owns: update, and what people see of it.
Knows: click.  Never: what data are good; supply knows."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from gateway import config
from gateway.cli.common import clear_errors, json_option, now, print_json
from gateway.config import Config
from gateway.geo import SourceInfo
from gateway.geo.sources import is_stale
from gateway.review.change import Comparison
from gateway.sources import load_atlas
from gateway.supply.checks import Finding
from gateway.supply.update import Means, Outcome, owners_in_use, store_of
from gateway.supply.update import update as update_data

# Lines of ranges and findings that a person reads; --json has all of them.
_MOST = 20
# Days before data grow stale on which people are told.
_WARNED_DAYS = 30


@click.command()
@click.option("--config", "config_path", default="gateway.yaml", help="The gateway.yaml.")
@click.option("--check", "check_only", is_flag=True, help="Fetch and check, put nothing into use.")
@click.option("--yes", is_flag=True, help="Say yes to what a person has to say yes to.")
@click.option("--back", is_flag=True, help="Return to the data that were in use before.")
@click.option("--owners", is_flag=True, help="Print the table of owners in use, and end.")
@json_option
@clear_errors
def update(
    config_path: str, check_only: bool, yes: bool, back: bool, owners: bool, as_json: bool
) -> None:
    """Bring newer data (geo: updates of gateway.yaml): fetch, check, show what changes, use them.

    A running gateway takes them up when it reloads (SIGHUP).  Exit status: 0 updated or nothing
    new, 1 refused, 2 a configuration or a source that cannot be used.
    """
    loaded = config.load(config_path)
    if back + owners + check_only > 1:
        raise click.UsageError("--back, --owners and --check exclude one another")
    if owners:
        _print_owners(loaded)
    elif back:
        _go_back(loaded, as_json)
    else:
        _bring(loaded, check_only, yes, as_json)


def _bring(loaded: Config, check_only: bool, yes: bool, as_json: bool) -> None:
    def agree(found: Sequence[Finding]) -> bool:
        if yes:
            return True
        if as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
            return False
        _show_findings(found)
        return click.confirm("Use these data all the same?")

    means = Means(
        today=now().date(),
        clock=time.monotonic,
        tell=lambda sentence: click.echo(f"{sentence} …", err=True),
        agree=agree,
    )
    outcome = update_data(loaded, means, check_only=check_only)
    if as_json:
        print_json(_account(outcome))
    else:
        _show(outcome, loaded)
    sys.exit(1 if outcome.status == "refused" else 0)


def _go_back(loaded: Config, as_json: bool) -> None:
    store = store_of(loaded)
    with store.locked():
        name = store.back()
    if as_json:
        print_json({"status": "back", "version": name})
        return
    click.echo(f"in use now: {f'version {name}' if name else 'the bundled data'}")
    click.echo("what was in use is not taken again without --yes; reload the gateway")


def _print_owners(loaded: Config) -> None:
    click.echo("asn,country")
    for asn, country in owners_in_use(loaded).items():
        click.echo(f"{asn},{country}")


def _show(outcome: Outcome, loaded: Config) -> None:
    if outcome.comparison is not None:
        _show_comparison(outcome.comparison)
    _show_findings(outcome.found or outcome.overruled)
    for source in outcome.origins:
        click.echo(f"  {source.axis}: {source.name}, of {source.built}")
    sentence = {
        "updated": f"updated: version {outcome.name} is in use; reload the gateway (SIGHUP)",
        "unchanged": "nothing new",
        "acceptable": "these data may be used; nothing was changed (--check)",
        "refused": "refused: nothing was changed",
    }[outcome.status]
    click.echo(sentence)
    if "updated" not in loaded.geo.sources:
        click.echo(
            'geo: sources does not name "updated": no gateway uses what is fetched', err=True
        )
    for line in _soon_stale(loaded, outcome):
        click.echo(line, err=True)


def _show_findings(found: Sequence[Finding]) -> None:
    for one in found[:_MOST]:
        click.echo(f"{one.check}: {one.says}\n    {one.do}")
    if len(found) > _MOST:
        click.echo(f"and {len(found) - _MOST} more (--json has them all)")


def _show_comparison(comparison: Comparison) -> None:
    for label, extent in (
        ("newly allowed", comparison.newly_allowed.extent),
        ("newly blocked", comparison.newly_blocked),
    ):
        click.echo(f"{label}: {extent}")
        for text in extent.texts(_MOST):
            click.echo(f"  {text}")
        if extent.range_count > _MOST:
            click.echo(f"  and {extent.range_count - _MOST:,} ranges more (--json has them all)")


def _soon_stale(loaded: Config, outcome: Outcome) -> list[str]:
    """Tell of data in use that will count as no evidence soon, while there is time."""
    today = now().date()
    sources: Sequence[SourceInfo] = outcome.origins
    if outcome.status in ("unchanged", "refused"):
        sources = load_atlas(loaded, today).sources
    return [
        f"{one.name} ({one.axis}) is of {one.built}: after {one.max_age_days} days it counts"
        " as no evidence"
        for one in sources
        if is_stale(one.built, today, one.max_age_days - _WARNED_DAYS)
    ]


def _account(outcome: Outcome) -> dict[str, Any]:
    account: dict[str, Any] = {
        "status": outcome.status,
        "version": outcome.name,
        "findings": [asdict(one) for one in outcome.found],
        "overruled": [asdict(one) for one in outcome.overruled],
        "sources": [asdict(one) for one in outcome.origins],
    }
    if outcome.comparison is not None:
        for label, extent in (
            ("newly_allowed", outcome.comparison.newly_allowed.extent),
            ("newly_blocked", outcome.comparison.newly_blocked),
        ):
            account[label] = {
                "v4_addresses": extent.v4_addresses,
                "v6_networks": extent.v6_networks,
                "ranges": extent.texts(),
            }
    return account
