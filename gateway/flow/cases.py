"""Running cases.  Owns: a policy's cases → what each gave, and which rules none reached.
Knows: an epoch.  Never: printing; who calls it prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.flow.account import Account, account_of
from gateway.flow.epoch import Epoch
from gateway.policy import Case


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What one case gave."""

    case: Case
    failure: str | None
    """How the verdict differed from what was expected; None: it did not."""
    account: Account
    """The whole explanation."""

    @property
    def rule(self) -> str:
        """The rule that decided."""
        return str(self.account["verdict"]["rule"])


def run_cases(epoch: Epoch) -> Iterator[CaseResult]:
    """Run every case of the epoch's policy, in the file's order."""
    for case in epoch.policy.cases:
        facts = epoch.seen(case.key, case.payload, case.names, case.traffic)
        failure = case.failure(epoch.judge(facts))
        yield CaseResult(case, failure, account_of(epoch, facts))


def unreached(epoch: Epoch, results: list[CaseResult]) -> tuple[str, ...]:
    """Give the ids of the rules that no case reached, in order."""
    reached = {result.rule for result in results}
    return tuple(rule.id for rule in epoch.policy.rules if rule.id not in reached)
