"""One client UDP endpoint and all it talks to.  Owns: UdpSession: every datagram judged, its
verdict carried out, answers given back.  Knows: RFC 4787.  Never: how a front door frames them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from gateway.errors import CarryError
from gateway.flow.round_trips import Timing
from gateway.listeners.door import Door
from gateway.listeners.tally import Drop
from gateway.listeners.udp_ways import DirectWay, TunnelWay, UpstreamPort, Way, socket_address
from gateway.listeners.ways import way_of
from gateway.model import Action, Endpoint, FlowKey, Transport, Verdict

Give = Callable[[Endpoint, bytes], None]
"""Gives a datagram to the client, as from this endpoint."""

# Of each way, the datagram that opened it is kept to be judged again by the next policy.  No
# longer one: Ethernet's packets end here, and they are kept for every destination.
_MAX_SAMPLE_LEN = 1500

_Kind = tuple[Action, str | None]
_Sample = tuple[bytes, tuple[str, ...]]


class _Destination:
    """One destination of a session, with the ways that its verdicts opened; at least one."""

    __slots__ = ("key", "samples", "seen_s", "ways")

    def __init__(self, key: FlowKey) -> None:
        self.key = key
        self.seen_s = 0.0
        """When the client last sent something here that was let pass."""
        self.ways: dict[_Kind, Way] = {}
        self.samples: dict[_Kind, _Sample] = {}
        """The datagram that opened each way, and its names."""

    def drop(self, kind: _Kind) -> None:
        """Take a way off; close it if it serves no other kind of verdict."""
        way = self.ways.pop(kind, None)
        self.samples.pop(kind, None)
        if way is not None and way not in self.ways.values():
            way.close()


class UdpSession:
    """Carries the datagrams of one client endpoint.

    All destinations share one upstream socket per address family, so that the vendor sees one
    client address, as behind a NAT.  Both are opened by the first datagram that needs them.

    A destination is remembered, and the session holds a place, only while a way is open: a client
    of whose datagrams none is let pass holds nothing.
    """

    def __init__(self, door: Door, client: Endpoint, give: Give) -> None:
        self._door = door
        self._packets = door.packets
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
            known = self._destinations.get(endpoint)
            key = FlowKey(Transport.UDP, self._client, endpoint) if known is None else known.key
            verdict = self._door.gate.judge(key, payload, names)
            if verdict.action is not Action.BLOCK:
                self.carry(key, payload, verdict, names)
                return
        self._door.tally.drop(Drop.BLOCKED)
        self._packets.blocked += 1

    def carry(
        self, key: FlowKey, payload: bytes, verdict: Verdict, names: tuple[str, ...] = ()
    ) -> None:
        """Carry one datagram that is judged: what is not let pass has no way, and is not carried.

        Args:    key: of this client; verdict: by the policy in force.
        """
        destination = self._destinations.get(key.destination) or self._admit(key)
        if destination is not None:
            self._carry(destination, verdict, payload, names)

    def _admit(self, key: FlowKey) -> _Destination | None:
        """Take a place for a destination; None if there is none."""
        full = self._take_places()
        if full is not None:
            self._door.tally.drop(full)
            self._packets.dropped += 1
            self._door.gate.not_carried(key, f"no place for it: {full}")
            return None
        destination = self._destinations[key.destination] = _Destination(key)
        return destination

    def _take_places(self) -> Drop | None:
        """Take a place for a destination, and for the session with its first; or say why not."""
        door = self._door
        if len(self._destinations) >= door.limits.session_destinations:
            return Drop.DESTINATIONS_FULL
        if self.is_empty and (full := door.sessions.take(self._client)) is not None:
            return full
        full = door.destinations.take(self._client)
        if full is not None and self.is_empty:
            door.sessions.give(self._client)
        return full

    def _carry(
        self,
        destination: _Destination,
        verdict: Verdict,
        payload: bytes,
        names: tuple[str, ...],
    ) -> None:
        kind = (verdict.action, verdict.target)
        way = destination.ways.get(kind)
        if way is None or way.is_closed:
            destination.drop(kind)
            try:
                way = destination.ways[kind] = self._open(destination, verdict)
            except CarryError as error:
                self._packets.blocked += 1
                self._door.not_carried(destination.key, error)
                if not destination.ways:
                    self._release(destination)
                return
            if len(payload) <= _MAX_SAMPLE_LEN:
                destination.samples[kind] = payload, names
        destination.seen_s = self._door.reactor.seconds()
        self._destinations.move_to_end(destination.key.destination)
        way.epoch = verdict.epoch
        dropped = way.send(payload)
        if dropped is None:
            self._packets.carried(verdict.action)
            self._door.tally.up_datagram(len(payload))
        else:
            self._packets.dropped += 1
            self._door.not_sent(destination.key, dropped)

    def _open(self, destination: _Destination, verdict: Verdict) -> Way:
        """Open a way.

        Raises:  CarryError: there is none.
        """

        def answer(way: Way, payload: bytes) -> None:
            self._answer(destination, way, payload)

        out = way_of(verdict, destination.key, self._door.routes_of(destination.key))
        if isinstance(out, Endpoint):
            timing = self._timing(destination) if verdict.action is Action.ALLOW else None
            return self._dial(destination, out, answer, timing)
        return TunnelWay(self._door, destination.key, out, answer)

    def _dial(
        self,
        destination: _Destination,
        out: Endpoint,
        answer: Callable[[Way, bytes], None],
        timing: Timing | None,
    ) -> DirectWay:
        """Use the first upstream socket on which answers from there are this destination's.

        It is the first one of its family, unless two destinations are dialled at one address.
        """
        address = socket_address(out)
        for port in self._ports:
            if port.family == len(out.address):
                taken = port.ways.get(address)
                if taken is None:
                    return DirectWay(port, address, answer, timing)
                if taken in destination.ways.values():
                    return taken
        return DirectWay(self._new_port(len(out.address)), address, answer, timing)

    def _timing(self, destination: _Destination) -> Timing:
        """Time a destination itself: a relay's answers do not tell how far it is."""
        endpoint, door = destination.key.destination, self._door
        return Timing(door.reactor.seconds, lambda took_s: door.on_round_trip(endpoint, took_s))

    def _new_port(self, family: int) -> UpstreamPort:
        if len(self._ports) >= self._door.limits.session_ports:
            raise CarryError("direct", "too many destinations of one client share one address")
        port = UpstreamPort(self._door, family)
        self._ports.append(port)
        return port

    def _answer(self, destination: _Destination, way: Way, payload: bytes) -> None:
        """Give an answer back, if the policy in force has said that way."""
        if way.epoch == self._door.gate.epoch_number:
            self._give(destination.key.destination, payload)
        else:
            self._door.tally.drop(Drop.STALE_VERDICT)

    def rejudge(self) -> None:
        """Judge what opened each way by the policy in force: confirm the way, or close it.

        A way of which no datagram was kept stays, unconfirmed: its answers are dropped until the
        client's next datagram.
        """
        for destination in tuple(self._destinations.values()):
            for kind, (payload, names) in tuple(destination.samples.items()):
                verdict = self._door.gate.judge(destination.key, payload, names)
                if (verdict.action, verdict.target) == kind:
                    destination.ways[kind].epoch = verdict.epoch
                else:
                    destination.drop(kind)
            if not destination.ways:
                self._release(destination)

    def expire(self, before_s: float) -> None:
        """Forget the destinations that the client last sent to at this time or earlier."""
        while self._destinations:
            destination = next(iter(self._destinations.values()))
            if destination.seen_s > before_s:
                return
            self._forget(destination)

    def _release(self, destination: _Destination) -> None:
        """Give a destination's place back.  The gate remembers the flow, and forgets by itself:
        it would write the same verdict down again with each datagram."""
        del self._destinations[destination.key.destination]
        for kind in tuple(destination.ways):
            destination.drop(kind)
        self._door.destinations.give(self._client)
        if self.is_empty:
            self._door.sessions.give(self._client)

    def _forget(self, destination: _Destination) -> None:
        self._release(destination)
        self._door.gate.forget(destination.key)

    def close(self) -> None:
        """Forget every destination; close every socket and tunnel flow."""
        for destination in tuple(self._destinations.values()):
            self._forget(destination)
        for port in self._ports:
            port.close()
        self._ports.clear()
