"""Cases.  Owns: one regression test of the rules, as a value.
Knows: nothing but the words.  Never: running it; that needs bytes and places."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import Problem
from gateway.model import Action, Verdict
from gateway.policy.given import Given
from gateway.policy.outcomes import DROP


@dataclass(frozen=True, slots=True)
class Case:
    """One flow and what the policy must say of it."""

    note: str
    given: Given
    action: Action
    rule: str | None
    target: str | None
    """None: not compared.  Of a block: "drop" or "refuse"."""
    place: Problem
    """Where the case stands; its sentence is the case's title."""

    def failure(self, verdict: Verdict) -> str | None:
        """Say how a verdict differs from what was expected; None if it does not."""
        differences = [
            f"{what} is {given}, expected {wanted}"
            for what, given, wanted in self.compared(verdict)
            if given != wanted
        ]
        return "; ".join(differences) or None

    def compared(self, verdict: Verdict) -> tuple[tuple[str, str | None, str], ...]:
        """Give what is compared: its name, what a verdict has there, what was expected."""
        target = verdict.target
        if verdict.action is Action.BLOCK and target is None:
            target = DROP
        pairs = (
            ("action", verdict.action, self.action),
            ("rule", verdict.rule, self.rule),
            ("target", target, self.target),
        )
        return tuple((what, given, wanted) for what, given, wanted in pairs if wanted is not None)
