"""The UDP sessions behind one client-side socket.  Owns: finding, bounding, expiring them.
Knows: Twisted's clock.  Never: datagrams."""

from __future__ import annotations

from collections.abc import Callable

from gateway.listeners.door import Door
from gateway.listeners.reactor import DelayedCall, SocketAddress
from gateway.listeners.tally import Drop
from gateway.listeners.udp_session import Give, UdpSession
from gateway.model import Endpoint

# Looked for four times in the timeout: what is idle goes after 1 to 1.25 of it.
_SWEEPS_PER_TIMEOUT = 4


class UdpSessions:
    """One session for each client endpoint."""

    def __init__(self, door: Door, giver: Callable[[SocketAddress], Give]) -> None:
        """Begin without sessions.

        Args:    giver: makes what gives answers to the client at this socket address.
        """
        self._door = door
        self._giver = giver
        self._sessions: dict[SocketAddress, UdpSession] = {}
        self._sweep: DelayedCall | None = None

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, client: SocketAddress) -> UdpSession | None:
        """Find or open a client's session; None, and a dropped datagram counted, if too many."""
        session = self._sessions.get(client)
        if session is None:
            if not self._door.sessions.take():
                self._door.tally.drop(Drop.SESSIONS_FULL)
                return None
            session = UdpSession(self._door, Endpoint.of(*client), self._giver(client))
            self._sessions[client] = session
            self._sweep_later()
        return session

    def _sweep_later(self) -> None:
        if self._sweep is None and self._sessions:
            interval_s = self._door.limits.udp_idle_timeout_s / _SWEEPS_PER_TIMEOUT
            self._sweep = self._door.reactor.callLater(interval_s, self._expire)

    def _expire(self) -> None:
        self._sweep = None
        before_s = self._door.reactor.seconds() - self._door.limits.udp_idle_timeout_s
        for client, session in tuple(self._sessions.items()):
            session.expire(before_s)
            if session.is_empty:
                self._close(client)
        self._sweep_later()

    def _close(self, client: SocketAddress) -> None:
        self._sessions.pop(client).close()
        self._door.sessions.give()

    def close(self) -> None:
        """Close every session."""
        for client in tuple(self._sessions):
            self._close(client)
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
