"""Workers are kept running, go from epoch to epoch together, and start with what is in force."""

from __future__ import annotations

import datetime
from collections import Counter
from typing import Any

from twisted.internet.error import ProcessDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gateway.counts import Counts
from gateway.errors import CarryError
from gateway.routing import orders
from gateway.routing.orders import (
    Abandon,
    Account,
    Adopt,
    Order,
    Prepare,
    Ready,
    Refused,
    Report,
)
from gateway.routing.workers import Now, Workers

_DAY = datetime.date(2026, 11, 23)
_PREPARE = Prepare(2, _DAY, True, "new")


class FakeProcess:
    """A worker's process, played by the test."""

    def __init__(self, protocol: Any, argv: list[str], descriptors: dict[int, str | int]) -> None:
        self.descriptors = descriptors
        self.protocol = protocol
        self.argv = argv
        self.heard: list[Order] = []
        self.signals: list[str] = []
        self.is_stdin_closed = False

    def write(self, octets: bytes) -> None:
        """IProcessTransport API."""
        self.heard += [orders.order(line) for line in octets.splitlines()]

    def signalProcess(self, name: str) -> None:
        """IProcessTransport API."""
        self.signals.append(name)

    def closeStdin(self) -> None:
        """IProcessTransport API."""
        self.is_stdin_closed = True

    def says(self, report: Report) -> None:
        """Let the process report, in two pieces."""
        octets = orders.line(report) + b"\n"
        self.protocol.outReceived(octets[:5])
        self.protocol.outReceived(octets[5:])

    def ends(self) -> None:
        """Let the process end."""
        self.protocol.processEnded(Failure(ProcessDone(0)))


class FakeReactor(Clock):
    """A clock that spawns fakes."""

    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[FakeProcess] = []

    def spawnProcess(
        self,
        protocol: Any,
        _path: str,
        argv: list[str],
        *,
        childFDs: dict[int, str | int],
        **_: Any,
    ) -> FakeProcess:
        """IReactorProcess API."""
        self.spawned.append(FakeProcess(protocol, argv, childFDs))
        return self.spawned[-1]


class WorkersCase(SynchronousTestCase):
    """Two workers beside the leader."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.now = Now(1, 41, _DAY, "state")
        queues = range(8701, 8703)
        self.since: int | None = None
        self.workers = Workers(
            self.reactor, "gateway.yaml", queues, lambda: self.now, lambda: self.since
        )
        self.workers.start()
        self.first, self.second = self.reactor.spawned

    def ready(self) -> None:
        """Let both judge."""
        for process in self.reactor.spawned:
            process.says(Ready())


class WorkersTests(WorkersCase):
    """They are kept running, and go from epoch to epoch together."""

    def test_start(self) -> None:
        """Each starts with its queue, and with what is in force."""
        self.assertEqual(self.second.argv[1:5], ["-P", "-m", "gateway", "worker"])
        said = dict(zip(self.second.argv[5::2], self.second.argv[6::2], strict=True))
        self.assertEqual(
            said,
            {"--config": "gateway.yaml", "--queue": "8702", "--number": "1", "--epoch": "41",
             "--today": "2026-11-23", "--state": "state"},
        )  # fmt: skip

    def test_fast_path(self) -> None:
        """Where there is a fast path, one that starts gets the way to tell it of a verdict that has
        changed; where there is none it gets nothing."""
        self.assertEqual(self.first.descriptors, {0: "w", 1: "r", 2: 2})
        self.since = 41
        self.first.ends()
        self.reactor.advance(5)
        third = self.reactor.spawned[2]
        self.assertEqual(third.descriptors, {0: "w", 1: "r", 2: 2, 3: 41})
        self.assertEqual(third.argv[-2:], ["--since", "3"])

    def test_together(self) -> None:
        """An epoch is ready when all workers are, and all adopt it."""
        self.ready()
        prepared = self.workers.prepare(_PREPARE)
        self.first.says(Ready())
        self.assertNoResult(prepared)
        self.second.says(Ready())
        self.successResultOf(prepared)
        self.workers.adopt(42)
        for process in (self.first, self.second):
            self.assertEqual(process.heard, [_PREPARE, Adopt(42)])

    def test_one_refuses(self) -> None:
        """One that cannot load it is enough to refuse it; who could is told to go on as before."""
        self.ready()
        prepared = self.workers.prepare(_PREPARE)
        self.first.says(Refused("policy and data: are not what the leader has loaded"))
        self.assertNoResult(prepared)
        self.second.says(Ready())
        self.assertIn("not what the leader", str(self.failureResultOf(prepared, CarryError)))
        self.workers.abandon()
        self.assertEqual(self.second.heard, [_PREPARE, Abandon()])

    def test_one_dies(self) -> None:
        """One that ends meanwhile refuses it by that, and is started again with what is in force
        then."""
        self.ready()
        prepared = self.workers.prepare(_PREPARE)
        self.second.says(Ready())
        self.first.ends()
        self.failureResultOf(prepared, CarryError)
        self.now = Now(3, 43, _DAY, "newer")
        self.reactor.advance(2)
        self.assertIn("43", self.reactor.spawned[2].argv)

    def test_not_running(self) -> None:
        """One that has not begun to judge is not waited for; what it began with is no longer in
        force, so it begins again."""
        self.first.says(Ready())
        prepared = self.workers.prepare(_PREPARE)
        self.first.says(Ready())
        self.successResultOf(prepared)
        self.now = Now(2, 42, _DAY, "new")
        self.workers.adopt(42)
        self.second.says(Ready())
        self.assertEqual((self.second.heard, self.second.signals), ([], ["KILL"]))
        self.second.ends()
        self.reactor.advance(2)
        self.assertIn("42", self.reactor.spawned[2].argv)

    def test_silent(self) -> None:
        """One that gives no answer is ended, and no policy waits for it."""
        self.ready()
        prepared = self.workers.prepare(_PREPARE)
        self.second.says(Ready())
        self.reactor.advance(30)
        self.assertEqual(self.first.signals, ["KILL"])
        self.successResultOf(prepared)
        self.workers.adopt(42)
        self.assertEqual((self.first.heard, self.second.heard[1:]), ([_PREPARE], [Adopt(42)]))
        self.first.ends()
        self.reactor.advance(2)
        self.assertEqual(len(self.reactor.spawned), 3)

    def test_refused_start(self) -> None:
        """One that cannot begin is ended, and started again."""
        self.first.says(Refused("queue 8701: another process holds it"))
        self.assertEqual(self.first.signals, ["KILL"])
        self.first.ends()
        self.reactor.advance(2)
        self.assertEqual(len(self.reactor.spawned), 3)

    def test_never_ready(self) -> None:
        """One that cannot begin again and again is tried ever more seldom, and soon again once it
        could."""
        for pause_s in (2, 4, 8, 16, 32, 60, 60):
            count = len(self.reactor.spawned)
            self.first.ends()
            self.reactor.advance(pause_s - 0.1)
            self.assertEqual(len(self.reactor.spawned), count)
            self.reactor.advance(0.1)
            self.first = self.reactor.spawned[-1]
        self.first.says(Ready())
        count = len(self.reactor.spawned)
        self.first.ends()
        self.reactor.advance(2)
        self.assertEqual(len(self.reactor.spawned), count + 1)

    def test_nonsense(self) -> None:
        """One that says what is no report is ended, whether or not its line ends."""
        self.first.protocol.outReceived(b"Traceback\n")
        self.second.protocol.outReceived(b"x" * (orders.MAX_LINE_LEN + 1))
        self.assertEqual((self.first.signals, self.second.signals), (["KILL"], ["KILL"]))

    def test_stop(self) -> None:
        """All are told to end, are waited for, and none is started again."""
        self.ready()
        stopped = self.workers.stop()
        self.assertTrue(self.first.is_stdin_closed and self.second.is_stdin_closed)
        self.first.ends()
        self.assertNoResult(stopped)
        self.reactor.advance(10)
        self.assertEqual(self.second.signals, ["KILL"])
        self.second.ends()
        self.successResultOf(stopped)
        self.reactor.advance(60)
        self.assertEqual(len(self.reactor.spawned), 2)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


def account(flows: int, allowed: int, epoch: int = 1) -> Account:
    """What a worker tells."""
    counts = Counts()
    counts.decisions["allow", "media"] = allowed
    numbers = {**counts.told(), "packets": {"packets: in": allowed + 1, "packets: held": 1}}
    return Account(flows, epoch, {"rest": allowed}, numbers)


class AccountsTests(WorkersCase):
    """What workers count is added up, and the age of what they said is told."""

    def test_sum(self) -> None:
        """The sum has what each told last, and rules of the epoch in force alone."""
        self.ready()
        self.first.says(account(3, 5))
        self.first.says(account(4, 7))
        self.second.says(account(1, 2, epoch=9))
        mine = Counts()
        mine.decisions["allow", "media"] = 10
        mine._epoch, mine._rules = 1, Counter({"rest": 10})
        rules = [(one.account.epoch, one.account.rules) for one in self.states()]
        total = mine.plus(self.workers.numbers, rules)
        self.assertEqual(total.decisions, {("allow", "media"): 19})
        self.assertEqual(total._rules, {"rest": 17})
        self.assertEqual([one.account.flows for one in self.states()], [4, 1])

    def states(self) -> list[Any]:
        """Give what is known of each."""
        return list(self.workers.states)

    def test_age(self) -> None:
        """A report grows old; before the first there is none."""
        self.ready()
        self.assertEqual([one.age_s for one in self.states()], [None, None])
        self.first.says(account(1, 1))
        self.reactor.advance(7)
        self.assertEqual([one.age_s for one in self.states()], [7, None])

    def test_dead(self) -> None:
        """One that died shows; what it had counted stays in the sum, and what it held does not."""
        self.ready()
        self.first.says(account(3, 5))
        self.first.ends()
        state, _ = self.states()
        self.assertEqual((state.is_ready, state.age_s, state.ends), (False, None, 1))
        self.assertEqual(self.workers.numbers["packets"], {"packets: in": 6})
        self.reactor.advance(5)
        again = self.reactor.spawned[-1]
        again.says(Ready())
        again.says(account(1, 2))
        self.assertEqual(self.workers.numbers["decisions"], {"allow\x1fmedia": 7})
        self.assertTrue(self.states()[0].is_ready)

    def test_report(self) -> None:
        """An account arrives as it was given."""
        said = account(1, 2)
        self.assertEqual(orders.report(orders.line(said)), said)
