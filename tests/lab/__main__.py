"""The lab for a person: scripts/lab.  Owns: its commands.  Knows: click.
Never: building a lab itself."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
from rich.console import Console

from gateway.errors import GatewayError
from tests.lab import report
from tests.lab.deployment import Deployment
from tests.lab.internet import Internet
from tests.lab.topology import Lab, Space, skip_reason


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--gateway", "has_gateway", is_flag=True, help="With an exit and a gateway as router."
)
@click.option("--policy", type=click.Path(path_type=Path), help="Its policy; else the default one.")
@click.pass_context
def main(context: click.Context, has_gateway: bool, policy: Path | None) -> None:
    """A client, its gateway, the internet and an exit, in network namespaces of this host.

    Without a command: opens the lab, with somebody who echoes at every address, and removes it at
    Ctrl-C.
    """
    is_open = context.invoked_subcommand is None
    if (has_gateway and not is_open) or (policy is not None and not has_gateway):
        raise click.UsageError("--gateway opens the lab, and --policy is of that gateway")
    if (reason := skip_reason()) is not None:
        click.echo(f"no lab: {reason}", err=True)
        sys.exit(2)
    # A shell has what it starts in the background ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # As Ctrl-C: what is open is removed on the way out.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    if is_open:
        with clear_ends():
            _open(has_gateway, policy)


@contextmanager
def clear_ends() -> Iterator[None]:
    """Print what went wrong without a traceback, and leave with status 2."""
    try:
        yield
    except (GatewayError, TimeoutError) as error:
        click.echo(str(error), err=True)
        sys.exit(2)


def _open(has_gateway: bool, policy: Path | None) -> None:
    with ExitStack() as stack:
        lab = stack.enter_context(Lab.create())
        stack.enter_context(Internet(lab))
        click.echo("client 10.1.0.2 ── 10.1.0.1 gateway 10.2.0.1 ── internet ── exit 192.0.2.10")
        if has_gateway:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-lab-")))
            _gateway(Deployment(lab, folder, policy, router=""))
        click.echo("A shell in each, from another terminal:\n")
        for space in Space:
            click.echo(f"  ip netns exec {lab.name(space)} bash")
        click.echo("\nCtrl-C removes the lab, and ends what runs in it.")
        try:
            signal.pause()
        except KeyboardInterrupt:
            click.echo()


def _gateway(deployment: Deployment) -> None:
    deployment.start()
    click.echo("\nThe gateway is the client's router, and has a tunnel to the exit:\n")
    for what, where in (
        ("its log", deployment.folder / "gateway.log"),
        ("what it decided", deployment.decision_log),
        ("its policy", deployment.policy),
        ("to load that again", f"kill -HUP {deployment.gateway.pid}"),
    ):
        click.echo(f"  {what:20}{where}")
    click.echo()


@main.command("replay")
@click.argument("capture", type=click.Path(path_type=Path))
@click.option("--policy", type=click.Path(path_type=Path), help="Omitted: the default policy.")
@click.option(
    "--router/--socks",
    "is_router",
    default=True,
    help="The gateway is the clients' router (the default), or they use its SOCKS 5 listener.",
)
@click.option("--speed", default=1.0, show_default=True, help="Times the capture's own pace.")
@click.option("--save", type=click.Path(path_type=Path), help="A folder for captures of each side.")
def replay(
    capture: Path, policy: Path | None, is_router: bool, speed: float, save: Path | None
) -> None:
    """Play a capture's client side through a gateway, and say what became of it."""
    play = report.Play(capture=capture, policy=policy, is_router=is_router, speed=speed, save=save)
    with clear_ends(), tempfile.TemporaryDirectory(prefix="gateway-lab-") as folder:
        result = report.run(play, Path(folder))
    # Not a terminal: wide enough that no column is broken.
    report.show(result, Console(highlight=False, width=None if sys.stdout.isatty() else 120))
    sys.exit(0 if result.is_good else 1)


if __name__ == "__main__":
    main()
