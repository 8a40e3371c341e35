"""Watching files.  Owns: noticing that the policy, or a file that it names, has changed, and is not
being written any more.  Knows: the core's epochs.  Never: reading the files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from gateway.core import Core
from gateway.regular import status_of

_log = Logger(namespace="gateway.core")

# A change is taken up when a file stayed as it is from one look to the next: an editor may write it
# in several goes.  (Looking costs a few microseconds a file, and works on every file system.)
_LOOK_S = 1.0

Look = Mapping[str, tuple[int, int, int] | None]
"""Of each file: device's number of it, size, time of its last change; None: not there."""


class Watch:
    """Loads policy and data again when what they are read from changes."""

    def __init__(self, clock: Any, core: Core) -> None:
        self._core = core
        self._calls = LoopingCall(self._tick)
        self._calls.clock = clock
        self._taken_up: Look = {}
        """What was there when the policy was last read."""
        self._seen: Look = {}

    def start(self) -> None:
        """Begin to look.  What was changed since the policy began to be read was perhaps not read:
        it is taken for a change."""
        self._seen = _look(self._files())
        read_ns = int(self._core.epochs.last.at.timestamp() * 1e9)
        self._taken_up = {
            file: None if status is not None and status[2] >= read_ns else status
            for file, status in self._seen.items()
        }
        self._calls.start(_LOOK_S, now=False)

    def stop(self) -> None:
        """Look no longer."""
        if self._calls.running:
            self._calls.stop()

    def _tick(self) -> Deferred[object] | None:
        before, self._seen = self._seen, _look(self._files())
        if self._seen == self._taken_up or self._seen != before or self._core.is_changing:
            return None
        self._taken_up = self._seen
        _log.info("files of the policy have changed")
        return self._core.reload().addCallback(self._reloaded)

    def _reloaded(self, _is_good: object) -> None:
        """Other files count now; of those that did before, what has changed since they were read
        is still to be taken up."""
        files = self._files()
        self._seen = _look(files)
        before = self._taken_up
        self._taken_up = {one: before.get(one, seen) for one, seen in self._seen.items()}

    def _files(self) -> set[str]:
        """Give the files in force, and the one that the configuration names: with a policy that
        stands in, that is another.  While one is refused, a file that it lacks may come: it shows
        in its folder."""
        epochs = self._core.epochs
        config = epochs.sources
        named = config.path(config.policy)
        beside = named.parent / f"{named.stem}.cases.yaml"
        files = {config.file, str(named), str(beside)}
        files |= {str(file) for file in self._core.table.epoch.policy.files}
        files |= {str(file) for file in config.identifiers.files(config.path("."))}
        if epochs.last.faults:
            files |= {str(Path(file).parent) for file in files}
        return files


def _look(files: Iterable[str]) -> Look:
    return {file: status_of(file) for file in files}
