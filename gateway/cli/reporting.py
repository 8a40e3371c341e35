"""The command that reports.  Owns: report, and what it prints.
Knows: click, rich.  Never: counting; what verifying concludes."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from gateway.cli.common import clear_errors, json_option, stdout
from gateway.cli.verifying import account as verified_account
from gateway.cli.verifying import key_at, logs_at, sentences, verified
from gateway.errors import DataError
from gateway.evidence.keys import PUBLIC_NAME
from gateway.evidence.verifying import Asked, Report
from gateway.reporting import page
from gateway.reporting.report import Account, Period, account_of, records_of
from gateway.reporting.store import Log, opened
from gateway.reporting.wording import WORDS

_day = click.DateTime(["%Y-%m-%d"])
_MOST_ROWS = 12
# What a terminal has no room for.
_NOT_SHOWN = ("where", "row", "first", "last", "records")


@click.command()
@click.argument("evidence", type=click.Path(path_type=Path))
@click.option("--from", "first", type=_day, help="The first day, UTC.  Omitted: from the start.")
@click.option("--to", "last", type=_day, help="The last day, UTC, included.  Omitted: to the end.")
@click.option("--html", "html_path", type=click.Path(path_type=Path), help="Write a page.")
@click.option("--records", "row", metavar="ROW", help="Print the records behind a row or number.")
@click.option("--parquet", type=click.Path(path_type=Path), help="Keep the export that was asked.")
@click.option("--key", "key_path", help="The public key.  Omitted: log.pub beside the log.")
@json_option
@clear_errors
def report(
    evidence: Path,
    first: datetime.datetime | None,
    last: datetime.datetime | None,
    html_path: Path | None,
    row: str | None,
    parquet: Path | None,
    key_path: str | None,
    as_json: bool,
) -> None:
    """Report on a decision log: what was decided, and what is missing.

    EVIDENCE is the folder of the evidence, or one log's .jsonl or .checkpoints file.  The log is
    verified first.  Status 1: it is broken, or a balance does not hold, or a canary got through.
    """
    period = Period(first and first.date(), last and last.date())
    if period.first and period.last and period.first > period.last:
        raise click.UsageError("--from is after --to")
    logs = verified(logs_at(evidence), key := key_at(key_path, evidence), Asked())
    to_read = [
        Log(files, one.records or None) for files, one in zip(logs_at(evidence), logs, strict=True)
    ]
    verification = _verification(logs, str(key), is_beside=key_path is None)
    with opened(to_read, parquet) as store:
        if row is not None:
            _warn(verification)
            for line in records_of(store, period, row):
                click.echo(line)
            sys.exit(0 if verification["ok"] else 1)
        account = {"verification": verification, **account_of(store, period, logs)}
    if html_path is not None:
        _write(html_path, page.render(account))
    if as_json:
        click.echo(json.dumps(account, indent=2))
    else:
        _show(account, logs)
    sys.exit(0 if _is_good(account) else 1)


def _verification(logs: list[Report], key: str, *, is_beside: bool) -> Account:
    findings = [str(finding) for one in logs for finding in one.findings]
    return {
        "ok": not findings,
        "key": key,
        "key_is_beside": is_beside,
        "findings": findings,
        "logs": [verified_account(one) for one in logs],
    }


def _is_good(account: Account) -> bool:
    holds = all(one["holds"] for each in account["processes"] for one in each["balances"])
    is_through = any(one["row"] == "findings/canary" for one in account["findings"])
    return bool(account["verification"]["ok"]) and holds and not is_through


def _warn(verification: Account) -> None:
    for finding in verification["findings"]:
        click.echo(f"BROKEN {_plain(finding)}", err=True)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(str(path), reason, "a file that can be written") from error


def _show(account: Account, logs: Iterable[Report]) -> None:
    for log in logs:
        for sentence in sentences(log):
            click.echo(_plain(sentence))
    _warn(account["verification"])
    if account["verification"]["key_is_beside"]:
        click.echo(f"  Not proven: whose log this is.  The key is the {PUBLIC_NAME} beside it.")
    period = account["period"]
    click.echo(
        f"\n{account['decisions']:,} decisions on {account['clients']:,} clients, "
        f"{period['first'] or 'never'} to {period['last'] or 'never'}\n\nFindings"
    )
    for finding in account["findings"]:
        click.echo(f"  {finding['records']:,} {finding['says']}  [{finding['row']}]")
    if not account["findings"]:
        click.echo("  none of what this report looks for")
    for name, words in WORDS.items():
        if account["tables"][name]["rows"]:
            click.echo(f"\n{words.title}")
            stdout().print(_table(account["tables"][name]))
    _show_balances(account)


def _show_balances(account: Account) -> None:
    click.echo("\nDoes it add up?")
    for process in account["processes"]:
        click.echo(f"  {_plain(process['log'])}, {process['time']}")
        for one in process["balances"]:
            word = "holds" if one["holds"] else "DOES NOT HOLD"
            click.echo(f"    {word}: {_plain(one['what'])}: {one['in']:,} and {one['out']:,}")


def _table(account: Account) -> Table:
    rows = account["rows"]
    names = [name for name in rows[0] if name not in _NOT_SHOWN]
    names = [name for name in names if any(row[name] not in (None, 0) for row in rows)]
    table = Table(box=None, pad_edge=False)
    table.add_column("row")
    table.add_column("records", justify="right")
    for name in names:
        is_number = isinstance(rows[0][name], int)
        table.add_column(name.replace("_", " "), justify="right" if is_number else "left")
    for row in rows[:_MOST_ROWS]:
        cells = [row["row"], f"{row['records']:,}", *(_cell(row[name]) for name in names)]
        table.add_row(*(Text(cell) for cell in cells))
    more = len(rows) - _MOST_ROWS + account["left_out"]
    if more > 0:
        table.add_row(Text(f"and {more:,} more: --json, --html"))
    return table


def _cell(value: object) -> str:
    return _plain(page.cell(value))


def _plain(text: str) -> str:
    """Leave out what could command a terminal: a log may be somebody else's."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
