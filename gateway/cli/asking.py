"""Commands that ask.  Owns: explain, test, locate.
Knows: click.  Never: deciding; they ask an epoch as a running gateway does."""

from __future__ import annotations

import datetime
import sys
from typing import Any

import click

from gateway import geo, policy, show
from gateway.cli.common import (
    atlas_of,
    clear_errors,
    day_of,
    epoch_of,
    geo_option,
    json_option,
    payload_of,
    policy_files,
    print_json,
    stdout,
    today_option,
)
from gateway.flow.account import account_of, evidence_account
from gateway.flow.cases import CaseResult, run_cases, unreached
from gateway.flow.epoch import Epoch
from gateway.model import FlowKey, Traffic, pack


@click.command()
@click.argument("policy_path", metavar="POLICY")
@click.argument("flow")
@click.option("--payload", help="hex:… or file:PATH")
@click.option("--traffic", type=click.Choice([str(one) for one in Traffic]), help="The class.")
@click.option("--name", "names", multiple=True, help="A name the client asked for.")
@geo_option
@today_option
@json_option
@clear_errors
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
    epoch = epoch_of(policy_path, config_path, day_of(today))
    facts = epoch.seen(
        FlowKey.parse(flow),
        None if payload is None else payload_of(payload),
        tuple(name.lower().rstrip(".") for name in names),
        None if traffic is None else Traffic(traffic),
    )
    account = account_of(epoch, facts)
    print_json(account) if as_json else show.account(stdout(), account)


@click.command()
@click.argument("paths", nargs=-1, required=True)
@geo_option
@today_option
@json_option
@clear_errors
def test(
    paths: tuple[str, ...],
    config_path: str | None,
    today: datetime.datetime | None,
    as_json: bool,
) -> None:
    """Run the cases of policies: files, or folders of them."""
    on_day = day_of(today)
    results: list[CaseResult] = []
    remarks: list[str] = []
    atlas = atlas_of(config_path, on_day)
    for path in policy_files(paths):
        epoch = Epoch(0, policy.load(path, on_day), atlas)
        ours = list(run_cases(epoch))
        results += ours
        remarks += [f'{path}: no case reaches rule "{rule}"' for rule in unreached(epoch, ours)]
    failures = [result for result in results if result.failure]
    if as_json:
        print_json(
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
            show.failed_case(stdout(), failure)
        for remark in remarks:
            click.echo(remark)
        click.echo(f"{len(results) - len(failures)} cases passed, {len(failures)} failed")
    sys.exit(1 if failures else 0)


@click.command()
@click.argument("addresses", nargs=-1, required=True)
@click.option("--policy", "policy_path", help="Say which of its jurisdictions they belong to.")
@geo_option
@today_option
@json_option
@clear_errors
def locate(
    addresses: tuple[str, ...],
    policy_path: str | None,
    config_path: str | None,
    today: datetime.datetime | None,
    as_json: bool,
) -> None:
    """Show the evidence on addresses, with its sources and dates."""
    packed = [pack(address) for address in addresses]
    atlas = atlas_of(config_path, day_of(today))
    epoch = None
    if policy_path is not None:
        epoch = Epoch(0, policy.load(policy_path, day_of(today)), atlas)
    located = [
        _located(text, one, atlas, epoch) for text, one in zip(addresses, packed, strict=True)
    ]
    if as_json:
        print_json(located)
        return
    console = stdout()
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
