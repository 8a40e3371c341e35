"""Results of testing policies.  Owns: what the cases of one policy gave, and the report on several.
Knows: cases, coverage.  Never: loading, printing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.flow.cases import CaseResult, run_cases, unreached
from gateway.flow.epoch import Epoch
from gateway.review.coverage import Coverage, coverage_of


@dataclass(frozen=True, slots=True)
class PolicyResults:
    """What the cases of one policy gave."""

    path: str
    results: tuple[CaseResult, ...]
    remarks: tuple[str, ...]
    coverage: Coverage | None
    """None: nobody asked for it."""

    @classmethod
    def of(cls, path: str, epoch: Epoch, *, with_coverage: bool) -> PolicyResults:
        """Run the cases of a policy."""
        results = tuple(run_cases(epoch))
        remarks = [f'{path}: no case reaches rule "{one}"' for one in unreached(epoch, results)]
        coverage = coverage_of(epoch.policy, results) if with_coverage else None
        return cls(path, results, tuple(remarks), coverage)

    @property
    def failures(self) -> tuple[CaseResult, ...]:
        """The cases that gave something else than was expected."""
        return tuple(one for one in self.results if one.failure)

    @property
    def is_complete(self) -> bool:
        """Whether the cases try all of the policy."""
        return self.coverage is not None and not any(self.coverage.gaps())


def report_of(tried: Sequence[PolicyResults]) -> dict[str, Any]:
    """Give the JSON object that `gateway test --json` prints."""
    failures = [failure for one in tried for failure in one.failures]
    report: dict[str, Any] = {
        "passed": sum(len(one.results) for one in tried) - len(failures),
        "failed": len(failures),
        "failures": [_failure(one) for one in failures],
        "remarks": [remark for one in tried for remark in one.remarks],
    }
    coverage = {one.path: one.coverage.as_json() for one in tried if one.coverage is not None}
    if coverage:
        report["coverage"] = coverage
    return report


def _failure(result: CaseResult) -> dict[str, Any]:
    compared = result.case.compared(result.verdict)
    return {
        "case": str(result.case.place),
        "failure": result.failure,
        "expected": {what: wanted for what, _, wanted in compared},
        **result.account,
    }
