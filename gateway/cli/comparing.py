"""The command that compares.  Owns: diff, and which policies and data it is asked for.
Knows: click.  Never: finding what changes; review does."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

import click

from gateway import config, geo
from gateway.cli.common import (
    atlas_of,
    clear_errors,
    day_of,
    geo_option,
    is_configuration,
    json_option,
    print_json,
    stdout,
    today_option,
)
from gateway.document import read
from gateway.errors import DataError
from gateway.flow.epoch import Epoch
from gateway.geo.loading import BUNDLED_FILE
from gateway.model import Axis
from gateway.review.account import account_of
from gateway.review.markdown import markdown
from gateway.review.printing import show
from gateway.review.space import compare
from gateway.review.traffic import replay
from gateway.sources import load_atlas, load_policy

_MAX_AGE_DAYS = 120


@click.command()
@click.argument("policies", metavar="OLD [NEW]", nargs=-1, required=True)
@click.option("--data", nargs=2, metavar="OLD NEW", help="Two gateway.yaml, or files of data.")
@click.option("--traffic", multiple=True, help="A capture or decision log; may be given again.")
@click.option("--markdown", "as_markdown", is_flag=True, help="For a pull request's comment.")
@json_option
@geo_option
@today_option
@clear_errors
def diff(
    policies: tuple[str, ...],
    data: tuple[str, str] | None,
    traffic: tuple[str, ...],
    as_markdown: bool,
    as_json: bool,
    config_path: str | None,
    today: datetime.datetime | None,
) -> None:
    """Say what changes from one policy, or its data, to another: where, for which flows, and why.

    Exit status 1: something changes.
    """
    _usage(policies, data, as_markdown and as_json, config_path)
    day = day_of(today)
    loaded = [load_policy(path, day) for path in policies]
    if data is None:
        atlases = [atlas_of(config_path, day)] * 2
    else:
        atlases = [_atlas(path, day) for path in data]
    old, new = (
        Epoch.of(number, one, atlas)
        for number, (one, atlas) in enumerate(zip((loaded[0], loaded[-1]), atlases, strict=True), 1)
    )
    replayed = replay(old, new, [Path(path) for path in traffic]) if traffic else None
    found = compare(old, new)
    account = account_of(found, replayed)
    if as_json:
        print_json(account)
    elif as_markdown:
        click.echo(markdown(found, replayed), nl=False)
    else:
        show(stdout(), found, replayed)
    sys.exit(1 if account["changed"] else 0)


def _usage(
    policies: tuple[str, ...], data: tuple[str, str] | None, both: bool, config_path: str | None
) -> None:
    if len(policies) > 2:
        raise click.UsageError("give one policy or two")
    if len(policies) == 1 and data is None:
        raise click.UsageError("give a second policy, or two data with --data OLD NEW")
    if both:
        raise click.UsageError("give either --json or --markdown")
    if data is not None and config_path is not None:
        raise click.UsageError("give either --data or --config; --data takes configurations too")


def _atlas(path: str, day: datetime.date) -> geo.Atlas:
    """Load data from a gateway.yaml, a file of build-data or a folder of it, or an .mmdb."""
    file = Path(path)
    if file.is_dir():
        file /= BUNDLED_FILE
    if file.suffix in (".yaml", ".yml"):
        if not is_configuration(read(file)):
            raise DataError(path, "is no configuration", "a gateway.yaml, or a file of data")
        atlas = load_atlas(config.load(file), day)
    elif file.suffix == ".mmdb":
        # Beside the bundled data, as a configuration would have it.
        sources: list[geo.Bundled | geo.Mmdb] = [geo.Bundled(), geo.Mmdb(file, Axis.LOCATION)]
        atlas = geo.load(sources, today=day, max_age_days=_MAX_AGE_DAYS)
    else:
        atlas = geo.load([geo.Bundled(file)], today=day, max_age_days=_MAX_AGE_DAYS)
    for sentence in atlas.warnings:
        click.echo(f"{path}: {sentence}", err=True)
    return atlas
