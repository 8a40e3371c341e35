"""Cases.  Owns: one regression test of the rules, as a value.
Knows: nothing but the words.  Never: running it; that needs bytes and places."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import Problem
from gateway.model import Action, FlowKey, Traffic, Verdict


@dataclass(frozen=True, slots=True)
class Case:
    """One flow and what the policy must say of it."""

    note: str
    key: FlowKey
    payload: bytes | None
    traffic: Traffic | None
    """The class, where it is given instead of a payload."""
    names: tuple[str, ...]
    action: Action
    rule: str | None
    target: str | None
    place: Problem
    """Where the case stands; its sentence is the case's title."""

    def failure(self, verdict: Verdict) -> str | None:
        """Say how a verdict differs from what was expected; None if it does not."""
        differences = [
            f"{what} is {given}, expected {wanted}"
            for what, given, wanted in (
                ("action", verdict.action, self.action),
                ("rule", verdict.rule, self.rule),
                ("target", verdict.target, self.target),
            )
            if wanted is not None and given != wanted
        ]
        return "; ".join(differences) or None
