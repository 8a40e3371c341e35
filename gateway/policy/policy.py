"""The policy.  Owns: facts → verdict, by the first rule that matches.
Knows: three-valued conditions.  Never: files, addresses' evidence, payloads."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.errors import Problem
from gateway.model import Action, Endpoint, Facts, Jurisdictions, Mode, Place, Verdict
from gateway.policy.case import Case
from gateway.policy.jurisdiction import Jurisdiction
from gateway.policy.parts import Part, parts_of
from gateway.policy.rule import Rule
from gateway.policy.subject import Subject, subject_of
from gateway.policy.truth import Truth, some

# Places are shared by all addresses with the same evidence; the bundled data has some 200,000.
_MAX_REMEMBERED = 262_144

_CARRIED = (Action.REROUTE, Action.WRAP)


@dataclass(frozen=True, slots=True)
class Considered:
    """One rule that was looked at for a flow."""

    rule: str
    result: Truth
    why: str
    parts: tuple[Part, ...] = ()
    """The conditions that the result rests on."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy, compiled: a frozen value, but for what it remembers of places."""

    name: str
    revision: str
    """A short hash of what the file says, and what it includes."""
    rules: tuple[Rule, ...]
    default: Verdict
    default_place: Problem
    mode: Mode
    jurisdictions: Mapping[str, Jurisdiction]
    cases: tuple[Case, ...]
    warnings: tuple[Problem, ...]
    files: tuple[Path, ...] = ()
    """Every file that it was read from: itself, cases, what it includes, lists of networks,
    payloads.  A change of any makes another policy."""
    warnings_on: Callable[[datetime.date], tuple[Problem, ...]] | None = field(
        default=None, compare=False
    )
    """The warnings on another day; None: the same every day."""
    _by_place: dict[Place, dict[str, Truth]] = field(default_factory=dict, compare=False)
    _listing: tuple[Jurisdiction, ...] = field(init=False, compare=False)
    """The jurisdictions that look at an address, not only at its place."""

    def __post_init__(self) -> None:
        """Find what every decision asks for."""
        listing = (one for one in self.jurisdictions.values() if one.networks or one.exceptions)
        object.__setattr__(self, "_listing", tuple(listing))

    def at_epoch(self, epoch: int) -> Policy:
        """Give the same policy, whose verdicts carry an epoch."""
        rules = (replace(rule, verdict=replace(rule.verdict, epoch=epoch)) for rule in self.rules)
        return replace(
            self, rules=tuple(rules), default=replace(self.default, epoch=epoch), _by_place={}
        )

    def on(self, today: datetime.date) -> Policy:
        """Give the same policy on another day: exceptions that have expired match no longer, and a
        staged roll-out goes on."""
        rules = tuple(rule.on(today) for rule in self.rules)
        warnings = self.warnings if self.warnings_on is None else self.warnings_on(today)
        return replace(self, rules=rules, warnings=warnings, _by_place={})

    @property
    def asks_clients(self) -> bool:
        """Whether two clients may get different verdicts on the same: else, all flows do that have
        like content, destination and transport."""
        return any(rule.asks_clients or 0 < rule.shadow_percent < 100 for rule in self.rules)

    def targets(self) -> Iterable[tuple[Verdict, Problem]]:
        """Give the verdict and the place of each reroute and wrap, the default too."""
        for rule in self.rules:
            if rule.verdict.action in _CARRIED:
                yield rule.verdict, rule.place
        if self.default.action in _CARRIED:
            yield self.default, self.default_place

    def judge(self, facts: Facts) -> Verdict:
        """Give the verdict on a flow."""
        return self._judge(self.subject(facts), None)

    def explain(self, facts: Facts) -> tuple[Verdict, tuple[Considered, ...]]:
        """Give the verdict on a flow, and each rule that was considered for it."""
        considered: list[Considered] = []
        verdict = self._judge(self.subject(facts), considered)
        return verdict, tuple(considered)

    def bars(self, client: Endpoint, names: tuple[str, ...]) -> Verdict | None:
        """Give the verdict of the first block rule that speaks of one of these names, by its
        conditions or by a jurisdiction's names; None: no such rule is enforced for the client."""
        for rule in self.rules:
            if rule.speaks_of.matching(names) and not rule.watches(client):
                return None if self.mode is Mode.SHADOW else rule.verdict
        return None

    def jurisdictions_of(self, facts: Facts) -> Jurisdictions:
        """Give the named sets that the destination, or an address judged with it, belongs to, or
        may."""
        subject = self.subject(facts)
        looks = (subject, *subject.further)
        members = {name: some(one.members[name] for one in looks) for name in subject.members}
        return Jurisdictions(
            members=frozenset(name for name, truth in members.items() if truth is True),
            undetermined=frozenset(name for name, truth in members.items() if truth is None),
        )

    def _judge(self, subject: Subject, considered: list[Considered] | None) -> Verdict:
        client = subject.facts.key.client
        verdict, would = self.default, None
        for rule in self.rules:
            truth = rule.holds(subject)
            if considered is not None:
                parts = parts_of(rule, subject)
                considered.append(Considered(rule.id, truth, rule.why(subject), parts))
            if not rule.matches(truth):
                continue
            if rule.shadow_percent and rule.watches(client):
                would = would or rule.verdict
                continue
            verdict = rule.verdict if truth else _doubted(rule, subject)
            break
        if would is not None:
            verdict = replace(verdict, would=would)
        if subject.facts.content is None and not self._settled(subject, verdict):
            verdict = replace(verdict, settled=False)
        if self.mode is Mode.SHADOW:
            return _shadowed(verdict)
        return verdict

    def _settled(self, subject: Subject, verdict: Verdict) -> bool:
        """Say whether no payload could lead to another action than the verdict's."""
        outcome = _outcome(verdict)
        for rule in self.rules:
            if not rule.could_match(subject):
                continue
            if rule.shadow_percent and rule.watches(subject.facts.key.client):
                if not rule.must_match(subject):
                    return False  # what it would have done is not known before the payload
            else:
                if _outcome(rule.verdict) != outcome:
                    return False
                if rule.must_match(subject):
                    return True
        return _outcome(self.default) == outcome

    def subject(self, facts: Facts) -> Subject:
        """Give what the rules' conditions are asked of."""
        subject = self._alone(facts, facts.key.destination.address, facts.place)
        if facts.further:
            pairs = zip(facts.further, facts.further_places, strict=True)
            subject.further = tuple([self._alone(facts, *pair) for pair in pairs])
        return subject

    def _alone(self, facts: Facts, address: bytes, place: Place) -> Subject:
        """Make the subject of one address."""
        truths = self._by_place.get(place)
        if truths is None:
            if len(self._by_place) >= _MAX_REMEMBERED:
                self._by_place.clear()
            truths = {
                name: one.holds_by_evidence(place) for name, one in self.jurisdictions.items()
            }
            self._by_place[place] = truths
        if self._listing:
            truths = truths | {one.name: one.holds(address, place) for one in self._listing}
        return subject_of(facts, address, place, truths, self.jurisdictions)


def _outcome(verdict: Verdict) -> tuple[Action, str | None]:
    """Give what is done; a block is one, whether or not it is told."""
    return verdict.action, verdict.target if verdict.action in _CARRIED else None


def _doubted(rule: Rule, subject: Subject) -> Verdict:
    """A block that rests on doubt says so in its reason."""
    reason = f"{rule.verdict.reason} (undetermined: {rule.doubt(subject)})"
    return replace(rule.verdict, reason=reason)


def _shadowed(verdict: Verdict) -> Verdict:
    """In a shadow policy everything is allowed, and what would have been is written down."""
    return Verdict(
        action=Action.ALLOW,
        rule=verdict.rule,
        reason="the policy is in shadow mode",
        mode=Mode.SHADOW,
        epoch=verdict.epoch,
        would=verdict,
        settled=verdict.settled,
    )
