"""Where canaries are judged.  Owns: a client side of its own: a flow table over the epoch in force,
and a listener's session in front.  Knows: the flow table, UDP sessions.
Never: a socket: what would be sent stays here, also if it should have been held."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from gateway.core import Core
from gateway.errors import CarryError
from gateway.flow.flows import Nobody
from gateway.flow.table import FlowLimits, FlowTable
from gateway.listeners.door import Door
from gateway.listeners.interfaces import Wiring
from gateway.listeners.nowhere import Nowhere
from gateway.listeners.udp_session import UdpSession
from gateway.model import FlowKey, Transport, Verdict

_log = Logger(namespace="gateway.canaries")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is judged."""

    key: FlowKey
    payload: bytes | None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of a canary."""

    through: str
    """What judged it: "session" as a listener's datagram, "table" as a flow."""
    verdict: Verdict | None
    carried: str | None
    """How a session would have carried it; None: not at all."""
    error: str | None = None


class Bench:
    """A client side of its own: a flow table over the epoch in force, and a session in front."""

    def __init__(self, reactor: Any, core: Core) -> None:
        self._core = core
        self._silent = Nobody()
        self._table = FlowTable(core.table.epoch, reactor.seconds, FlowLimits(), self._silent)
        self._carried: str | None = None
        gate = _Gate(self._table)
        self._gate = gate
        self._door = Door(
            Wiring(reactor=reactor, gate=gate, routes=Nowhere(self._took), resolver=_NoNames())
        )
        self._door.tally.where = "canaries"

    def judge(self, asked: Asked) -> Seen:
        """Judge one, and see what would be carried."""
        is_datagram = asked.key.transport is Transport.UDP and asked.payload is not None
        return self._judged(asked, "session" if is_datagram else "table")

    def _judged(self, asked: Asked, through: str) -> Seen:
        if self._table.epoch is not self._core.table.epoch:
            self._table.adopt(self._core.table.epoch)
        self._carried = self._gate.verdict = None
        try:
            if through == "session":
                self._send(asked)
            else:
                self._gate.judge(asked.key, asked.payload, asked.names)
        except Exception as error:  # whatever it is: a judge that fails is what canaries are for
            _log.failure("judging a canary failed")
            return Seen(through, None, None, type(error).__name__)
        return Seen(through, self._gate.verdict, self._carried)

    def _took(self, way: str) -> None:
        self._carried = way

    def _send(self, asked: Asked) -> None:
        session = UdpSession(self._door, asked.key.client, lambda _from, _payload: None)
        try:
            assert asked.payload is not None, "a datagram"
            session.send([asked.key.destination], asked.payload, asked.names)
        finally:
            session.close()

    def judge_anew(self, asked: Asked) -> Seen:
        """Judge one of which nothing is remembered, nor will be; nothing is carried."""
        self._table.adopt(self._core.table.epoch)  # which forgets what was decided of the like
        seen = self._judged(asked, "table")
        self._table.forget(asked.key)
        return seen

    def close(self) -> None:
        """Let go of everything."""
        self._door.close()


class _Gate:
    """The table, with its last verdict; what sessions forget stays remembered (Gate API)."""

    def __init__(self, table: FlowTable) -> None:
        self._table = table
        self.verdict: Verdict | None = None
        self.wants_more: Callable[[bytes], bool] = table.wants_more
        self.bars = table.bars
        self.not_carried = table.not_carried

    @property
    def epoch_number(self) -> int:
        return self._table.epoch_number

    def judge(self, key: FlowKey, payload: bytes | None, names: tuple[str, ...] = ()) -> Verdict:
        self.verdict = self._table.judge(key, payload, names)
        return self.verdict

    def forget(self, key: FlowKey) -> None:
        """A round's end is not the flow's."""


class _NoNames:
    """Resolves nothing (Resolver)."""

    def resolve(self, name: str) -> Deferred[tuple[bytes, ...]]:
        return fail(CarryError("canary", "no name is resolved"))
