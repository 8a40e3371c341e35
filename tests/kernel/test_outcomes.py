"""gateway.kernel.outcomes: where queued packets were sent."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.kernel import marks
from gateway.kernel.outcomes import Outcomes
from gateway.kernel.queue_messages import DROP

TARGETS = (0, 7, 9, marks.REFUSE_PLACE, marks.REFUSE, marks.BLOCK_PLACE, marks.BLOCK)


class OutcomesTests(SynchronousTestCase):
    """Every answer is counted once."""

    def test_kinds(self) -> None:
        """Each target has its name, whatever else is in the mark; drops that Python carried are not
        counted as dropped."""
        answers = Outcomes()
        answers.add((1, at, marks.mark(200, target, 4)) for at, target in enumerate(TARGETS))
        answers.add([(1, 9, DROP), (1, 10, DROP)])
        answers.unsent(3)
        self.assertEqual(
            answers.counts(handed=1, held=5, proxy=9),
            {
                "packets: allowed": 1,
                "packets: rerouted": 1,
                "packets: to the proxy": 1,
                "packets: blocked": 4,
                "packets: handed over": 1,
                "packets: dropped": 4,
                "packets: held": 5,
            },
        )

    @settings(deadline=None, max_examples=50)
    @given(st.lists(st.one_of(st.just(DROP), st.integers(0, (1 << 32) - 1))), st.integers(1, 250))
    def test_sum(self, answers: list[int], proxy: int) -> None:
        """Together they are as many as were answered or held, for any marks."""
        counting = Outcomes()
        counting.add((1, at, answer) for at, answer in enumerate(answers))
        handed = min(1, answers.count(DROP))
        counts = counting.counts(handed=handed, held=2, proxy=proxy)
        self.assertEqual(sum(counts.values()), len(answers) + 2)
        self.assertTrue(all(count >= 0 for count in counts.values()))
