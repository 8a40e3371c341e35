"""A gateway whose disk fills up, or cannot be written: what it does, and that it recovers."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SkipTest

from gateway.evidence.files import LogFiles
from gateway.evidence.notes import PublicKey
from gateway.evidence.verifying import Asked, verify
from gateway.evidence.walking import Finding
from tests.support.running import PROGRAM, RunningCase
from tests.support.written import wait_written

_ALLOWED, _REFUSED = 0, 2
_POLICY = """\
policy: {}
jurisdictions: {{near: {{networks: [127.0.0.0/8]}}}}
rules: [{{id: near, when: {{to: near}}, action: allow}}]
"""
# In a mount namespace of its own; it is gone with the process.
_MOUNTED = """\
mkdir -p evidence state
mount -t tmpfs -o size=256k,$MODE none evidence || exit 77
mount -t tmpfs -o size=64k,$MODE none state || exit 77
exec "$0" "$@"
"""


class FullDiskTests(RunningCase):
    """`gateway run` with evidence and state on small disks of their own."""

    def setUp(self) -> None:
        """Have somebody who takes connections."""
        if os.geteuid():
            raise SkipTest("to mount a small disk needs root")
        if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
            raise SkipTest("mount namespaces are refused here")
        self.far = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.far.close)

    def begin(self, *, required: str, mode: str = "rw") -> None:
        """Start a gateway."""
        self.write()
        self.policy.write_text(_POLICY.format("first"))
        text = self.config.read_text()
        self.config.write_text(
            text.replace("{path: evidence}", f"{{path: evidence, required: {required}}}")
            + "limits: {max_flows_per_client: 65536}\n"
        )
        run = [sys.executable, "-u", *PROGRAM, "run", "--config", str(self.config)]
        mounted = _MOUNTED.replace("$MODE", mode)
        self.process = self.spawn(["unshare", "-m", "sh", "-c", mounted, *run])
        for words in ("the policy is not kept", "no decision is written down") * (mode == "ro"):
            self.assertIn("Read-only file system", self.line_with(self.process, words))
        line = self.line_with(self.process, "socks5 on ")
        self.door = ("127.0.0.1", int(line.rpartition(":")[2]))
        # As the process sees it, whose disks are in a namespace of its own.
        self.inside = Path(f"/proc/{self.process.pid}/root") / self.folder.relative_to("/")

    def ask(self) -> int:
        """Ask the gateway for a connection; give its SOCKS reply."""
        host, port = self.far.getsockname()
        request = b"\5\1\0\1" + socket.inet_aton(host) + port.to_bytes(2)
        with socket.create_connection(self.door, 30.0) as stream:
            stream.sendall(b"\5\1\0")
            self.assertEqual(stream.recv(2), b"\5\0")
            stream.sendall(request)
            return stream.recv(10)[1]

    def fill(self, name: str) -> Path:
        """Fill one of the disks to its last octet."""
        path = self.inside / name / "fill"
        with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        return path

    def test_required(self) -> None:
        """Evidence is required: while its disk is full nothing new is let through, the process goes
        on, and says why; when there is room again all is as before, and the log says what is
        missing in it.  A policy is put into force on a full disk, too, and leaves nothing behind.
        """
        self.begin(required="true")
        self.assertEqual(self.ask(), _ALLOWED)
        fill = self.fill("evidence")
        answers = [self.ask() for _ in range(200)]  # some still fit into the spool's last page
        self.assertEqual(answers[-1], _REFUSED)
        line = self.line_with(self.process, "cannot be written")
        self.assertIn("No space left on device", line)
        full = self.fill("state")
        there = sorted(one.name for one in (self.inside / "state").iterdir())
        self.policy.write_text(_POLICY.format("second"))
        self.process.send_signal(1)
        self.line_with(self.process, 'epoch 2: policy "second"')
        self.line_with(self.process, "the policy is not kept for the next start")
        self.assertEqual(sorted(one.name for one in (self.inside / "state").iterdir()), there)
        self.assertIsNone(self.process.poll())
        fill.unlink()
        full.unlink()
        self.assertEqual(self.ask(), _ALLOWED)
        self.process.send_signal(1)
        self.line_with(self.process, "epoch 3")
        self.check_log()

    def test_read_only(self) -> None:
        """Where neither evidence nor state can be written and evidence is not required, it says so
        and goes on; when they can be, decisions are written down and the next policy is kept."""
        self.begin(required="false", mode="ro")
        self.line_with(self.process, "no control socket")
        self.assertEqual(self.ask(), _ALLOWED)
        self.remount()
        self.line_with(self.process, "decisions are written down from now on")
        self.assertEqual(self.ask(), _ALLOWED)
        log = wait_written(self.inside / "evidence" / "decisions.jsonl")
        self.assertEqual(log.count('"rule":"near"'), 1)
        self.process.send_signal(1)
        self.line_with(self.process, "epoch 2")
        self.process.send_signal(15)
        self.line_with(self.process, "stopped")

    def test_required_at_start(self) -> None:
        """Where evidence is required and cannot be written at the start the process does not end,
        to be started again and again: it lets nothing new through until it can be written."""
        self.begin(required="true", mode="ro")
        self.assertEqual(self.ask(), _REFUSED)
        self.remount()
        self.line_with(self.process, "decisions are written down from now on")
        self.assertEqual(self.ask(), _ALLOWED)

    def remount(self) -> None:
        """Let both disks be written."""
        for name in ("evidence", "state"):
            remount = ["mount", "-o", "remount,rw", str(self.folder / name)]
            enter = ["nsenter", "-t", str(self.process.pid), "-m"]
            subprocess.run([*enter, *remount], check=True)

    def check_log(self) -> None:
        """Check that the log is whole again once its writer had its turn, and tells of its gap."""
        end_s = time.monotonic() + 60.0
        while (findings := self.findings()) and time.monotonic() < end_s:
            time.sleep(0.2)
        self.assertEqual(findings, [])
        kept = self.folder / "kept"
        self.assertIn('"gap":{"lost":', (kept / "decisions.jsonl").read_text())

    def findings(self) -> list[Finding]:
        """Copy the evidence, and say what is wrong with it."""
        kept = self.folder / "kept"
        shutil.rmtree(kept, ignore_errors=True)
        wait_written(self.inside / "evidence" / "decisions.jsonl")
        shutil.copytree(self.inside / "evidence", kept)
        key = PublicKey.parse((kept / "log.pub").read_text(), "log.pub")
        return list(verify(LogFiles(kept, "decisions"), key, Asked()).findings)
