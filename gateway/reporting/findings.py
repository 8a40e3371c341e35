"""Findings of a report.  Owns: what in a log a reader must not miss, each with its condition.
Knows: the view `records`.  Never: what the law says of it."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.reporting.store import Store
from gateway.reporting.tables import Row

_DECIDED = "kind = 'decided'"
_WENT = f"{_DECIDED} and verdict.action in ('allow', 'reroute')"


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing to look for."""

    name: str
    where: str
    says: str
    """What the records say, after their number."""


KINDS = (
    Kind(
        "plaintext-went",
        f"{_WENT} and len(identifiers) > 0",
        "decisions let something pass as it was that has identifiers in plaintext",
    ),
    Kind(
        "doubt-went",
        f'{_WENT} and len(facts."to".undetermined) > 0',
        "decisions let something pass as it was to where a jurisdiction could not be excluded",
    ),
    Kind(
        "shadow",
        f"{_DECIDED} and verdict.mode = 'shadow'",
        "decisions were made in shadow mode: what they say was not enforced",
    ),
    Kind(
        "canary",
        "kind = 'canary' and coalesce(canary.outcome, '') "
        "not in ('held', 'blocked', 'shadow', 'unseen')",
        "canaries got through, or could not be judged or sent",
    ),
    Kind(
        "not-carried",
        "kind = 'not carried'",
        "verdicts could not be carried out, and nothing was sent instead",
    ),
    Kind(
        "unclean",
        "kind = 'begin' and not \"begin\".clean",
        "starts found that the process before had not stopped as it should",
    ),
    Kind(
        "lost", "kind = 'gap'", "records say that decisions before them could not be written down"
    ),
    Kind("unreadable", "kind in ('unreadable', 'other')", "lines are no record that is known"),
)


def findings(store: Store, period: str) -> list[Row]:
    """Count each kind; those that there are none of are left out."""
    rows: list[Row] = []
    for kind in KINDS:
        count = store.count(f"{kind.where} and {period}")
        if count:
            row = f"findings/{kind.name}"
            rows.append({"row": row, "records": count, "says": kind.says, "where": kind.where})
    return rows
