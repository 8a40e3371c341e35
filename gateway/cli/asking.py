"""Commands that ask.  Owns: explain, test, locate.
Knows: click.  Never: deciding; they ask an epoch as a running gateway does."""

from __future__ import annotations

import datetime
import json
import sys
from dataclasses import replace
from typing import Any

import click

from gateway import geo, show
from gateway.cli.common import (
    atlas_of,
    clear_errors,
    day_of,
    discs_told,
    epoch_of,
    geo_option,
    json_option,
    payload_of,
    policy_files,
    print_json,
    rtt_option,
    stdout,
    today_option,
)
from gateway.flow.account import account_of, evidence_account, round_trips_account
from gateway.flow.cases import facts_of
from gateway.flow.discs import Discs
from gateway.flow.epoch import Epoch
from gateway.model import Content, FlowKey, Protocol, Traffic, pack
from gateway.policy import Given
from gateway.review.flows import flows_of_capture, flows_of_file
from gateway.review.results import PolicyResults, report_of
from gateway.sources import load_policy


@click.command()
@click.argument("policy_path", metavar="POLICY")
@click.argument("flow", required=False)
@click.option("--payload", help="hex:… or file:PATH")
@click.option("--traffic", type=click.Choice([str(one) for one in Traffic]), help="The class.")
@click.option("--name", "names", multiple=True, help="A name the client asked for.")
@click.option("--flows", "flows_path", help="A file of one flow a line, instead of FLOW.")
@click.option("--capture", "capture_path", help="Each flow of a capture, instead of FLOW.")
@rtt_option
@geo_option
@today_option
@json_option
@clear_errors
def explain(
    policy_path: str,
    flow: str | None,
    flows_path: str | None,
    capture_path: str | None,
    rtts: tuple[str, ...],
    config_path: str | None,
    today: datetime.datetime | None,
    as_json: bool,
    **known: Any,
) -> None:
    """Say what a policy does with a flow such as "udp 10.1.0.2:5000 > 118.190.148.38:8000", and
    why; or with every flow of a file or a capture."""
    if [flow, flows_path, capture_path].count(None) != 2:
        raise click.UsageError("give one of FLOW, --flows and --capture")
    if flow is not None:
        flows = [_given(flow, **known)]
    elif any(known.values()) or rtts:
        raise click.UsageError("--payload, --traffic, --name and --rtt go with FLOW only")
    elif flows_path is not None:
        flows = flows_of_file(flows_path)
    else:
        flows = flows_of_capture(str(capture_path))
    epoch = epoch_of(policy_path, config_path, day_of(today))
    if flow is not None:
        to = (given.key.destination.address for given in flows)
        epoch = replace(epoch, discs=discs_told(config_path, rtts, to))
    for given in flows:
        account = account_of(epoch, facts_of(epoch, given), given.evidence)
        if as_json and flow is None:
            click.echo(json.dumps(account, ensure_ascii=False))
        elif as_json:
            print_json(account)
        else:
            show.account(stdout(), account)
            if flow is None:
                click.echo()


def _given(flow: str, payload: str | None, traffic: str | None, names: tuple[str, ...]) -> Given:
    """Read the flow of a command line."""
    if payload is not None and traffic is not None:
        raise click.UsageError("give either --payload or --traffic: a payload says its class")
    return Given(
        key=FlowKey.parse(flow),
        payload=None if payload is None else payload_of(payload),
        content=None if traffic is None else Content(Protocol.UNKNOWN, traffic=Traffic(traffic)),
        names=tuple(name.lower().rstrip(".") for name in names),
    )


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option("--coverage", "with_coverage", is_flag=True, help="Say what the cases try.")
@click.option("--complete", is_flag=True, help="Status 1 if a case is missing; with --coverage.")
@geo_option
@today_option
@json_option
@clear_errors
def test(
    paths: tuple[str, ...],
    with_coverage: bool,
    complete: bool,
    config_path: str | None,
    today: datetime.datetime | None,
    as_json: bool,
) -> None:
    """Run the cases of policies: files, or folders of them."""
    on_day = day_of(today)
    atlas = atlas_of(config_path, on_day)
    with_coverage = with_coverage or complete
    tried = [
        PolicyResults.of(
            str(path), Epoch(0, load_policy(path, on_day), atlas), with_coverage=with_coverage
        )
        for path in policy_files(paths)
    ]
    print_json(report_of(tried)) if as_json else show.tried(stdout(), tried)
    fails = any(one.failures or (complete and not one.is_complete) for one in tried)
    sys.exit(1 if fails else 0)


@click.command()
@click.argument("addresses", nargs=-1, required=True)
@click.option("--policy", "policy_path", help="Say which of its jurisdictions they belong to.")
@rtt_option
@geo_option
@today_option
@json_option
@clear_errors
def locate(
    addresses: tuple[str, ...],
    policy_path: str | None,
    rtts: tuple[str, ...],
    config_path: str | None,
    today: datetime.datetime | None,
    as_json: bool,
) -> None:
    """Show the evidence on addresses, with its sources and dates."""
    packed = [pack(address) for address in addresses]
    atlas = atlas_of(config_path, day_of(today))
    discs = discs_told(config_path, rtts, packed)
    epoch = None
    if policy_path is not None:
        epoch = Epoch(0, load_policy(policy_path, day_of(today)), atlas, discs=discs)
    located = [
        _located(text, one, atlas, epoch, discs)
        for text, one in zip(addresses, packed, strict=True)
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
        for trip in one.get("round_trips", ()):
            console.print(f"  {show.round_trip(trip)}")
        show.evidence(console, one["evidence"])
    for credit in sorted({source.credit for source in atlas.sources if source.credit}):
        console.print(f"[dim]{credit}[/]")


def _located(
    text: str, address: bytes, atlas: geo.Atlas, epoch: Epoch | None, discs: Discs | None
) -> dict[str, Any]:
    place = atlas.place(address)
    doubted = None if discs is None else discs.doubted(address, place)
    located: dict[str, Any] = {
        "address": text,
        "evidence": [evidence_account(one) for one in atlas.evidence(address)],
        "doubts": list((doubted or place).doubts),
    }
    if discs is not None:
        located["round_trips"] = round_trips_account(discs, address, place)
    if epoch is not None:
        key = FlowKey.parse("udp 0.0.0.0:0 > 0.0.0.0:0")
        key = key._replace(destination=key.destination._replace(address=address))
        found = epoch.policy.jurisdictions_of(epoch.facts(key, None))
        located["jurisdictions"] = sorted(found.members)
        located["undetermined"] = sorted(found.undetermined)
    return located
