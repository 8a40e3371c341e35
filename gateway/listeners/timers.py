"""Timers by name.  Owns: Timers.  Knows: IReactorTime.  Never: what they are for."""

from __future__ import annotations

from collections.abc import Callable

from gateway.listeners.reactor import DelayedCall, Reactor


class Timers:
    """The timers of one connection: each name at most once."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._calls: dict[str, DelayedCall] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._calls

    def after(self, name: str, delay_s: float, then: Callable[[], None]) -> None:
        """Call later; a timer of the same name is replaced."""

        def fire() -> None:
            self._calls.pop(name, None)
            then()

        self.cancel(name)
        self._calls[name] = self._reactor.callLater(delay_s, fire)

    def cancel(self, name: str) -> None:
        """Cancel one, if it runs."""
        call = self._calls.pop(name, None)
        if call is not None:
            call.cancel()

    def clear(self) -> None:
        """Cancel all."""
        for name in tuple(self._calls):
            self.cancel(name)
