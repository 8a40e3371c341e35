"""Router mode's datagrams that the kernel cannot carry.  Owns: TransparentUdp.
Knows: nothing of what they carry.  Never: verdicts (they come with one), a socket towards clients.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.errors import CarryError
from gateway.listeners.door import Doorkeeper
from gateway.listeners.interfaces import Wiring
from gateway.listeners.reactor import SocketAddress
from gateway.listeners.tally import Drop
from gateway.listeners.udp_session import Give
from gateway.listeners.udp_sessions import UdpSessions
from gateway.model import Endpoint, FlowKey, Transport, Verdict

Reply = Callable[[Endpoint, Endpoint, bytes], bool]
"""Sends a client a datagram as from the endpoint that it asked for (asked, client, payload); False
if the system did not take it.  Raises CarryError: it cannot speak for that endpoint."""


class TransparentUdp(Doorkeeper):
    """Carries datagrams that were judged on their way through the kernel, and their answers."""

    def __init__(self, wiring: Wiring, reply: Reply) -> None:
        super().__init__(wiring)
        self._reply = reply
        self._sessions = UdpSessions(self._door, self._giver)
        self._door.tally.where = "router mode's datagrams"

    def carry(self, key: FlowKey, payload: bytes, verdict: Verdict) -> None:
        """Carry one datagram from a client.

        Args:    verdict: of this datagram, by the policy in force; an older one's does not do.
        """
        self._door.packets.into += 1
        if self._door.is_closing:
            self._door.packets.blocked += 1
            self._door.not_carried(key, CarryError("router mode", "it is stopping"))
        elif verdict.epoch != self._door.gate.epoch_number:
            self._door.tally.drop(Drop.STALE_VERDICT)
            self._door.packets.dropped += 1
        else:
            self._sessions.carry(key, payload, verdict)

    def _giver(self, address: SocketAddress) -> Give:
        client = Endpoint.of(*address)

        def give(asked: Endpoint, payload: bytes) -> None:
            try:
                is_sent = self._reply(asked, client, payload)
            except CarryError as error:
                self._door.not_carried(FlowKey(Transport.UDP, client, asked), error)
                return
            if is_sent:
                self._door.tally.down_datagram(len(payload))
            else:
                self._door.tally.drop(Drop.NOT_SENT)

        return give
