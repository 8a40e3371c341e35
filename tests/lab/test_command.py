"""Tests of scripts/lab, the lab for a person."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from gateway.demo.run import CAPTURE
from gateway.evidence.capture import read_packets
from tests.lab import namespaces
from tests.lab.topology import skip_reason

_PROJECT = Path(__file__).parents[2]
_OPEN = (
    "{policy: open, default: allow, owner: nobody, reason: a policy that lets all pass, rules: []}"
)


def _lab(*arguments: str) -> subprocess.Popen[str]:
    """Start what scripts/lab starts."""
    argv = [sys.executable, "-m", "tests.lab", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, cwd=_PROJECT, stdout=pipe, stderr=subprocess.STDOUT, text=True)


class CommandTests(SynchronousTestCase):
    """A person gets what the tests have."""

    def setUp(self) -> None:
        """Skip where there can be no lab."""
        if (reason := skip_reason()) is not None:
            raise SkipTest(reason)

    def test_open(self) -> None:
        """The lab is there until Ctrl-C, says how to get in, and leaves nothing."""
        with _lab() as process:
            assert process.stdout is not None, "it is a pipe"
            names = []
            for line in process.stdout:
                if "ip netns exec" in line:
                    names.append(line.split()[3])
                if "Ctrl-C" in line:
                    break
            done = namespaces.completed(["ip", "netns", "exec", names[0], "ip", "route"])
            self.assertIn("default via 10.1.0.1", done.stdout)
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(10), 0)
        self.assertEqual(len(names), 4)
        self.assertEqual(set(names) & set(namespaces.listed()), set())

    def test_replay(self) -> None:
        """A policy that lets identifiers pass is found out: they are counted, and the status is 1;
        captures of each side are saved."""
        folder = Path(self.mktemp())
        folder.mkdir()
        policy = folder / "open.yaml"
        policy.write_text(_OPEN)
        options = [
            "--speed",
            "20",
            "--policy",
            str(policy.resolve()),
            "--save",
            str(folder.resolve()),
        ]
        with _lab("replay", str(CAPTURE), *options) as process:
            said, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 1, said)
        self.assertRegex(said, r"1068 packets from the clients; 0 arrived by the exit, 10\d\d dir")
        self.assertRegex(said, r"10\d\d of them show any of the capture's 15 identifiers")
        saved = {path.stem: len(list(read_packets(path))) for path in folder.glob("*.pcap")}
        self.assertEqual(set(saved), {"clients", "uplink", "exit"})
        self.assertGreater(min(saved["clients"], saved["uplink"]), 1_000)

    def test_not_a_capture(self) -> None:
        """What is no capture is refused in one line, with status 2."""
        with _lab("replay", str(Path(__file__))) as process:
            said, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 2)
        self.assertIn("expected a capture", said)
        self.assertEqual(len(said.splitlines()), 1)
