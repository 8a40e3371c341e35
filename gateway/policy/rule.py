"""One rule.  Owns: when it matches, given what is undetermined, what rests on names, and addresses
that are judged together.  Knows: the doctrine "doubt blocks".  Never: the order of rules."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from gateway.errors import Problem
from gateway.model import Action, Endpoint, Verdict, unpack
from gateway.policy.conditions import Condition
from gateway.policy.destination import Destination
from gateway.policy.names import NameSet
from gateway.policy.subject import Subject
from gateway.policy.truth import Truth, every, some


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, compiled."""

    condition: Condition
    verdict: Verdict
    """What it gives where it matches."""
    asks_names: bool
    """Whether its condition asks for names outright, not only by a jurisdiction's."""
    asks_clients: bool
    """Whether its condition asks who the client is."""
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
    shadow_on: Callable[[datetime.date], float] | None = field(default=None, compare=False)
    """The share in shadow on another day; None: the same every day."""

    def on(self, today: datetime.date) -> Rule:
        """Give the same rule on another day."""
        return replace(
            self,
            expired=self.expires is not None and self.expires < today,
            shadow_percent=self.shadow_on(today) if self.shadow_on else self.shadow_percent,
        )

    @property
    def id(self) -> str:
        """The rule's name in its policy."""
        return self.verdict.rule

    @property
    def blocks(self) -> bool:
        """Whether it is a block."""
        return self.verdict.action is Action.BLOCK

    @property
    def is_over(self) -> bool:
        """Whether it matches no longer: an exception ends, a block does not."""
        return self.expired and not self.blocks

    def holds(self, subject: Subject) -> Truth:
        """Say whether the condition holds.

        A flow's bytes go to each of its addresses, and a name that a client sends is evidence for
        blocking and never for allowing.  So the condition is tested for each address alone, with
        names and without; a block takes whichever of all these looks holds, every other action only
        what all agree on.
        """
        if self.expired and self.is_over:
            return False
        if not (self.asks_names or subject.named or subject.further):
            return self.condition.test(subject)
        looks = self._looks(subject, *subject.further)
        truths = [self.condition.test(look) for look in looks]
        return some(truths) if self.blocks else every(truths)

    def _looks(self, *subjects: Subject) -> Iterator[Subject]:
        for one in subjects:
            yield one
            if self.asks_names or one.named:
                yield one.nameless()

    def matches(self, truth: Truth) -> bool:
        """Say whether the rule decides: a block on true or undetermined, all others on true."""
        return truth is True or (truth is None and self.blocks)

    def could_match(self, subject: Subject) -> bool:
        """Say whether the rule matches, or could once the payload is seen: by what the payload is
        and the names in it, not by addresses that it asks for."""
        if self.is_over:
            return False
        possible = (self.condition.possible(look, True) for look in _all_looks(subject))
        if self.blocks:
            return self.matches(self.holds(subject)) or any(possible)
        return all(possible)

    def must_match(self, subject: Subject) -> bool:
        """Say whether the rule matches, and does so whatever the payload is, in the same sense."""
        if self.is_over:
            return False
        certain = (
            self.matches(self.condition.test(look)) and not self.condition.possible(look, False)
            for look in _all_looks(subject)
        )
        return any(certain) if self.blocks else all(certain)

    def is_possible(self, destination: Destination) -> bool:
        """Say whether the rule matches some flow to a destination.

        A block always may: a payload can ask for an address, or carry a name, for which it holds.
        What does not block has to hold for the destination itself, names aside.
        """
        return self.blocks or (not self.is_over and True in self.condition.could(destination))

    def is_certain(self, destination: Destination) -> bool:
        """Say whether the rule matches every flow to a destination: a block that holds, or may
        hold, for the destination itself.  All else can be spoilt by a payload."""
        return self.blocks and False not in self.condition.could(destination)

    def watches(self, client: Endpoint) -> bool:
        """Say whether the rule is in shadow for this client; the same client, the same answer."""
        if self.shadow_percent <= 0 or self.shadow_percent >= 100:
            return self.shadow_percent >= 100
        digest = hashlib.blake2b(client.address, digest_size=8, person=self.id.encode()[:16])
        return int.from_bytes(digest.digest(), "big") % 10_000 < self.shadow_percent * 100

    def decisive(self, subject: Subject) -> Subject:
        """Give the first look whose answer is what `holds` says."""
        truth = self.holds(subject)
        looks = self._looks(subject, *subject.further)
        return next(look for look in looks if self.condition.test(look) is truth)

    def why(self, subject: Subject) -> str:
        """Say what `holds` rests on, to whoever gave the facts."""
        one = self._deciding(subject)
        about = f"{unpack(one.address)}: " if one.is_further else ""
        return about + self._words(subject, one)

    def doubt(self, subject: Subject) -> str:
        """Say the same for the log, which other clients' addresses are kept from."""
        one = self._deciding(subject)
        about = "an address judged with it: " if one.is_further else ""
        return about + self._words(subject, one)

    def _deciding(self, subject: Subject) -> Subject:
        """Find the first address that `holds` rests on."""
        if not subject.further or self.is_over:
            return subject
        truth, test = self.holds(subject), self.condition.test
        return next(
            one
            for one in (subject, *subject.further)
            if any(test(look) is truth for look in self._looks(one))
        )

    def _words(self, subject: Subject, one: Subject) -> str:
        words = self.condition.why(one)
        if self.expired:
            words += f"; expired on {self.expires}"
        names_matter = self.asks_names or one.named
        if names_matter and self.holds(subject) is not self.condition.test(one):
            words += "; a name counts for blocking only"
        return words


def _all_looks(subject: Subject) -> Iterator[Subject]:
    """Give a flow's looks when a payload may yet bring names."""
    for one in (subject, *subject.further):
        yield one
        yield one.nameless()
