"""The UDP sessions of one way in.  Owns: finding, expiring them.
Knows: Twisted's clock.  Never: datagrams."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.errors import AddressError
from gateway.listeners.door import Door
from gateway.listeners.reactor import DelayedCall, SocketAddress
from gateway.listeners.tally import Drop
from gateway.listeners.udp_session import Give, UdpSession
from gateway.listeners.udp_ways import socket_address
from gateway.model import Endpoint, FlowKey, Verdict

# Looked for four times in the timeout: what is idle goes after 1 to 1.25 of it.
_SWEEPS_PER_TIMEOUT = 4


class UdpSessions:
    """One session for each client endpoint to which a way out is open.

    The door judges them again and ends them, as it does a connection.
    """

    def __init__(self, door: Door, giver: Callable[[SocketAddress], Give]) -> None:
        """Begin without sessions.

        Args:    giver: makes what gives answers to the client at this socket address.
        """
        self._door = door
        self._giver = giver
        self._sessions: dict[SocketAddress, UdpSession] = {}
        self._sweep: DelayedCall | None = None
        door.hold(self)

    def __len__(self) -> int:
        return len(self._sessions)

    def send(
        self,
        client: SocketAddress,
        destinations: Sequence[Endpoint],
        payload: bytes,
        names: tuple[str, ...] = (),
    ) -> None:
        """Send a client's datagram to one of these destinations, in its session."""
        try:
            session = self._session(client)
        except AddressError:
            self._door.tally.drop(Drop.UNROUTABLE)
            self._door.packets.dropped += 1
            return
        session.send(destinations, payload, names)
        self._keep(client, session)

    def carry(self, key: FlowKey, payload: bytes, verdict: Verdict) -> None:
        """Carry a client's datagram that is judged already, in its session."""
        client = socket_address(key.client)
        session = self._session(client)
        session.carry(key, payload, verdict)
        self._keep(client, session)

    def _session(self, client: SocketAddress) -> UdpSession:
        """Find a client's session, or make one.

        Raises:  AddressError: the address has a zone (fe80::1%eth0).
        """
        session = self._sessions.get(client)
        if session is None:
            session = UdpSession(self._door, Endpoint.of(*client), self._giver(client))
        return session

    def _keep(self, client: SocketAddress, session: UdpSession) -> None:
        """Remember a session, unless nothing was let through: there is nothing to remember then."""
        if client not in self._sessions:
            if session.is_empty:
                session.close()
            else:
                self._sessions[client] = session
                self._sweep_later()

    def rejudge(self) -> None:
        """Connection API (door)."""
        for client, session in tuple(self._sessions.items()):
            session.rejudge()
            if session.is_empty:
                self._close(client)

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

    def abort(self) -> None:
        """Connection API (door)."""
        for client in tuple(self._sessions):
            self._close(client)
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self._door.release(self)
