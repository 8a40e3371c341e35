"""Commands that change or look at the host.  Owns: lock, unlock, what `check --host` prints.
Knows: click.  Never: nft."""

from __future__ import annotations

import sys

import click

from gateway import config
from gateway.cli.common import clear_errors, print_json
from gateway.errors import GatewayError
from gateway.routing import lockdown, rules


@click.command()
@click.option(
    "--config", "config_path", help="gateway.yaml, whose transparent listeners are meant."
)
@click.option("--interface", "names", multiple=True, help="An interface that clients are behind.")
@clear_errors
def lock(config_path: str | None, names: tuple[str, ...]) -> None:
    """Let nothing pass from the clients until the gateway runs: for boot, before the network is up.

    Without --config and --interface, and with a configuration that is refused (status 1), all
    forwarding is locked.
    """
    clients, refused = names, ""
    if config_path is not None:
        try:
            clients += rules.interfaces(config.load(config_path))[0]
        except (GatewayError, OSError) as error:
            clients, refused = (), str(error)
    if lockdown.lock(clients):
        where = f"from {', '.join(clients)}" if clients else "at all"
        click.echo(f"locked: nothing is forwarded {where} until a gateway runs")
    else:
        click.echo("the rules of a gateway are there already: nothing passes unjudged")
    if refused:
        click.echo(refused, err=True)
        sys.exit(1)


@click.command()
@clear_errors
def unlock() -> None:
    """Remove all that a gateway left in the kernel, and nothing else's: clients' packets are
    forwarded unjudged from here on."""
    removed = lockdown.unlock()
    for what in removed:
        click.echo(f"removed {what}")
    if not removed:
        click.echo("there was nothing to remove")


def look(paths: tuple[str, ...], as_json: bool) -> None:
    """Print what the host lacks, for the configurations among these or for none."""
    loaded: list[config.Config | None] = [config.load(path) for path in paths]
    lacking = [sentence for one in loaded or [None] for sentence in rules.look(one)]
    if as_json:
        print_json({"ok": not lacking, "missing": lacking})
    else:
        for sentence in lacking or ["this host has all that router mode needs"]:
            click.echo(sentence)
    sys.exit(1 if lacking else 0)
