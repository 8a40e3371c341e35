"""gateway.supervised: what a service manager is told, by a socket of the test's own."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.supervised import Supervised


class SupervisedTests(SynchronousTestCase):
    """systemd's protocol (sd_notify(3))."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()  # a socket's path must be short
        self.addCleanup(folder.cleanup)
        self.path = str(Path(folder.name, "notify"))
        self.is_working = True
        self.sentence = "ok: all is well"
        self.clock = Clock()

    def begin(self, name: str = "", **environment: str) -> Supervised:
        """Make a process that is supervised by way of a socket of this name."""
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.listening.close)
        name = name or self.path
        self.listening.bind("\0" + name[1:] if name.startswith("@") else name)
        self.listening.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": name, **environment, "HOME": "/"}
        supervised = Supervised(
            self.clock,
            self.environment,
            is_working=lambda: self.is_working,
            sentence=lambda: self.sentence,
        )
        self.addCleanup(supervised.stopping)
        return supervised

    def told(self) -> list[str]:
        """Give what was said since the last time."""
        said = []
        try:
            while True:
                said.append(self.listening.recv(4096).decode())
        except BlockingIOError:
            return said

    def test_life(self) -> None:
        """Ready, alive twice within the time, its status when that changes, and stopping."""
        supervised = self.begin(WATCHDOG_USEC="8000000", WATCHDOG_PID=str(os.getpid()))
        self.assertEqual(self.told(), [])
        supervised.ready()
        self.assertEqual(self.told(), ["READY=1", "STATUS=ok: all is well", "WATCHDOG=1"])
        self.clock.advance(4)
        self.assertEqual(self.told(), ["WATCHDOG=1"])
        self.sentence = "trouble: an exit\nis down"
        self.clock.advance(4)
        self.assertEqual(self.told(), ["STATUS=trouble: an exit is down", "WATCHDOG=1"])
        supervised.stopping()
        supervised.stopping()
        self.assertEqual(self.told(), ["STOPPING=1"])
        self.clock.advance(60)
        self.assertEqual(self.told(), [])

    def test_not_working(self) -> None:
        """Who does not judge is not said to be alive, until it does again."""
        supervised = self.begin(WATCHDOG_USEC="8000000")
        supervised.ready()
        self.told()
        self.is_working = False
        self.clock.advance(4)
        self.assertEqual(self.told(), [])
        self.is_working = True
        self.clock.advance(4)
        self.assertEqual(self.told(), ["WATCHDOG=1"])

    def test_failing(self) -> None:
        """Who cannot even say is not said to be alive, and goes on."""
        supervised = self.begin(WATCHDOG_USEC="8000000")
        supervised.ready()
        self.told()
        del self.sentence
        self.clock.advance(4)
        self.assertEqual(self.told(), [])
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        self.sentence = "again"
        self.clock.advance(4)
        self.assertEqual(self.told(), ["STATUS=again", "WATCHDOG=1"])

    def test_not_watched(self) -> None:
        """Without a watchdog, or with another process's, there is no beat; the status is told."""
        for environment in ({}, {"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "1"}):
            self.path += "x"
            supervised = self.begin(**environment)
            supervised.ready()
            self.clock.advance(20)
            self.assertEqual(self.told(), ["READY=1", "STATUS=ok: all is well"])

    def test_abstract(self) -> None:
        """A socket may have an abstract name."""
        supervised = self.begin(f"@gateway-test-{os.getpid()}")
        supervised.ready()
        self.assertEqual(self.told()[0], "READY=1")

    def test_environment(self) -> None:
        """Processes that this one starts are not told of the socket."""
        self.begin(WATCHDOG_USEC="8000000", WATCHDOG_PID="1")
        self.assertEqual(self.environment, {"HOME": "/"})

    def test_nobody(self) -> None:
        """Without a manager, or one that is gone, it goes on."""
        alone = Supervised(self.clock, {}, is_working=lambda: True, sentence=str)
        alone.ready()
        alone.stopping()
        supervised = self.begin()
        self.listening.close()
        os.unlink(self.path)
        supervised.ready()
        self.clock.advance(20)
