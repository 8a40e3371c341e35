"""policies/: each case of each policy is one test, as an admin would have it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.flow.cases import CaseResult, run_cases
from gateway.flow.epoch import Epoch
from gateway.review.coverage import coverage_of
from gateway.sources import load_policy
from gateway.testing import cases_of
from tests.support.bundled import DAY, ROOT, atlas


def results(name: str) -> tuple[Epoch, list[CaseResult]]:
    """Run a policy's cases over the bundled data."""
    epoch = Epoch(0, load_policy(ROOT / "policies" / name, DAY), atlas())
    return epoch, list(run_cases(epoch))


def tests_of(name: str, stands: str) -> type[SynchronousTestCase]:
    """Make a policy's cases tests, over the bundled data."""
    policy = ROOT / "policies" / name
    return cases_of(policy, today=DAY, atlas=atlas(), name=f"{__name__}.{stands}")


DefaultTests = tests_of("default.yaml", "DefaultTests")
ExitTests = tests_of("exit.yaml", "ExitTests")


class PolicyTests(SynchronousTestCase):
    """The policies that come with the gateway are complete."""

    def test_everything_is_tried(self) -> None:
        """Each rule, condition and jurisdiction has the cases that it needs."""
        for name in ("default.yaml", "exit.yaml"):
            epoch, found = results(name)
            self.assertEqual(list(coverage_of(epoch.policy, found).gaps()), [])

    def test_every_rule_has_an_owner_and_a_reason(self) -> None:
        """Somebody answers for every rule, and says why it is."""
        for name in ("default.yaml", "exit.yaml"):
            for rule in results(name)[0].policy.rules:
                self.assertTrue(rule.owner and rule.verdict.reason != rule.id, rule.id)
