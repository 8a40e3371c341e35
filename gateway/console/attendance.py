"""Attendance on a running process.  Owns: its control socket, its console and the watch on its
files, from start to stop.  Knows: configuration.
Never: carrying traffic: it goes on without these."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from gateway.console.control import Control, path_of
from gateway.console.explaining import Explaining
from gateway.console.guarding import Guard, Scope, Token
from gateway.console.live import Live, Part
from gateway.console.metrics import Metrics
from gateway.console.recent import Seen
from gateway.console.serving import Web
from gateway.console.status import Process, Status, status
from gateway.console.telling import Telling
from gateway.console.web import Answers, Api
from gateway.core import Core
from gateway.counts import Counts
from gateway.errors import CarryError, InputError
from gateway.model import Endpoint
from gateway.routing.accounts import WorkerState
from gateway.watching import Watch

_log = Logger(namespace="gateway.console")


_AGAIN_S = 60.0


class Attendance:
    """What serves the people who look after a process."""

    def __init__(
        self, reactor: Any, core: Core, process: Callable[[], Process], seen: Seen
    ) -> None:
        """Open nothing yet."""
        self._reactor = reactor
        self._again: Any = None
        self._config = config = core.config
        self._process = process
        self._started = core.world.now()
        self._seen = seen
        self._telling = telling = Telling(reactor, core, seen.recent, self._counts, self._states)
        asked: dict[str, Part] = {"status": partial(maybeDeferred, self.status)}
        asked["flows"] = telling.flows
        asked["policy"] = partial(maybeDeferred, telling.policy)
        asked["data"] = partial(maybeDeferred, telling.data)
        self._control = Control(reactor, path_of(config), asked, core.reload)
        self._live = Live(reactor, asked, core.world.random_octets(6).hex())
        self._watch = Watch(reactor, core) if config.watch else None
        self._web = None if config.console is None else self._console(reactor, core)

    def status(self) -> Status:
        """Give the process's status."""
        return status(self._process(), self._started)

    def _counts(self) -> Counts:
        """Give what was decided, by all processes that judge."""
        router = self._process().router
        return self._seen.counts if router is None else router.with_workers(self._seen.counts)

    def _states(self) -> tuple[WorkerState, ...]:
        router = self._process().router
        return () if router is None else router.workers

    def _console(self, reactor: Any, core: Core) -> Web:
        section = core.config.console
        assert section is not None, "asked for"
        address = Endpoint.parse(section.address)
        hosts = {"localhost", address.host, f"[{address.host}]", *map(str.lower, section.hosts)}
        tokens = [
            Token(one.name, one.sha256, frozenset(map(Scope, one.scopes))) for one in section.tokens
        ]
        guard = Guard(reactor.seconds, hosts, tokens, reads_freely=not tokens)
        metrics = Metrics(self.status, lambda: core.table.epoch, self._counts, core.world.now)
        explaining = Explaining(reactor.seconds, lambda: core.table.epoch)
        answers = Answers(
            *(self.status, metrics, core.reload, self._telling, explaining, self._live)
        )
        return Web(reactor, address, Api(guard, answers).app.resource())

    def start(self) -> None:
        """Begin; a control socket that cannot be opened is a line in the log, and tried again.

        Raises:  InputError: the console's address cannot be had.
        """
        if (reason := self._open_control()) is not None:
            _log.warn("no control socket, `gateway status` will not work: {reason}", reason=reason)
        if self._watch is not None:
            self._watch.start()
        if self._web is not None:
            try:
                at = self._web.start()
            except CannotListenError as error:
                reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
                says = f"the console cannot listen: {reason}"
                raise InputError([self._config.problem("console", "address", says=says)]) from error
            _log.info("console on http://{at}/", at=str(at))

    def _open_control(self) -> str | None:
        """Open the control socket; if that fails say why, and try again: a disk may be full, or
        another process may answer there for now."""
        self._again = None
        try:
            self._control.start()
        except CarryError as error:
            self._again = self._reactor.callLater(_AGAIN_S, self._open_control)
            return str(error)
        _log.info("ready for commands on {path}", path=str(self._control.path))
        return None

    def stop(self) -> Deferred[Any]:
        """End; fires when the socket is closed."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._watch is not None:
            self._watch.stop()
        self._live.stop()
        self._telling.stop()
        closing = [maybeDeferred(self._control.stop)]
        if self._web is not None:
            closing.append(maybeDeferred(self._web.stop))
        return DeferredList(closing, consumeErrors=True)
