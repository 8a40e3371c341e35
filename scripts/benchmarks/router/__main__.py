"""scripts/bench router.  Owns: its options.  Knows: click.  Never: what is measured.

Exit status: 0; 1 where something leaked; 2 where it cannot run here.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from scripts.benchmarks.router import build, report
from scripts.benchmarks.router.run import MEASURES, PEERS, Plan, Run, chosen_measures, chosen_peers
from tests.lab import namespaces

# Rounds, rounds of reload and kill, ranges, and minutes after which no round begins.
_FULL = (7, 2, 300_000, 5.0)
_QUICK = (2, 1, 10_000, 1.0)


@click.command()
@click.option("--family", type=click.Choice(["4", "6"]), default="4", show_default=True)
@click.option("--quick", is_flag=True, help="Under two minutes: few rounds, 10,000 ranges.")
@click.option("--peers", help=f"Some of {', '.join(PEERS)}.  Without: those installed, no toy.")
@click.option("--measures", help=f"Some of {', '.join(MEASURES)}.  Without: all.")
@click.option("--rounds", type=click.IntRange(min=1), help="How many; the time may end before.")
@click.option("--ranges", type=click.IntRange(min=1), help="How many ranges are denied.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON, not as tables.")
def main(
    family: str,
    quick: bool,
    peers: str | None,
    measures: str | None,
    rounds: int | None,
    ranges: int | None,
    as_json: bool,
) -> None:
    """Measure router mode beside plain forwarding, nftables, and gateways of others."""
    counts, reloads, most_ranges, minutes = _QUICK if quick else _FULL
    try:
        chosen = chosen_peers(peers, is_quick=quick), chosen_measures(measures)
        programs = _prepared()
    except (RuntimeError, ValueError) as fault:
        print(f"scripts/bench router: {fault}", file=sys.stderr)
        sys.exit(2)
    plan = Plan(
        family=int(family),
        peers=chosen[0],
        measures=chosen[1],
        ranges=ranges or most_ranges,
        rounds=rounds or counts,
        reloads=reloads,
        end_s=time.monotonic() + 60 * minutes,
    )
    sys.exit(_run(plan, programs, as_json=as_json))


def _prepared() -> Path:
    """Make sure that this machine can do it; give the folder of the generators.

    Raises:  RuntimeError: it cannot; with what is missing.
    """
    reason = namespaces.skip_reason()
    if reason is not None:
        raise RuntimeError(reason)
    for command in ("ss", "taskset"):
        if shutil.which(command) is None:
            raise RuntimeError(f"the command {command} is missing")
    if (os.cpu_count() or 1) < 2:
        raise RuntimeError("one core is too few: generators and gateway have one each")
    namespaces.remove_stale()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return build.compiled()


def _run(plan: Plan, programs: Path, *, as_json: bool) -> int:
    progress = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory(prefix="bench-router-") as scratch,
        progress.status("") as status,
    ):
        run = Run(plan, programs, Path(scratch), status.update)
        run.run()
    if as_json:
        print(json.dumps(report.as_json(run.results, run.remarks), indent=1))
    else:
        report.show(run.results, run.remarks, Console(width=None if sys.stdout.isatty() else 140))
    return 1 if report.leaks(run.results) else 0


if __name__ == "__main__":
    main()
