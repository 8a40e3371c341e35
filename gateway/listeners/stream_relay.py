"""One client stream: judged, held, connected, relayed.  Owns: StreamRelay and its states.
Knows: RFC 9293 (half-close).  Never: how the client asked, or deciding; how bytes are moved.

HOLDING     the address did not decide: the client was told yes, its first bytes are held.
CONNECTING  the client is paused; if an address of a name fails, the name's next one is tried.
OPEN        both ways; the client's bytes are held on, until they are judged, if the server was
            let speak first, or if a new policy wants to see what was not seen yet.
CLOSING     the last bytes leave.
"""

from __future__ import annotations

from enum import Enum, auto

from gateway.errors import CarryError
from gateway.listeners.answers import Answers, failing_of
from gateway.listeners.door import Door
from gateway.listeners.stream_dial import Dialling
from gateway.listeners.stream_flow import StreamFlow
from gateway.listeners.stream_hold import Holding
from gateway.listeners.stream_join import Joined
from gateway.listeners.stream_sides import Side
from gateway.listeners.tally import Drop
from gateway.listeners.timers import Timers
from gateway.model import Action, Verdict


class _State(Enum):
    HOLDING = auto()
    CONNECTING = auto()
    OPEN = auto()
    CLOSING = auto()


class StreamRelay:
    """Carries one stream from the moment its destination is known."""

    def __init__(self, door: Door, client: Side, answers: Answers, flow: StreamFlow) -> None:
        """Take a stream whose destination is judged by its address."""
        self._door = door
        self._client = client
        self._answers = answers
        self._flow = flow
        self._state = _State.CLOSING
        self._server: Side | None = None
        self._dialling = Dialling(door, self, self._not_connected)
        self._timers = Timers(door.reactor)
        self._joined: Joined | None = None
        self._holding = Holding(door, self._judge, self._cut)
        self._first = self._holding.first
        self._is_accepted = False
        self._is_judged = False
        self.is_carried = False
        """Whether it was connected to where it goes."""
        self.is_blocked = False
        """Whether the policy blocked it, or its verdict could not be carried out."""

    @property
    def held_len(self) -> int:
        """Octets that are held."""
        return len(self._first)

    # What the front door calls.

    def start(self, first: bytes) -> None:
        """Carry out the verdict on the destination.

        Args:    first: what the client has said already.
        """
        self._door.streams.octets(len(first))
        self._first.hold(first)
        if not self._flow.verdict.settled:
            self._hold()
        elif self._flow.verdict.action is Action.BLOCK:
            self.is_blocked = True
            self._door.tally.drop(Drop.BLOCKED)
            self._answers.refuse(self._flow.verdict)
        else:
            self._is_judged = True
            self._connect()

    def received(self, side: Side, data: bytes) -> None:
        """Events API."""
        if side is not self._client:
            if self._joined is not None:
                self._joined.down(data)
            return
        self._door.streams.octets(len(data))
        if self._state is _State.OPEN and self._is_judged:
            self._to_server(data)
        elif self._state is not _State.CLOSING:
            self._hold_also(data)
        else:
            self._door.streams.octets_dropped(len(data))

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
        if self._joined is not None:
            self._joined.lost(side)
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
        is_refused = self._state is _State.CLOSING and self._server is None
        if is_refused or self._flow.is_over or not self._flow.is_stale:
            return
        first = self._judged_first
        is_same_way = self._flow.judge(first)
        after = self._flow.verdict
        if self._state is _State.HOLDING:
            self._hold_on(after)
        elif not is_same_way:
            self._cut(Drop.STALE_VERDICT)  # a stream cannot be moved
        elif first is None and self._state is not _State.CLOSING and not self._client.has_ended:
            self._is_judged = after.settled  # if not: its next bytes, which are its first, are held
            if after.settled:
                self._go_on()

    @property
    def _judged_first(self) -> bytes | None:
        """What the stream was judged by; None: by its address alone."""
        return (self._first.judged or None) if self._is_judged else None

    # HOLDING: until the first bytes tell, or the client is silent.

    def _hold(self) -> None:
        self._state = _State.HOLDING
        self._accept()
        is_blocked = self._flow.verdict.action is Action.BLOCK
        self._holding.begin(None if is_blocked else self._client_silent)

    def _hold_also(self, data: bytes) -> None:
        self._first.hold(data)
        if self._joined is not None:
            self._joined.spoke()
        if self._state is not _State.CONNECTING:
            self._holding.consider()

    def _hold_on(self, verdict: Verdict) -> None:
        """Go on holding under a new policy, or not."""
        if not verdict.settled:
            if verdict.action is Action.BLOCK:
                self._holding.must_speak()
        elif verdict.action is Action.BLOCK:
            self._cut(Drop.BLOCKED)
        else:
            self._is_judged = True
            self._go_on()

    def _client_silent(self) -> None:
        """Let the server speak first, on the way that the address alone asks for."""
        if not self._first:
            self._connect()

    def _client_said_all(self) -> None:
        """Judge what there is: no more comes."""
        if self._first:
            self._judge()
        elif self._flow.verdict.action is Action.BLOCK:
            self._cut(Drop.BLOCKED)
        else:
            self._is_judged = True
            self._go_on()

    def _judge(self) -> None:
        is_same_way = self._flow.judge(self._first.judged)
        if self._flow.verdict.action is Action.BLOCK:
            self._cut(Drop.BLOCKED)
        elif self._state is not _State.HOLDING and not is_same_way:
            self._cut(Drop.CHANGED_VERDICT)  # a stream cannot be moved
        else:
            self._is_judged = True
            self._go_on()

    def _go_on(self) -> None:
        """Let the client's bytes go: they are judged."""
        self._holding.stop()
        if self._state is _State.HOLDING:
            self._connect()
        elif self._state is _State.OPEN:
            self._release()

    # CONNECTING.

    def _connect(self) -> None:
        self._state = _State.CONNECTING
        self._holding.stop()
        self._client.pauseProducing()
        self._dialling.start(self._flow.verdict, self._flow.key)

    def connected(self, server: Side) -> None:
        """Events API."""
        if self._state is not _State.CONNECTING:
            server.abort()  # given up meanwhile
            return
        self._state = _State.OPEN
        self._server = server
        self.is_carried = True
        self._door.streams.carried(self._flow.verdict.action)
        self._door.hold(self)
        self._accept()
        self._joined = Joined(self._door, self._client, server, self._time_is_over)
        self._client.resumeProducing()
        if self._is_judged:
            self._release()
        elif self._first:
            self._holding.consider()

    def _not_connected(self, error: BaseException) -> None:
        if self._state is not _State.CONNECTING:
            return
        if isinstance(error, CarryError):
            self.is_blocked = True
            self._door.not_carried(self._flow.key, error)
        elif self._dialling.has_time and self._flow.take_next(self._is_judged, self._judged_first):
            self._is_judged = self._flow.verdict.settled
            self._connect()
            return
        else:
            self._door.tally.drop(Drop.NOT_CONNECTED)
        self._state = _State.CLOSING
        if self._is_accepted:
            self.abort()
        else:
            self._answers.fail(failing_of(error))

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
        assert self._joined is not None
        self._first.keep(data)
        self._door.streams.octets_sent(len(data))
        self._joined.up(data)

    def _pass_end(self, side: Side) -> None:
        """Tell the other side that this one said all, or close if both did."""
        other = self._server if side is self._client else self._client
        assert other is not None and self._joined is not None
        if other.has_ended:
            self._close()
        else:
            self._joined.pass_end(side)

    # CLOSING.

    def _close(self) -> None:
        """Close both sides once what was written has left, which may not take forever."""
        self._state = _State.CLOSING
        self._stop_watching()
        self._timers.after("closing", self._door.limits.closing_timeout_s, self._time_is_over)
        for side in (self._client, self._server):
            if side is not None:
                side.finish()

    def _time_is_over(self) -> None:
        self._cut(Drop.TIMED_OUT)

    def _cut(self, why: Drop) -> None:
        self.is_blocked = self.is_blocked or why is Drop.BLOCKED
        self._door.tally.drop(why)
        self.abort()

    def _stop(self) -> None:
        self._state = _State.CLOSING
        self._timers.clear()
        self._stop_watching()
        self._dialling.stop()

    def _stop_watching(self) -> None:
        self._holding.stop()
        if self._joined is not None:
            self._joined.stop_watching()

    def _over(self) -> None:
        """Forget the flow: both sides are gone."""
        self._stop()
        self._flow.end()
        self._door.release(self)
