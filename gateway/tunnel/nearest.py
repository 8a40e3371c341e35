"""The nearest exit, as one exit.  Owns: which tunnel a new flow takes, and moving UDP flows away
from an exit that is silent.  Knows: the choice, tunnels.  Never: which exits there may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.tunnel.choosing import Choice, State
from gateway.tunnel.client import Tunnel
from gateway.tunnel.ledger import Ledger
from gateway.tunnel.reactor import Reactor
from gateway.tunnel.tcpflow import StreamEndpoint
from gateway.tunnel.udpflow import UdpFlow

_log = Logger(namespace="gateway.tunnel")

# An exit that dies is noticed by its silence of about a second; this comes on top.
_LOOK_S = 0.25
# Pings that show how far an endpoint is behind an exit, and pings in a row without an answer that
# show nothing will come.
_SAMPLES, _UNANSWERED = 3, 5


@dataclass(slots=True, eq=False)
class _Moved:
    """A UDP flow that may have to move."""

    exit: str
    flow: UdpFlow | None
    on_closed: Callable[[str], None]
    destination: Endpoint
    answers: int = 0
    """To pings, on this exit."""


class Nearest:
    """Sends each new flow through the nearest exit that answers."""

    def __init__(
        self,
        reactor: Reactor,
        tunnels: Mapping[str, Tunnel],
        ledger: Ledger | None = None,
    ) -> None:
        """Begin.

        Args:    tunnels: by name, in the operator's order; ledger: if given, a UDP flow takes the
                 exit by which its own destination is nearest, and not the nearest exit.
        """
        self._ledger = ledger
        self._reactor = reactor
        self._tunnels = tunnels
        self._choice = Choice()
        self._flows: set[_Moved] = set()
        self._moved = 0
        self._looking = LoopingCall(self.look)
        self._looking.clock = cast(IReactorTime, reactor)

    @property
    def chosen(self) -> str | None:
        """The exit that was the nearest when it was looked last; None: none is up."""
        return self._choice.chosen

    @property
    def changes(self) -> int:
        """How often it became another, or none."""
        return self._choice.changes

    @property
    def moved(self) -> int:
        """UDP flows that were taken off a silent exit."""
        return self._moved

    def start(self) -> None:
        """Begin to look at the exits."""
        self._looking.start(_LOOK_S, now=False)

    def stop(self) -> None:
        """Look no longer."""
        if self._looking.running:
            self._looking.stop()

    def choose(self) -> str:
        """Give the exit that a new flow takes.

        Raises:  CarryError: none is up.
        """
        self.look()
        if (name := self._choice.chosen) is None:
            raise CarryError("nearest", "no exit is up" if self._tunnels else "there is no exit")
        return name

    def open_udp(
        self,
        destination: Endpoint,
        on_datagram: Callable[[bytes], None],
        on_closed: Callable[[str], None],
    ) -> UdpFlow:
        """As Tunnel.open_udp; the flow also ends when its exit is silent and another is not, or by
        the ledger.

        Raises:  CarryError: no exit is up, or the nearest takes no more flows.
        """
        name = self.choose()
        if self._ledger is not None:
            name = self._ledger.choose(destination, self._near()) or name
        moved = _Moved(name, None, on_closed, destination)

        def closed(reason: str) -> None:
            self._flows.discard(moved)
            on_closed(reason)

        self._flows.add(moved)
        try:
            moved.flow = self._tunnels[name].open_udp(destination, on_datagram, closed)
        except CarryError:
            self._flows.discard(moved)
            raise
        moved.flow.on_own_close = lambda: self._flows.discard(moved)
        moved.flow.on_ping_answered = lambda: self._answered(moved)
        return moved.flow

    def stream_endpoint(self, destination: Endpoint) -> StreamEndpoint:
        """As Tunnel.stream_endpoint.

        Raises:  CarryError: no exit is up.
        """
        return self._tunnels[self.choose()].stream_endpoint(destination)

    def look(self) -> None:
        """Choose again, and move what is on a silent exit."""
        before = self._choice.chosen
        now = self._choice.among(self._states(), self._reactor.seconds())
        if now != before:
            _log.info("nearest exit: {now}, before {before}", now=now, before=before)
        if now is None or self._tunnels[now].is_silent:
            return
        for moved in tuple(self._flows):
            if moved.exit != now and self._tunnels[moved.exit].is_silent:
                self._move(moved, "its exit is silent")
            elif self._ledger is not None and self._is_in_vain(moved):
                self._consider(moved)

    def _answered(self, moved: _Moved) -> None:
        moved.answers += 1
        if moved.answers >= _SAMPLES:
            self._consider(moved)

    @staticmethod
    def _is_in_vain(moved: _Moved) -> bool:
        if moved.flow is None or moved.answers:
            return False
        return moved.flow.timing.unanswered >= _UNANSWERED

    def _consider(self, moved: _Moved) -> None:
        """Move a flow if its destination is nearer by another exit, or may be."""
        if self._ledger is None:
            return
        if moved.answers < _SAMPLES:
            self._ledger.gave_up(moved.exit, moved.destination)
        if not self._ledger.keeps(moved.exit, moved.destination, self._near()):
            self._move(moved, "its destination is, or may be, nearer by another exit")

    def _move(self, moved: _Moved, reason: str) -> None:
        self._flows.discard(moved)
        self._moved += 1
        if moved.flow is not None:
            moved.flow.close()
            moved.on_closed(f"{reason}; the next datagram takes another")

    def _near(self) -> dict[str, float | None]:
        """Give the round trips to the exits that flows should take."""
        states = self._states().items()
        return {name: one.rtt_s for name, one in states if one.is_usable}

    def _states(self) -> dict[str, State]:
        return {
            name: State(one.up, one.is_silent, one.rtt_s) for name, one in self._tunnels.items()
        }
