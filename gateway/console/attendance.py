"""Attendance on a running process.  Owns: its control socket and the watch on its files, from start
to stop.  Knows: configuration.  Never: carrying traffic: it goes on without these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from gateway.console.control import Control
from gateway.console.status import Process, Status, status
from gateway.core import Core
from gateway.errors import CarryError
from gateway.watching import Watch

_log = Logger(namespace="gateway.console")


class Attendance:
    """What serves the people who look after a process."""

    def __init__(self, reactor: Any, core: Core, process: Callable[[], Process]) -> None:
        """Open nothing yet."""
        config = core.config
        self._process = process
        self._started = core.world.now()
        folder = config.path(config.state.path)
        self._control = Control(reactor, folder, self.status, core.reload)
        self._watch = Watch(reactor, core) if config.watch else None

    def status(self) -> Status:
        """Give the process's status."""
        return status(self._process(), self._started)

    def start(self) -> None:
        """Begin; a socket that cannot be opened is a line in the log."""
        try:
            self._control.start()
        except CarryError as error:
            _log.warn("no control socket, `gateway status` will not work: {reason}", reason=error)
        else:
            _log.info("ready for commands on {path}", path=str(self._control.path))
        if self._watch is not None:
            self._watch.start()

    def stop(self) -> Deferred[Any]:
        """End; fires when the socket is closed."""
        if self._watch is not None:
            self._watch.stop()
        return maybeDeferred(self._control.stop)
