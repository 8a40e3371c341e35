"""gateway.leaks.observer, traces and matching: what sizes and timing tell, against chance."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.leaks import Trace, Traces, UnnamedFinder, match, observe
from gateway.leaks.matching import correlation
from gateway.model import Endpoint
from tests.leaks.clients import ALICE, BOB
from tests.leaks.test_unnamed import quic, talk, two_names

USERS = 12
EXIT = Endpoint.of("198.51.100.7", 4433)


def sides(*, padded: bool, mixed: bool = False) -> tuple[Traces, Traces]:
    """Make two wires: what users send in front of the gateway, and what leaves behind it.

    Args:    padded: every datagram behind is of one size, one each half second, whatever a user
             does; mixed: all users share one tunnel.
    """
    front, behind = Traces(by_client=True), Traces(by_client=True)
    chance = random.Random(7)
    for user in range(USERS):
        name = bytes([10, 0, 0, user])
        label = "tunnel" if mixed else name
        for second in range(60):
            for _ in range(chance.choice((0, 1, 1, 5))):
                octets = 56 + 16 * (user % 3) + chance.randrange(3) * (user + 1)
                front.note(name, second + 0.5, octets, True)
                if not padded:
                    behind.note(label, second + 0.52, octets + 45, True)
            if padded:
                for half in (0.2, 0.7):
                    behind.note(label, second + half, 1_200, True)
    return front, behind


CARRIES = {bytes([10, 0, 0, user]): bytes([10, 0, 0, user]) for user in range(USERS)}


class ObserverTests(SynchronousTestCase):
    """The test says how well an observer does, and does not flatter."""

    def test_wrapped_as_it_is(self) -> None:
        """Without padding, users are matched by their rhythm."""
        front, behind = sides(padded=False)
        report = observe(behind, [], random.Random(1).shuffle, clients=front, carries=CARRIES)
        assert report.across is not None and report.sizes is not None
        self.assertEqual(report.across.top1, 1.0)
        self.assertEqual(report.across.auc, 1.0)
        self.assertTrue(report.across.tells)
        self.assertTrue(report.across.chance < 0.2)
        self.assertIn("it matches 100% of 12 users", report.sentence)
        self.assertTrue(report.sizes.distinct > 1)

    def test_padded(self) -> None:
        """Constant size and rate leave an observer with a guess."""
        front, behind = sides(padded=True)
        report = observe(behind, [], random.Random(1).shuffle, clients=front, carries=CARRIES)
        assert report.across is not None and report.again is not None and report.sizes is not None
        self.assertFalse(report.across.tells or report.again.tells)
        self.assertAlmostEqual(report.across.auc, 0.5)
        self.assertAlmostEqual(report.across.top1, 1 / USERS)
        self.assertEqual((report.sizes.distinct, report.sizes.entropy_bits), (1, 0.0))
        self.assertIn("of one size", report.sentence)

    def test_shared_tunnel(self) -> None:
        """In a tunnel that many share a user's rhythm may show; where it is padded, it does not."""
        carries = dict.fromkeys(CARRIES, "tunnel")
        front, behind = sides(padded=False, mixed=True)
        open_ = observe(behind, [], random.Random(1).shuffle, clients=front, carries=carries)
        self.assertEqual((open_.across, len(open_.presence)), (None, USERS))
        self.assertTrue(sum(one.p_value < 0.05 for one in open_.presence) > 2)
        front, behind = sides(padded=True, mixed=True)
        shut = observe(behind, [], random.Random(1).shuffle, clients=front, carries=carries)
        self.assertEqual([one for one in shut.presence if one.p_value < 0.05], [])

    def test_identifiers(self) -> None:
        """Identifiers in plaintext are the first thing said."""
        wire = Traces(by_client=True)
        wire.note(ALICE, 0.0, 56, True)
        found = talk(two_names, (ALICE, BOB)).findings()
        report = observe(wire, found, random.Random(1).shuffle)
        self.assertEqual(len(report.identifiers), 2)
        self.assertTrue(report.sentence.startswith("Yes: identifiers are in plaintext (1 of users"))
        hidden = observe(wire, talk(quic, (ALICE, BOB)).findings(), random.Random(1).shuffle)
        self.assertTrue(hidden.sentence.startswith("No identifier was found"))
        self.assertIn("too few users", hidden.sentence)

    def test_nothing(self) -> None:
        """An empty wire proves nothing, and that is said."""
        report = observe(
            Traces(by_client=False), UnnamedFinder().findings(), random.Random(1).shuffle
        )
        self.assertIn("says nothing", report.sentence)
        self.assertIsNone(report.sizes)

    def test_same_answer(self) -> None:
        """The same seed gives the same report."""
        front, behind = sides(padded=False)
        reports = [
            observe(behind, [], random.Random(3).shuffle, clients=front, carries=CARRIES)
            for _ in range(2)
        ]
        self.assertEqual(*reports)


class MatchTests(SynchronousTestCase):
    """The numbers are those of the textbooks."""

    def test_chance(self) -> None:
        """Scores of chance are no better than chance in 19 of 20 cases or so."""
        chance = random.Random(11)
        tells = 0
        for _ in range(40):
            scores = [[chance.random() for _ in range(10)] for _ in range(10)]
            tells += match(scores, chance.shuffle).tells
        self.assertTrue(tells <= 6, tells)

    def test_auc(self) -> None:
        """AUC is the share of pairs in the right order, ties counting half."""
        found = match([[3.0, 2.0], [3.0, 1.0]], random.Random(1).shuffle)
        self.assertEqual(found.auc, (1 + 0.5 + 0 + 0) / 4)
        self.assertEqual(found.top1, 0.5)

    def test_not_square(self) -> None:
        """A matrix that is not square is refused."""
        self.assertRaises(ValueError, match, [[1.0, 2.0]], random.Random(1).shuffle)
        self.assertRaises(ValueError, match, [[1.0, 2.0], [1.0]], random.Random(1).shuffle)

    def test_correlation(self) -> None:
        """Pearson's r, and 0 where nothing changes."""
        self.assertAlmostEqual(correlation([1, 2, 3], [2, 4, 6]), 1.0)
        self.assertAlmostEqual(correlation([1, 2, 3], [3, 2, 1]), -1.0)
        self.assertEqual(correlation([1, 1, 1], [1, 2, 3]), 0.0)

    @given(
        st.integers(2, 6).flatmap(
            lambda n: st.lists(
                st.lists(st.floats(-1, 1), min_size=n, max_size=n), min_size=n, max_size=n
            )
        )
    )
    @settings(deadline=None, max_examples=15)
    def test_any_scores(self, scores: list[list[float]]) -> None:
        """Whatever the scores, shares are between 0 and 1 and lie in their intervals."""
        found = match(scores, random.Random(1).shuffle)
        for share, (low, high) in (
            (found.top1, found.top1_interval),
            (found.auc, found.auc_interval),
        ):
            self.assertTrue(0 <= low <= share + 1e-9 and share - 1e-9 <= high <= 1, found)
        self.assertTrue(0 < found.p_value <= 1)


class TraceTests(SynchronousTestCase):
    """What is kept is bounded, and what is left out is counted."""

    def test_bounds(self) -> None:
        """The 257th trace is left out, and so is the second hour."""
        traces = Traces(by_client=True)
        for number in range(300):
            traces.note(number, 0.0, 60, True)
        for second in range(4_000):
            traces.note(0, float(second), 60, True)
        self.assertEqual((len(traces.traces()), traces.left_out), (256, 44 + 400))

    def test_seen(self) -> None:
        """Beside the gateway a trace is what passes between two machines, whatever the ports."""
        traces = Traces(by_client=False)
        for port in (1, 2):
            traces.seen(BOB, EXIT._replace(port=port), 0.0, b"1234", port == 1, None)
        (trace,) = traces.traces().values()
        self.assertIsInstance(trace, Trace)
        self.assertEqual(trace.windows, {0: [1, 4, 1, 4]})
