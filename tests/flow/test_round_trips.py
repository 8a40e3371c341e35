"""gateway.flow.round_trips: a client's own pings tell how long they took."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.flow.round_trips import RoundTrips
from tests.support.rows import rows
from tests.wire import captures

PING, PONG = captures.first("PPing1_v7"), captures.first("PPong1_v7")
TRANSACTION = bytes(range(12))
ASK = bytes.fromhex("000100002112a442") + TRANSACTION
TOLD = bytes.fromhex("010100002112a442") + TRANSACTION


@rows(
    answered={"the vendor's": (PING, PONG), "STUN's": (ASK, TOLD)},
    other={
        "another number": (PING, PONG[:14] + b"\xff\xff" + PONG[16:]),
        "another room": (PING, PONG[:6] + b"\xff\xff" + PONG[8:]),
        "another transaction": (ASK, TOLD[:-1] + b"\xff"),
        "media": (PING, b"\x80\x00" + bytes(30)),
        "an echo": (PING, PING),
        "a short one": (PING, PONG[:5]),
        "nothing": (PING, b""),
    },
)
class RoundTripTests(SynchronousTestCase):
    """An answer belongs to one ping."""

    def check_answered(self, ping: bytes, pong: bytes) -> None:
        """A ping's answer tells how long it took, once"""
        trips = RoundTrips()
        trips.sent(ping, 1.0)
        self.assertEqual(trips.unanswered, 1)
        self.assertEqual((trips.got(pong, 1.25), trips.got(pong, 1.5)), (0.25, None))

    def check_other(self, ping: bytes, answer: bytes) -> None:
        """What does not answer a ping tells nothing"""
        trips = RoundTrips()
        trips.sent(ping, 1.0)
        self.assertIsNone(trips.got(answer, 1.25))

    def test_real(self) -> None:
        """Every answer of the captured call belongs to a ping that was sent less than 1.2 s before,
        and all pings but those without an answer are matched."""
        trips, took = RoundTrips(), []
        for packet in captures.packets(captures.live(captures.SPEAKER)):
            trips.sent(packet.payload, packet.time_s)
            time_s = trips.got(packet.payload, packet.time_s)
            if time_s is not None:
                took.append(time_s)
        self.assertEqual(len(took), 13)
        self.assertTrue(0 < min(took) <= max(took) < 1.2, took)

    def test_bounded(self) -> None:
        """Pings that nobody answers are forgotten, the oldest first."""
        trips = RoundTrips()
        for number in range(1_000):
            trips.sent(PING[:14] + number.to_bytes(2, "little") + PING[16:], 1.0)
        self.assertEqual(trips.unanswered, 16)
        self.assertIsNone(trips.got(PONG[:14] + b"\0\0" + PONG[16:], 2.0))
        last = (999).to_bytes(2, "little")
        self.assertEqual(trips.got(PONG[:14] + last + PONG[16:], 2.0), 1.0)

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.tuples(st.booleans(), st.binary(max_size=40)), max_size=40))
    def test_noise(self, packets: list[tuple[bool, bytes]]) -> None:
        """Whatever comes and goes, nothing is raised."""
        trips = RoundTrips()
        for is_sent, payload in packets:
            if is_sent:
                trips.sent(payload, 1.0)
            else:
                trips.got(payload, 2.0)
        self.assertLessEqual(trips.unanswered, 16)
