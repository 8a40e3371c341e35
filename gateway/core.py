"""The core of a running process.  Owns: the epoch in force, the flow table, who is told of
decisions.  Knows: flow, evidence, sources.  Never: listeners, tunnels."""

from __future__ import annotations

import datetime
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from gateway.config import Config
from gateway.errors import GatewayError
from gateway.evidence.decisions import DecisionLog, load_key
from gateway.evidence.pseudonyms import Pseudonyms
from gateway.flow.epoch import Atlas, Epoch
from gateway.flow.table import Flow, FlowLimits, FlowTable, Judged, Observer
from gateway.model import Endpoint, FlowKey, Verdict
from gateway.sources import load_atlas, load_epoch

_log = Logger(namespace="gateway.core")

# Idle flows are looked for this often; an idle timeout is exact to this many seconds.
_SWEEP_S = 5.0


class Reach(Protocol):
    """Where a destination is really dialled."""

    def address(self, destination: Endpoint) -> Endpoint:
        """Give the address to dial; raises CarryError where nothing may be dialled."""


class Direct:
    """Every destination is dialled where it is."""

    def address(self, destination: Endpoint) -> Endpoint:
        """Give the destination itself."""
        return destination


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a process is handed from outside, so that tests and the demo can hand in others."""

    now: Callable[[], datetime.datetime]
    """The time of day, UTC."""
    random_octets: Callable[[int], bytes]
    """As os.urandom."""
    reach: Reach = field(default_factory=Direct)

    @classmethod
    def of_host(cls) -> World:
        """Give the host's own clock and chance."""
        return cls(now=lambda: datetime.datetime.now(datetime.UTC), random_octets=os.urandom)


class Core:
    """One process's policy in force, its flow table and its evidence."""

    def __init__(
        self,
        clock: IReactorTime,
        config: Config,
        world: World,
        observers: Iterable[Observer] = (),
    ) -> None:
        """Load everything; open nothing but the decision log.

        Raises:  InputError: as load_epoch; DataError: a log that cannot be opened where evidence
                 is required.
        """
        self.config = config
        self.world = world
        self._today = world.now().date()
        self._sources = config
        """Whose `policy` and `geo` are in force; a reload reads the file again."""
        epoch = load_epoch(config, 1, self._today)
        self.witness = Witness(self._open_log(), config.evidence.required, tuple(observers))
        limits = config.limits
        self.table = FlowTable(
            epoch,
            clock.seconds,
            FlowLimits(limits.max_flows, limits.max_flows_per_client, limits.udp_idle_timeout_s),
            self.witness,
        )
        self.on_adopted: list[Callable[[], None]] = []
        """Called after another epoch came into force: whoever carries flows asks for them again."""
        self._sweep = LoopingCall(self._tick)
        self._sweep.clock = clock
        self._announce(epoch)

    def start(self) -> None:
        """Begin to look for idle flows."""
        self._sweep.start(_SWEEP_S, now=False).addErrback(
            lambda failure: _log.failure("looking for idle flows failed", failure)
        )

    def stop(self) -> None:
        """Close the decision log."""
        if self._sweep.running:
            self._sweep.stop()
        self.witness.report()
        self.witness.close()

    def reload(self) -> bool:
        """Load policy and data again, as the configuration file names them now; what is refused is
        logged, and the last good epoch stays."""
        try:
            sources = self._sources.again()
            epoch = load_epoch(sources, self.table.epoch.number + 1, self._today)
        except GatewayError as error:
            _log.error(
                "reload refused, epoch {epoch} stays: {reason}",
                epoch=self.table.epoch.number,
                reason=str(error),
            )
            return False
        if sources.fixed_part() != self.config.fixed_part():
            _log.warn(
                "of the configuration, only policy and geo are loaded again: restart for more"
            )
        self._sources = sources
        self._adopt(epoch)
        return True

    def _adopt(self, epoch: Epoch) -> None:
        self.table.adopt(epoch)
        self._announce(epoch)
        for adopted in self.on_adopted:
            adopted()

    def _tick(self) -> None:
        try:
            self.table.expire()
            self.witness.report()
            today = self.world.now().date()
            if today != self._today:
                self._turn_to(today)
        except Exception:  # whatever it is, the next tick must come: exceptions expire by it
            _log.failure("looking after flows and dates failed")

    def _turn_to(self, today: datetime.date) -> None:
        """At midnight, UTC, exceptions expire and data grow stale; no file of policy is read."""
        epoch = self.table.epoch
        try:
            atlas: Atlas = load_atlas(self._sources, today)
            self._today = today
        except GatewayError as error:  # tried again with the next tick
            _log.error("data cannot be loaded again: {reason}", reason=str(error))
            atlas = epoch.atlas
        self._adopt(Epoch.of(epoch.number + 1, epoch.policy.on(today), atlas))

    def _announce(self, epoch: Epoch) -> None:
        _log.info(
            'epoch {epoch}: policy "{policy}" {revision}, data {data}',
            epoch=epoch.number,
            policy=epoch.policy.name,
            revision=epoch.policy.revision,
            data=epoch.atlas.revision,
        )
        for warning in epoch.policy.warnings:
            _log.warn("{sentence}", sentence=str(warning))
        for sentence in epoch.atlas.warnings:
            _log.warn("{sentence}", sentence=sentence)

    def _open_log(self) -> DecisionLog | None:
        directory = self.config.path(self.config.evidence.path)
        try:
            key = load_key(directory, self.world.random_octets)
            return DecisionLog(directory, Pseudonyms(key), self.world.now)
        except GatewayError as error:
            if self.config.evidence.required:
                raise
            _log.error("no decision is written down: {reason}", reason=str(error))
            return None


class Witness:
    """Tells of decisions: to the decision log, and to whoever else observes."""

    def __init__(
        self, decisions: DecisionLog | None, required: bool, observers: tuple[Observer, ...]
    ) -> None:
        self._decisions = decisions
        self._required = required
        self._observers = observers
        self.refusals: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()

    def decided(self, epoch: Epoch, judged: Judged, payload: bytes | None) -> bool:
        """Observer API."""
        for observer in self._observers:
            observer.decided(epoch, judged, payload)
        if self._decisions is None:
            return not self._required
        return self._decisions.write(epoch, judged, payload) or not self._required

    def ended(self, flow: Flow) -> None:
        """Observer API."""
        for observer in self._observers:
            observer.ended(flow)

    def refused(self, key: FlowKey, reason: str) -> None:
        """Observer API."""
        if not self.refusals[reason]:
            _log.warn("new flows are blocked: {reason}", reason=reason)
        self.refusals[reason] += 1
        for observer in self._observers:
            observer.refused(key, reason)

    def not_carried(self, key: FlowKey, verdict: Verdict, reason: str) -> None:
        """Observer API."""
        if self._decisions is not None:
            self._decisions.write_not_carried(key, verdict, reason)
        for observer in self._observers:
            observer.not_carried(key, verdict, reason)

    def barred(self, client: Endpoint, name: str, verdict: Verdict) -> None:
        """Observer API."""
        if self._decisions is not None:
            self._decisions.write_barred(client, name, verdict)
        for observer in self._observers:
            observer.barred(client, name, verdict)

    def report(self) -> None:
        """Say how many flows met a bound since the last report."""
        for reason, count in (self.refusals - self._reported).items():
            _log.warn("{count} new flows blocked: {reason}", count=count, reason=reason)
        self._reported = self.refusals.copy()

    def close(self) -> None:
        """Close the decision log."""
        if self._decisions is not None:
            self._decisions.close()
