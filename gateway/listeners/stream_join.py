"""An open stream's two directions.  Owns: Direction: copying, then splicing; Joined: both, their
ends, how long nobody spoke.  Knows: RFC 9293 (half-close), RFC 5382 (idle time).  Never: verdicts.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.listeners.door import Door
from gateway.listeners.limits import MOST_FIRST_BYTES
from gateway.listeners.splice import Splice, is_plain
from gateway.listeners.stream_sides import Side
from gateway.listeners.timers import Timers

# Octets that are copied before a pipe is opened: most streams are smaller and pay nothing.  No
# fewer than the first bytes that are kept, for what is spliced is never seen.
_COPIED_LEN = MOST_FIRST_BYTES


class Direction:
    """From one side to the other."""

    def __init__(
        self, door: Door, source: Side, target: Side, count: Callable[[int], None]
    ) -> None:
        """Begin by copying.

        Args:    count: gets how many octets came each time.
        """
        self.target = target
        self._door = door
        self._source = source
        self._count = count
        self._left_len = _COPIED_LEN
        self._splice: Splice | None = None
        self._may_splice = is_plain(source) and is_plain(target)
        source.produce_to(target)

    def copy(self, data: bytes) -> None:
        """Send on what came."""
        self.target.transport.write(data)
        self._count(len(data))
        self._left_len -= len(data)
        if self._left_len <= 0 and self._may_splice:
            self._may_splice = False
            if self._source.has_ended or self.target.is_lost:
                return  # nothing more to move
            self._begin_splice()

    def _begin_splice(self) -> None:
        splice = Splice(
            self._source,
            self.target,
            self._door.pipes,
            moved=self._count,
            unable=lambda: self._source.produce_to(self.target),
        )
        if splice.begin():
            self._splice = splice
            self._door.tally.spliced()
        else:
            self._door.tally.not_spliced()

    def pass_end(self) -> None:
        """Tell the target that the source said all, behind what is still on its way."""
        if not self.target.is_lost:
            self.target.transport.loseWriteConnection()

    def target_lost(self) -> None:
        """Let go of what cannot arrive any more."""
        if self._splice is not None:
            self._splice.close()


class Joined:
    """The two sides of an open stream."""

    def __init__(self, door: Door, client: Side, server: Side, idle: Callable[[], None]) -> None:
        """Join them.

        Args:    idle: is called when neither side spoke for too long.
        """
        self._door = door
        self._idle = idle
        self._timers = Timers(door.reactor)
        self._client = client
        self._up = Direction(door, client, server, self._count_up)
        self._down = Direction(door, server, client, self._count_down)
        self._active_s = door.reactor.seconds()
        self._look_later(door.limits.stream_idle_timeout_s)

    def up(self, data: bytes) -> None:
        """Send the server what the client said."""
        self._up.copy(data)

    def down(self, data: bytes) -> None:
        """Send the client what the server said."""
        self._down.copy(data)

    def _count_up(self, length: int) -> None:
        self.spoke()
        self._door.tally.up_stream(length)

    def _count_down(self, length: int) -> None:
        self.spoke()
        self._door.tally.down_stream(length)

    def spoke(self) -> None:
        """Note that a side spoke."""
        self._active_s = self._door.reactor.seconds()

    def pass_end(self, side: Side) -> None:
        """Tell the other side that this one said all."""
        (self._up if side is self._client else self._down).pass_end()

    def lost(self, side: Side) -> None:
        """Learn that one side is gone."""
        (self._down if side is self._client else self._up).target_lost()

    def _look_later(self, delay_s: float) -> None:
        self._timers.after("idle", delay_s, self._look_for_idleness)

    def _look_for_idleness(self) -> None:
        silent_s = self._door.reactor.seconds() - self._active_s
        left_s = self._door.limits.stream_idle_timeout_s - silent_s
        if left_s > 0:
            self._look_later(left_s)
        else:
            self._idle()

    def stop_watching(self) -> None:
        """Look for idleness no more."""
        self._timers.clear()
