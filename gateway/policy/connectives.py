"""Connectives.  Owns: conditions made of conditions: not, all, any.
Knows: Kleene's strong logic.  Never: what a condition asks for."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.policy.conditions import Condition
from gateway.policy.destination import Destination
from gateway.policy.subject import Subject
from gateway.policy.truth import Truth, Truths, could_every, could_some, negation, some


@dataclass(frozen=True, slots=True)
class Not:
    """The condition does not hold."""

    condition: Condition

    def test(self, subject: Subject) -> Truth:
        return negation(self.condition.test(subject))

    def possible(self, subject: Subject, truth: bool) -> bool:
        return self.condition.possible(subject, not truth)

    def could(self, destination: Destination) -> Truths:
        return frozenset(negation(truth) for truth in self.condition.could(destination))

    def why(self, subject: Subject) -> str:
        return f"not ({self.condition.why(subject)})"


@dataclass(frozen=True, slots=True)
class All:
    """Every condition holds; () holds always."""

    conditions: tuple[Condition, ...]

    def test(self, subject: Subject) -> Truth:
        # truth.every without a generator: this is run for each rule of each new flow.
        result: Truth = True
        for condition in self.conditions:
            truth = condition.test(subject)
            if truth is False:
                return False
            if truth is None:
                result = None
        return result

    def possible(self, subject: Subject, truth: bool) -> bool:
        answers = (condition.possible(subject, truth) for condition in self.conditions)
        return all(answers) if truth else any(answers)

    def could(self, destination: Destination) -> Truths:
        return could_every(condition.could(destination) for condition in self.conditions)

    def why(self, subject: Subject) -> str:
        return "; ".join(condition.why(subject) for condition in self.conditions) or "everything"


@dataclass(frozen=True, slots=True)
class Any:
    """At least one condition holds."""

    conditions: tuple[Condition, ...]

    def test(self, subject: Subject) -> Truth:
        return some(condition.test(subject) for condition in self.conditions)

    def possible(self, subject: Subject, truth: bool) -> bool:
        answers = (condition.possible(subject, truth) for condition in self.conditions)
        return any(answers) if truth else all(answers)

    def could(self, destination: Destination) -> Truths:
        return could_some(condition.could(destination) for condition in self.conditions)

    def why(self, subject: Subject) -> str:
        return " or ".join(f"({condition.why(subject)})" for condition in self.conditions)
