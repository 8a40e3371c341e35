"""Tests of the lab's namespaces, links and processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.lab import namespaces
from tests.lab.case import LabCase
from tests.lab.topology import Lab, Space, skip_reason
from tests.support.rows import rows

_PROJECT = Path(__file__).parents[2]
# A lab with a process in it, whose maker is killed.
_CRASH = """
import os, signal
from tests.lab.namespaces import listed
from tests.lab.topology import Lab
lab = Lab.create()
inside = lab.spawn("internet", ["sleep", "1000"])
print(lab.name("internet"), inside.pid, *listed(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def _ours() -> list[str]:
    """Give the namespaces of this process: other runs come and go."""
    return [name for name in namespaces.listed() if name.startswith(f"lab-{os.getpid()}-")]


@rows(
    datagram={
        "IPv4, client to internet": (Space.CLIENT, Lab.CLIENT[0], Space.INTERNET, "8.8.8.8"),
        "IPv4, internet to client": (Space.INTERNET, "8.8.8.8", Space.CLIENT, Lab.CLIENT[0]),
        "IPv6, client to internet": (Space.CLIENT, Lab.CLIENT[1], Space.INTERNET, "2001:db9::8"),
        "IPv6, internet to client": (Space.INTERNET, "2001:db9::8", Space.CLIENT, Lab.CLIENT[1]),
        "IPv4, gateway to exit": (Space.GATEWAY, Lab.UPLINK[0], Space.EXIT, Lab.EXIT[0]),
        "IPv6, gateway to exit": (Space.GATEWAY, Lab.UPLINK[1], Space.EXIT, Lab.EXIT[1]),
        "IPv4, exit to internet": (Space.EXIT, Lab.EXIT[0], Space.INTERNET, "198.51.100.7"),
        "IPv6, exit to internet": (Space.EXIT, Lab.EXIT[1], Space.INTERNET, "2001:db9::9"),
    }
)
class TopologyTests(LabCase):
    """What is sent anywhere arrives where it should."""

    def check_datagram(self, space: Space, source: str, other: Space, to: str) -> None:
        """A datagram arrives unchanged, from its own source address and port."""
        family = socket.AF_INET6 if ":" in to else socket.AF_INET
        with (
            self.lab.socket(other, family, socket.SOCK_DGRAM) as receiver,
            self.lab.socket(space, family, socket.SOCK_DGRAM) as sender,
        ):
            for each, address in ((receiver, to), (sender, source)):
                each.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND: the internet owns it
                each.settimeout(5.0)
                each.bind((address, 7000))
            sender.sendto(b"hello", (to, 7000))
            payload, seen = receiver.recvfrom(100)
        self.assertEqual((payload, seen[:2]), (b"hello", (source, 7000)))

    def test_carry(self) -> None:
        """The client speaks from any address that it is told to carry, and hears its answers."""
        self.internet()
        for source, to in (("10.98.7.2", "8.8.8.8:53"), ("2001:db8:77::5", "[2001:db9::1]:53")):
            self.lab.carry(source)
            self.lab.carry(source)
            answer, _ = self.say(socket.SOCK_DGRAM, source, to, b"hello")
            self.assertEqual(answer, b"hello")

    def test_run(self) -> None:
        """A command runs in its namespace, with its status and output given back."""
        done = self.lab.run("gateway", ["sh", "-c", "cat; ls /sys/class/net; exit 3"], text="in\n")
        self.assertEqual(done.returncode, 3)
        self.assertEqual(done.stdout.split(), ["in", "clients", "lo", "uplink"])

    def test_spawn(self) -> None:
        """A process is heard line by line, and ends with the lab."""
        process = self.lab.spawn("exit", ["sh", "-c", "echo one; echo two >&2; exec sleep 1000"])
        self.assertEqual(process.wait_for("two"), "two\n")
        self.assertEqual(process.log, "one\ntwo\n")
        self.assertTrue(process.is_running)
        self.lab.remove()
        self.assertFalse(_is_alive(process.pid))
        self.assertFalse(process.is_running)

    def test_spawn_stop(self) -> None:
        """A process that ends by itself is not waited for longer than it lives."""
        process = self.lab.spawn("exit", ["sh", "-c", "echo done"])
        with self.assertRaises(TimeoutError) as raised:
            process.wait_for("never said")
        self.assertIn("done", str(raised.exception))
        self.assertEqual(process.stop(), 0)

    def test_stop_is_graceful(self) -> None:
        """A process that is stopped may clean up."""
        script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done"
        process = self.lab.spawn("exit", ["sh", "-c", script])
        process.wait_for("ready")
        self.assertEqual(process.stop(), 7)
        self.assertIn("bye", process.log)

    def test_errors_come_back(self) -> None:
        """What fails in a namespace fails where it was asked for."""

        def fail() -> None:
            raise KeyError("in the namespace")

        self.assertRaises(KeyError, self.lab.call, "client", fail)
        self.assertRaises(ValueError, self.lab.name, "nowhere")


class LeavingTests(LabCase):
    """Nothing is left behind."""

    def test_remove(self) -> None:
        """After remove() no namespace and no process is left, not even a child that got away."""
        script = "setsid sleep 1000 & echo $!; wait"
        orphan = int(self.lab.spawn("client", ["sh", "-c", script]).wait_for("\n"))
        names = [self.lab.name(space) for space in Space]
        self.assertEqual(set(names) - set(namespaces.listed()), set())
        self.lab.remove()
        self.assertEqual(set(names) & set(namespaces.listed()), set())
        self.assertFalse(_is_alive(orphan))
        self.lab.remove()

    def test_the_host_is_left_alone(self) -> None:
        """A lab adds no interface, no address, no route and no rule to the host's own namespace."""
        commands = (
            ["ip", "-o", "address"],
            ["ip", "route"],
            ["ip", "rule"],
            ["nft", "list", "ruleset"],
        )
        self.internet()
        during = [namespaces.command(command) for command in commands]
        self.lab.remove()
        after = [namespaces.command(command) for command in commands]
        self.assertEqual(during, after)
        self.assertNotIn("clients", "".join(during))

    def test_crash(self) -> None:
        """What a killed process left behind goes with the next lab; its children died with it."""
        crashed = subprocess.run(
            [sys.executable, "-c", _CRASH], cwd=_PROJECT, capture_output=True, text=True
        )
        name, pid, *listed = crashed.stdout.split()
        self.assertEqual(crashed.returncode, -9)
        self.assertIn(name, listed)
        Lab.create().remove()
        self.assertNotIn(name, namespaces.listed())
        self.assertFalse(_is_alive(int(pid)))

    def test_a_maker_that_died_early(self) -> None:
        """A namespace that was named and never made is swept too."""
        # Process 1 did not start one tick after the boot.
        name = f"lab-1-1-{os.getpid():x}-client"
        namespaces.path_of(name).touch()
        namespaces.remove_stale()
        self.assertNotIn(name, namespaces.listed())

    def test_two_labs(self) -> None:
        """Two labs at once are strangers, and the end of one is not the other's."""
        with Lab.create() as other:
            self.assertNotEqual(self.lab.name("client"), other.name("client"))
            self.internet()
            self.say(socket.SOCK_DGRAM, Lab.CLIENT[0], "8.8.8.8:53", b"hello")
            with other.socket(Space.CLIENT, socket.AF_INET, socket.SOCK_STREAM) as client:
                client.settimeout(5.0)
                self.assertRaises(ConnectionRefusedError, client.connect, ("8.8.8.8", 53))
        answer, _ = self.say(socket.SOCK_DGRAM, Lab.CLIENT[0], "8.8.8.8:53", b"still here")
        self.assertEqual(answer, b"still here")

    def test_a_lab_that_fails_halfway(self) -> None:
        """A lab that cannot be built leaves nothing behind."""
        before = _ours()
        with mock.patch.object(namespaces, "wait_running", side_effect=RuntimeError("no link")):
            self.assertRaises(RuntimeError, Lab.create)
        self.assertEqual(_ours(), before)


class SkippingTests(SynchronousTestCase):
    """Where there can be no lab, somebody says why."""

    def test_not_root(self) -> None:
        """Without root, the reason names it."""
        with mock.patch.object(os, "geteuid", return_value=1000):
            self.assertEqual(skip_reason(), "network namespaces need root")

    def test_no_command(self) -> None:
        """Without a command, the reason names it and its package."""
        if os.geteuid() != 0:
            raise SkipTest("needs root")
        with mock.patch.object(namespaces, "_PATH", "/nowhere"):
            self.assertEqual(skip_reason(), "the command ip is missing: install iproute2")

    def test_refused(self) -> None:
        """Where namespaces are refused, the reason tells what the system said."""
        if skip_reason() is not None:
            raise SkipTest("needs what a lab needs")
        with mock.patch.object(namespaces, "add", side_effect=RuntimeError("mount: EPERM")):
            self.assertEqual(skip_reason(), "network namespaces are refused: mount: EPERM")
