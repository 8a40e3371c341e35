"""Router mode from start to stop.  Owns: the order in which rules, proxy and judging begin, change
and end.  Knows: Twisted's reactor.  Never: nft, packets, verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, DeferredLock
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from gateway.config import Config
from gateway.core import Commit, Core
from gateway.counts import Counts
from gateway.epochs import Change
from gateway.errors import GatewayError, InputError
from gateway.flow.epoch import Epoch
from gateway.kernel import readback
from gateway.kernel.drops import Drops
from gateway.kernel.router import CANARIES
from gateway.listeners.interfaces import Wiring
from gateway.listeners.transparent_tcp import TransparentTcpListener
from gateway.model import pack
from gateway.routing.accounts import Numbers, WorkerState
from gateway.routing.judging import Judging
from gateway.routing.orders import Prepare
from gateway.routing.packets import PacketPath
from gateway.routing.rules import Prepared, Rules
from gateway.routing.targets import Targets
from gateway.routing.workers import Now, Workers

_log = Logger(namespace="gateway.routing")

# An exit's interface may come and go.
_MEND_S = 5.0
# Other software may flush all of netfilter: so long at most is it not noticed.
_WATCH_S = 0.05


class RouterMode:
    """Makes this host the clients' router: Python judges a flow once, the kernel carries it."""

    def __init__(self, reactor: Any, config: Config, core: Core, wiring: Wiring) -> None:
        """Build everything; open nothing and change nothing yet."""
        self._reactor = reactor
        self._config = config
        self._core = core
        targets = Targets(config)
        queues = config.router.first_queue + 1, config.router.first_queue + config.router.workers
        self._rules = Rules(config, targets)
        since = self._rules.fast_path.since
        self._workers = Workers(reactor, config.file, range(*queues), self._now, since)
        self._tcp = TransparentTcpListener(wiring)
        self._judging = Judging(reactor, core, wiring, targets, self._rules.fast_path.turned)
        self._calls = [LoopingCall(self._mend), LoopingCall(self._watch)]
        self._drops = Drops(lambda: readback.drops(self._rules.router.name))
        self._packets = PacketPath(reactor, config, core)
        self.canaries: PacketPath | None = None
        """The path that canaries are sent by; None: there is none."""
        self._trouble = ""
        self._turn = DeferredLock()
        """One thread at a time works on the kernel's rules."""
        core.preparing.append(self.prepare)
        core.on_adopted.append(self.rejudge)

    def start(self) -> None:
        """Install the rules, then judge: from here on nothing passes unjudged.

        Raises:  InputError: the host does not let us, or another gateway keeps the table.
        """
        try:
            self._begin_canaries()
            port = self._tcp.listen().port
            self._rules.install(self._core.table.epoch, port)
            router = self._rules.router
            self._drops.begin()
            self._judging.start(router.queues.first, router.epoch)
            self._workers.start()
        except GatewayError as error:
            self.stop()
            says = f"router mode: {error}"
            raise InputError([self._config.problem("listeners", says=says)]) from error
        for call, interval_s in zip(self._calls, (_MEND_S, _WATCH_S), strict=True):
            call.clock = self._reactor
            call.start(interval_s, now=False)
        where = ", ".join(one for one in router.clients if one != CANARIES)
        _log.info("router mode: ready for clients behind {where}", where=where)

    def _begin_canaries(self) -> None:
        config = self._config.canaries
        if config.sent and config.clients:
            self._rules.canaries = tuple(map(pack, config.clients))
            self._rules.has_canaries = self._packets.open()
            self.canaries = self._packets if self._rules.has_canaries else None

    def _now(self) -> Now:
        epoch, rules = self._core.table.epoch, self._rules
        kept = self._core.epochs.kept
        return Now(epoch.number, rules.router.epoch, self._core.today, rules.state, kept)

    def prepare(self, epoch: Epoch, change: Change) -> Deferred[Commit]:
        """Make kernel and workers ready for an epoch (core's Prepare)."""
        return Deferred.fromCoroutine(self._prepare(epoch, change))

    async def _prepare(self, epoch: Epoch, change: Change) -> Commit:
        prepared = await self._in_thread(self._rules.prepare, epoch)
        state = self._rules.state if prepared is None else prepared.state
        order = Prepare(change.number, change.today, change.reads, state)
        try:
            await self._workers.prepare(order)
        except GatewayError:
            self._abandon(prepared)
            raise
        return lambda: self._commit(prepared)

    def _commit(self, prepared: Prepared | None) -> None:
        if prepared is not None:
            try:
                self._rules.commit(prepared)
            except GatewayError:
                self._abandon(prepared)
                raise
            self._judging.adopt(self._rules.router.epoch)
            self._later(self._rules.tidy)
        self._workers.adopt(self._rules.router.epoch)

    def _abandon(self, prepared: Prepared | None) -> None:
        self._workers.abandon()
        if prepared is not None:
            self._later(self._rules.tidy)

    def rejudge(self) -> None:
        """Judge what Python carries by the policy that has just come into force."""
        self._tcp.rejudge()
        self._judging.rejudge()

    def stop(self) -> Deferred[object]:
        """Stop judging and close every flow that Python carries.  The rules stay: flows that were
        let go go on, and no new one does; `gateway unlock` removes them."""
        for call in self._calls:
            if call.running:
                call.stop()
        self._packets.close()
        closing: list[Deferred[Any]] = [
            self._tcp.stop(),
            self._judging.stop(),
            self._workers.stop(),
        ]
        return DeferredList(closing, consumeErrors=True).addBoth(self._released)

    def _released(self, result: object) -> object:
        self._rules.release()
        return result

    @property
    def counters(self) -> Mapping[str, int]:
        """What was judged and carried so far, by name."""
        by_tcp = {f"tcp: {name}": count for name, count in self._tcp.counters.items()}
        fast = {"fast path: packets": self._rules.fast_path.packets}
        return {**self._judging.counters, **by_tcp, **fast}

    @property
    def packets(self) -> Mapping[str, int]:
        """Where packets went so far, by name; it adds up (docs/evidence.md, Counts)."""
        return {**self.carried, **self._dropped()}

    @property
    def carried(self) -> Mapping[str, int]:
        """The same but for what the kernel dropped by itself, which takes a while to ask."""
        tcp = {f"tcp: {name}": count for name, count in self._tcp.packets.items()}
        return {**self._judging.packets, **tcp}

    def _dropped(self) -> Mapping[str, int]:
        try:
            return {f"kernel: dropped in {one}": n for one, n in self._drops.look().items()}
        except GatewayError as error:
            _log.warn("what the kernel dropped is not known: {reason}", reason=str(error))
            return {}

    @property
    def workers(self) -> tuple[WorkerState, ...]:
        """The other processes that judge."""
        return self._workers.states

    @property
    def of_workers(self) -> Numbers:
        """What they counted since this process began."""
        return self._workers.numbers

    def with_workers(self, counts: Counts) -> Counts:
        """Add what they decided to what this process did."""
        states = (one.account for one in self._workers.states)
        rules = [(one.epoch, one.rules) for one in states if one is not None]
        return counts.plus(self._workers.numbers, rules)

    @property
    def canaries_lacking(self) -> str:
        """Why no canary is sent through the kernel's rules; "": they are, or shall not be."""
        return self._packets.lacking

    @property
    def trouble(self) -> str:
        """Why rules or routes cannot be put up again; "": nothing is wrong."""
        return self._trouble

    def _watch(self) -> Deferred[None] | None:
        try:
            if not self._rules.is_disturbed():
                return None
            if not self._is_busy():
                return self._mend()
            if self._rules.stay_closed():
                _log.error("somebody else changed the rules in the kernel: nothing passes for now")
            return None
        except GatewayError as error:
            self._say(str(error))
            return None

    def _mend(self) -> Deferred[None] | None:
        """Put up again what somebody else took down; not while an epoch changes."""
        if self._is_busy():
            return None
        mended = self._in_thread(self._rules.mend)
        return mended.addCallbacks(self._mended, self._not_mended)

    def _is_busy(self) -> bool:
        return self._core.is_changing or self._turn.locked

    def _mended(self, was_missing: bool) -> None:
        self._trouble = ""
        if was_missing:
            _log.error("somebody else changed the rules in the kernel: they were put up again")

    def _not_mended(self, why: Failure) -> None:
        self._say(why.getErrorMessage())

    def _say(self, reason: str) -> None:
        if reason != self._trouble:
            _log.error("the rules or routes cannot be put up again: {reason}", reason=reason)
        self._trouble = reason

    def _in_thread(self, function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
        return self._turn.run(self._core.world.in_thread, function, *arguments)

    def _later(self, function: Callable[..., object], *arguments: object) -> None:
        done = self._in_thread(function, *arguments)
        done.addErrback(lambda why: _log.failure("tidying up in the kernel failed", why))
