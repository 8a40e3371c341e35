"""gateway.cli.top: the console in a terminal, of a real process."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time

from click.testing import CliRunner
from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from gateway.cli import main
from gateway.cli.top import screen
from tests.support.running import PROGRAM, RunningCase


class TopTests(RunningCase):
    """gateway top."""

    def test_once(self) -> None:
        """--once prints one screen, --json what it is made of; without a process it is 2."""
        process = self.start("run")
        self.line_with(process, "ready for commands")
        asked = ["top", "--config", str(self.config)]
        result = CliRunner().invoke(main, [*asked, "--once"])
        self.assertEqual(result.exit_code, 0, result.output)
        for words in ('ok  policy "first"', "0 flows", "default", "none is configured"):
            self.assertIn(words, result.output)
        said = json.loads(CliRunner().invoke(main, [*asked, "--json"]).stdout)
        self.assertEqual(set(said), {"status", "flows", "policy", "data"})
        self.assertEqual(said["status"]["pid"], process.pid)
        process.kill()
        process.wait()
        self.assertEqual(CliRunner().invoke(main, [*asked, "--once"]).exit_code, 2)

    def test_keys(self) -> None:
        """In a terminal it follows until q is pressed, and leaves the terminal as it was."""
        process = self.start("run")
        self.line_with(process, "ready for commands")
        ours, its = pty.openpty()
        self.addCleanup(os.close, ours)
        command = [sys.executable, *PROGRAM, "top", "--config", str(self.config)]
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
        top = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment)
        self.addCleanup(top.wait, 10)
        self.addCleanup(top.kill)
        os.close(its)
        seen = self.read(ours, b"q ends it")
        self.assertIn(b"first", seen)
        os.write(ours, b"q")
        self.read(ours, b"\x1b[?1049l")  # the screen before is back
        self.assertEqual(top.wait(20), 0)

    def read(self, terminal: int, until: bytes) -> bytes:
        """Read the terminal up to some octets, for twenty seconds at most."""
        seen, until_s = b"", time.monotonic() + 20
        while until not in seen:
            left_s = until_s - time.monotonic()
            self.assertGreater(left_s, 0, seen)
            if select.select([terminal], [], [], left_s)[0]:
                seen += os.read(terminal, 65536)
        return seen


class ScreenTests(SynchronousTestCase):
    """One screen."""

    def test_markup(self) -> None:
        """Rich's markup in names and reasons is shown as text."""
        odd = "[red]odd[/red]"
        rule = {"id": odd, "action": "block", "target": None, "hits": 0, "shadow_percent": 0}
        status = {
            "health": "trouble",
            "troubles": [odd],
            "policy": {"name": odd, "revision": "r", "epoch": 1, "mode": "shadow"},
            "log": {"written": 0, "lost": 0},
            "exits": [{"name": odd, "up": False, "rtt_s": None, "says": odd}],
        }
        one = {"time": "2026-11-23T12:00:00.000+00:00", "client": "c-0", "country": None}
        one |= {"transport": None, "protocol": None, "message": odd, "traffic": None}
        one |= {"action": "block", "target": None, "rule": odd, "but": "not resolved"}
        flows = {
            "flows": 1,
            "now": {"total": 1, "countries": {"none": {"block": 1}}, "jurisdictions": {odd: {}}},
            "decided": {"traffic": {"ping": {"block": 1}}},
            "recent": [one],
        }
        policy = {"rules": [rule], "default": {"action": "block", "hits": 0}}
        console = Console(width=140, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
        self.addCleanup(console.file.close)
        said = {"status": status, "flows": flows, "policy": policy, "data": {"sources": []}}
        console.print(screen(said, 1.5))
        text = console.export_text()
        self.assertEqual(text.count(odd), 8)
        self.assertIn("nothing is enforced", text)
        self.assertIn("100 % of 1 blocked", text)
