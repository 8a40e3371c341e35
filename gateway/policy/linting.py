"""Lint.  Owns: what is odd about a sound policy, without data: rules that never match, sets
nobody uses, exceptions without end, what is left unsaid.
Knows: the language's sections, shading.  Never: addresses' evidence; faults (loading)."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.document import Steps
from gateway.errors import Problem
from gateway.model import Action
from gateway.policy.compiling import all_within, clients_of
from gateway.policy.lint_sets import overlaps, sets
from gateway.policy.literals import Logic
from gateway.policy.loading import Loaded
from gateway.policy.remarks import Remark, note, warning
from gateway.policy.sections import RuleSection
from gateway.policy.shading import Proven, is_impossible, may_meet, shading


def lint(loaded: Loaded) -> tuple[Remark, ...]:
    """Find what is odd about a policy, in the order of its files."""
    look = _Look(loaded)
    found = [
        *(Remark("deadline", problem) for problem in loaded.policy.warnings),
        *look.whole(),
        *look.rules(),
        *sets(loaded),
        *overlaps(loaded, look.logic),
    ]
    own = loaded.sources.document.file
    return tuple(
        sorted(set(found), key=lambda one: (one.problem.file != own, one.problem, one.kind))
    )


class _Look:
    """Looks at one policy."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.section = loaded.section
        self.logic = Logic(
            loaded.policy.jurisdictions, lambda values: clients_of(loaded.groups, values)
        )
        self.proven = [
            Proven(rule, self.logic.alternatives(section.when))
            for rule, section in zip(loaded.policy.rules, self.section.rules, strict=True)
        ]

    def problem(self, steps: Steps, sentence: str) -> Problem:
        return self.loaded.sources.document.problem(steps, sentence)

    def whole(self) -> Iterator[Remark]:
        """Look at what the policy says of itself."""
        if "default" not in self.section.model_fields_set:
            says = "no default is stated, so it is block; say `default: block`"
            yield warning("no-default", self.problem((), says))
        elif self.section.default.action is Action.ALLOW:
            says = "the default allows whatever no rule matches, also what cannot be told"
            yield warning("open-default", self.problem(("default",), says))

    def rules(self) -> Iterator[Remark]:
        """Look at each rule."""
        for at, (one, section) in enumerate(zip(self.proven, self.section.rules, strict=True)):
            steps: Steps = ("rules", at)
            if section.shadow is not None:
                staged = section.shadow.until is not None
                yield from self._shadow((*steps, "shadow"), one, staged)
            if not one.rule.owner:
                says = f'rule "{section.id}" has no owner, and the policy has none'
                is_exception = section.expires or self._excepted_from(at)
                grave = warning if is_exception else note
                yield grave("no-owner", self.problem((*steps, "id"), says))
            yield from self._reach((*steps, "id"), at)
            if section.action.action is not Action.BLOCK:
                yield from self._exception(steps, at, section)
                yield from self._names(steps, section)

    def _reach(self, steps: Steps, at: int) -> Iterator[Remark]:
        one = self.proven[at]
        if is_impossible(self.logic, one):
            says = f'rule "{one.rule.id}" can never match: its conditions exclude each other'
            yield warning("impossible", self.problem(steps, says))
            return
        by = shading(self.logic, self.proven[:at], one)
        if by:
            names = " and ".join(f'"{rule.id}" (line {rule.place.line})' for rule in by)
            which = "rule" if len(by) == 1 else "rules"
            says = f'rule "{one.rule.id}" can never match: {which} {names} before it '
            says += "matches whatever it does" if len(by) == 1 else "match whatever it does"
            yield warning("shaded", self.problem(steps, says))

    def _exception(self, steps: Steps, at: int, section: RuleSection) -> Iterator[Remark]:
        later = self._excepted_from(at)
        if later is not None and section.expires is None:
            says = f'rule "{section.id}" is an exception from rule "{later}" behind it and never '
            says += "ends; give it `expires`, or put it behind that rule"
            yield warning("endless", self.problem((*steps, "id"), says))

    def _excepted_from(self, at: int) -> str | None:
        """Give the block rule behind an allow that takes something from it: an exception."""
        one = self.proven[at]
        is_allow = one.rule.verdict.action is Action.ALLOW and one.rule.shadow_percent < 100
        if is_allow and not is_impossible(self.logic, one):
            for later in self.proven[at + 1 :]:
                if later.rule.blocks and may_meet(self.logic, one, later):
                    return later.rule.id
        return None

    def _names(self, steps: Steps, section: RuleSection) -> Iterator[Remark]:
        says = f'rule "{section.id}" depends on names, which clients choose: it lets the same '
        says += "flow through under another name"
        for when, _ in all_within(section.when):
            named = [
                name
                for name in (when.to.values if when.to else ())
                if self.section.jurisdictions[name].is_by_name_only
            ]
            if when.name is not None or named:
                also = f' (jurisdiction "{named[0]}" is told by names only)' if named else ""
                yield warning("names", self.problem((*steps, "when"), says + also))
                return

    def _shadow(self, steps: Steps, one: Proven, staged: bool) -> Iterator[Remark]:
        percent = one.rule.shadow_percent
        if percent == 0:
            says = "the rule is enforced for everybody; remove `shadow`"
            yield warning("shadow", self.problem(steps, says))
        elif percent == 100 and not staged:
            says = "the rule only watches, for everybody and without end; say `mode: shadow`"
            yield warning("shadow", self.problem(steps, says))
