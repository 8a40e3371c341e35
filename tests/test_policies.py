"""policies/: each case of each policy is one test."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway import policy
from gateway.flow.cases import CaseResult, run_cases, unreached
from gateway.flow.epoch import Epoch
from tests.support.bundled import DAY, ROOT, atlas
from tests.support.rows import rows


def results(name: str) -> tuple[Epoch, list[CaseResult]]:
    """Run a policy's cases over the bundled data."""
    epoch = Epoch(0, policy.load(ROOT / "policies" / name, DAY), atlas())
    return epoch, list(run_cases(epoch))


def table(name: str) -> dict[str, tuple[CaseResult]]:
    """Make one row of each case."""
    return {f"{name} {one.case.place.sentence}": (one,) for one in results(name)[1]}


@rows(case={**table("default.yaml"), **table("exit.yaml")})
class CaseTests(SynchronousTestCase):
    """The policies that come with the gateway do what their cases say."""

    def check_case(self, result: CaseResult) -> None:
        """A case holds."""
        self.assertIsNone(result.failure, f"{result.case.place}: {result.failure}")

    def test_every_rule_is_reached(self) -> None:
        """Every rule has a case that it decides."""
        for name in ("default.yaml", "exit.yaml"):
            self.assertEqual(unreached(*results(name)), ())

    def test_every_rule_has_an_owner_and_a_reason(self) -> None:
        """Somebody answers for every rule, and says why it is."""
        for name in ("default.yaml", "exit.yaml"):
            for rule in results(name)[0].policy.rules:
                self.assertTrue(rule.owner and rule.verdict.reason != rule.id, rule.id)


class FailingCaseTests(SynchronousTestCase):
    """A case that does not hold says what was expected."""

    def test_failure(self) -> None:
        """Action, rule and target are each compared."""
        (result, *_) = results("default.yaml")[1]
        wrong = policy.Case(
            **{
                **{name: getattr(result.case, name) for name in policy.Case.__slots__},
                "rule": "the-rest",
                "target": "us-east",
            }
        )
        verdict = results("default.yaml")[0].judge(
            results("default.yaml")[0].seen(wrong.key, wrong.payload)
        )
        self.assertEqual(
            wrong.failure(verdict),
            "rule is never-ping-china, expected the-rest; target is drop, expected us-east",
        )
