"""The core of a running process.  Owns: the epoch in force, the flow table, who is told of
decisions.  Knows: flow, evidence, sources.  Never: listeners, tunnels."""

from __future__ import annotations

import datetime
import errno
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from gateway import geo
from gateway.config import Config
from gateway.epochs import Change, Epochs
from gateway.errors import GatewayError
from gateway.evidence import decisions
from gateway.evidence.decisions import DecisionLog
from gateway.evidence.journal import Proving
from gateway.evidence.keys import load_key, load_signer
from gateway.evidence.pseudonyms import Pseudonyms
from gateway.flow.apart import Apart
from gateway.flow.discs import Discs
from gateway.flow.epoch import Epoch
from gateway.flow.guard import LeakGuard
from gateway.flow.table import FlowLimits, FlowTable, Observer
from gateway.learning import Learning
from gateway.model import Endpoint, pack
from gateway.witness import Witness

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
    in_thread: Callable[..., Deferred[Any]] = maybeDeferred
    """Calls a function that takes long, so that the reactor goes on meanwhile."""
    spools: bool = False
    """Whether the decision log is written by a process of its own."""

    @classmethod
    def of_host(cls) -> World:
        """Give the host's own clock and chance, and the reactor's threads."""
        return cls(
            now=lambda: datetime.datetime.now(datetime.UTC),
            random_octets=os.urandom,
            in_thread=deferToThread,
            spools=True,
        )


# What a person mends while the process goes on.
_PASSING = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO))


def _may_pass(error: GatewayError) -> bool:
    """Tell a disk that is full, or cannot be written for now, from what is configured wrongly."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in _PASSING


Commit = Callable[[], None]
"""Puts what was prepared into force, at once; raises CarryError, and then nothing has changed."""
Prepare = Callable[[Epoch, Change], Deferred[Commit]]
"""Makes everything ready for an epoch, in its own time; fails with a GatewayError."""


def discs_of(config: Config, seconds: Callable[[], float]) -> Discs | None:
    """Make what remembers round trips; None: nothing that measures has a position."""
    positions = config.positions
    return Discs(positions, geo.Extents.bundled(), seconds) if positions else None


class Core:
    """One process's policy in force, its flow table and its evidence."""

    def __init__(
        self,
        clock: IReactorTime,
        config: Config,
        world: World,
        observers: Iterable[Observer] = (),
        *,
        number: int = 1,
        leads: bool = True,
        today: datetime.date | None = None,
        log_name: str = decisions.NAME,
        kept: Path | None = None,
    ) -> None:
        """Load everything; open nothing but the decision log.

        Args:    number: of the first epoch.  leads: False: another process says when the epoch
                 changes (router mode's workers).  today: omitted: as the world says.
                 log_name: the decision log's, in the folder of the evidence.
                 kept: a copy of the policy that is in force already, to begin with.
        Raises:  InputError: as load_epoch; DataError: a log that cannot be opened where evidence
                 is required.
        """
        self.config = config
        self.world = world
        self._today = world.now().date() if today is None else today
        self.epochs = Epochs(config, world.now, world.in_thread, kept)
        self._leads = leads
        epoch = self.epochs.first(number, self._today)
        self.since = world.now()
        """When the epoch came into force."""
        self.counting: list[Callable[[], Mapping[str, int]]] = []
        """Give what was counted since the start, by name: it is signed with the decision log."""
        self._log_name, self._log_trouble = log_name, ""
        log = self._open_log()
        # Nobody else has these addresses in router mode: its rules see to that (kernel.asking).
        is_sent = config.canaries.sent and config.transparent
        self.apart = Apart(map(pack, config.canaries.clients) if is_sent else ())
        """The canaries, which are nobody's flows."""
        required = config.evidence.required
        self.witness = Witness(log, required, tuple(observers), world.now, self.apart)
        self.counting.append(self.witness.counts)
        limits = config.limits
        self._guard = LeakGuard()
        self._guard.apart = self.apart
        self._guard.learns = config.learns
        self.table = FlowTable(
            epoch,
            clock.seconds,
            FlowLimits(
                limits.max_flows,
                limits.max_flows_per_client,
                limits.udp_idle_timeout_s,
                evicts=bool(config.transparent),
            ),
            self.witness,
            self._guard,
            discs_of(config, clock.seconds),
        )
        self._learning = Learning(self._guard, self.table, world.in_thread)
        self.preparing: list[Prepare] = []
        """Who must be ready for an epoch, and go over to it, before anything is judged by it."""
        self.on_adopted: list[Callable[[], None]] = []
        """Called after another epoch came into force: whoever carries flows asks for them again."""
        self._turn = DeferredLock()
        """One change of the epoch at a time."""
        self._clock = clock
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

    @property
    def today(self) -> datetime.date:
        """The day by which exceptions and data are judged."""
        return self._today

    def end_batch(self) -> bool:
        """Write down what was decided since `witness.begin_batch`.

        Returns: False if it had to be written and could not be: none of the verdicts since then may
                 be carried out, and their flows were forgotten, so that they are judged again.
        """
        unwritten = self.witness.end_batch()
        for key in unwritten:
            self.table.forget(key)
        return not unwritten

    @property
    def is_changing(self) -> bool:
        """Whether another epoch is on its way into force."""
        return self._turn.locked

    def reload(self) -> Deferred[bool]:
        """Load policy and data again, as the configuration file names them now; what is refused is
        logged, and the last good epoch stays.

        Returns: fires with whether another epoch came into force.
        """
        return self._turn.run(lambda: Deferred.fromCoroutine(self._reload()))

    async def _reload(self) -> bool:
        before = self.table.epoch
        change = Change(before.number + 1, self._today, reads=True)
        try:
            sources, epoch = await self.epochs.next(change, before)
            await self._go_over(epoch, change)
        except GatewayError as error:
            self.epochs.refused(error, before.number)
            return False
        await self.epochs.adopted(sources, epoch, change.today)
        self._heed(sources)
        return True

    async def _go_over(self, epoch: Epoch, change: Change) -> None:
        """Put an epoch into force.

        Raises:  GatewayError: somebody cannot; the epoch before stays.
        """
        commits = [await prepare(epoch, change) for prepare in self.preparing]
        for commit in commits:
            commit()
        self.adopt(epoch)

    def adopt(self, epoch: Epoch) -> None:
        """Judge everything by an epoch from here on."""
        self._heed(self.epochs.sources)
        self.table.adopt(epoch)
        self.since = self.world.now()
        self._announce(epoch)
        for adopted in self.on_adopted:
            adopted()

    def _heed(self, sources: Config) -> None:
        """Learn what leaks, or no longer, as the configuration in force says."""
        if self._guard.learns != sources.learns:
            self._guard.learns = sources.learns
            self.table.adopt(self.table.epoch)

    def _tick(self) -> None:
        try:
            self._expire()
            self.witness.report()
            self._look_after_log()
            self._learning.tick()
            today = self.world.now().date()
            if self._leads and today != self._today and not self.is_changing:
                self._turn.run(lambda: Deferred.fromCoroutine(self._turn_to(today)))
        except Exception:  # whatever it is, the next tick must come: exceptions expire by it
            _log.failure("looking after flows and dates failed")

    def _expire(self) -> None:
        """Let idle flows go, a few at a time and the next ones after whatever else waits."""
        if self.table.expire() and self._sweep.running:
            self._clock.callLater(0, self._expire)

    async def _turn_to(self, today: datetime.date) -> bool:
        """At midnight, UTC, exceptions expire and data grow stale; no file of policy is read."""
        before = self.table.epoch
        change = Change(before.number + 1, today, reads=False)
        try:
            _, epoch = await self.epochs.next(change, before)
            await self._go_over(epoch, change)
        except GatewayError as error:
            _log.error("the day's change failed: {reason}", reason=str(error))
            return False
        if epoch.atlas is not before.atlas:  # else it is tried again with the next tick
            self._today = today
        return True

    def _announce(self, epoch: Epoch) -> None:
        self.witness.entered(epoch)
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
            random = self.world.random_octets
            pseudonyms = Pseudonyms(load_key(directory, random))
            proving = Proving(
                signer=load_signer(directory, random),
                random=random,
                limits=self.config.evidence.limits(),
                counting=self._counted,
                in_thread=self.world.in_thread,
            )
            return DecisionLog(
                directory,
                pseudonyms,
                self.world.now,
                proving,
                self._log_name,
                spools=self.world.spools,
            )
        except GatewayError as error:
            if self.config.evidence.required and not _may_pass(error):
                raise
            self._say_no_log(str(error))
            return None

    def _say_no_log(self, reason: str) -> None:
        then = "; it is required, so new flows are blocked" if self.config.evidence.required else ""
        if reason != self._log_trouble:
            _log.error("no decision is written down: {reason}{then}", reason=reason, then=then)
        self._log_trouble = reason

    def _look_after_log(self) -> None:
        """Have the log signed, if it is time; open one that could not be opened at the start: there
        may be room by now."""
        if self.witness.log is None:
            with suppress(GatewayError):  # it could be opened as little as before
                self.witness.log = self._open_log()
            if self.witness.log is not None:
                _log.info("decisions are written down from now on")
                self.witness.entered(self.table.epoch)
        self.witness.tick()

    def _counted(self) -> Mapping[str, int]:
        return {name: count for counts in self.counting for name, count in counts().items()}
