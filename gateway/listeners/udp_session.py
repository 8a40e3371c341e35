"""One client UDP endpoint and all it talks to.  Owns: UdpSession: every datagram judged, its
verdict carried out, answers given back.  Knows: RFC 4787.  Never: how a front door frames them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from gateway.errors import CarryError
from gateway.listeners.door import Door
from gateway.listeners.interfaces import Carrier
from gateway.listeners.tally import Drop
from gateway.listeners.udp_ways import DirectWay, TunnelWay, UpstreamPort, Way, socket_address
from gateway.listeners.ways import way_of
from gateway.model import Action, Endpoint, FlowKey, Transport, Verdict

Give = Callable[[Endpoint, bytes], None]
"""Gives a datagram to the client, as from this endpoint."""


class _Destination:
    """One destination of a session, with the ways that its verdicts opened."""

    __slots__ = ("epoch", "key", "seen_s", "ways")

    def __init__(self, key: FlowKey) -> None:
        self.key = key
        self.epoch = 0
        """Of the newest verdict."""
        self.seen_s = 0.0
        """When the client last sent here."""
        self.ways: dict[tuple[Action, str | None], Way] = {}


class UdpSession:
    """Carries the datagrams of one client endpoint.

    All destinations share one upstream socket per address family, so that the vendor sees one
    client address, as behind a NAT.  Both are opened by the first datagram that needs them.
    """

    def __init__(self, door: Door, client: Endpoint, give: Give) -> None:
        self._door = door
        self._client = client
        self._give = give
        self._ports: list[UpstreamPort] = []
        # Longest silent first, so that expiry looks only at what expires.
        self._destinations: OrderedDict[Endpoint, _Destination] = OrderedDict()

    @property
    def is_empty(self) -> bool:
        """Whether no destination is in use."""
        return not self._destinations

    def send(
        self, destinations: Sequence[Endpoint], payload: bytes, names: tuple[str, ...] = ()
    ) -> None:
        """Send one datagram to the first of these for which the verdict is not block.

        Args:    destinations: one, or the addresses of the name that the client asked for.
        """
        for endpoint in destinations:
            destination = self._destination(endpoint)
            if destination is None:
                self._door.tally.drop(Drop.DESTINATIONS_FULL)
                return
            verdict = self._door.gate.judge(destination.key, payload, names)
            destination.epoch = verdict.epoch
            if verdict.action is not Action.BLOCK:
                self._carry(destination, verdict, payload)
                return
        self._door.tally.drop(Drop.BLOCKED)

    def _destination(self, endpoint: Endpoint) -> _Destination | None:
        """Find or admit a destination; None if there are too many."""
        destination = self._destinations.get(endpoint)
        if destination is None:
            if len(self._destinations) >= self._door.limits.session_destinations:
                return None
            if not self._door.destinations.take():
                return None
            destination = _Destination(FlowKey(Transport.UDP, self._client, endpoint))
            self._destinations[endpoint] = destination
        else:
            self._destinations.move_to_end(endpoint)
        destination.seen_s = self._door.reactor.seconds()
        return destination

    def _carry(self, destination: _Destination, verdict: Verdict, payload: bytes) -> None:
        kind = (verdict.action, verdict.target)
        way = destination.ways.get(kind)
        if way is None or (isinstance(way, TunnelWay) and way.is_closed):
            try:
                way = self._open(destination, verdict)
            except CarryError as error:
                destination.ways.pop(kind, None)
                self._door.tally.not_carried(error)
                return
            destination.ways[kind] = way
        way.epoch = verdict.epoch
        way.send(payload)

    def _open(self, destination: _Destination, verdict: Verdict) -> Way:
        """Open a way.

        Raises:  CarryError: there is none.
        """

        def answer(way: Way, payload: bytes) -> None:
            self._answer(destination, way, payload)

        asked = destination.key.destination
        out = way_of(verdict, asked, self._door.routes)
        if isinstance(out, Endpoint):
            return self._dial(destination, out, answer)
        return self._enter(out, asked, answer)

    def _enter(
        self, carrier: Carrier, asked: Endpoint, answer: Callable[[Way, bytes], None]
    ) -> TunnelWay:
        way = TunnelWay(carrier, asked, answer, self._door.tally)
        if way.is_closed:
            raise CarryError("exit", "the flow closed while it was opened")
        return way

    def _dial(
        self, destination: _Destination, out: Endpoint, answer: Callable[[Way, bytes], None]
    ) -> DirectWay:
        """Use the first upstream socket on which answers from there are this destination's.

        It is the first one of its family, unless two destinations are dialled at one address.
        """
        address = socket_address(out)
        for port in self._ports:
            if port.family == len(out.address):
                taken = port.ways.get(address)
                if taken is None:
                    return DirectWay(port, address, answer)
                if taken in destination.ways.values():
                    return taken
        return DirectWay(self._new_port(len(out.address)), address, answer)

    def _new_port(self, family: int) -> UpstreamPort:
        if len(self._ports) >= self._door.limits.session_ports:
            raise CarryError("direct", "too many destinations of one client share one address")
        port = UpstreamPort(self._door, family)
        self._ports.append(port)
        return port

    def _answer(self, destination: _Destination, way: Way, payload: bytes) -> None:
        """Give an answer back, if the newest policy that was asked still says that way."""
        if way.epoch == destination.epoch:
            self._give(destination.key.destination, payload)
        else:
            self._door.tally.drop(Drop.STALE_VERDICT)

    def expire(self, before_s: float) -> None:
        """Forget the destinations that the client last sent to at this time or earlier."""
        while self._destinations:
            destination = next(iter(self._destinations.values()))
            if destination.seen_s > before_s:
                return
            self._forget(destination)

    def _forget(self, destination: _Destination) -> None:
        del self._destinations[destination.key.destination]
        for way in destination.ways.values():
            way.close()
        self._door.destinations.give()
        self._door.gate.forget(destination.key)

    def close(self) -> None:
        """Forget every destination; close every socket and tunnel flow."""
        for destination in tuple(self._destinations.values()):
            self._forget(destination)
        for port in self._ports:
            port.close()
        self._ports.clear()
