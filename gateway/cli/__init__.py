"""The commands.  Owns: `gateway`, and which commands there are.  Exit statuses: 0 fine, 1 findings
or failures, 2 bad usage or configuration.  Knows: click.  Never: doing the work itself."""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType

import click

# Where each command stands.  Its module is imported when it is asked for: `gateway test` then does
# not wait for the tunnel, the kernel and the web server.
_WHERE = MappingProxyType(
    {
        "run": ("running", "run"),
        "exit": ("running", "exit_"),
        "init": ("running", "init"),
        "demo": ("running", "demo_"),
        "worker": ("running", "worker"),
        "log-writer": ("writing", "log_writer"),
        "check": ("checking", "check"),
        "explain": ("asking", "explain"),
        "test": ("asking", "test"),
        "locate": ("asking", "locate"),
        "diff": ("comparing", "diff"),
        "audit": ("auditing", "audit"),
        "status": ("attending", "status"),
        "reload": ("attending", "reload"),
        "update": ("updating", "update"),
        "verify": ("verifying", "verify"),
        "report": ("reporting", "report"),
        "top": ("top", "top"),
        "lock": ("host", "lock"),
        "unlock": ("host", "unlock"),
    }
)


class Commands(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names of all commands."""
        return sorted(_WHERE)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Give a command, or None if there is none of that name."""
        where = _WHERE.get(cmd_name)
        if where is None:
            return None
        module, name = where
        command = getattr(import_module(f"gateway.cli.{module}"), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rtc-gateway", prog_name="gateway")
def main() -> None:
    """Routing-policy enforcement gateway for real-time audio apps."""
