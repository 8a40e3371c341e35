"""Staged roll-out: a rule in shadow for a share of the clients, that falls day by day."""

from __future__ import annotations

import datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import InputError
from gateway.model import Action, Endpoint
from tests.support.facts import CHINA, TODAY, facts, policy
from tests.support.rows import rows

TEXT = """\
policy: p
jurisdictions: {china: {location: [CN]}}
rules:
- {id: new, when: {to: china}, action: block, shadow: {%s}}
- {id: rest, when: {}, action: allow}
"""
DAY = datetime.timedelta(days=1)


@rows(
    share={
        "a share without end": ("percent: 30", (30, 30, 30, 30)),
        "a share until a day": ("percent: 30, until: 2026-11-25", (30, 30, 0, 0)),
        "everybody until a day": ("until: 2026-11-25", (100, 100, 0, 0)),
        "over the next 72 hours": ("from: 2026-11-23, until: 2026-11-26", (100, 66.7, 33.3, 0)),
        "from tomorrow": ("from: 2026-11-24, until: 2026-11-26", (100, 100, 50, 0)),
        "of a part": ("percent: 50, from: 2026-11-23, until: 2026-11-25", (50, 25, 0, 0)),
    }
)
class ShareTests(SynchronousTestCase):
    """The share of the clients for which a rule only watches, on four days."""

    def check_share(self, shadow: str, expected: tuple[float, ...]) -> None:
        """It is as stated, whether the policy was loaded on the day or before."""
        loaded = policy(TEXT % shadow)
        for days, percent in enumerate(expected):
            day = TODAY + days * DAY
            self.assertAlmostEqual(loaded.on(day).rules[0].shadow_percent, percent, places=1)
            fresh = policy(TEXT % shadow, day).rules[0].shadow_percent
            self.assertAlmostEqual(fresh, percent, places=1)

    @settings(deadline=None, max_examples=60)
    @given(st.integers(0, 2**32 - 1))
    def test_never_back(self, address: int) -> None:
        """A client for which a rule was once enforced stays so until the roll-out is complete."""
        client = Endpoint(address.to_bytes(4), 1)
        loaded = policy(TEXT % "from: 2026-11-20, until: 2026-12-20")
        watched = [loaded.on(TODAY + day * DAY).rules[0].watches(client) for day in range(-4, 30)]
        self.assertEqual(watched, sorted(watched, reverse=True))
        self.assertEqual((watched[0], watched[-1]), (True, False))

    def test_would(self) -> None:
        """For a client that is watched the log says what would have been done."""
        loaded = policy(TEXT % "from: 2026-11-23, until: 2026-11-26")
        verdict = loaded.judge(facts(CHINA))
        assert verdict.would is not None
        self.assertEqual((verdict.action, verdict.would.action), (Action.ALLOW, Action.BLOCK))
        after = loaded.on(TODAY + 3 * DAY).judge(facts(CHINA))
        self.assertEqual((after.action, after.would), (Action.BLOCK, None))

    def test_nothing_said(self) -> None:
        """A roll-out that says nothing is refused."""
        self.assertIn(
            "needs percent", str(self.assertRaises(InputError, policy, TEXT.replace("%s", "")))
        )


class DeadlineTests(SynchronousTestCase):
    """What a day brings is told, on the day."""

    def test_expired(self) -> None:
        """An expired exception allows no more, an expired block blocks, and both are told."""
        text = (
            "policy: p\njurisdictions: {china: {location: [CN], owner: me, review_by: 2026-11-24}}"
            "\n"
            "rules:\n- {id: a, when: {to: china}, action: allow, expires: 2026-11-23}\n"
            "- {id: b, when: {to: china}, action: block, expires: 2026-11-22}\n"
        )
        loaded = policy(text)
        self.assertEqual(loaded.judge(facts(CHINA)).rule, "a")
        self.assertEqual(len(loaded.warnings), 1)
        later = loaded.on(TODAY + 2 * DAY)
        self.assertEqual(later.judge(facts(CHINA)).rule, "b")
        says = [(one.line, one.sentence) for one in later.warnings]
        self.assertEqual(
            says,
            [
                (4, 'rule "a" expired on 2026-11-23, 2 days ago, and no longer matches'),
                (5, 'rule "b" expired on 2026-11-22, 3 days ago, and still blocks'),
                (2, "the review was due on 2026-11-24, a day ago; it is me's"),
            ],
        )
