"""The command that checks.  Owns: `gateway check`: every fault at its line, lint, the JSON Schema.
Knows: click.  Never: finding faults; the rooms do."""

from __future__ import annotations

import datetime
import sys
from dataclasses import dataclass, field
from pathlib import Path

import click

from gateway import config, policy
from gateway.cli.common import (
    atlas_of,
    clear_errors,
    day_of,
    files_within,
    geo_option,
    is_configuration,
    json_option,
    print_json,
    today_option,
)
from gateway.document import read_partly
from gateway.errors import DataError, GatewayError, InputError, Problem
from gateway.flow.epoch import Epoch
from gateway.policy import Remark
from gateway.review import lint
from gateway.sources import load_epoch, load_whole


@dataclass(slots=True)
class Findings:
    """What was found in all files."""

    faults: list[Problem] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    """What is odd."""
    sound: list[str] = field(default_factory=list)
    """What is well, and warnings of the data."""

    @property
    def warnings(self) -> list[Remark]:
        """What --strict counts as a fault."""
        return [one for one in self.remarks if not one.is_note]


@click.command()
@click.argument("paths", nargs=-1)
@click.option("--host", "for_host", is_flag=True, help="Say what this host lacks for router mode.")
@click.option("--strict", is_flag=True, help="Leave with status 1 if there is any warning.")
@click.option(
    "--schema",
    type=click.Choice([*policy.SCHEMAS]),
    help="Print the JSON Schema of such files, for editors.",
)
@geo_option
@today_option
@json_option
@clear_errors
def check(
    paths: tuple[str, ...],
    for_host: bool,
    strict: bool,
    schema: str | None,
    config_path: str | None,
    today: datetime.datetime | None,
    as_json: bool,
) -> None:
    """Check policies, jurisdiction lists and configurations, or folders of policies: every fault at
    its line, and what is odd (lint); or, with --host, this host."""
    if schema is not None:
        print_json(policy.json_schema(schema))
        return
    if for_host:
        from gateway.cli import host  # (router mode's imports are slow, and seldom needed)

        host.look(paths, as_json)
    if not paths:
        raise click.UsageError("name a policy or a configuration, or say --host")
    findings = Findings()
    for path in _files(paths):
        try:
            _check(path, config_path, day_of(today), findings)
        except GatewayError as error:
            findings.faults += getattr(error, "problems", ()) or [Problem(path, 0, 0, str(error))]
    findings.faults = list(dict.fromkeys(findings.faults))
    findings.remarks = list(dict.fromkeys(findings.remarks))
    _tell_json(findings) if as_json else _tell(findings)
    sys.exit(2 if findings.faults else 1 if strict and findings.warnings else 0)


def _files(paths: tuple[str, ...]) -> list[str]:
    """Give the files of paths, looking into folders; cases are checked with their policy."""
    files: list[str] = []
    for path in paths:
        if Path(path).is_dir():
            inside = files_within(Path(path))
            if not inside:
                raise DataError(path, "holds nothing to check", "files that end with .yaml")
            files += map(str, inside)
        else:
            files.append(path)
    return files


def _check(path: str, config_path: str | None, day: datetime.date, findings: Findings) -> None:
    document, _ = read_partly(path)
    if is_configuration(document):
        _check_configuration(path, day, findings)
    elif policy.is_list(document):
        count = policy.check_list(path)
        findings.sound.append(f"{path}: a sound list of {count} jurisdictions")
    else:
        loaded = load_whole(path, day)
        _look(loaded, Epoch(0, loaded.policy, atlas_of(config_path, day)), findings)
        one = loaded.policy
        counts = f"{len(one.rules)} rules, {len(one.cases)} cases"
        findings.sound.append(f'{path}: policy "{one.name}" is sound, {counts}')


def _check_configuration(path: str, day: datetime.date, findings: Findings) -> None:
    # A gateway's parts are slow to import, and a policy has none.
    from gateway import service

    loaded = config.load(path)
    problems = service.faults(loaded)
    try:
        epoch = load_epoch(loaded, 0, day)
    except InputError as error:
        raise InputError([*problems, *error.problems]) from error
    if problems:
        raise InputError(problems)
    findings.sound += epoch.atlas.warnings
    _look(load_whole(loaded.path(loaded.policy), day), epoch, findings)
    findings.sound.append(f"{path}: a sound configuration")


def _look(loaded: policy.Loaded, epoch: Epoch, findings: Findings) -> None:
    findings.remarks += policy.lint(loaded)
    findings.remarks += lint.lint(epoch, loaded)


def _tell(findings: Findings) -> None:
    for remark in findings.remarks:
        click.echo(str(remark))
    for line in findings.sound:
        click.echo(line)
    for fault in findings.faults:
        click.echo(str(fault), err=True)


def _tell_json(findings: Findings) -> None:
    faults = [{**_place(one), "problem": one.sentence} for one in findings.faults]
    warnings = [
        {
            **_place(one.problem),
            "kind": one.kind,
            "weight": "note" if one.is_note else "warning",
            "says": one.problem.sentence,
        }
        for one in findings.remarks
    ]
    print_json(
        {
            "ok": not findings.faults,
            "problems": faults,
            "warnings": warnings,
            "remarks": findings.sound,
        }
    )


def _place(problem: Problem) -> dict[str, str | int]:
    return {"file": problem.file, "line": problem.line, "column": problem.column}
