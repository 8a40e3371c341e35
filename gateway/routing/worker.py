"""A worker's process.  Owns: a core and a queue of its own, and doing what the leader orders.
Knows: Twisted's standard input and output; orders.  Never: rules, listeners, a will of its own:
when the leader is gone it ends."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from gateway.canaries import Canaries
from gateway.config import Config
from gateway.core import Core, World
from gateway.counts import Counts
from gateway.epochs import Change
from gateway.errors import CarryError, GatewayError, WireError
from gateway.flow.epoch import Epoch
from gateway.kernel.fast_path import Since
from gateway.outward import Outward
from gateway.routing import orders
from gateway.routing.accounts import account_of
from gateway.routing.judging import Judging
from gateway.routing.orders import Abandon, Account, Adopt, Prepare, Ready, Refused, Report
from gateway.routing.rules import state_of
from gateway.routing.targets import Targets
from gateway.routing.workers import Now

_log = Logger(namespace="gateway.routing")

# The leader is told what was counted this often.
_TELL_S = 2.0


def _nothing() -> None:
    """Tell a fast path that there is not."""


class Worker:
    """Judges one queue, as the leader does the first."""

    def __init__(
        self,
        reactor: Any,
        config: Config,
        world: World,
        queue: int,
        now: Now,
        since: int | None = None,
    ) -> None:
        """Load what the leader has in force.

        Args:    since: the descriptor of the fast path's map of that name; None: there is none.
        Raises:  GatewayError: it cannot be loaded, or is something else by now.
        """
        self._counts = Counts()
        self.core = Core(
            reactor,
            config,
            world,
            (self._counts,),
            number=now.number,
            leads=False,
            today=now.today,
            log_name=f"decisions-{queue}.jsonl",
            kept=now.policy,
        )
        self._targets = Targets(config)
        self._hold_against(self.core.table.epoch, now.state)
        self._queue, self._epoch = queue, now.epoch
        self._outward = Outward(reactor, config, self.core)
        turned = _nothing if since is None else Since(since).now
        wiring = self._outward.wiring
        self._judging = Judging(reactor, self.core, wiring, self._targets, turned)
        self._canaries = Canaries(reactor, self.core, config.canaries)
        self.core.on_adopted.append(self._judging.rejudge)
        self.core.counting.append(lambda: {**self._judging.counters, **self._judging.packets})
        self._next: tuple[Config, Epoch] | None = None

    @property
    def account(self) -> Account:
        """What it counted so far."""
        return account_of(self.core, self._counts, self._judging, self._canaries)

    def start(self) -> None:
        """Open the queue.

        Raises:  CarryError: it cannot be opened.
        """
        self._judging.start(self._queue, self._epoch)
        self._outward.start()
        self.core.start()
        self._canaries.start()

    async def prepare(self, order: Prepare) -> None:
        """Load an epoch, and let packets wait.

        Raises:  GatewayError: it cannot be loaded, or is not the leader's.
        """
        change = Change(order.number, order.today, order.reads)
        sources, epoch = await self.core.epochs.next(change, self.core.table.epoch)
        self._hold_against(epoch, order.state)
        self._next = sources, epoch
        self._judging.pause()

    def adopt(self, epoch: int) -> None:
        """Judge by what was prepared.

        Args:    epoch: of the marks.
        """
        if self._next is not None:
            (sources, prepared), self._next = self._next, None
            self.core.epochs.sources = sources
            self._judging.adopt(epoch)
            self.core.adopt(prepared)
            self._judging.resume()

    def abandon(self) -> None:
        """Judge on as before."""
        self._next = None
        self._judging.resume()

    def stop(self) -> Deferred[object]:
        """Close everything; fires when all is closed."""
        self._canaries.stop()
        stopped: Deferred[Any] = self._judging.stop()
        stopped.addBoth(lambda _result: self._outward.stop())
        return stopped.addBoth(lambda _result: self.core.stop())

    def _hold_against(self, epoch: Epoch, state: str) -> None:
        if state_of(epoch, self._targets) != state:
            raise CarryError("policy and data", "are not what the leader has loaded")


class Orders(LineOnlyReceiver):
    """The leader's orders, on standard input; reports go to standard output."""

    delimiter = b"\n"
    MAX_LENGTH = orders.MAX_LINE_LEN

    def __init__(self, reactor: Any, worker: Worker) -> None:
        self._reactor = reactor
        self._worker = worker
        self._telling = LoopingCall(self._tell)
        self._telling.clock = reactor

    def connectionMade(self) -> None:
        """IProtocol API."""
        try:
            self._worker.start()
        except GatewayError as error:
            self._say(Refused(str(error)))
            self._end()
        else:
            self._say(Ready())
            self._telling.start(_TELL_S, now=False)

    def _tell(self) -> None:
        """Tell the leader what was counted; it is told again soon, if it cannot be now."""
        try:
            account = self._worker.account
            if len(orders.line(account)) < orders.MAX_LINE_LEN:
                self._say(account)
        except Exception:  # a counter that fails must not end what judges
            _log.failure("counters cannot be read")

    def lineReceived(self, line: bytes) -> None:
        """LineOnlyReceiver API."""
        try:
            order = orders.order(line)
        except WireError as error:
            self._say(Refused(str(error)))
            return
        match order:
            case Prepare():
                doing = Deferred.fromCoroutine(self._worker.prepare(order))
                doing.addCallbacks(lambda _done: self._say(Ready()), self._refused)
            case Adopt(epoch):
                self._worker.adopt(epoch)
            case Abandon():
                self._worker.abandon()

    def _refused(self, why: Failure) -> None:
        if not isinstance(why.value, GatewayError):
            _log.failure("an order failed", why)
        self._say(Refused(why.getErrorMessage()))

    def _say(self, report: Report) -> None:
        assert self.transport is not None
        self.transport.write(orders.line(report) + b"\n")

    def connectionLost(self, reason: object = None) -> None:
        """IProtocol API: the leader is gone, or wants an end."""
        self._end()

    def _end(self) -> None:
        if self._telling.running:
            self._telling.stop()
        self._reactor.callWhenRunning(self._stop)

    def _stop(self) -> None:
        if self._reactor.running:
            self._reactor.stop()
