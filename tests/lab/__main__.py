"""The lab for a person: scripts/lab.  Owns: its commands.  Knows: click.
Never: building a lab itself."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console

from gateway.errors import GatewayError
from tests.lab import report
from tests.lab.internet import Internet
from tests.lab.topology import Lab, Space, skip_reason


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(context: click.Context) -> None:
    """A client, its gateway, the internet and an exit, in network namespaces of this host.

    Without a command: opens the lab, with somebody who echoes at every address, and removes it at
    Ctrl-C.
    """
    if (reason := skip_reason()) is not None:
        click.echo(f"no lab: {reason}", err=True)
        sys.exit(2)
    # As Ctrl-C: what is open is removed on the way out.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    if context.invoked_subcommand is None:
        _open()


def _open() -> None:
    with Lab.create() as lab, Internet(lab):
        click.echo("client 10.1.0.2 ── 10.1.0.1 gateway 10.2.0.1 ── internet ── exit 192.0.2.10")
        click.echo("A shell in each, from another terminal:\n")
        for space in Space:
            click.echo(f"  ip netns exec {lab.name(space)} bash")
        click.echo("\nCtrl-C removes the lab, and ends what runs in it.")
        try:
            signal.pause()
        except KeyboardInterrupt:
            click.echo()


@main.command("replay")
@click.argument("capture", type=click.Path(path_type=Path))
@click.option("--policy", type=click.Path(path_type=Path), help="Omitted: the default policy.")
@click.option("--speed", default=1.0, show_default=True, help="Times the capture's own pace.")
@click.option("--save", type=click.Path(path_type=Path), help="A folder for captures of each side.")
def replay(capture: Path, policy: Path | None, speed: float, save: Path | None) -> None:
    """Play a capture's client side through a gateway, by SOCKS 5, and say what became of it."""
    with tempfile.TemporaryDirectory(prefix="gateway-lab-") as folder:
        try:
            result = report.run(capture, policy, speed, Path(folder), save)
        except (GatewayError, TimeoutError) as error:
            click.echo(str(error), err=True)
            sys.exit(2)
    # Not a terminal: wide enough that no column is broken.
    report.show(result, Console(highlight=False, width=None if sys.stdout.isatty() else 120))
    sys.exit(0 if result.is_good else 1)


if __name__ == "__main__":
    main()
