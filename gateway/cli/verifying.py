"""The command that verifies.  Owns: verify, and what it prints.
Knows: click.  Never: what proves what; verifying does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from gateway.cli.common import clear_errors, json_option, print_json
from gateway.errors import DataError
from gateway.evidence.checkpoints import Checkpoint
from gateway.evidence.files import LogFiles, logs_of
from gateway.evidence.keys import PUBLIC_NAME
from gateway.evidence.notes import MAX_NOTE_LEN, PublicKey, to_base64
from gateway.evidence.proofs import MAX_PROOF_LEN, read_proof
from gateway.evidence.verifying import Asked, Report
from gateway.evidence.verifying import verify as verify_log
from gateway.reporting.accounts import balances


@click.command()
@click.argument("log", required=False, type=click.Path(path_type=Path))
@click.option("--key", "key_path", help="The public key.  Omitted: log.pub beside the log.")
@click.option("--record", help="Prove that a record is in the log: its number, or text in it.")
@click.option("--since", "since_path", help="A checkpoint that was kept elsewhere.")
@click.option("--proof", "proof_path", help="Check a proof that --record printed; needs --key.")
@json_option
@clear_errors
def verify(
    log: Path | None,
    key_path: str | None,
    record: str | None,
    since_path: str | None,
    proof_path: str | None,
    as_json: bool,
) -> None:
    """Check a decision log, or all logs of a folder, offline, with the public key alone.

    LOG is the folder of the evidence, or one log's .jsonl or .checkpoints file.
    """
    if proof_path is not None:
        _check_proof(proof_path, key_at(key_path, None), as_json)
        return
    if log is None:
        raise click.UsageError("name a LOG, or a proof with --proof")
    logs = logs_at(log)
    if record is not None and len(logs) > 1:
        raise click.UsageError("there are several logs: name the one that the record is in")
    key = key_at(key_path, log)
    asked = Asked(
        record=int(record) if record is not None and record.isdecimal() else record,
        since=None if since_path is None else _checkpoint(since_path, key),
    )
    reports = verified(logs, key, asked)
    findings = [str(finding) for report in reports for finding in report.findings]
    findings += _strangers(reports, asked, log)
    if as_json:
        accounts = [account(report) for report in reports]
        print_json({"ok": not findings, "key": str(key), "logs": accounts, "findings": findings})
    else:
        _show(reports, findings, is_key_beside=key_path is None)
    sys.exit(1 if findings else 0)


def verified(logs: list[LogFiles], key: PublicKey, asked: Asked) -> list[Report]:
    """Verify logs.

    Raises:  DataError: a file cannot be read.
    """
    try:
        return [verify_log(files, key, asked) for files in logs]
    except OSError as error:
        raise DataError(str(error.filename), str(error.strerror), "a readable log") from error


def logs_at(log: Path) -> list[LogFiles]:
    """Find the logs of a folder, or the one that a file is of.

    Raises:  DataError: there is none.
    """
    logs = logs_of(log) if log.is_dir() else [LogFiles(log.parent, log.name.split(".")[0])]
    if not logs or not (log.is_dir() or log.exists()):
        raise DataError(str(log), "is no decision log", "a folder or file of evidence")
    return logs


def key_at(path: str | None, log: Path | None) -> PublicKey:
    """Read a public key; without a path that beside the log.

    Raises:  DataError: it cannot be read.
    """
    if path is None and log is None:
        raise click.UsageError("a proof needs --key")
    beside = None if log is None else (log if log.is_dir() else log.parent) / PUBLIC_NAME
    file = Path(path) if path is not None else beside
    assert file is not None
    return PublicKey.parse(_read(file, MAX_NOTE_LEN).decode("utf-8", "replace"), str(file))


def _checkpoint(path: str, key: PublicKey) -> Checkpoint:
    return Checkpoint.parse(key.text_of(_read(Path(path), MAX_NOTE_LEN), path), path)


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise DataError(str(path), str(error.strerror), "a readable file") from error


def _check_proof(path: str, key: PublicKey, as_json: bool) -> None:
    proof = read_proof(_read(Path(path), MAX_PROOF_LEN), path)
    try:
        checkpoint = proof.check(key, path)
    except DataError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    record = proof.record.decode("utf-8", "replace").rstrip("\n")
    if as_json:
        where = {"log": checkpoint.origin, "index": proof.index, "size": checkpoint.size}
        print_json({"ok": True, **where, "time": checkpoint.time, "record": record})
        return
    click.echo(
        f"proven: record {proof.index} of {checkpoint.origin},\n"
        f"in it no later than {checkpoint.time}, is\n{record}"
    )


def _strangers(reports: list[Report], asked: Asked, log: Path) -> list[str]:
    since = asked.since
    if since is None or any(report.origin == since.origin for report in reports):
        return []
    return [f"{log}: no log here that can be trusted is {since.origin}"]


def account(report: Report) -> dict[str, object]:
    """Give what is concluded about a log as JSON."""
    last = report.last
    path = report.consistency
    return {
        "log": report.log,
        "origin": report.origin,
        "checkpoints": report.checkpoints,
        "first": report.first,
        "records": report.records,
        "proven": report.proven,
        "last_checkpoint": last and {"size": last.size, "time": last.time, "counts": last.counts},
        "balances": [] if last is None else balances(last.counts),
        "findings": [{"where": one.where, "what": one.what} for one in report.findings],
        "proven_too": report.shown,
        "not_proven": report.open,
        "consistency": path and [to_base64(one) for one in path],
        "proof": report.proof and str(report.proof),
    }


def _show(reports: list[Report], findings: list[str], *, is_key_beside: bool) -> None:
    """Print what is concluded; a proof goes to standard output alone, to be kept."""
    for report in reports:
        is_proof = report.proof is not None
        for sentence in sentences(report):
            click.echo(sentence, err=is_proof)
        if is_proof:
            click.echo(str(report.proof), nl=False)
    if is_key_beside:
        click.echo(
            f"Not proven: whose log this is.  The key is the {PUBLIC_NAME} beside it; give --key "
            "with the one that you were handed before.",
            err=True,
        )
    for finding in findings:
        click.echo(f"BROKEN {finding}", err=True)


def _balanced(last: Checkpoint) -> Iterator[str]:
    """Say whether what the last checkpoint counts adds up."""
    found = balances(last.counts)
    held = sum(one["holds"] for one in found)
    if found:
        yield f"  {held} of {len(found)} balances of its counts hold"
    for one in found:
        if not one["holds"]:
            yield f"  Does not add up: {one['what']}: {one['in']} came, {one['out']} went"


def sentences(report: Report) -> Iterator[str]:
    """Say what is concluded about a log."""
    if report.last is None:
        yield f"{report.log}: nothing is proven"
        return
    yield (
        f"{report.log}: {report.proven} of {report.records} records proven by "
        f"{report.checkpoints} checkpoints, the last of {report.last.time}"
    )
    yield f"  log: {report.origin}"
    yield from _balanced(report.last)
    for sentence in report.shown:
        yield f"  Proven: {sentence}."
    for sentence in report.open:
        yield f"  Not proven: {sentence}."
