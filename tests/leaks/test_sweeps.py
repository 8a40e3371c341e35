"""gateway.leaks.sweeps: probes are told, whatever their protocol; what is none is not."""

from __future__ import annotations

import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.leaks import Scope, SweepDetector, SweepFinder, SweepLimits
from gateway.model import Endpoint
from tests.leaks.clients import ALICE, BOB
from tests.support.rows import rows

SERVERS = [Endpoint.of(f"192.0.2.{host}", 4001) for host in range(1, 60)]


def ping(number: int) -> bytes:
    """A ping with a number in it."""
    return b"\x38\0\1\0\x92\0" + b"room" + b"user" + number.to_bytes(4, "big") + bytes(38)


def dht(number: int) -> bytes:
    """A DHT's question (BEP 5)."""
    return (
        b"d1:ad2:id20:" + b"x" * 20 + b"9:info_hash20:" + bytes([number]) * 20 + b"e1:q9:get_peers"
    )


@rows(
    no_sweep={
        "two resolvers": (53, 2, lambda number: ping(number)),
        "forty resolvers": (53, 40, lambda number: ping(number)),
        "a DHT": (6881, 40, dht),
        "three addresses": (4001, 3, ping),
        "QUIC to many servers": (443, 40, lambda number: random.Random(number).randbytes(1_200)),
        "small ciphertext": (443, 40, lambda number: random.Random(number).randbytes(40)),
        "large alike": (443, 40, lambda number: bytes(600)),
        "nothing": (443, 40, lambda number: b""),
    }
)
class SweepTests(SynchronousTestCase):
    """A sweep is near-identical small datagrams to many addresses within seconds."""

    def check_no_sweep(self, port: int, many: int, payload: Callable[[int], bytes]) -> None:
        """This is none."""
        finder = SweepFinder()
        for number in range(many):
            to = SERVERS[number]._replace(port=port)
            finder.seen(ALICE, to, number / 20, payload(number), True, None)
        self.assertEqual(finder.findings(), [])

    def test_sweep(self) -> None:
        """Four addresses within five seconds are one; from the fourth on each is a ping."""
        detector = SweepDetector()
        told = [detector.is_probe(ALICE, SERVERS[n], n / 2, ping(n)) for n in range(6)]
        self.assertEqual(told, [False, False, False, True, True, True])

    def test_slow(self) -> None:
        """The same over a minute is none."""
        detector = SweepDetector()
        self.assertFalse(
            any(detector.is_probe(ALICE, SERVERS[n], n * 2.0, ping(n)) for n in range(9))
        )

    def test_ports(self) -> None:
        """Many ports of one machine are one address."""
        detector = SweepDetector()
        told = [
            detector.is_probe(ALICE, SERVERS[0]._replace(port=n), 0.0, ping(n)) for n in range(9)
        ]
        self.assertFalse(any(told))

    def test_two_clients(self) -> None:
        """Two clients' datagrams are not counted together."""
        detector = SweepDetector()
        for number in range(6):
            client = ALICE if number % 2 else BOB
            self.assertFalse(detector.is_probe(client, SERVERS[number], 0.1, ping(number)))

    def test_between_others(self) -> None:
        """Other datagrams of the same length between them do not hide a sweep."""
        detector = SweepDetector()
        told = []
        for number in range(6):
            detector.is_probe(
                ALICE, SERVERS[9], 0.1, b"\x38" + random.Random(number % 2).randbytes(55)
            )
            told.append(detector.is_probe(ALICE, SERVERS[number], 0.1, ping(number)))
        self.assertTrue(told[-1])

    def test_finding(self) -> None:
        """A finding says whose, how wide and how many."""
        finder = SweepFinder()
        for number in range(20):
            finder.seen(ALICE, SERVERS[number], 0.1, ping(number), True, None)
        (one,) = finder.findings()
        self.assertEqual((one.scope, one.clients, one.endpoint_count), (Scope.SWEEP, (ALICE,), 17))
        self.assertIn("20 addresses within 5 s", one.sentence)
        self.assertEqual(len(one.endpoints), 16)

    @given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 100), st.binary(max_size=70))))
    @settings(deadline=None, max_examples=60)
    def test_bounded(self, packets: list[tuple[int, float, bytes]]) -> None:
        """Whatever comes, and in whatever order of time: no exception, a bounded memory."""
        detector = SweepDetector(SweepLimits(max_sets=8))
        for server, time_s, payload in packets:
            detector.is_probe(ALICE, SERVERS[server], time_s, memoryview(payload))
        self.assertTrue(len(detector._sets) <= 8)
