"""What a day brings.  Owns: warnings of a sound policy: expired rules, jurisdictions whose
review is overdue, a policy that only watches.
Knows: the language's sections.  Never: the clock; the day is handed in."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from gateway.errors import Problem
from gateway.model import Action, Mode
from gateway.policy.sections import PolicySection
from gateway.policy.sources import Sources


def warnings(sources: Sources, section: PolicySection, today: datetime.date) -> tuple[Problem, ...]:
    """Give what whoever answers for a policy should know on a day, in the order of the files."""
    return tuple(
        dict.fromkeys(
            (
                *_mode(sources, section),
                *_expired(sources, section, today),
                *_overdue(sources, section, today),
            )
        )
    )


def _mode(sources: Sources, section: PolicySection) -> Iterator[Problem]:
    if section.mode is Mode.SHADOW:
        says = "shadow: nothing is enforced, everything is allowed"
        yield sources.document.problem(("mode",), says)


def _expired(sources: Sources, section: PolicySection, today: datetime.date) -> Iterator[Problem]:
    for at, rule in enumerate(section.rules):
        if rule.expires is not None and rule.expires < today:
            still = "still blocks" if rule.action.action is Action.BLOCK else "no longer matches"
            ago = _days((today - rule.expires).days)
            sentence = f'rule "{rule.id}" expired on {rule.expires}, {ago} ago, and {still}'
            yield sources.document.problem(("rules", at, "expires"), sentence)


def _overdue(sources: Sources, section: PolicySection, today: datetime.date) -> Iterator[Problem]:
    for document in sources.documents:
        value = document.value if isinstance(document.value, dict) else {}
        for name in value.get("jurisdictions", ()):
            one = section.jurisdictions[name]
            if one.review_by is None or one.review_by >= today:
                continue
            ago = _days((today - one.review_by).days)
            says = f"the review was due on {one.review_by}, {ago} ago"
            says += f"; it is {one.owner}'s" if one.owner else ""
            steps = ("jurisdictions", name, "review_by")
            is_own = steps in document.places
            yield document.problem(steps if is_own else ("review_by",), says)


def _days(count: int) -> str:
    return "a day" if count == 1 else f"{count} days"
