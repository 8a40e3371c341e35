"""gateway.evidence.memo: answers are remembered, and not too many."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.evidence.memo import Memo


class MemoTests(SynchronousTestCase):
    """Each question is asked once while its answer is remembered."""

    def setUp(self) -> None:
        self.asked: list[int] = []

    def ask(self, key: int) -> int:
        self.asked.append(key)
        return key * 10

    def test_once(self) -> None:
        """What is remembered is not asked again."""
        memo = Memo(self.ask, 3)
        self.assertEqual([memo[key] for key in (1, 2, 1, 2)], [10, 20, 10, 20])
        self.assertEqual(self.asked, [1, 2])

    def test_bound(self) -> None:
        """At its bound it forgets, and one answer past it is still right."""
        memo = Memo(self.ask, 3)
        self.assertEqual([memo[key] for key in (1, 2, 3)], [10, 20, 30])
        self.assertEqual(len(memo), 3)
        self.assertEqual([memo[4], len(memo)], [40, 1])
        self.assertEqual([memo[1], self.asked], [10, [1, 2, 3, 4, 1]])
