"""One rule.  Owns: when it matches, given what is undetermined and what rests on names.
Knows: the doctrine "doubt blocks".  Never: the order of rules."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass

from gateway.errors import Problem
from gateway.model import Action, Endpoint, Verdict
from gateway.policy.conditions import Condition
from gateway.policy.destination import Destination
from gateway.policy.names import NameSet
from gateway.policy.subject import Subject
from gateway.policy.truth import FALSE, Truth, Truths, every, some


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, compiled."""

    condition: Condition
    verdict: Verdict
    """What it gives where it matches."""
    asks_names: bool
    """Whether its condition asks for names outright, not only by a jurisdiction's."""
    asks_asns: frozenset[int]
    """The autonomous systems that its condition asks for outright."""
    speaks_of: NameSet
    """The names that a block rule is for, by its own conditions or its jurisdictions'."""
    bars: frozenset[str]
    """The jurisdictions that a block rule is for."""
    shadow_percent: float
    """Share of the clients for which it only watches: 0 enforces, 100 shadows."""
    owner: str
    expires: datetime.date | None
    expired: bool
    place: Problem
    """Where the rule stands in its file, for whoever has something to say about it."""

    @property
    def id(self) -> str:
        """The rule's name in its policy."""
        return self.verdict.rule

    @property
    def is_over(self) -> bool:
        """Whether it matches no longer: an exception ends, a block does not."""
        return self.expired and self.verdict.action is not Action.BLOCK

    def holds(self, subject: Subject) -> Truth:
        """Say whether the condition holds.

        A name that a client sends is evidence for blocking and never for allowing.  So the
        condition is tested with names and without, and a block takes whichever of the two holds,
        every other action only what both agree on.
        """
        if self.expired and self.is_over:
            return False
        with_names = self.condition.test(subject)
        if not self._names_matter(subject):
            return with_names
        without = self.condition.test(subject.nameless())
        if self.verdict.action is Action.BLOCK:
            return some((with_names, without))
        return every((with_names, without))

    def _names_matter(self, subject: Subject) -> bool:
        return self.asks_names or bool(subject.named)

    def matches(self, truth: Truth) -> bool:
        """Say whether the rule decides: a block on true or undetermined, all others on true."""
        return truth is True or (truth is None and self.verdict.action is Action.BLOCK)

    def could_match(self, subject: Subject) -> bool:
        """Say whether the rule matches, or could once the payload is seen."""
        if self.is_over:
            return False
        return self.matches(self.holds(subject)) or self.condition.possible(subject, True)

    def must_match(self, subject: Subject) -> bool:
        """Say whether the rule matches, and does so whatever the payload is."""
        return self.matches(self.holds(subject)) and not self.condition.possible(subject, False)

    def could_hold(self, destination: Destination) -> Truths:
        """Give every truth that `holds` may be for some flow to a destination.

        With names and without, a condition has one of those that it could have; and `some` and
        `every` of two truths are one of the two.
        """
        return FALSE if self.is_over else self.condition.could(destination)

    def watches(self, client: Endpoint) -> bool:
        """Say whether the rule is in shadow for this client; the same client, the same answer."""
        if self.shadow_percent <= 0 or self.shadow_percent >= 100:
            return self.shadow_percent >= 100
        digest = hashlib.blake2b(client.address, digest_size=8, person=self.id.encode()[:16])
        return int.from_bytes(digest.digest(), "big") % 10_000 < self.shadow_percent * 100

    def why(self, subject: Subject) -> str:
        """Say what `holds` rests on."""
        words = self.condition.why(subject)
        if self.expired:
            words += f"; expired on {self.expires}"
        if self._names_matter(subject) and self.holds(subject) is not self.condition.test(subject):
            words += "; a name counts for blocking only"
        return words
