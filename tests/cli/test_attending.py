"""gateway.cli.attending: asking a running process, by its real socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from gateway.cli import main
from tests.support.running import RunningCase


class AttendingTests(RunningCase):
    """status and reload reach the process of a configuration, and nobody else can."""

    def ask(self, *arguments: str) -> Result:
        """Run a command about the process."""
        return CliRunner().invoke(main, [*arguments, "--config", str(self.config)])

    def test_status(self) -> None:
        """It is well: one screen, status 0; the same as JSON."""
        process = self.start("run")
        at = self.line_with(process, "socks5 on").split()[-1]
        self.line_with(process, "ready for commands")
        result = self.ask("status")
        self.assertEqual(result.exit_code, 0, result.output)
        for words in ("ok\n", 'policy  "first"', "epoch 1 since", f"listener  socks5 {at}"):
            self.assertIn(words, result.output)
        self.assertLess(result.output.count("\n"), 25)
        said = json.loads(self.ask("status", "--json").output)
        self.assertEqual((said["health"], said["pid"]), ("ok", process.pid))
        self.assertEqual(said["log"]["path"], str(self.folder / "evidence" / "decisions.jsonl"))

    def test_reload(self) -> None:
        """A good policy comes into force before the command ends; a bad one is refused with each
        fault, with status 1, and shows in the status until it is mended."""
        process = self.start("run")
        self.line_with(process, "ready for commands")
        self.policy.write_text("policy: second\n")
        result = self.ask("reload")
        self.assertEqual((result.exit_code, result.output[:24]), (0, 'epoch 2: policy "second"'))
        self.policy.write_text("policy: third\nrules: [{id: a}]\n")
        result = self.ask("reload")
        self.assertEqual(result.exit_code, 1, result.output)
        self.assertIn("refused, epoch 2 stays", result.output)
        self.assertIn(f"{self.policy}:2", result.output)
        result = self.ask("status")
        self.assertEqual(result.exit_code, 1, result.output)
        self.assertIn("the last load was refused, epoch 2 stays", result.output)
        self.assertIn(f"{self.policy}:2", result.output)
        self.policy.write_text("policy: third\n")
        self.assertEqual(self.ask("reload").exit_code, 0)
        self.assertEqual(self.ask("status").exit_code, 0)

    def test_after_kill(self) -> None:
        """What a killed process left of its socket is no answer, and no hindrance to the next."""
        process = self.start("run")
        self.line_with(process, "ready for commands")
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        result = self.ask("status")
        self.assertEqual(result.exit_code, 2, result.output)
        self.assertIn("no gateway of this configuration runs", result.output)
        again = self.again(process)
        self.line_with(again, "ready for commands")
        self.assertEqual(self.ask("status").exit_code, 0)

    def test_restart_with_a_bad_policy(self) -> None:
        """A restart while the policy's file is broken goes on by the last good one, and says so."""
        process = self.start("run")
        self.line_with(process, "ready for commands")
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        self.policy.write_text("policy: third\nrules: [{id: a}]\n")
        again = self.again(process)
        self.line_with(again, "ready for commands")
        result = self.ask("status")
        self.assertEqual(result.exit_code, 1, result.output)
        self.assertIn("the last good one stands in for it", result.output)
        self.assertIn('policy  "first"', result.output)

    def test_watched(self) -> None:
        """With `watch: true` a changed policy comes into force by itself."""
        process = self.start("run", more="watch: true\n")
        self.line_with(process, "ready for commands")
        self.policy.write_text("policy: second\n")
        self.assertIn('policy "second"', self.line_with(process, "epoch 2"))

    def test_private(self) -> None:
        """The socket is its owner's only, and so is its folder."""
        process = self.start("run")
        self.line_with(process, "ready for commands")
        control = self.folder / "state" / "gateway.sock"
        self.assertEqual(stat.S_IMODE(os.stat(control).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(control.parent).st_mode), 0o700)

    def test_looking_changes_nothing(self) -> None:
        """A reload has to be asked for as one; what is no request harms nobody."""
        process = self.start("run")
        self.line_with(process, "ready for commands")
        for request, expected in (
            (b"GET /reload HTTP/1.0\r\n\r\n", b"405"),
            (b"POST /status HTTP/1.0\r\nContent-Length: 0\r\n\r\n", b"405"),
            (b"GET /nonesuch HTTP/1.0\r\n\r\n", b"404"),
            (b"\x00\xff\r\n\r\n", b"400"),
        ):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(20)
                client.connect(str(self.folder / "state" / "gateway.sock"))
                client.sendall(request)
                self.assertIn(expected, client.recv(4096).partition(b"\n")[0], request)
        self.assertEqual(json.loads(self.ask("status", "--json").output)["policy"]["epoch"], 1)


class NobodyTests(SynchronousTestCase):
    """Where nothing runs."""

    def test_no_configuration(self) -> None:
        """A configuration that is not there is named, with status 2."""
        result = CliRunner().invoke(main, ["status", "--config", "nonesuch.yaml"])
        self.assertEqual(result.exit_code, 2)
        self.assertIn("nonesuch.yaml", result.output)
