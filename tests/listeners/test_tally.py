"""Counters, the rate-limited lines, and what each verdict's action means."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectionRefusedError, NoRouteError
from twisted.internet.error import TimeoutError as DialTimeout
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import CarryError
from gateway.listeners.answers import Failing, failing_of
from gateway.listeners.interfaces import Routes
from gateway.listeners.limits import Limits
from gateway.listeners.tally import Drop, Tally
from gateway.listeners.ways import way_of
from gateway.model import Endpoint, FlowKey, Transport
from tests.listeners.fakes import ALLOW, BLOCK, REROUTE, WRAP, FakeCarrier, FakeRoutes
from tests.support.rows import rows


class TallyTests(SynchronousTestCase):
    """What a listener says of itself."""

    def test_counts(self) -> None:
        """Each reason has its own counter, and a snapshot does not change later."""
        tally = Tally(Clock())
        tally.drop(Drop.BLOCKED)
        before = tally.snapshot()
        tally.drop(Drop.BLOCKED)
        tally.drop(Drop.FRAGMENT)
        self.assertEqual(before, {"dropped_blocked": 1})
        self.assertEqual(tally.snapshot(), {"dropped_blocked": 2, "dropped_fragment": 1})

    def test_one_line_a_second(self) -> None:
        """However many are not carried, the log says so once a second, with their number."""
        events: list[LogEvent] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        clock = Clock()
        tally = Tally(clock)
        for wait_s in (0, 0.5, 0.4, 0.1, 0.5):
            clock.advance(wait_s)
            tally.not_carried(CarryError("us-east", "the exit is down"))
        said = [event for event in events if event["log_namespace"] == "gateway.listeners"]
        self.assertEqual([event["count"] for event in said], [1, 3])
        self.assertEqual(said[0]["error"], "us-east: the exit is down")
        self.assertEqual(tally.snapshot(), {"dropped_not_carried": 5})

    def reports(self) -> list[LogEvent]:
        """Give the lines about drops, as they come."""
        events: list[LogEvent] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        return events

    def test_report(self) -> None:
        """What was dropped is said in one line for ten seconds, by reason, and then no more."""
        events, clock = self.reports(), Clock()
        tally = Tally(clock)
        tally.where = "127.0.0.1:1080"
        for reason in (Drop.SESSIONS_FULL, Drop.BLOCKED, Drop.SESSIONS_FULL):
            tally.drop(reason)
        clock.advance(9.9)
        self.assertEqual(events, [])
        clock.advance(0.1)
        self.assertEqual(
            [formatEvent(event) for event in events],
            ["127.0.0.1:1080: dropped 1 blocked, 2 sessions_full"],
        )
        clock.advance(100)
        tally.drop(Drop.MALFORMED)
        tally.close()
        self.assertEqual([event["dropped"] for event in events[1:]], ["1 malformed"])
        tally.drop(Drop.TIMED_OUT)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_no_report_of_the_policy(self) -> None:
        """What the policy blocks, and nothing else, is in the decision log, not in this one."""
        events, clock = self.reports(), Clock()
        tally = Tally(clock)
        tally.drop(Drop.BLOCKED)
        clock.advance(100)
        tally.close()
        self.assertEqual(events, [])

    def test_first_bytes_len(self) -> None:
        """A limit that would let held bytes fill the memory is a fault of the program."""
        self.assertEqual(Limits(first_bytes_len=65536).first_bytes_len, 65536)
        self.assertRaises(AssertionError, Limits, first_bytes_len=65537)


@rows(
    failures={
        "no way": (CarryError("us-east", "down"), Failing.NOT_CARRIED),
        "refused": (ConnectionRefusedError(), Failing.REFUSED),
        "no answer": (DialTimeout(), Failing.TIMED_OUT),
        "given up": (DeferredTimeout(), Failing.TIMED_OUT),
        "no route": (NoRouteError(), Failing.UNREACHABLE),
    },
)
class FailingTests(SynchronousTestCase):
    """Why a stream was not connected."""

    def check_failures(self, error: Exception, why: Failing) -> None:
        """Each failure to dial has the name that the client is told"""
        self.assertEqual(failing_of(error), why)


class WayTests(SynchronousTestCase):
    """From a verdict to a way out."""

    def setUp(self) -> None:
        """Have one edge, one relay, one exit that is also a reroute's target."""
        self.edge = Endpoint.parse("127.0.0.1:1")
        self.key = FlowKey(Transport.UDP, Endpoint.parse("127.0.0.2:2"), self.edge)
        self.fakes = FakeRoutes()
        self.routes = cast(Routes, self.fakes)

    def test_allow(self) -> None:
        """Allowed is direct."""
        self.assertEqual(way_of(ALLOW, self.key, self.routes), self.edge)

    def test_wrap(self) -> None:
        """Wrapped is through the exit of that name."""
        exit_ = self.fakes.carriers["nearest"] = FakeCarrier()
        self.assertIs(way_of(WRAP, self.key, self.routes), exit_)

    def test_scrubbed(self) -> None:
        """A wrap with pseudonyms is through the exit that gives them for this client, and no other;
        a reroute has none."""
        exit_ = self.fakes.carriers["nearest for 127.0.0.2:2"] = FakeCarrier()
        self.fakes.carriers["nearest"] = self.fakes.carriers["scrub:nearest"] = FakeCarrier()
        scrubbing = replace(WRAP, target="scrub:nearest")
        self.assertIs(way_of(scrubbing, self.key, self.routes), exit_)
        del self.fakes.carriers["nearest for 127.0.0.2:2"]
        self.assertRaises(CarryError, way_of, scrubbing, self.key, self.routes)

    def test_reroute(self) -> None:
        """Rerouted is to the relay; only where there is none, through the exit of that name."""
        exit_ = self.fakes.carriers["us-edge"] = FakeCarrier()
        self.assertIs(way_of(REROUTE, self.key, self.routes), exit_)
        relay = self.fakes.relays["us-edge"] = Endpoint.parse("192.0.2.9:4001")
        self.assertEqual(way_of(REROUTE, self.key, self.routes), relay)

    def test_no_way(self) -> None:
        """A verdict without a way, and a block, have none: never the direct one."""
        for verdict in (WRAP, REROUTE, BLOCK):
            self.assertRaises(CarryError, way_of, verdict, self.key, self.routes)
