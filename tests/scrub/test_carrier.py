"""gateway.scrub.carrier and days: one client's flows, through midnight."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.scrub.carrier import Scrubbed, ScrubbedFlow
from gateway.scrub.days import Days, day_key
from tests.scrub.test_rewriting import PING as PING_HEX
from tests.wire import captures

PING = bytes.fromhex(PING_HEX)
UID = captures.UID.to_bytes(4, "little")
EDGE = Endpoint.parse("203.0.113.7:4001")
ALICE, BOB = Endpoint.parse("10.1.0.2:5000"), Endpoint.parse("10.1.0.3:5000")
MONDAY = datetime.date(2026, 11, 23)
ONE_DAY = datetime.timedelta(days=1)


class FarFlow:
    """Keeps what was sent."""

    unsent = 3

    def __init__(self, on_datagram: Callable[[bytes], None], on_closed: Callable[[str], None]):
        self.answer, self.end = on_datagram, on_closed
        self.sent: list[bytes] = []
        self.is_closed = False

    def send(self, payload: bytes) -> bool:
        """UdpFlow API."""
        self.sent.append(payload)
        return True

    def close(self) -> None:
        """UdpFlow API."""
        self.is_closed = True


class FarExit:
    """An exit that is up, or not."""

    def __init__(self) -> None:
        self.flows: list[FarFlow] = []
        self.is_up = True

    def open_udp(
        self,
        destination: Endpoint,
        on_datagram: Callable[[bytes], None],
        on_closed: Callable[[str], None],
    ) -> FarFlow:
        """Carrier API."""
        if not self.is_up:
            raise CarryError("far", "the tunnel is down")
        self.flows.append(FarFlow(on_datagram, on_closed))
        return self.flows[-1]


class CarrierTests(SynchronousTestCase):
    """Nothing leaves by a scrubbed flow but pseudonyms."""

    def setUp(self) -> None:
        """Have an exit on a Monday."""
        self.today = MONDAY
        self.days = Days(bytes(range(32)), lambda: self.today)
        self.exit = FarExit()
        self.counters: Counter[str] = Counter()
        self.answers: list[bytes] = []
        self.reasons: list[str] = []

    def open(self, client: Endpoint = ALICE) -> ScrubbedFlow:
        """Open a flow of a client."""
        carrier = Scrubbed(self.exit, self.days, client, self.counters)
        return carrier.open_udp(EDGE, self.answers.append, self.reasons.append)

    def ping(self, client: Endpoint = ALICE) -> bytes:
        """Give what becomes of a client's ping on a new flow."""
        flow = self.open(client)
        self.assertTrue(flow.send(PING))
        flow.close()
        return self.exit.flows[-1].sent[0]

    def test_both_ways(self) -> None:
        """The exit gets a pseudonym, and the client gets its answer by its own name."""
        flow = self.open()
        self.assertTrue(flow.send(PING))
        (ping,) = self.exit.flows[0].sent
        self.assertNotEqual(ping[6:14], PING[6:14])
        self.exit.flows[0].answer(ping)
        self.assertEqual(self.answers, [PING])
        self.assertEqual(flow.unsent, 3)
        self.assertEqual(self.counters, {"scrubbed": 1, "scrub_answers": 1})

    def test_refused(self) -> None:
        """What has no pseudonym is not sent, and an answer that cannot be read is dropped."""
        flow = self.open()
        unknown = bytes.fromhex("08000100fe000102")
        self.assertRaises(CarryError, flow.send, unknown)
        self.exit.flows[0].answer(unknown)
        self.assertEqual((self.exit.flows[0].sent, self.answers), ([], []))
        self.assertEqual(self.counters, {"scrub_blocked": 1, "scrub_answers_dropped": 1})

    def test_elsewhere(self) -> None:
        """A user id that stands where the protocol has none is not sent, once it is known."""
        flow = self.open()
        flow.send(PING)
        hidden = PING[:-4] + UID
        self.assertRaises(CarryError, flow.send, hidden)
        heard = PING.replace(UID, b"\x78\x56\x34\x12")
        self.exit.flows[0].answer(heard)
        (answer,) = self.answers
        self.assertRaises(CarryError, flow.send, PING[:-4] + answer[10:14])
        self.assertEqual(len(self.exit.flows[0].sent), 1)

    def test_days(self) -> None:
        """The same user has the same pseudonym all day, for all clients, and another tomorrow."""
        monday = self.ping(ALICE)
        self.assertEqual(self.ping(BOB), monday)
        self.today += ONE_DAY
        self.assertNotEqual(self.ping(ALICE), monday)
        self.assertEqual(len(self.days), 0)

    def test_midnight(self) -> None:
        """A call goes on under its pseudonyms over midnight, on other flows too, and a client that
        never ends its flows has new ones after the midnight behind that."""
        call = self.open()
        call.send(PING)
        monday = self.exit.flows[0].sent[0]
        self.today += ONE_DAY
        self.assertEqual(self.ping(ALICE), monday)
        self.assertNotEqual(self.ping(BOB), monday)
        self.today += ONE_DAY
        self.assertNotEqual(self.ping(ALICE), monday)
        call.send(PING)
        self.assertEqual(self.exit.flows[0].sent[-1], monday)
        call.close()
        self.assertEqual(len(self.days), 0)

    def test_clock_set_back(self) -> None:
        """A day that comes before the client's is its own."""
        self.open().send(PING)
        self.today -= ONE_DAY
        self.assertNotEqual(self.ping(ALICE), self.exit.flows[0].sent[0])

    def test_ends(self) -> None:
        """A flow ends once: by the client, by the exit, or before it began."""
        flow = self.open()
        self.exit.flows[0].end("gone")
        flow.close()
        self.assertEqual((self.reasons, len(self.days)), (["gone"], 0))
        self.exit.is_up = False
        self.assertRaises(CarryError, self.open)
        self.assertEqual(len(self.days), 0)

    def test_streams(self) -> None:
        """A stream is refused."""
        carrier = Scrubbed(self.exit, self.days, ALICE, self.counters)
        self.assertRaises(CarryError, carrier.stream_endpoint, EDGE)

    def test_keys(self) -> None:
        """Each day has a key of its own, and each secret."""
        keys = {day_key(key, MONDAY + day * ONE_DAY) for key in (b"a", b"b") for day in range(5)}
        self.assertEqual(len(keys), 10)
