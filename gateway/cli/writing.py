"""`gateway log-writer`.  Owns: the process that makes a log's records of its spool.
Knows: click.  Never: deciding, configuration."""

from __future__ import annotations

import datetime
import json
import os
import signal
import sys
from pathlib import Path

import click

from gateway import logs
from gateway.errors import GatewayError
from gateway.evidence.files import LogFiles, LogLimits
from gateway.evidence.journal import Proving
from gateway.evidence.keys import load_signer
from gateway.evidence.writing import write


@click.command(hidden=True)
@click.option("--folder", type=click.Path(path_type=Path), required=True)
@click.option("--log", "stem", required=True)
@click.option("--limits", required=True)
@click.option("--quick", "is_quick", is_flag=True)
def log_writer(folder: Path, stem: str, limits: str, *, is_quick: bool) -> None:
    """Make a log's records of its spool: `gateway run` starts this, nobody else."""
    logs.begin(sys.stderr, "text", "info")
    # It ends when all is written: the gateway gets these, and then ends its standard input.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        proving = Proving(
            signer=load_signer(folder, os.urandom),
            random=os.urandom,
            limits=LogLimits(**json.loads(limits)),
        )
        write(LogFiles(folder, stem), proving, _now, sys.stdin.fileno(), is_quick=is_quick)
    except (GatewayError, OSError) as error:
        print(f"the log's writer: {error}", file=sys.stderr)
        sys.exit(1)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
