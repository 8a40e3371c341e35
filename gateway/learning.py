"""Learning what leaks, while a gateway runs.  Owns: when samples of accepted flows are studied, and
which flows are asked about again for it.  Knows: the guard of the flow table.
Never: looking at a packet; a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from gateway.flow.guard import LeakGuard, Lesson
from gateway.flow.table import FlowTable

_log = Logger(namespace="gateway.guard")

# Findings take up to two seconds of a thread: every half minute, of ticks of five seconds.
_TELLS_EACH = 6
# Clients come and go, and the finder compares those that were there together.
_ANEW_EACH = 120


class Learning:
    """Has samples studied in a thread, one batch at a time."""

    def __init__(
        self, guard: LeakGuard, table: FlowTable, in_thread: Callable[..., Deferred[Any]]
    ) -> None:
        """Study nothing yet."""
        self._guard, self._table, self._in_thread = guard, table, in_thread
        self._ticks = 0
        self._is_busy = False
        self.lessons = 0
        """How many identifiers were learned."""

    def tick(self) -> Deferred[None] | None:
        """Study what was sampled since; call it every five seconds."""
        samples = self._guard.take_samples()
        if not self._guard.learns or self._is_busy:
            return None
        self._ticks += 1
        tells = not self._ticks % _TELLS_EACH
        if not samples and not tells:
            return None
        self._is_busy = True
        studied: Deferred[list[Lesson]] = self._in_thread(self._guard.study, samples, tells=tells)
        studied.addCallback(self._learned)
        studied.addErrback(lambda why: _log.failure("looking for leaks failed", why))
        return studied.addBoth(self._done)

    def _done(self, _result: object) -> None:
        self._is_busy = False
        if not self._ticks % _ANEW_EACH:
            self._guard.begin_anew()

    def _learned(self, lessons: list[Lesson]) -> None:
        for lesson in lessons:
            if self._guard.learn(lesson):
                self.lessons += 1
                _log.warn("a leak was learned: {sentence}", sentence=lesson.finding.sentence)
                to = {one.address for one in lesson.finding.endpoints}
                for client in lesson.finding.clients:
                    self._table.ask_again(client, to)
