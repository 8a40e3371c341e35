"""Canaries as packets of a client, in router mode.  Owns: the interface that they come in by, the
net that none of them leaves through, what was seen of each.  Knows: the kernel room, the reactor.
Never: an outcome.

They meet every rule that a client's packet meets: their interface is one of the clients'.  Where
packets leave, behind all rules, stands the net: it drops what came in by that interface, and says
so.  With a hop limit of 2, what slips through a net that somebody took away ends at the next
router."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from gateway.canaries.bench import Asked
from gateway.canaries.paths import Canary, Sight
from gateway.config import Config
from gateway.core import Core
from gateway.errors import CarryError
from gateway.flow.apart import WRAP, Watch
from gateway.kernel.net import Escaped, Net
from gateway.kernel.router import CANARIES
from gateway.kernel.tun import Tun
from gateway.kernel.writing import packet
from gateway.model import Action, Endpoint, FlowKey, Transport, pack

_log = Logger(namespace="gateway.canaries")

# What a full queue (16,384 packets) takes Python, and some more.
_SETTLES_S = 2.0
_FIRST_PORT = 40_000
_HOPS = 2
_PROTOCOLS = {Transport.UDP: "udp", Transport.TCP: "tcp"}


class PacketPath:
    """The path through the kernel's rules (Path API)."""

    name = "router"

    def __init__(self, reactor: Any, config: Config, core: Core) -> None:
        """Open nothing yet."""
        self._reactor = reactor
        self._core = core
        self._tun = Tun(CANARIES)
        self._net = Net()
        self._spread_for = 0
        self.lacking = ""
        """Why nothing can be sent by it; "": it can."""
        self._wanted = tuple(map(pack, config.canaries.clients))
        self._exits = {one.interface for one in config.interface_exits}
        self._sent: Mapping[tuple[str, int], FlowKey] = {}
        """Of the last round."""

    def open(self) -> bool:
        """Make interface and net; they must be there before the rules that name the interface.

        Returns: whether canaries can be sent this way; if not, the log says why.
        """
        try:
            self._ready()
        except CarryError as error:
            self.lacking = f"not through the kernel's rules: {error}"
            _log.warn("canaries are judged, and {reason}", reason=self.lacking)
            self.close()
            return False
        return True

    def _ready(self) -> None:
        self._tun.open(self._wanted)
        if self._spread_for != self._tun.number or not self._net.is_spread():
            self._net.spread(self._tun.number)
            self._spread_for = self._tun.number

    def asked(self, canary: Canary, at: int) -> Asked | None:
        """Path API: datagrams, streams that are blocked by their address, echo requests."""
        key, payload = canary.asked.key, canary.asked.payload
        octets = len(key.destination.address)
        client = next((one for one in self._tun.addresses if len(one) == octets), None)
        if client is None or not _is_packet(canary):
            return None
        port = _FIRST_PORT + at if key.transport.has_ports else 0
        asked = Asked(key._replace(client=Endpoint(client, port)), payload)
        try:
            packet(asked.key, payload or b"", _HOPS)
        except CarryError:
            return None
        return asked

    def send(self, flows: Sequence[Asked]) -> Deferred[list[Sight]]:
        """Path API."""
        return Deferred.fromCoroutine(self._send(flows))

    async def _send(self, flows: Sequence[Asked]) -> list[Sight]:
        if not flows:
            return []
        in_thread = self._core.world.in_thread
        watches: list[Watch] = []
        try:
            await in_thread(self._prepare)
            self._reactor.addReader(self._tun)
            self._sent = {_place(one.key): one.key for one in flows}
            for one in flows:
                watches.append(self._core.apart.watch(one.key.client))
                self._write(one)
            await deferLater(self._reactor, _SETTLES_S)
            caught = await in_thread(self._net.caught)
        finally:
            for one in flows[: len(watches)]:
                self._core.apart.leave(one.key.client)
                self._core.table.forget(one.key)
        await in_thread(self._net.empty)
        return [self._sight(*one, caught) for one in zip(flows, watches, strict=True)]

    def _write(self, asked: Asked) -> None:
        try:
            self._tun.write(packet(asked.key, asked.payload or b"", _HOPS))
        except CarryError:
            self._shut()  # somebody took the interface away: the next round makes it anew
            raise

    def _prepare(self) -> None:
        """Have all in place; what the net caught after the last round got through late."""
        self._ready()
        for one in self._net.caught():
            key = self._sent.get((one.protocol, one.port))
            if key is not None:
                self._reactor.callFromThread(self._core.apart.took, key, self._way(one, None))
        self._net.empty()

    def _sight(self, asked: Asked, watch: Watch, caught: Sequence[Escaped]) -> Sight:
        place = _place(asked.key)
        found = (one for one in caught if (one.protocol, one.port) == place)
        watch.ways += [self._way(one, watch) for one in found]
        return Sight(True, watch.verdict, watch.way)

    def _way(self, caught: Escaped, watch: Watch | None) -> str:
        """Say which way a packet was about to leave: an exit may be an interface."""
        is_exit = caught.interface in self._exits
        verdict = None if watch is None else watch.verdict
        is_wrap = verdict is None or verdict.action is Action.WRAP
        return WRAP if is_exit and is_wrap else f"out by {caught.interface}"

    def _shut(self) -> None:
        self._reactor.removeReader(self._tun)
        self._tun.close()

    def close(self) -> None:
        """Path API: the net stays, and catches nothing any more."""
        self._shut()


def _is_packet(canary: Canary) -> bool:
    """A stream that its first bytes decide begins with a handshake that may pass."""
    match canary.asked.key.transport:
        case Transport.UDP:
            return canary.asked.payload is not None
        case Transport.TCP:
            return canary.asked.payload is None and canary.expected is Action.BLOCK
        case transport:
            return transport is Transport.ICMP and canary.expected is Action.BLOCK


def _place(key: FlowKey) -> tuple[str, int]:
    """Give what the net knows a packet by."""
    six = len(key.destination.address) == 16
    if key.transport is Transport.ICMP:
        return ("ipv6-icmp", 128 << 8) if six else ("icmp", 8 << 8)
    return _PROTOCOLS[key.transport], key.client.port
