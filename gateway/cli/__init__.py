"""The commands.  Owns: `gateway`, and which commands there are.  Exit statuses: 0 fine, 1 findings
or failures, 2 bad usage or configuration.  Knows: click.  Never: doing the work itself."""

from __future__ import annotations

import click

from gateway.cli.asking import explain, locate, test
from gateway.cli.attending import reload, status
from gateway.cli.auditing import audit
from gateway.cli.checking import check
from gateway.cli.comparing import diff
from gateway.cli.host import lock, unlock
from gateway.cli.reporting import report
from gateway.cli.running import demo_, exit_, init, run, worker
from gateway.cli.top import top
from gateway.cli.updating import update
from gateway.cli.verifying import verify


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rtc-gateway", prog_name="gateway")
def main() -> None:
    """Routing-policy enforcement gateway for real-time audio apps."""


for command in (
    *(run, exit_, init, demo_, worker),
    *(check, explain, test, diff, locate, audit),
    *(status, top, reload, update, verify, report, lock, unlock),
):
    main.add_command(command)
