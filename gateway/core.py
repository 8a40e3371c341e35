"""The core of a running process.  Owns: loading policy and data into an epoch, the flow table, who
is told of decisions.  Knows: flow, evidence, geo, policy.  Never: listeners, tunnels."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from gateway import geo, policy
from gateway.config import Config
from gateway.errors import GatewayError, InputError, Problem
from gateway.evidence.decisions import DecisionLog, load_key
from gateway.evidence.pseudonyms import Pseudonyms
from gateway.flow.epoch import Epoch
from gateway.flow.table import Flow, FlowLimits, FlowTable, Judged, Observer
from gateway.model import Action, Endpoint, FlowKey, Transport

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


def load_epoch(config: Config, number: int, today: datetime.date) -> Epoch:
    """Load what a configuration names: its policy and its data.

    Raises:  InputError: a policy that is refused; DataError: no usable data.
    """
    loaded = policy.load(config.path(config.policy), today)
    atlas = load_atlas(config, today)
    epoch = Epoch.of(number, loaded, atlas)
    problems = [*_unknown_targets(config, loaded), *_blocked_ways(config, epoch)]
    if problems:
        raise InputError(problems)
    return epoch


def load_atlas(config: Config, today: datetime.date) -> geo.Atlas:
    """Load the data that a configuration names.

    Raises:  DataError: a file that is missing or corrupt, or no source at all.
    """
    sources = [
        geo.Bundled() if source == "bundled" else geo.Mmdb(config.path(source.mmdb), source.axis)
        for source in config.geo.sources
    ]
    overrides = [
        geo.Override(
            network=one.network,
            location=one.location,
            registration=one.registration,
            operator=one.operator,
            reason=one.reason,
            expires=one.expires,
        )
        for one in config.geo.overrides
    ]
    return geo.load(
        sources,
        overrides,
        today=today,
        max_age_days=config.geo.max_age_days,
        nat64_prefixes=config.geo.nat64_prefixes,
    )


def _unknown_targets(config: Config, loaded: policy.Policy) -> Iterable[Problem]:
    exits = {one.name for one in config.exits}
    relays = {one.name for one in config.relays}
    for verdict, place in loaded.targets():
        known = exits | relays if verdict.action is Action.REROUTE else exits | {"nearest"}
        if verdict.target not in known:
            kind = "relay or exit" if verdict.action is Action.REROUTE else "exit"
            names = ", ".join(sorted(known)) or "none"
            yield Problem(
                place.file,
                place.line,
                place.column,
                f'rule "{verdict.rule}": no {kind} is called "{verdict.target}"; known: {names}',
            )


def _blocked_ways(config: Config, epoch: Epoch) -> Iterable[Problem]:
    """Find relays that stand where the policy lets nothing go."""
    for at, relay in enumerate(config.relays):
        endpoint = Endpoint.parse(relay.address)
        key = FlowKey(Transport.UDP, Endpoint(bytes(4), 0), endpoint)
        verdict = epoch.judge(epoch.facts(key, None))
        if verdict.action is Action.BLOCK and verdict.settled:
            yield config.problem(
                "relays",
                at,
                "address",
                says=f'relay "{relay.name}" is itself blocked by rule "{verdict.rule}": '
                f"{verdict.reason}",
            )


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

        Raises:  InputError, DataError: as load_epoch; a log that cannot be opened where evidence
                 is required.
        """
        self.config = config
        self.world = world
        self._today = world.now().date()
        epoch = load_epoch(config, 1, self._today)
        self.witness = Witness(self._open_log(), config.evidence.required, tuple(observers))
        limits = config.limits
        self.table = FlowTable(
            epoch,
            clock.seconds,
            FlowLimits(limits.max_flows, limits.max_flows_per_client, limits.udp_idle_timeout_s),
            self.witness,
        )
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
        """Load policy and data again; what is refused is logged, and the last good epoch stays."""
        try:
            epoch = load_epoch(self.config, self.table.epoch.number + 1, self._today)
        except GatewayError as error:
            _log.error(
                "reload refused, epoch {epoch} stays: {reason}",
                epoch=self.table.epoch.number,
                reason=str(error),
            )
            return False
        self.table.adopt(epoch)
        self._announce(epoch)
        return True

    def _tick(self) -> None:
        self.table.expire()
        self.witness.report()
        today = self.world.now().date()
        if today != self._today:  # exceptions expire and data grows stale at midnight, UTC
            self._today = today
            self.reload()

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

    def report(self) -> None:
        """Say how many flows met a bound since the last report."""
        for reason, count in (self.refusals - self._reported).items():
            _log.warn("{count} new flows blocked: {reason}", count=count, reason=reason)
        self._reported = self.refusals.copy()

    def close(self) -> None:
        """Close the decision log."""
        if self._decisions is not None:
            self._decisions.close()
