"""gateway.cli.host: what the commands say that change or look at the host, with and without the
right to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from gateway.cli import main
from gateway.errors import CarryError
from gateway.routing import rules
from tests.lab.case import LabCase
from tests.lab.deployment import Deployment
from tests.lab.topology import Space
from tests.support.rows import rows

_CONFIG = """\
policy: policy.yaml
listeners: [{kind: transparent, interface: eth7}]
exits: [{name: eu, kind: interface, interface: wg7}]
"""
_PROGRAM = (sys.executable, "-c", "from gateway.cli import main; main()")


def gateway(*arguments: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, arguments)


class LookTests(SynchronousTestCase):
    """`gateway check --host` on hosts that are told what they lack."""

    def lacks(self, *sentences: str) -> list[tuple[object, ...]]:
        """Have the host lack something; give what was asked for, as it is asked."""
        asked: list[tuple[object, ...]] = []

        def missing(*names: object) -> list[str]:
            asked.append(names)
            return list(sentences)

        self.patch(rules, "missing", missing)
        return asked

    def configuration(self) -> str:
        """Write a configuration."""
        path = Path(self.mktemp())
        path.write_text(_CONFIG)
        return str(path)

    def test_nothing(self) -> None:
        """A host that lacks nothing: a sentence, and status 0."""
        asked = self.lacks()
        result = gateway("check", "--host")
        self.assertEqual(
            (result.exit_code, result.output), (0, "this host has all that router mode needs\n")
        )
        self.assertEqual(asked, [()])
        result = gateway("check", "--host", "--json")
        self.assertEqual(result.exit_code, 0)
        self.assertEqual(json.loads(result.output), {"ok": True, "missing": []})

    def test_something(self) -> None:
        """What is missing is said, a sentence a line, with status 1; the interfaces that a
        configuration names are asked for."""
        asked = self.lacks("one thing", "and another")
        result = gateway("check", "--host", self.configuration())
        self.assertEqual((result.exit_code, result.output), (1, "one thing\nand another\n"))
        self.assertEqual(asked, [(("eth7",), ("wg7",), ())])
        result = gateway("check", "--host", "--json")
        self.assertEqual(result.exit_code, 1)
        self.assertEqual(
            json.loads(result.output), {"ok": False, "missing": ["one thing", "and another"]}
        )

    def test_unknown(self) -> None:
        """A host that cannot be asked says why."""

        def missing(*_: object) -> list[str]:
            raise CarryError("nft", "the command is not installed")

        self.patch(rules, "missing", missing)
        result = gateway("check", "--host")
        self.assertEqual((result.exit_code, result.output.count("\n")), (1, 1))
        self.assertIn("nft", result.output)

    def test_no_configuration(self) -> None:
        """A configuration that cannot be read is bad usage, and no finding about the host."""
        self.lacks()
        result = gateway("check", "--host", "nonesuch.yaml")
        self.assertEqual(result.exit_code, 2)
        self.assertIn("nonesuch.yaml", result.output)

    def test_nothing_named(self) -> None:
        """With neither a path nor --host there is nothing to check."""
        result = gateway("check")
        self.assertEqual(result.exit_code, 2)
        self.assertIn("name a policy or a configuration, or say --host", result.output)


@rows(
    refused={
        "lock": ("lock", "--interface", "eth7"),
        "lock everything": ("lock",),
        "unlock": ("unlock",),
    }
)
class UnprivilegedTests(SynchronousTestCase):
    """Without the right to change the network, each command says so and changes nothing."""

    def gateway(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a process without capabilities."""
        before: tuple[str, ...] = ()
        if os.geteuid() == 0:
            if shutil.which("setpriv") is None:
                raise SkipTest("setpriv is not installed, and this is root")
            before = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--")
        return subprocess.run(
            [*before, *_PROGRAM, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def check_refused(self, *arguments: str) -> None:
        """A sentence, and status 2."""
        done = self.gateway(*arguments)
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
        self.assertIn("not permitted", done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_look(self) -> None:
        """`check --host` tells what right is missing, and how to get it."""
        done = self.gateway("check", "--host")
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertIn("run it as root, or give it CAP_NET_ADMIN", done.stdout)

    def test_run(self) -> None:
        """`run` with a transparent listener tells it too, and names the listeners' line."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        config = folder / "gateway.yaml"
        config.write_text("policy: policy.yaml\nlisteners: [{kind: transparent, interface: lo}]\n")
        (folder / "policy.yaml").write_text("policy: closed\n")
        done = self.gateway("run", "--config", str(config))
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("run it as root, or give it CAP_NET_ADMIN", done.stderr)
        last = done.stderr.splitlines()[-1]
        self.assertRegex(last, f"^{config}:2:1: router mode: .*not permitted")
        self.assertNotIn("Traceback", done.stderr)


class HostTests(LabCase):
    """`gateway check --host` on a host that is a router."""

    def test_host(self) -> None:
        """A router with its interfaces has all that is needed; what it then lacks is put right by
        the very commands that it says."""
        if shutil.which("sysctl", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
            raise SkipTest("sysctl is not installed")
        deployment = Deployment(self.lab, Path(self.mktemp()), router="")
        config = str((deployment.folder / "gateway.yaml").resolve())
        look = [str(deployment.COMMAND), "check", "--host", config]
        done = self.lab.run(Space.GATEWAY, look)
        self.assertEqual(done.stdout, "this host has all that router mode needs\n")
        settings = ("net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
        for setting in settings:
            self.lab.run(Space.GATEWAY, ["sysctl", "-w", setting])
        done = self.lab.run(Space.GATEWAY, look)
        commands = [line.removeprefix("forwarding is off: ") for line in done.stdout.splitlines()]
        self.assertEqual((done.returncode, len(commands)), (1, 2), done.stdout)
        for command in commands:
            self.assertEqual(self.lab.run(Space.GATEWAY, command.split()).returncode, 0, command)
        self.assertEqual(self.lab.run(Space.GATEWAY, look).returncode, 0)
