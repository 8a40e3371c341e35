"""The leader's side of the workers.  Owns: processes that judge their own queue each, kept running,
and taken from epoch to epoch together.  Knows: Twisted's processes; orders.  Never: judging.

A worker that is not there leaves its queue without a reader: what the kernel puts there is dropped.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from gateway.errors import CarryError, GatewayError, WireError
from gateway.routing import orders
from gateway.routing.accounts import Numbers, WorkerState, added
from gateway.routing.orders import Abandon, Account, Adopt, Order, Prepare, Ready

_log = Logger(namespace="gateway.routing")

_ANSWER_S = 30.0
"""Loading the largest data takes seconds; a worker that says nothing for so long is ended, and the
others go on without it."""
_PAUSE_S = 2.0
"""Before a worker that ended is started again."""
# One that cannot begin, for instance since the disk is full, is tried ever more seldom.
_MOST_PAUSE_S = 60.0
_STOP_S = 10.0
_SINCE = 3
"""A worker's descriptor of the fast path's map."""


@dataclass(frozen=True, slots=True)
class Now:
    """What is in force, for a worker that starts."""

    number: int
    """Of the policy's epoch."""
    epoch: int
    """Of the marks."""
    today: datetime.date
    state: str
    policy: Path | None = None
    """A copy of the policy; None: it is where the configuration says."""


class Workers:
    """The workers beside the leading process, whose own queue is the first."""

    def __init__(
        self,
        reactor: Any,
        config: str,
        queues: range,
        now: Callable[[], Now],
        since: Callable[[], int | None],
    ) -> None:
        """Start none yet.

        Args:    config: the path of gateway.yaml; queues: theirs; now: gives what is in force;
                 since: gives the descriptor by which they tell the fast path that a verdict has
                 changed, None: there is no fast path.
        """
        self._workers = [_Worker(reactor, config, queue, now, since) for queue in queues]

    def start(self) -> None:
        """Start all of them."""
        for worker in self._workers:
            worker.start()

    def prepare(self, order: Prepare) -> Deferred[None]:
        """Have each load an epoch, and stop judging until it is adopted or abandoned.

        A worker that is not running is left out: it starts with what is in force then.
        Fails with a GatewayError: one of them cannot; abandon it then.
        """
        asked = [worker.ask(order) for worker in self._workers if worker.is_ready]
        # All of them are awaited: one that is still busy would not hear that it was abandoned.
        return DeferredList(asked, consumeErrors=True).addCallback(_first_failure)

    def adopt(self, epoch: int) -> None:
        """Have each go over to what was prepared, right after the rules did."""
        for worker in self._workers:
            worker.tell(Adopt(epoch))

    def abandon(self) -> None:
        """Have each judge on as before."""
        for worker in self._workers:
            worker.tell(Abandon())

    @property
    def states(self) -> tuple[WorkerState, ...]:
        """What is known of each."""
        return tuple(worker.state for worker in self._workers)

    @property
    def numbers(self) -> Numbers:
        """What all of them counted since the leader began, those that ended too."""
        return added([one for worker in self._workers for one in worker.numbers])

    def stop(self) -> Deferred[Any]:
        """End all of them; fires when they have ended."""
        return DeferredList([worker.stop() for worker in self._workers])


def _over(numbers: Numbers) -> Numbers:
    """Leave out what ended with a process: what it held, and what waited for it."""
    return {
        group: {name: n for name, n in counted.items() if not name.endswith(("held", "waiting"))}
        for group, counted in numbers.items()
    }


def _first_failure(results: list[tuple[bool, Any]]) -> Failure | None:
    return next((result for is_done, result in results if not is_done), None)


class _Worker(ProcessProtocol):
    """One worker: its process, started again whenever it ends."""

    def __init__(
        self,
        reactor: Any,
        config: str,
        queue: int,
        now: Callable[[], Now],
        since: Callable[[], int | None],
    ) -> None:
        self._since = since
        self._reactor = reactor
        self._config = config
        self._queue = queue
        self._now = now
        self._unread = b""
        self._asked: Deferred[None] | None = None
        self._late: Any = None
        self._again: Any = None
        self._pause_s = _PAUSE_S
        self._ended: Deferred[object] | None = None
        self._process: Any = None
        self._started: Now | None = None
        self.is_ready = False
        """Whether it judges, or does what it was told last."""
        self._account: Account | None = None
        self._heard_s = 0.0
        self._before: Numbers = {}
        """What it counted before it ended."""
        self._ends = 0

    @property
    def state(self) -> WorkerState:
        account = self._account
        age_s = None if account is None else self._reactor.seconds() - self._heard_s
        return WorkerState(self._queue, self.is_ready, age_s, self._ends, account)

    @property
    def numbers(self) -> tuple[Numbers, ...]:
        now = () if self._account is None else (self._account.numbers,)
        return (self._before, *now)

    def start(self) -> None:
        self._again = None
        self._started = now = self._now()
        self._unread, self.is_ready = b"", False
        options: dict[str, object] = {
            "config": self._config,
            "queue": self._queue,
            "number": now.number,
            "epoch": now.epoch,
            "today": now.today,
            "state": now.state,
        }
        if now.policy is not None:
            options["policy"] = now.policy
        descriptors: dict[int, str | int] = {0: "w", 1: "r", 2: 2}
        if (since := self._since()) is not None:
            descriptors[_SINCE], options["since"] = since, _SINCE
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        # -P: no module of the working directory stands in for one of ours.
        argv = [sys.executable, "-P", "-m", "gateway", "worker", *words]
        self._process = self._reactor.spawnProcess(
            self, sys.executable, argv, env=None, childFDs=descriptors
        )

    def ask(self, order: Order) -> Deferred[None]:
        """Order something; fires when it is done, fails with CarryError."""
        asked: Deferred[None] = Deferred()
        self._asked = asked
        self._late = self._reactor.callLater(_ANSWER_S, self._silent)
        self.tell(order)
        return asked

    def tell(self, order: Order) -> None:
        if self._process is not None and self.is_ready:
            self._process.write(orders.line(order) + b"\n")

    def stop(self) -> Deferred[object]:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        ended: Deferred[object] = Deferred()
        self._ended = ended
        if self._process is not None:
            self._process.closeStdin()  # its end, in order
            self._late = self._reactor.callLater(_STOP_S, self._silent)
        else:
            ended.callback(None)
        return ended

    def outReceived(self, data: bytes) -> None:
        """ProcessProtocol API."""
        self._unread += data
        *lines, self._unread = self._unread.split(b"\n")
        for one in lines:
            self._heard(one)
        if len(self._unread) > orders.MAX_LINE_LEN:
            self._kill("said too much")

    def _heard(self, octets: bytes) -> None:
        try:
            report = orders.report(octets)
        except WireError as error:
            self._kill(str(error))
            return
        if isinstance(report, Account):
            self._account, self._heard_s = report, self._reactor.seconds()
        elif not isinstance(report, Ready) and not self.is_ready:
            self._kill(report.reason)  # it cannot begin; it is started again
        elif not isinstance(report, Ready):
            self._answered(CarryError(str(self), report.reason))
        elif not self.is_ready:
            self._began()
        else:
            self._answered(None)

    def _began(self) -> None:
        if self._started != self._now():
            self._kill("another epoch came into force while it started")
            return
        self.is_ready = True
        self._pause_s = _PAUSE_S
        _log.info("router mode: {worker} judges", worker=str(self))

    def _answered(self, error: GatewayError | None) -> None:
        self._be_patient()
        asked, self._asked = self._asked, None
        if asked is None:
            if error is not None:
                _log.error("{reason}", reason=str(error))
        elif error is None:
            asked.callback(None)
        else:
            asked.errback(error)

    def _be_patient(self) -> None:
        late, self._late = self._late, None
        if late is not None and late.active():
            late.cancel()

    def _silent(self) -> None:
        self._late = None
        self.is_ready = False
        self._kill("says nothing")
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.callback(
                None
            )  # a policy does not wait for it: it starts with what is then in force

    def _kill(self, why: str) -> None:
        _log.error("router mode: {worker} is ended: {why}", worker=str(self), why=why)
        if self._process is not None:
            self._process.signalProcess("KILL")

    def processEnded(self, reason: Failure) -> None:
        """ProcessProtocol API."""
        self._process, self.is_ready = None, False
        self._before, self._account = _over(added(self.numbers)), None
        self._ends += 1
        self._answered(CarryError(str(self), "has ended") if self._asked is not None else None)
        if self._ended is not None:
            self._ended.callback(None)
            return
        _log.error(
            "router mode: {worker} has ended, its share of new flows is dropped until it is back",
            worker=str(self),
        )
        self._again = self._reactor.callLater(self._pause_s, self.start)
        self._pause_s = min(2 * self._pause_s, _MOST_PAUSE_S)

    def __str__(self) -> str:
        return f"the worker of queue {self._queue}"
