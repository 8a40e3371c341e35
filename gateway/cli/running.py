"""Commands that run something.  Owns: run, exit, init, demo.
Knows: click, signals.  Never: what a gateway is made of."""

from __future__ import annotations

import datetime
import gc
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click
from twisted.internet.task import LoopingCall

from gateway import config, demo, logs, starter
from gateway.cli.common import (
    clear_errors,
    json_option,
    log_format_option,
    log_level_option,
    now,
    print_json,
    stdout,
)
from gateway.core import Core, World
from gateway.routing.worker import Orders, Worker
from gateway.routing.workers import Now
from gateway.service import ExitServer, Gateway
from gateway.supervised import Supervised


@click.command()
@click.option("--config", "config_path", help="gateway.yaml; without: ./gateway.yaml or built in.")
@log_format_option
@log_level_option
@clear_errors
def run(config_path: str | None, log_format: str, log_level: str) -> None:
    """Run the gateway.  SIGTERM drains and stops it; SIGHUP loads policy and data again."""
    if config_path is not None or Path("gateway.yaml").exists():
        loaded = config.load(config_path or "gateway.yaml")
    else:
        loaded = config.built_in(starter.folder_of_policies() / "default.yaml")
    _serve(Gateway, loaded, log_format, log_level)


@click.command("exit")
@click.option("--config", "config_path", default="exit.yaml", show_default=True)
@log_format_option
@log_level_option
@clear_errors
def exit_(config_path: str, log_format: str, log_level: str) -> None:
    """Run an exit: the far end of gateways' tunnels, with a policy of its own."""
    _serve(ExitServer, config.load(config_path), log_format, log_level)


def _serve(
    kind: type[Gateway] | type[ExitServer], loaded: config.Config, log_format: str, log_level: str
) -> None:
    from twisted.internet import reactor  # installed on first import

    logs.begin(sys.stderr, log_format, log_level)
    twisted_reactor: Any = reactor
    served = kind(twisted_reactor, loaded, World.of_host())
    _be_prompt(served.core, twisted_reactor)
    # Before anything listens: whoever saw it listen may send the signal.
    signal.signal(signal.SIGHUP, lambda *_: twisted_reactor.callFromThread(served.core.reload))
    supervised = Supervised(
        twisted_reactor,
        os.environ,
        is_working=served.canaries.is_judging,
        sentence=served.sentence,
    )
    served.start()
    twisted_reactor.callWhenRunning(supervised.ready)
    twisted_reactor.addSystemEventTrigger("before", "shutdown", supervised.stopping)
    twisted_reactor.addSystemEventTrigger("before", "shutdown", served.stop)
    twisted_reactor.run()


_SEARCH_S = 300.0


def _be_prompt(core: Core, reactor: Any) -> None:
    """Keep packets from waiting for what else a process does."""
    # Policy and data are some hundred thousand objects that stay: to look through them for garbage
    # takes a tenth of a second each time.
    gc.collect()
    gc.freeze()
    core.on_adopted.append(gc.freeze)
    # Flows are as many again, and go when nobody refers to them.  What refers to itself in a circle
    # (a connection of a tunnel) is young mostly, or waits.
    gc.set_threshold(700, 10, 1_000_000)
    searching = LoopingCall(gc.collect)
    searching.clock = reactor
    searching.start(_SEARCH_S, now=False)
    # What runs in a thread (loading an epoch) gives way after this, not after 5 ms.
    sys.setswitchinterval(0.0005)


@click.command(hidden=True)
@click.option("--config", "config_path", required=True)
@click.option("--queue", type=int, required=True)
@click.option("--number", type=int, required=True)
@click.option("--epoch", type=int, required=True)
@click.option("--today", type=click.DateTime(["%Y-%m-%d"]), required=True)
@click.option("--state", required=True)
@click.option("--policy", type=click.Path(path_type=Path))
@click.option("--since", type=int)
@clear_errors
def worker(
    config_path: str,
    queue: int,
    number: int,
    epoch: int,
    today: datetime.datetime,
    state: str,
    policy: Path | None,
    since: int | None,
) -> None:
    """Judge one of router mode's queues: `gateway run` starts this, nobody else."""
    from twisted.internet import reactor, stdio

    twisted_reactor: Any = reactor
    logs.begin(sys.stderr, "text", "info")
    # The leader gets them too, and says when.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    now_ = Now(number, epoch, today.date(), state, policy)
    judge = Worker(twisted_reactor, config.load(config_path), World.of_host(), queue, now_, since)
    _be_prompt(judge.core, twisted_reactor)
    stdio.StandardIO(Orders(twisted_reactor, judge))
    twisted_reactor.addSystemEventTrigger("before", "shutdown", judge.stop)
    twisted_reactor.run()


@click.command()
@click.argument("directory", default=".")
@click.option("--exit-host", default="exit.example", show_default=True, help="Name or address.")
@click.option("--exit-port", default=4433, show_default=True, type=click.IntRange(1, 65535))
@click.option("--envoy", is_flag=True, help="Also envoy.yml, for stock Envoy as the exit.")
@json_option
@clear_errors
def init(directory: str, exit_host: str, exit_port: int, envoy: bool, as_json: bool) -> None:
    """Write a starter: gateway.yaml, exit.yaml, policies, and keys for both ends."""
    plan = starter.Plan(exit_host=exit_host, exit_port=exit_port, envoy=envoy)
    files = starter.write(Path(directory), plan, now())
    if as_json:
        print_json({"files": [str(path) for path in files]})
        return
    for path in files:
        click.echo(path)
    click.echo(
        "\nTake exit.yaml, exit-policy.yaml, exit.pem, exit.key and ca.pem to the exit, and keep"
        "\nca.key off both machines.  Then: gateway exit there, gateway run here."
    )
    if envoy:
        click.echo(
            "\nOr take envoy.yml, exit.pem, exit.key and ca.pem there, and: envoy -c envoy.yml"
        )


@click.command("demo")
@click.argument("capture", required=False, type=click.Path(path_type=Path))
@click.option("--fast", is_flag=True, help="As quickly as it goes, not at the capture's pace.")
@json_option
@clear_errors
def demo_(capture: Path | None, fast: bool, as_json: bool) -> None:
    """Play a real client's traffic through gateway and exit, all on loopback."""
    result = demo.play(World.of_host(), capture, fast=fast, quiet=as_json)
    if as_json:
        print_json(demo.as_json(result))
    else:
        demo.show(result, stdout())
    sys.exit(0 if result.is_good else 1)
