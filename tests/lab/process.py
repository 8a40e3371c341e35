"""A process in the lab.  Owns: its start, its output line by line, its end.
Knows: ip netns exec, PR_SET_PDEATHSIG through setpriv(1).  Never: what it does."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO

_MAX_LINES = 20_000
_NOWHERE = Path(os.devnull)


class Process:
    """A command that runs in a namespace, with its standard output and error.

    It dies with the thread that started it, so that no crash of ours leaves it behind: start it
    from a thread that lives as long as it shall.
    """

    def __init__(self, namespace: str, argv: Sequence[str], copy: Path = _NOWHERE) -> None:
        """Start it.

        Args:    copy: a file to which its output is appended, line by line.
        """
        enter = ["ip", "netns", "exec", namespace, "setpriv", "--pdeathsig", "KILL", "--", *argv]
        path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        self.name = os.path.basename(argv[0])
        file = copy.open("a", buffering=1)
        # ip and setpriv replace themselves by what they start: the pid is the command's own.
        self._process = subprocess.Popen(
            enter,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "PATH": path},
        )
        self._lines: deque[str] = deque(maxlen=_MAX_LINES)
        self._said = threading.Condition()
        self._closed = False
        pipe = self._process.stdout
        assert pipe is not None, "asked for above"
        self._reader = threading.Thread(target=self._read, args=[pipe, file], daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The command's own process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Has it not ended yet?"""
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """What it said so far."""
        with self._said:
            return "".join(self._lines)

    def wait_for(self, text: str, timeout_s: float = 60.0) -> str:
        """Wait until it has said a line with a text in it, and give that line.

        Raises:  TimeoutError: it did not, or it ended before; with all that it said.
        """
        end_s = time.monotonic() + timeout_s
        with self._said:
            while (found := self._find(text)) is None:
                left_s = end_s - time.monotonic()
                if self._closed or left_s <= 0:
                    raise TimeoutError(f'{self.name} never said "{text}":\n{"".join(self._lines)}')
                self._said.wait(left_s)
            return found

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._process.kill()
        self._end()

    def stop(self, timeout_s: float = 10.0) -> int:
        """End it by SIGTERM, or by SIGKILL if it does not listen; give its exit status."""
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
        return self._end()

    def _end(self) -> int:
        status = self._process.wait()
        # A child of its own may hold the pipe open longer; what that says is of no interest.
        self._reader.join(1.0)
        if not self._reader.is_alive() and self._process.stdout is not None:
            self._process.stdout.close()
        return status

    def _find(self, text: str) -> str | None:
        return next((line for line in self._lines if text in line), None)

    def _read(self, stream: IO[str], copy: IO[str]) -> None:
        with copy:
            for line in stream:
                copy.write(line)
                with self._said:
                    self._lines.append(line)
                    self._said.notify_all()
        with self._said:
            self._closed = True
            self._said.notify_all()
