"""One QUIC connection on the reactor.  Owns: when it is fed, flushed and woken.
Knows: aioquic's sans-IO doors (receive, next event, to send, timer).  Never: HTTP, policy."""

from __future__ import annotations

from collections.abc import Callable

from aioquic.quic.events import QuicEvent
from aioquic.quic.packet import QuicErrorCode
from twisted.logger import Logger

from gateway.tunnel.quic import Connection
from gateway.tunnel.reactor import Address, Clock, DelayedCall

_log = Logger(namespace="gateway.tunnel")

# aioquic compares times exactly; a call that comes this early would find nothing due.
_SLACK_S = 0.0005


class Driver:
    """Feeds a connection, sends what it has once per reactor turn, keeps its one timer."""

    def __init__(
        self,
        clock: Clock,
        connection: Connection,
        transmit: Callable[[bytes, Address], None],
        on_event: Callable[[QuicEvent], None],
        after_events: Callable[[], None],
    ) -> None:
        self.connection = connection
        self._clock = clock
        self._transmit = transmit
        self._on_event = on_event
        self._after_events = after_events
        self._turn: DelayedCall | None = None
        self._timer: DelayedCall | None = None
        self._due = 0.0
        self._is_over = False
        self._asked_s: float | None = None
        """When something was sent that no packet of the peer has followed."""

    @property
    def unanswered_s(self) -> float:
        """How long the peer has said nothing although it should."""
        return 0.0 if self._asked_s is None else self._clock.seconds() - self._asked_s

    def receive(self, data: bytes, address: Address) -> None:
        """Take one datagram of the network."""
        self._asked_s = None
        try:
            self.connection.receive_datagram(data, address, now=self._clock.seconds())
        except Exception:
            self._fault()
        self.pump()

    def pump(self) -> None:
        """Deliver the connection's events; send at the end of this turn, if there is anything."""
        try:
            event = self.connection.next_event()
            while event is not None:
                self._on_event(event)
                event = self.connection.next_event()
            self._after_events()
        except Exception:
            self._fault()
        if self._turn is None:
            if self.connection.has_to_send:
                self.wake()
            else:
                self._arm()

    def wake(self) -> None:
        """Send at the end of this turn: what is written until then shares packets."""
        if self._turn is None and not self._is_over:
            self._turn = self._clock.callLater(0, self._flush_turn)

    def flush(self) -> None:
        """Send now what the congestion window allows."""
        for data, address in self.connection.datagrams_to_send(now=self._clock.seconds()):
            self._transmit(data, address)
        if self._asked_s is None and self.connection.awaits_answer:
            self._asked_s = self._clock.seconds()
        self._arm()

    def stop(self) -> None:
        """Forget the timer and the turn: the connection is over."""
        self._is_over = True
        for call in (self._turn, self._timer):
            if call is not None and call.active():
                call.cancel()
        self._turn = self._timer = None

    def _flush_turn(self) -> None:
        self._turn = None
        self.flush()

    def _arm(self) -> None:
        # A timer that must go off later than it is set is left alone: it finds nothing due and
        # is set again, which is cheaper than moving it with every packet.
        due = self.connection.get_timer()
        if due is None or self._is_over or (self._timer is not None and self._due <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._tick)

    def _tick(self) -> None:
        self._timer = None
        due = self.connection.get_timer()
        now = self._clock.seconds()
        if due is not None and due <= now + _SLACK_S:
            self.connection.handle_timer(now=max(now, due))
            self.pump()
            self.wake()
        else:
            self._arm()

    def _fault(self) -> None:
        # The library met bytes it did not foresee: this connection is in doubt, the others not.
        _log.failure("a QUIC connection is closed: its library failed on what came in")
        self.connection.close(error_code=QuicErrorCode.INTERNAL_ERROR, reason_phrase="internal")
