"""gateway.console.live: following by server-sent events, bounded whoever follows."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request
from twisted.web.test.requesthelper import DummyChannel

from gateway.console.guarding import Refusal
from gateway.console.live import MOST_FOLLOWERS, Live
from tests.support.console import TO_US, ConsoleCase
from tests.support.epochs import PING


class Channel(DummyChannel):
    """A connection that can be full, and that can be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.producer: Any = None
        self.is_cut = False

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """HTTPChannel API."""
        self.producer = producer

    def forceAbortClient(self) -> None:
        """HTTPChannel API."""
        self.is_cut = True


def channel(request: Request) -> Channel:
    """Give a request's connection."""
    return cast(Channel, request.channel)


def written(request: Request) -> io.BytesIO:
    """Give what was written to it."""
    return cast(io.BytesIO, cast(Any, request.channel.transport).written)


class LiveTests(SynchronousTestCase):
    """Two parts that change when the test says so."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.parts: dict[str, Mapping[str, Any]] = {"one": {"at": 0}, "two": {"at": 0}}
        self.asked = 0
        asks = {"one": lambda: self.part("one"), "two": lambda: self.part("two")}
        self.live = Live(self.clock, asks, "run")

    def part(self, name: str) -> Deferred[Any]:
        """Give a part."""
        self.asked += 1
        return succeed(self.parts[name])

    def follow(self, last: str | None = None) -> Request:
        """Begin to follow."""
        request = Request(Channel(), False)
        request.method, request.clientproto = b"GET", b"HTTP/1.0"
        if last is not None:
            request.requestHeaders.setRawHeaders("last-event-id", [last])
        self.live.follow(request).addErrback(lambda _: None)
        return request

    def heard(self, request: Request) -> list[tuple[str, str, Any]]:
        """Give (id, event, data) of each event that came since it was asked last."""
        body = written(request).getvalue().decode().rpartition("\r\n\r\n")[2]
        written(request).seek(0)
        written(request).truncate()
        events = []
        for text in body.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in text.splitlines() if line[:1] != ":")
            if "data" in fields:
                events.append((fields["id"], fields["event"], json.loads(fields["data"])))
        return events

    def test_what_changed(self) -> None:
        """At first all there is comes, then at most once a second what has changed."""
        request = self.follow()
        first = self.heard(request)
        self.assertEqual(first, [("run-1", "one", {"at": 0}), ("run-2", "two", {"at": 0})])
        self.parts["two"] = {"at": 1}
        self.clock.advance(0.9)
        self.assertEqual(self.heard(request), [])
        self.clock.advance(0.1)
        self.assertEqual(self.heard(request), [("run-3", "two", {"at": 1})])

    def test_nobody(self) -> None:
        """While nobody follows, nothing is asked for."""
        self.clock.pump([1] * 5)
        self.assertEqual(self.asked, 0)
        request = self.follow()
        request.connectionLost(Exception("gone"))
        before = self.asked
        self.clock.pump([1] * 5)
        self.assertEqual((self.asked, self.live.followers), (before, 0))

    def test_again(self) -> None:
        """Who comes again gets what it has not seen; all of it where the id is another run's or
        nonsense."""
        self.follow()
        self.parts["one"] = {"at": 1}
        self.clock.advance(1)
        self.assertEqual([one[0] for one in self.heard(self.follow("run-2"))], ["run-3"])
        self.assertEqual(self.heard(self.follow("run-3")), [])
        for odd in ("older-2", "run-", "run--1", "run-²", "run-" + "9" * 99, "\x00", "2"):
            self.assertEqual(len(self.heard(self.follow(odd))), 2, odd)

    def test_heartbeat(self) -> None:
        """Where nothing changes a comment comes every 15 seconds, so that both sides know."""
        request = self.follow()
        self.heard(request)
        self.clock.pump([1] * 14)
        self.assertEqual(written(request).getvalue(), b"")
        self.clock.advance(1)
        self.assertEqual(written(request).getvalue(), b": still here\n\n")

    def test_slow(self) -> None:
        """Who is full gets nothing, and then the newest only; who stays full is cut."""
        slow, other = self.follow(), self.follow()
        self.heard(slow)
        channel(slow).producer.pauseProducing()
        for at in range(1, 6):
            self.parts["one"] = {"at": at}
            self.clock.advance(1)
        self.assertEqual(self.heard(slow), [])
        channel(slow).producer.resumeProducing()
        self.clock.advance(1)
        self.assertEqual([one[2] for one in self.heard(slow)], [{"at": 5}])
        channel(slow).producer.pauseProducing()
        self.clock.pump([1] * 19)
        self.assertFalse(channel(slow).is_cut)
        self.clock.pump([1] * 3)
        self.assertTrue(channel(slow).is_cut)
        self.assertFalse(channel(other).is_cut)

    def test_many(self) -> None:
        """So many may follow; the next is refused until one goes, and costs nothing."""
        requests = [self.follow() for _ in range(MOST_FOLLOWERS)]
        late = Request(Channel(), False)
        refusal = self.assertRaises(Refusal, self.live.follow, late)
        self.assertEqual(refusal.code, 503)
        self.assertEqual(late.responseHeaders.getRawHeaders("retry-after"), ["10"])
        requests[0].connectionLost(Exception("gone"))
        self.follow()
        asked = self.asked
        self.clock.advance(1)
        self.assertEqual(self.asked - asked, 2)  # once for all of them

    def test_failure(self) -> None:
        """A part that fails is a line in the log, and the next batch comes."""
        request = self.follow()
        self.heard(request)
        self.patch(self, "part", lambda name: fail(ValueError("a fault")))
        self.clock.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        del self.part
        self.parts["one"] = {"at": 1}
        self.clock.advance(1)
        self.assertEqual([one[2] for one in self.heard(request)], [{"at": 1}])


class EventsTests(ConsoleCase):
    """/api/events of a console."""

    def test_events(self) -> None:
        """Status, flows, policy and data come, each as its own path answers; then what changes,
        for longer than any other request may take."""
        transport = self.send("GET", "/api/events")
        self.reactor.advance(0)
        text = transport.value().decode()
        self.assertIn("Content-Type: text/event-stream", text)
        for name in ("status", "flows", "policy", "data"):
            self.assertIn(f"event: {name}\n", text)
        transport.clear()
        self.reactor.pump([1] * 45)
        self.core.table.judge(TO_US, PING)
        self.reactor.pump([1] * 2)
        self.assertIn('"rule":"pings"', transport.value().decode())
        self.assertTrue(transport.connected)

    def test_full(self) -> None:
        """A connection that takes nothing more is given nothing more, and is cut in half a minute;
        nothing is kept for it meanwhile."""
        transport = self.send("GET", "/api/events")
        transport.clear()
        cast(Any, transport.producer).pauseProducing()
        for number in range(15):
            client = TO_US.client._replace(port=6000 + number)
            self.core.table.judge(TO_US._replace(client=client), PING)
            self.reactor.advance(1)
        self.assertEqual(transport.value(), b"")
        self.assertTrue(transport.connected)
        self.reactor.pump([1] * 10)
        self.assertFalse(transport.connected)

    def test_crowd(self) -> None:
        """Who opens many gets some, and 503 for the rest; other requests are answered."""
        opened = [self.send("GET", "/api/events") for _ in range(MOST_FOLLOWERS + 4)]
        refused = [one for one in opened if b"503 Service" in one.value()]
        self.assertEqual(len(refused), 4)
        self.assertEqual(self.ask("GET", "/api/status").code, 200)
        opened[0].loseConnection()
        self.assertNotIn(b"503 Service", self.send("GET", "/api/events").value())
