"""Real processes of the gateway in tests.  Owns: starting one, reading its log, ending it.
Knows: subprocess.  Never: leaving one behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

CONFIG = """\
policy: {policy}
listeners:
  - {{kind: socks5, address: "{address}"}}
evidence: {{path: evidence}}
"""

_HANGING_S = 60.0

# The console script, wherever it was installed.
PROGRAM = ("-c", "from gateway.cli import main; main()")


class RunningCase(SynchronousTestCase):
    """A folder with a configuration and a policy, and a process that runs by them."""

    folder: Path
    config: Path
    policy: Path

    def start(
        self,
        *arguments: str,
        address: str = "127.0.0.1:0",
        more: str = "",
        program: tuple[str, ...] = PROGRAM,
    ) -> subprocess.Popen[str]:
        """Start a process.

        Args:    more: of its gateway.yaml.
        """
        self.write(address, more)
        return self._spawn([*program, *arguments])

    def write(self, address: str = "127.0.0.1:0", more: str = "") -> None:
        """Write configuration and policy."""
        # trial's own folders have paths that are too long for a Unix socket.
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.config = self.folder / "gateway.yaml"
        self.policy = self.folder / "policy.yaml"
        self.policy.write_text("policy: first\n")
        self.config.write_text(CONFIG.format(policy="policy.yaml", address=address) + more)

    def again(self, process: subprocess.Popen[str]) -> subprocess.Popen[str]:
        """Start the same once more, with what is there now."""
        assert isinstance(process.args, list)
        return self._spawn(process.args[2:-2])

    def _spawn(self, arguments: list[str]) -> subprocess.Popen[str]:
        return self.spawn([sys.executable, "-u", *arguments, "--config", str(self.config)])

    def spawn(self, argv: list[str]) -> subprocess.Popen[str]:
        """Start a command in the folder; it is ended with the test."""
        process = subprocess.Popen(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
        )
        watchdog = threading.Timer(_HANGING_S, process.kill)  # a hang becomes the end of its log
        watchdog.start()
        self.addCleanup(watchdog.cancel)
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None, "piped above"
            self.addCleanup(pipe.close)
        self.addCleanup(process.wait, 10)
        self.addCleanup(process.kill)
        return process

    def line_with(self, process: subprocess.Popen[str], words: str) -> str:
        """Read the log up to a line that has the words."""
        assert process.stderr is not None
        read = []
        for line in process.stderr:
            read.append(line)
            if words in line:
                return line
        raise AssertionError(f"{words!r} never came in:\n{''.join(read)}")
