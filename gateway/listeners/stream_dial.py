"""Connecting a stream.  Owns: Dialling: one attempt under way at most, its time.
Knows: IStreamClientEndpoint.  Never: which address is tried next."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from gateway.errors import CarryError
from gateway.listeners.door import Door
from gateway.listeners.stream_sides import Events, ServerFactory, ServerSide
from gateway.listeners.ways import dial
from gateway.model import FlowKey, Verdict


class Dialling:
    """The attempts of one relay, one after another."""

    def __init__(self, door: Door, events: Events, failed: Callable[[BaseException], None]) -> None:
        """Begin without one.

        Args:    events: is told of the server's side; failed: is told why there is none.
        """
        self._door = door
        self._events = events
        self._failed = failed
        self._attempt: Deferred[object] | None = None
        self._began_s: float | None = None

    @property
    def has_time(self) -> bool:
        """Whether there is time for one more attempt: it has run out with the first timeout."""
        if self._began_s is None:
            return True
        passed_s = self._door.reactor.seconds() - self._began_s
        return passed_s < self._door.limits.connect_timeout_s

    def start(self, verdict: Verdict, key: FlowKey) -> None:
        """Begin an attempt."""
        if self._began_s is None:
            self._began_s = self._door.reactor.seconds()
        try:
            endpoint = dial(verdict, key, self._door)
            self._attempt = attempt = endpoint.connect(ServerFactory(ServerSide(self._events)))
        except CarryError as error:
            self._failed(error)
            return
        clock = cast(IReactorTime, self._door.reactor)
        attempt.addTimeout(self._door.limits.connect_timeout_s, clock)
        attempt.addCallbacks(self._made, lambda why: self._not_made(why.value))

    def stop(self) -> None:
        """Give the attempt up, if one is under way."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()

    def _made(self, _protocol: object) -> None:
        self._attempt = None

    def _not_made(self, error: BaseException) -> None:
        self._attempt = None
        self._failed(error)
