"""What an exit works with.  Owns: its limits, open sockets and flows, asking its gate, the line
that says which gateways it refuses.
Knows: model's words.  Never: QUIC, HTTP, which policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from gateway.errors import GatewayError
from gateway.model import Action, FlowKey, Verdict
from gateway.tunnel.ports import Gate, Reach
from gateway.tunnel.reactor import Reactor

_log = Logger(namespace="gateway.tunnel")

# One line a second: whoever knocks without a good certificate must not fill the disk.
_REFUSAL_INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True)
class ExitLimits:
    """How much an exit takes on."""

    max_connections: int = 256
    """Gateways connected at once, those included that have not yet shown who they are."""
    max_flows: int = 1024
    """Flows of one gateway at once."""
    handshake_s: float = 10.0
    """For a gateway to show who it is."""
    dial_s: float = 10.0
    """For a TCP destination to answer."""
    udp_idle_s: float = 120.0
    """Silence after which a UDP flow ends (RFC 9298 section 3.1: not under two minutes)."""
    tcp_idle_s: float = 7440.0
    """Silence after which a TCP flow ends (RFC 5382 section 5: not under 2 h 4 min)."""
    first_octets: int = 16384
    """Octets of a stream that are held for judging: a ClientHello with every extension fits."""


class Sockets:
    """The exit's sockets towards the network that are open."""

    def __init__(self) -> None:
        self._open: set[object] = set()
        self._waiting: list[Deferred[None]] = []

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, socket: object) -> None:
        """Take note of one more."""
        self._open.add(socket)

    def closed(self, socket: object) -> None:
        """Take note that one is gone."""
        self._open.discard(socket)
        if not self._open:
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(None)

    def all_closed(self) -> Deferred[None]:
        """Fire when none is open."""
        if not self._open:
            return succeed(None)
        deferred: Deferred[None] = Deferred()
        self._waiting.append(deferred)
        return deferred


class Flow(Protocol):
    """One flow of a gateway."""

    def rejudge(self) -> None:
        """Judge it by the policy in force; end it if that does not allow it."""


class Flows:
    """The flows of every gateway that are open."""

    def __init__(self) -> None:
        self._open: set[Flow] = set()

    def opened(self, flow: Flow) -> None:
        """Take note of one more."""
        self._open.add(flow)

    def closed(self, flow: Flow) -> None:
        """Take note that one is gone."""
        self._open.discard(flow)

    def rejudge(self) -> None:
        """Judge each by the policy in force."""
        for flow in tuple(self._open):
            flow.rejudge()


class Refusals:
    """Says which gateways are refused, once a second."""

    def __init__(self, seconds: Callable[[], float], exit_name: str) -> None:
        self._seconds = seconds
        self._exit_name = exit_name
        self._next_s = float("-inf")
        self._unsaid = 0

    def note(self, peer: object, sentence: str) -> None:
        """Say one, with the number of those that were not said since the last line."""
        self._unsaid += 1
        now_s = self._seconds()
        if now_s < self._next_s:
            return
        self._next_s = now_s + _REFUSAL_INTERVAL_S
        _log.warn(
            "exit {exit} refused {count} gateways; last: {peer}: {sentence}",
            exit=self._exit_name,
            count=self._unsaid,
            peer=peer,
            sentence=sentence,
        )
        self._unsaid = 0


@dataclass(frozen=True, slots=True)
class Means:
    """All that one exit's flows share."""

    reactor: Reactor
    gate: Gate
    reach: Reach
    limits: ExitLimits
    name: str
    """What the exit calls itself in Proxy-Status."""
    counters: Counter[str]
    sockets: Sockets
    flows: Flows
    refusals: Refusals

    def judge(self, key: FlowKey, payload: bytes | None) -> Verdict:
        """Ask the gate; where it fails, the verdict is a block."""
        try:
            return self.gate.judge(key, payload)
        except GatewayError as exc:
            self.counters["gate_errors"] += 1
            return Verdict(Action.BLOCK, rule="fault", reason=str(exc))
