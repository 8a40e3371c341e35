"""One UDP flow through a tunnel.  Owns: its stream, what waits for the exit's answer.
Knows: RFC 9298 section 3 (CONNECT-UDP).  Never: sockets, reconnecting, policy."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from gateway.flow.round_trips import Timing
from gateway.tunnel.http3 import Session
from gateway.tunnel.masque import Headers, read_status

# Datagrams that wait one round trip for the exit's 200: a client's burst at the start of a call.
# (RFC 9298 section 5 lets them be sent at once; Envoy drops them.)  The vendor's client sends 19 on
# one flow in its first 100 ms.
_EARLY = 64


def _nothing() -> None:
    """Nobody wants to know."""


class UdpFlow:
    """A flow to one destination.  Made by Tunnel.open_udp."""

    def __init__(
        self,
        session: Session,
        request: Headers,
        on_datagram: Callable[[bytes], None],
        on_closed: Callable[[str], None],
        timing: Timing,
    ) -> None:
        self._session = session
        self.timing = timing
        self.on_ping_answered: Callable[[], None] = _nothing
        """Called behind each answer to a ping; it may close the flow."""
        self._on_datagram = on_datagram
        self._on_closed = on_closed
        self._early: deque[bytes] = deque()
        self._is_accepted = False
        self._is_closed = False
        self.on_own_close: Callable[[], None] = _nothing
        """Called when close() ends it."""
        self.unsent = 0
        """Datagrams that it took and dropped when the flow ended before the exit's answer."""
        self._stream_id = session.request(request, self)

    def send(self, payload: bytes) -> bool:
        """Send one datagram.

        Returns: False if it was dropped, which is counted: too long for the tunnel, or the flow is
                 closed.  (Where a queue is full its oldest makes room; that is counted too.)
        """
        if self._is_closed:
            self._session.counters["datagrams_without_flow"] += 1
            return False
        if self._is_accepted:
            return self._send(payload)
        return self._keep(payload)

    def _send(self, payload: bytes) -> bool:
        self.timing.sent(payload)
        return self._session.send_datagram(self._stream_id, payload)

    def close(self) -> None:
        """End the flow; on_closed is not called."""
        if not self._is_closed:
            self._end()
            self._session.cancel(self._stream_id)
            self.on_own_close()

    def _keep(self, payload: bytes) -> bool:
        if len(payload) > self._session.connection.max_payload:
            self._session.counters["datagrams_too_long"] += 1
            return False
        if len(self._early) == _EARLY:
            self._early.popleft()
            self._session.counters["datagrams_overflowed"] += 1
        self._early.append(payload)
        return True

    def _end(self) -> None:
        self._is_closed = True
        self.unsent = len(self._early)
        self._early.clear()

    def _refuse(self, reason: str) -> None:
        self.close()
        self._on_closed(reason)

    # --- what the session tells (http3.Stream)

    def headers_received(self, headers: Headers) -> None:
        """Read the exit's answer."""
        status, details = read_status(headers)
        if self._is_accepted or status < 200:
            return  # trailers, or an interim response
        if status >= 300:
            self._session.counters["flows_refused"] += 1
            self._refuse(f"the exit refused with {status}" + (f" ({details})" if details else ""))
            return
        self._is_accepted = True
        early, self._early = self._early, deque()
        for payload in early:
            self._send(payload)

    def datagram_received(self, payload: bytes) -> None:
        """Deliver a datagram."""
        is_ping = self.timing.got(payload)
        self._on_datagram(payload)
        if is_ping and not self._is_closed:
            self.on_ping_answered()

    def data_received(self, data: bytes, ended: bool) -> None:
        """Skip capsules, which no context of ours uses (RFC 9297 section 3.2)."""
        self._session.counters["capsule_octets_ignored"] += len(data)
        if ended:
            self._refuse("the exit ended the flow")

    def stop_requested(self) -> None:
        """Take it for an end: a flow has no half.  Before the answer, await that: it says why."""
        if self._is_accepted:
            self._refuse("the exit ended the flow")

    def drained(self) -> None:
        """Do nothing: datagrams are not written to the stream."""

    def closed(self, reason: str) -> None:
        """Pass the end on."""
        if not self._is_closed:
            self._end()
            self._on_closed(reason)
