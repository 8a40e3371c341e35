"""A stream's first bytes while they are held.  Owns: Holding: when they are looked at, how long
they may take, how long a client may be silent.  Knows: FirstBytes.  Never: verdicts, sides."""

from __future__ import annotations

from collections.abc import Callable

from gateway.listeners.door import Door
from gateway.listeners.first_bytes import FirstBytes
from gateway.listeners.tally import Drop
from gateway.listeners.timers import Timers


class Holding:
    """Holds first bytes until they are enough to judge, or late."""

    def __init__(self, door: Door, enough: Callable[[], None], late: Callable[[Drop], None]):
        """Begin without any, and without a clock.

        Args:    enough: is called when they can be judged; late: when they took too long.
        """
        self.first = FirstBytes(door.limits.first_bytes_len, door.gate.wants_more)
        self._limits = door.limits
        self._enough, self._late = enough, late
        self._timers = Timers(door.reactor)

    def begin(self, silent: Callable[[], None] | None) -> None:
        """Start the clock.

        Args:    silent: is called if the client says nothing for a while; None: it must speak.
        """
        self._timers.after("late", self._limits.first_bytes_timeout_s, self._are_late)
        if silent is not None:
            self._timers.after("silence", self._limits.silence_timeout_s, silent)
        if self.first:
            self.consider()

    def must_speak(self) -> None:
        """Wait for the client, however silent it is."""
        self._timers.cancel("silence")

    def consider(self) -> None:
        """Look at them: now, or later if they were looked at too often."""
        if "late" not in self._timers:
            self._timers.after("late", self._limits.first_bytes_timeout_s, self._are_late)
        if self.first.may_be_looked_at:
            self._look()
        elif "look" not in self._timers:
            self._timers.after("look", self.first.wait_s(), self._look)

    def stop(self) -> None:
        """Stop the clock."""
        self._timers.clear()

    def _look(self) -> None:
        if self.first.are_enough():
            self._enough()

    def _are_late(self) -> None:
        """Cut what could still become anything: who waits must not be let through for it."""
        if not self.first:
            self._late(Drop.TIMED_OUT)
        elif self.first.are_enough():
            self._enough()
        else:
            self._late(Drop.INCOMPLETE)
