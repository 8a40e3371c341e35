"""deploy/: the systemd units are sound, and ask for no more than the lab has shown to be enough."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.lab.case import LabCase
from tests.lab.deployment import CAPABILITIES, Deployment, nobody
from tests.lab.topology import Space
from tests.support.rows import rows

_DEPLOY = Path(__file__).parents[2] / "deploy"
_NAMES = (
    "gateway.service",
    "gateway-lock.service",
    "gateway-exit.service",
    "gateway-update.service",
)
_UNITS = {name: (name,) for name in _NAMES}
_PROGRAM = "/usr/local/bin/gateway"


def service(name: str) -> configparser.SectionProxy:
    """Read the section Service of a unit."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # configparser's own way
    unit.read(_DEPLOY / name)
    return unit["Service"]


def capabilities(name: str) -> frozenset[str]:
    """Give the capabilities that a unit's process begins with."""
    return frozenset(service(name)["AmbientCapabilities"].split())


@rows(command=_UNITS, privileges=_UNITS)
class UnitTests(SynchronousTestCase):
    """The units as systemd reads them."""

    def test_verified(self) -> None:
        """systemd has no complaint of any of them, be it a key that it would ignore."""
        if shutil.which("systemd-analyze") is None:
            raise SkipTest("systemd-analyze is not installed")
        self.assertEqual(self.complaints(""), [])
        self.assertEqual(len(self.complaints("Restrat=always\n")), len(_NAMES))

    def complaints(self, more: str) -> list[str]:
        """Give what systemd says of the units, and more lines of each, where the program is
        installed."""
        with tempfile.TemporaryDirectory() as folder:
            for name in _NAMES:
                text = (_DEPLOY / name).read_text().replace(_PROGRAM, sys.executable)
                Path(folder, name).write_text(text + more)
            done = subprocess.run(
                ["systemd-analyze", "verify", "--man=no", *(f"{folder}/{one}" for one in _NAMES)],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        # What it says of the host's other units is none of ours.
        return [line for line in done.stderr.splitlines() if "gateway" in line]

    def check_command(self, name: str) -> None:
        """What a unit starts is a command of ours, with a configuration that is not relative."""
        program, command, option, path = service(name)["ExecStart"].split()
        self.assertEqual((program, option), (_PROGRAM, "--config"))
        self.assertEqual(command, {"gateway.service": "run"}.get(name, name[8:-8]))
        self.assertTrue(path.startswith("/etc/gateway/"))

    def check_privileges(self, name: str) -> None:
        """No unit's process is root, or may become it, or has a capability beyond those that the
        lab's gateway without root has."""
        ours = service(name)
        self.assertEqual((ours["User"], ours["NoNewPrivileges"]), ("gateway", "yes"))
        self.assertEqual(frozenset(ours["CapabilityBoundingSet"].split()), capabilities(name))
        self.assertLessEqual(capabilities(name), CAPABILITIES)

    def test_gateway(self) -> None:
        """The gateway has all of those."""
        self.assertEqual(capabilities("gateway.service"), CAPABILITIES)


class CapabilityTests(LabCase):
    """What the units of lock and exit have is enough.  (For the gateway: tests.routing.)"""

    def test_lock_and_exit(self) -> None:
        """As nobody, and with those capabilities alone, the host is locked, and an exit runs."""
        folder = Path(tempfile.mkdtemp(prefix="gateway-lab-"))
        self.addCleanup(shutil.rmtree, folder)
        deployment = Deployment(self.lab, folder, router="")
        if (reason := deployment.unprivileged_skip_reason()) is not None:
            raise SkipTest(reason)
        deployment.give_away()
        before = nobody(capabilities("gateway-lock.service"))
        config = str(folder / "gateway.yaml")
        lock = [*before, str(deployment.COMMAND), "lock", "--config", config]
        done = self.lab.run(Space.GATEWAY, lock)
        self.assertIn("locked: nothing is forwarded from clients", done.stdout, done.stderr)
        argv = [str(deployment.COMMAND), "exit", "--config", str(folder / "exit.yaml")]
        before = nobody(capabilities("gateway-exit.service"))
        self.lab.spawn(Space.EXIT, [*before, *argv]).wait_for("epoch 1")
