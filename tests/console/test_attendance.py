"""gateway.console.attendance: what people look after a process by is there as soon as it can be."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from twisted.logger import capturedLogs

from gateway.console.attendance import Attendance
from gateway.console.recent import Seen
from tests.support.bundled import world
from tests.support.console import ConsoleCase


class AttendanceTests(ConsoleCase):
    """The control socket."""

    def test_control_later(self) -> None:
        """One that cannot be opened is said once and tried again each minute, until it can be."""
        # trial's own folders have paths that are too long for a Unix socket.
        place = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, place)
        (place / "state").write_text("a file where the folder should be")
        seen = Seen.begin(world().now)
        attendance = Attendance(self.reactor, self.core, self.attendance._process, seen)
        attendance._web = None
        attendance._control.path = place / "state" / "gateway.sock"
        with capturedLogs() as logged:
            attendance.start()
            self.addCleanup(attendance.stop)
            self.reactor.pump([60.0] * 3)
        said = [one for one in logged if "no control socket" in one.get("log_format", "")]
        self.assertEqual(len(said), 1)
        before = len(self.reactor.unixServers)
        (place / "state").unlink()
        self.reactor.advance(60)
        self.assertEqual(len(self.reactor.unixServers), before + 1)
        self.reactor.advance(600)
        self.assertEqual(len(self.reactor.unixServers), before + 1)
