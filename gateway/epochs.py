"""Epochs, one after another.  Owns: loading the first and the next, what stands in for a policy
that is refused at the start, what came of the last attempt.  Knows: sources, the last good policy.
Never: what is in force; core says so."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from gateway.config import Config
from gateway.errors import DataError, GatewayError, InputError
from gateway.flow.epoch import Atlas, Epoch
from gateway.last_good import LastGood
from gateway.sources import load_atlas, load_epoch

_log = Logger(namespace="gateway.core")


@dataclass(frozen=True, slots=True)
class Change:
    """What another epoch is made of."""

    number: int
    today: datetime.date
    reads: bool
    """True: the policy's file is read again; False: only the day is another."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of loading policy and data."""

    at: datetime.datetime
    faults: tuple[str, ...]
    """Why it was refused; (): it was not."""


class Epochs:
    """Loads epochs for a core."""

    def __init__(
        self,
        config: Config,
        now: Callable[[], datetime.datetime],
        in_thread: Callable[..., Deferred[Any]],
        kept: Path | None = None,
    ) -> None:
        """Load nothing yet.

        Args:    kept: a copy of the policy in force, which somebody else looks after.
        """
        self.sources = config
        """Whose `policy` and `geo` are in force; a reload reads the file again."""
        self._now = now
        self._in_thread = in_thread
        self._kept = kept
        self._last_good = LastGood(config.path(config.state.path), Path(config.file))
        self.last = Attempt(now(), ())
        """The last attempt at a policy."""
        self.is_standing_in = False
        """Whether the last good policy stands in for one that was refused at the start."""

    @property
    def kept(self) -> Path | None:
        """The copy of the policy in force, or None."""
        return self._kept or self._last_good.path

    def first(self, number: int, today: datetime.date) -> Epoch:
        """Load the first epoch; the last good policy stands in for one that is refused.

        Raises:  InputError: with every fault; no good policy is kept, or it does not fit either.
        """
        if self._kept is not None:
            return load_epoch(self.sources, number, today, self._kept)
        try:
            epoch = load_epoch(self.sources, number, today)
        except InputError as error:
            if (kept := self._last_good.path) is None:
                raise
            try:
                epoch = load_epoch(self.sources, number, today, kept)
            except InputError:
                raise error from None
            self._refused(error)
            self.is_standing_in = True
            _log.error(
                "the policy is refused, and the last good one stands in for it: {reason}",
                reason=str(error),
            )
            return epoch
        self._keep(self.sources, epoch, today)
        return epoch

    async def next(self, change: Change, before: Epoch) -> tuple[Config, Epoch]:
        """Load another epoch; nothing judges by it yet.

        Raises:  GatewayError: it cannot be.
        """
        if change.reads:
            sources = self.sources.again()
            numbers = change.number, change.today
            epoch = await self._in_thread(load_epoch, sources, *numbers, values=before.values)
            return sources, epoch
        try:
            atlas: Atlas = await self._in_thread(load_atlas, self.sources, change.today)
        except GatewayError as error:
            _log.error("data cannot be loaded again: {reason}", reason=str(error))
            atlas = before.atlas
        policy = before.policy.on(change.today)
        return self.sources, Epoch.of(change.number, policy, atlas, before.values)

    async def adopted(self, sources: Config, epoch: Epoch, today: datetime.date) -> None:
        """Take note that an epoch that was read is in force."""
        if sources.fixed_part() != self.sources.fixed_part():
            _log.warn(
                "of the configuration, only policy, geo and identifiers are loaded again: "
                "restart for more"
            )
        self.sources = sources
        self.last = Attempt(self._now(), ())
        self.is_standing_in = False
        if self._kept is None:
            await self._in_thread(self._keep, sources, epoch, today)

    def refused(self, error: GatewayError, number: int) -> None:
        """Take note that another epoch was refused, and the one of this number stays."""
        self._refused(error)
        _log.error("reload refused, epoch {epoch} stays: {reason}", epoch=number, reason=str(error))

    def _refused(self, error: GatewayError) -> None:
        problems = getattr(error, "problems", ()) or (error,)
        self.last = Attempt(self._now(), tuple(map(str, problems)))

    def _keep(self, sources: Config, epoch: Epoch, today: datetime.date) -> None:
        try:
            self._last_good.keep(sources.path(sources.policy), epoch.policy, today)
        except DataError as error:
            _log.warn("the policy is not kept for the next start: {reason}", reason=str(error))
