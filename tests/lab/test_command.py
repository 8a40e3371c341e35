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
from tests.lab.test_report import frame
from tests.lab.topology import skip_reason
from tests.lab.wire import write_pcap
from tests.support.epochs import PING, STUN
from tests.support.rows import rows
from tests.support.written import wait_written

_PROJECT = Path(__file__).parents[2]
_OPEN = (
    "{policy: open, default: allow, owner: nobody, reason: a policy that lets all pass, rules: []}"
)


def _lab(*arguments: str) -> subprocess.Popen[str]:
    """Start what scripts/lab starts."""
    argv = [sys.executable, "-m", "tests.lab", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, cwd=_PROJECT, stdout=pipe, stderr=subprocess.STDOUT, text=True)


@rows(
    replay={
        "the gateway is the router": ((),),
        "by SOCKS 5": (("--socks",),),
    }
)
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

    def test_open_with_a_gateway(self) -> None:
        """With --gateway one runs there as the client's router, and it says where its log is."""
        with _lab("--gateway") as process:
            assert process.stdout is not None, "it is a pipe"
            found: dict[str, str] = {}
            for line in process.stdout:
                name, _, where = line.strip().partition("   ")
                found[name] = where.strip()
                if line.startswith("  ip netns exec lab") and "client" in line:
                    found["client"] = line.split()[3]
                if "Ctrl-C" in line:
                    break
            said = Path(found["its log"]).read_text()
            self.assertIn("router mode: ready for clients behind clients", said)
            self.assertIn("policy: promise", Path(found["its policy"]).read_text())
            self.ask(found["client"], "203.0.113.7")
            self.assertIn("203.0.113.7:4001", wait_written(Path(found["what it decided"])))
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(20), 0)
        self.assertFalse(Path(found["its log"]).parent.exists())

    def ask(self, client: str, host: str) -> None:
        """Send a datagram from a namespace, and see it come back."""
        code = (
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5);"
            f"s.sendto({STUN!r}, ({host!r}, 4001)); assert s.recv(99) == {STUN!r}"
        )
        namespaces.command(["ip", "netns", "exec", client, sys.executable, "-c", code])

    def test_usage(self) -> None:
        """A policy for no gateway, and a gateway for a replay that has its own, are refused."""
        for arguments in (("--policy", "p.yaml"), ("--gateway", "replay", str(CAPTURE))):
            with _lab(*arguments) as process:
                said, _ = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 2)
            self.assertIn("--gateway opens the lab", said)

    def test_refused_policy(self) -> None:
        """A gateway that does not start says why, with status 2 and no traceback."""
        policy = Path(self.mktemp())
        policy.write_text("policy: p\nrules: [{id: x}]\n")
        with _lab("--gateway", "--policy", str(policy.resolve())) as process:
            said, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 2)
        self.assertIn('key "when" is missing', said)
        self.assertNotIn("Traceback", said)

    def test_ipv6(self) -> None:
        """A capture of IPv6 is replayed and counted like any other."""
        client, edge, china = "[2001:db8:77::5]:5000", "[2001:db8:a::7]:4001", "[2408:8000::38]:80"
        said = [(edge, PING), (china, PING), (edge, STUN), (china, STUN)]
        capture = Path(self.mktemp())
        write_pcap(capture, [frame(n, client, to, octets) for n, (to, octets) in enumerate(said)])
        with _lab("replay", "--router", str(capture.resolve())) as process:
            output, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, output)
        self.assertRegex(output, r"2001:db8:a::7\]:4001 +2 +1 +1 +wrap no-plain.*, allow the-rest")
        self.assertRegex(output, r"2408:8000::38\]:80 +2 +- +- +block, by the kernel")
        self.assertRegex(output, r" 0 of \d+ frames on the uplink are of blocked")
        self.assertRegex(output, r" 0 of them show any of the capture's 2 identifiers")

    def check_replay(self, ways: tuple[str, ...]) -> None:
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
        with _lab("replay", str(CAPTURE), *options, *ways) as process:
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
