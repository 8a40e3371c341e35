"""scripts/bench kills: what it takes for a fault."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from scripts.benchmarks import kills
from tests.support.rows import rows

_PLACE: Any = SimpleNamespace(allowed="a: packets: allowed", came=("a: packets: in",))
_GOOD = {
    "a: packets: in": 5,
    "a: packets: allowed": 3,
    "a: packets: blocked": 2,
    "decided: allow": 3,
    "decided: block": 2,
    "records: written": 5,
}


def _said(**changes: int) -> list[Any]:
    return [SimpleNamespace(counts={**_GOOD, **changes})]


@rows(
    fault={
        "it arrived and is not in the log": ([0, 2, 4], 6, _said(), {"allow": 2, "block": 2}),
        "a blocked one arrived": ([0, 2, 3], 6, _said(), {"allow": 3, "block": 2}),
        "one arrived twice": ([0, 2, 2], 6, _said(), {"allow": 3, "block": 2}),
        "more was decided than sent": ([0, 2, 4], 6, _said(), {"allow": 3, "block": 4}),
        "more was counted than sent": ([0, 2, 4], 4, _said(), {"allow": 3, "block": 1}),
        "more was allowed than arrived": ([0, 2], 6, _said(), {"allow": 3, "block": 2}),
        "a balance does not hold": (
            [0, 2, 4], 6, _said(**{"records: written": 4}), {"allow": 3, "block": 2},
        ),
    }
)  # fmt: skip
class KillsTests(SynchronousTestCase):
    """A round's comparison."""

    def found(self, arrived: list[int], sent: int, said: Any, decided: dict[str, int]) -> list[str]:
        """Compare."""
        return list(kills._compare(_PLACE, arrived, sent, cast(Any, said), Counter(decided)))

    def test_good(self) -> None:
        """A round in which all holds has no fault, also where some were decided and did not leave
        before the kill."""
        self.assertEqual(self.found([0, 2, 4], 6, _said(), {"allow": 3, "block": 2}), [])
        self.assertEqual(self.found([0, 2, 4], 6, [], {"allow": 4, "block": 2}), [])

    def check_fault(
        self, arrived: list[int], sent: int, said: Any, decided: dict[str, int]
    ) -> None:
        """It is found."""
        self.assertNotEqual(self.found(arrived, sent, said, decided), [])

    def test_last(self) -> None:
        """Of a gateway that stopped, the count is exact."""
        self.assertEqual(list(kills._at_last(_PLACE, _said(), 3)), [])
        self.assertEqual(len(list(kills._at_last(_PLACE, _said(), 4))), 1)
        self.assertEqual(len(list(kills._at_last(_PLACE, [], 0))), 1)
