"""Running cases.  Owns: flows as people give them → facts; a policy's cases → what each gave, and
which rules none reached.  Knows: an epoch.  Never: printing; who calls it prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.flow.account import Account, account_of
from gateway.flow.epoch import Epoch
from gateway.model import Facts, Verdict
from gateway.policy import Case, Given


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What one case gave."""

    case: Case
    facts: Facts
    verdict: Verdict
    epoch: Epoch

    @property
    def failure(self) -> str | None:
        """How the verdict differed from what was expected; None: it did not."""
        return self.case.failure(self.verdict)

    @property
    def account(self) -> Account:
        """The whole explanation, made when it is asked for: it takes longer than the judging."""
        return account_of(self.epoch, self.facts, self.case.given.evidence)

    @property
    def rule(self) -> str:
        """The rule that decided."""
        return self.verdict.rule


def facts_of(epoch: Epoch, given: Given) -> Facts:
    """Gather the facts of a flow as a person gives it.

    Where it is given whose the destination is, addresses that it spells (6to4) are not looked up;
    those that its payload asks for are.
    """
    content = given.content
    if given.payload is not None:
        content = epoch.content(given.key, given.payload)
    facts = epoch.facts(given.key, content, given.names)
    place = given.place
    if place is None:
        return facts
    asked = () if content is None else content.addresses
    spelled = frozenset(epoch.atlas.embedded(given.key.destination.address)).difference(asked)
    pairs = zip(facts.further, facts.further_places, strict=True)
    kept = [(address, its) for address, its in pairs if address not in spelled]
    return facts._replace(
        place=place,
        further=tuple(address for address, _ in kept),
        further_places=tuple(its for _, its in kept),
    )


def run_case(epoch: Epoch, case: Case) -> CaseResult:
    """Run one case."""
    facts = facts_of(epoch, case.given)
    return CaseResult(case, facts, epoch.judge(facts), epoch)


def run_cases(epoch: Epoch) -> Iterator[CaseResult]:
    """Run every case of the epoch's policy, in the file's order."""
    return (run_case(epoch, case) for case in epoch.policy.cases)


def unreached(epoch: Epoch, results: Iterable[CaseResult]) -> tuple[str, ...]:
    """Give the ids of the rules that no case reached, in order."""
    reached = {result.rule for result in results}
    return tuple(rule.id for rule in epoch.policy.rules if rule.id not in reached)
