"""gateway.cli.running: the processes that it starts."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys

from tests.support.running import PROGRAM, RunningCase


class ProcessTests(RunningCase):
    """The real process starts, says where it listens, reloads and stops."""

    def test_life(self) -> None:
        """It listens; SIGHUP adopts a good policy, refuses a bad one; SIGTERM ends it with 0."""
        process = self.start("run")
        self.line_with(process, "socks5 on 127.0.0.1:")
        self.policy.write_text("policy: second\n")
        process.send_signal(signal.SIGHUP)
        self.assertIn('epoch 2: policy "second"', self.line_with(process, "epoch 2"))
        self.policy.write_text("policy: third\nrules: [{id: a}]\n")
        process.send_signal(signal.SIGHUP)
        self.assertIn("epoch 2 stays", self.line_with(process, "reload refused"))
        process.send_signal(signal.SIGTERM)
        self.line_with(process, "stopped")
        self.assertEqual(process.wait(10), 0)

    def test_json_log(self) -> None:
        """Every line of a JSON log is an object with time, level, namespace and message."""
        process = self.start("run", "--log-format", "json")
        record = json.loads(self.line_with(process, "socks5 on"))
        self.assertEqual(set(record), {"time", "level", "namespace", "message"})
        self.assertEqual((record["level"], record["namespace"]), ("info", "gateway.service"))

    def test_cannot_bind(self) -> None:
        """An address that cannot be had is a fault at its line, with status 2."""
        process = self.start("run", address="192.0.2.1:1080")
        _, said = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 2, said)
        self.assertIn(f"{self.config}:3", said)
        self.assertIn("cannot listen on 192.0.2.1:1080: Cannot assign requested address", said)
        self.assertNotIn("Traceback", said)

    def test_twist(self) -> None:
        """`twist gateway --config FILE` runs the same."""
        process = self.start(program=("-m", "twisted", "gateway"))
        assert process.stdout is not None
        said = []
        for line in process.stdout:  # twist writes JSON into a pipe
            said.append(line)
            if found := re.search(r'"kind": "socks5", "at": "127.0.0.1:([0-9]+)"', line):
                with socket.create_connection(("127.0.0.1", int(found[1])), timeout=20) as client:
                    client.sendall(b"\x05\x01\x00")
                    self.assertEqual(client.recv(2), b"\x05\x00")  # so its reactor runs
                process.send_signal(signal.SIGTERM)
        self.assertIn('"stopped"', "".join(said))
        self.assertIn(process.wait(10), (0, -signal.SIGTERM))  # twist ends by the signal it got

    def test_demo_of_no_capture(self) -> None:
        """A demo of what is no capture says so, with status 2."""
        done = subprocess.run(
            [sys.executable, *PROGRAM, "demo", __file__],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("expected a capture", done.stderr)
        self.assertNotIn("Traceback", done.stderr)
