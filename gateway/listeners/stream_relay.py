"""One client stream: judged, held, connected, relayed.  Owns: StreamRelay and its states.
Knows: RFC 9293 (half-close), RFC 5382 (idle time).  Never: how the client asked, or deciding.

HOLDING     the address did not decide: the client was told yes, its first bytes are held.
CONNECTING  the client is paused; if an address of a name fails, the name's next one is tried.
OPEN        both ways; the client's bytes are held on, until they are judged, if the server was
            let speak first, or if a new policy wants to see what was not seen yet.
CLOSING     the last bytes leave.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum, auto

from gateway.errors import CarryError
from gateway.listeners.answers import Answers, failing_of
from gateway.listeners.door import Door
from gateway.listeners.first_bytes import FirstBytes
from gateway.listeners.stream_dial import Dialling
from gateway.listeners.stream_sides import Side
from gateway.listeners.tally import Drop
from gateway.listeners.timers import Timers
from gateway.model import Action, FlowKey, Verdict


class _State(Enum):
    HOLDING = auto()
    CONNECTING = auto()
    OPEN = auto()
    CLOSING = auto()


class StreamRelay:
    """Carries one stream from the moment its destination is known."""

    def __init__(self, door: Door, client: Side, answers: Answers, names: tuple[str, ...]) -> None:
        self._door = door
        self._client = client
        self._answers = answers
        self._names = names
        self._state = _State.CLOSING
        self._server: Side | None = None
        self._dialling = Dialling(door, self, self._not_connected)
        self._timers = Timers(door.reactor)
        self._active_s = 0.0
        self._first = FirstBytes(door.limits.first_bytes_len, door.gate.wants_more)
        self._others: deque[FlowKey] = deque()
        self._is_accepted = False
        self._is_judged = False
        self._key: FlowKey | None = None
        self._verdict: Verdict | None = None

    # What the front door calls.

    def start(
        self, key: FlowKey, verdict: Verdict, first: bytes, others: Iterable[FlowKey] = ()
    ) -> None:
        """Carry out the verdict on the destination.

        Args:    verdict: of `key` without payload; first: what the client has said already;
                 others: what may be dialled, if it is allowed too, where `key` does not answer.
        """
        self._key, self._verdict = key, verdict
        self._first.hold(first)
        self._others.extend(others)
        if not verdict.settled:
            self._hold()
        elif verdict.action is Action.BLOCK:
            self._door.tally.drop(Drop.BLOCKED)
            self._answers.refuse(verdict)
        else:
            self._is_judged = True
            self._connect()

    def received(self, side: Side, data: bytes) -> None:
        """Events API."""
        self._active_s = self._door.reactor.seconds()
        if side is not self._client:
            self._client.transport.write(data)
            self._door.tally.down_stream(len(data))
        elif self._state is _State.OPEN and self._is_judged:
            self._to_server(data)
        elif self._state is not _State.CLOSING:
            self._first.hold(data)
            if self._state is not _State.CONNECTING:
                self._consider()

    def ended(self, side: Side) -> None:
        """Events API."""
        side.end()
        if side is self._client and not self._is_judged:
            self._client_said_all()
        elif self._state is _State.OPEN:
            self._pass_end(side)

    def lost(self, side: Side, was_clean: bool) -> None:
        """Events API."""
        side.lose()
        other = self._server if side is self._client else self._client
        if other is None or other.is_lost:
            self._over()
        elif was_clean:
            self._close()
        else:
            other.abort()

    def abort(self) -> None:
        """Cut both sides."""
        self._stop()
        self._client.abort()
        if self._server is not None:
            self._server.abort()

    def rejudge(self) -> None:
        """Ask again what an older policy decided; cut the stream if its way is another now."""
        before, is_refused = self._verdict, self._state is _State.CLOSING and self._server is None
        if self._key is None or before is None or is_refused:
            return
        if before.epoch == self._door.gate.epoch_number:
            return
        first = (self._first.judged or None) if self._is_judged else None
        self._verdict = after = self._door.gate.judge(self._key, first, self._names)
        if self._state is _State.HOLDING:
            self._hold_on(after)
        elif _way(before) != _way(after):
            self._cut(Drop.STALE_VERDICT)  # a stream cannot be moved
        elif first is None and self._state is not _State.CLOSING and not self._client.has_ended:
            self._is_judged = after.settled  # if not: its next bytes, which are its first, are held
            if after.settled:
                self._go_on()

    # HOLDING: until the first bytes tell, or the client is silent.

    def _hold(self) -> None:
        limits = self._door.limits
        self._state = _State.HOLDING
        self._accept()
        self._timers.after("first", limits.first_bytes_timeout_s, self._first_bytes_late)
        if self._provisional.action is not Action.BLOCK:
            self._timers.after("silence", limits.silence_timeout_s, self._client_silent)
        if self._first:
            self._consider()

    def _hold_on(self, verdict: Verdict) -> None:
        """Go on holding under a new policy, or not."""
        if not verdict.settled:
            if verdict.action is Action.BLOCK:
                self._timers.cancel("silence")
        elif verdict.action is Action.BLOCK:
            self._cut(Drop.BLOCKED)
        else:
            self._is_judged = True
            self._go_on()

    def _consider(self) -> None:
        """Look at the first bytes: now, or later if they were looked at too often."""
        if "first" not in self._timers:
            late_s = self._door.limits.first_bytes_timeout_s
            self._timers.after("first", late_s, self._first_bytes_late)
        if self._first.may_be_looked_at:
            self._look()
        elif "look" not in self._timers:
            self._timers.after("look", self._first.wait_s(), self._look)

    def _look(self) -> None:
        if self._first.are_enough():
            self._judge()

    def _first_bytes_late(self) -> None:
        """Cut what could still become anything: who waits must not be let through for it."""
        if not self._first:
            self._cut(Drop.TIMED_OUT)
        elif self._first.are_enough():
            self._judge()
        else:
            self._cut(Drop.INCOMPLETE)

    def _client_silent(self) -> None:
        """Let the server speak first, on the way that the address alone asks for."""
        if not self._first:
            self._connect()

    def _client_said_all(self) -> None:
        """Judge what there is: no more comes."""
        if self._first:
            self._judge()
        elif self._provisional.action is Action.BLOCK:
            self._cut(Drop.BLOCKED)
        else:
            self._is_judged = True
            self._go_on()

    def _judge(self) -> None:
        assert self._key is not None
        before = self._provisional
        self._verdict = after = self._door.gate.judge(self._key, self._first.judged, self._names)
        if after.action is Action.BLOCK:
            self._cut(Drop.BLOCKED)
        elif self._state is not _State.HOLDING and _way(before) != _way(after):
            self._cut(Drop.CHANGED_VERDICT)  # a stream cannot be moved
        else:
            self._is_judged = True
            self._go_on()

    def _go_on(self) -> None:
        """Let the client's bytes go: they are judged."""
        self._stop_holding()
        if self._state is _State.HOLDING:
            self._connect()
        elif self._state is _State.OPEN:
            self._release()

    def _stop_holding(self) -> None:
        for name in ("first", "look", "silence"):
            self._timers.cancel(name)

    @property
    def _provisional(self) -> Verdict:
        assert self._verdict is not None
        return self._verdict

    # CONNECTING.

    def _connect(self) -> None:
        assert self._key is not None
        self._state = _State.CONNECTING
        self._stop_holding()
        self._client.pauseProducing()
        self._dialling.start(self._provisional, self._key.destination)

    def connected(self, server: Side) -> None:
        """Events API."""
        if self._state is not _State.CONNECTING:
            server.abort()  # given up meanwhile
            return
        self._state = _State.OPEN
        self._server = server
        self._door.hold(self)
        self._accept()
        server.produce_to(self._client)
        self._client.produce_to(server)
        self._active_s = self._door.reactor.seconds()
        self._timers.after("idle", self._door.limits.stream_idle_timeout_s, self._look_for_idleness)
        self._client.resumeProducing()
        if self._is_judged:
            self._release()
        elif self._first:
            self._consider()

    def _not_connected(self, error: BaseException) -> None:
        if self._state is not _State.CONNECTING or self._key is None:
            return
        if isinstance(error, CarryError):
            self._door.not_carried(self._key, error)
        elif self._take_next():
            self._connect()
            return
        else:
            self._door.tally.drop(Drop.NOT_CONNECTED)
        self._state = _State.CLOSING
        if self._is_accepted:
            self.abort()
        else:
            self._answers.fail(failing_of(error))

    def _take_next(self) -> bool:
        """Turn to the name's next address that may be dialled, judged by what is known by now."""
        while self._others and self._dialling.has_time:
            key, gate = self._others.popleft(), self._door.gate
            first = (self._first.judged or None) if self._is_judged else None
            verdict = gate.judge(key, first, self._names)
            if verdict.action is Action.BLOCK or (self._is_judged and not verdict.settled):
                gate.forget(key)
                continue
            assert self._key is not None
            gate.forget(self._key)
            self._key, self._verdict, self._is_judged = key, verdict, verdict.settled
            return True
        return False

    def _accept(self) -> None:
        if not self._is_accepted:
            self._is_accepted = True
            self._answers.accept()

    # OPEN.

    def _release(self) -> None:
        """Let the client's judged bytes go."""
        held = self._first.release()
        if held:
            self._to_server(held)
        if self._client.has_ended:
            self._pass_end(self._client)

    def _to_server(self, data: bytes) -> None:
        assert self._server is not None
        self._first.keep(data)
        self._server.transport.write(data)
        self._door.tally.up_stream(len(data))

    def _pass_end(self, side: Side) -> None:
        """Tell the other side that this one said all."""
        other = self._server if side is self._client else self._client
        assert other is not None
        if other.has_ended:
            self._close()
        elif not other.is_lost:
            other.transport.loseWriteConnection()

    def _look_for_idleness(self) -> None:
        silent_s = self._door.reactor.seconds() - self._active_s
        left_s = self._door.limits.stream_idle_timeout_s - silent_s
        if left_s > 0:
            self._timers.after("idle", left_s, self._look_for_idleness)
        else:
            self._cut(Drop.TIMED_OUT)

    # CLOSING.

    def _close(self) -> None:
        """Close both sides once what was written has left, which may not take forever."""
        self._state = _State.CLOSING
        self._timers.cancel("idle")
        self._timers.after("closing", self._door.limits.closing_timeout_s, self._closing_late)
        for side in (self._client, self._server):
            if side is not None:
                side.finish()

    def _closing_late(self) -> None:
        self._cut(Drop.TIMED_OUT)

    def _cut(self, why: Drop) -> None:
        self._door.tally.drop(why)
        self.abort()

    def _stop(self) -> None:
        self._state = _State.CLOSING
        self._timers.clear()
        self._dialling.stop()

    def _over(self) -> None:
        """Forget the flow: both sides are gone."""
        self._stop()
        if self._key is not None:
            self._door.gate.forget(self._key)
            self._key = None
        self._door.release(self)


def _way(verdict: Verdict) -> tuple[Action, str | None]:
    return verdict.action, verdict.target
