"""A stream's first octets, in whatever order its segments come."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.kernel.first_octets import Added, FirstOctets, FirstOctetsLimits, Gathering
from gateway.model import FlowKey


def key(number: int = 0) -> FlowKey:
    """Give one of many flows."""
    return FlowKey.parse(f"tcp 10.1.0.2:{5000 + number} > 192.0.2.1:443")


class GatheringTests(SynchronousTestCase):
    """One flow."""

    @settings(deadline=None, max_examples=200)
    @given(
        st.binary(min_size=1, max_size=40),
        st.lists(st.tuples(st.integers(0, 39), st.integers(1, 15)), max_size=20),
        st.integers(0, (1 << 32) - 1),
    )
    def test_any_order(self, stream: bytes, cuts: list[tuple[int, int]], first: int) -> None:
        """Segments that overlap, repeat and come in any order, with sequence numbers that wrap,
        give the stream as far as it has no gap."""
        flow = Gathering(key(), first, 0.0)
        seen: set[int] = set()
        for at, length in cuts:
            payload = stream[at : at + length]
            if payload:
                before = len(flow.head)
                added = flow.add((first + at) % (1 << 32), payload)
                self.assertIs(added, Added.GROWN if len(flow.head) > before else Added.NOTHING_NEW)
                seen.update(range(at, at + len(payload)))
        whole = next((n for n in range(len(stream) + 1) if n not in seen), 0)
        self.assertEqual(flow.head, stream[:whole])

    def test_conflict(self) -> None:
        """Octets that were sent otherwise before are a conflict: in the head, behind a gap, before
        the first."""
        flow = Gathering(key(), 100, 0.0)
        flow.add(100, b"abc")
        self.assertIs(flow.add(101, b"bX"), Added.CONFLICT)
        flow = Gathering(key(), 100, 0.0)
        flow.add(105, b"later")
        self.assertIs(flow.add(105, b"other"), Added.CONFLICT)
        self.assertIs(flow.add(99, b"?"), Added.CONFLICT)
        flow = Gathering(key(), 100, 0.0)
        flow.add(102, b"cX")
        self.assertIs(flow.add(100, b"abcd"), Added.CONFLICT)


class FirstOctetsTests(SynchronousTestCase):
    """All flows."""

    def test_bounds(self) -> None:
        """One past the bound of flows, or of packets held, the oldest is given up."""
        awaited = FirstOctets(FirstOctetsLimits(flows=2, held=3))
        for number in range(3):
            awaited.begin(key(number), 1, 0.0)
        self.assertEqual([flow.key for flow in awaited.too_many()], [key(0)])
        for number, times in ((1, 2), (2, 1)):
            flow = awaited.get(key(number))
            assert flow is not None
            for _ in range(times):
                awaited.hold(flow, 7, 1, 0)
        self.assertEqual(list(awaited.too_many()), [])
        flow = awaited.get(key(2))
        assert flow is not None
        awaited.hold(flow, 7, 2, 0)
        self.assertEqual([flow.key for flow in awaited.too_many()], [key(1)])
        self.assertEqual((len(awaited), awaited.held), (1, 2))

    def test_time(self) -> None:
        """A flow is given up when its time is over, and not before."""
        awaited = FirstOctets(FirstOctetsLimits(wait_s=10.0))
        awaited.begin(key(0), 1, 0.0)
        awaited.begin(key(1), 1, 1.0)
        self.assertEqual(list(awaited.too_old(9.9)), [])
        self.assertEqual([flow.key for flow in awaited.too_old(10.0)], [key(0)])
        self.assertEqual(len(awaited), 1)

    def test_repeated_syn(self) -> None:
        """A SYN that is sent again does not lose what was gathered."""
        awaited = FirstOctets(FirstOctetsLimits())
        awaited.begin(key(), 1, 0.0)
        first = awaited.get(key())
        awaited.begin(key(), 1, 5.0)
        self.assertIs(awaited.get(key()), first)
        self.assertIs(awaited.end(key()), first)
        self.assertIsNone(awaited.end(key()))
