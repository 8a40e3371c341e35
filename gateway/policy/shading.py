"""Rules that can never match.  Owns: the proof that earlier rules leave nothing to a rule, or that
its own conditions exclude each other.
Knows: literals; when a rule matches.  Never: sentences; what else may be odd about a rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.policy.literals import Alternative, Logic
from gateway.policy.rule import Rule


@dataclass(frozen=True, slots=True)
class Proven:
    """A rule, with what its condition comes to."""

    rule: Rule
    alternatives: list[Alternative] | None
    """None: too many to prove anything."""

    @property
    def is_lasting(self) -> bool:
        """Whether what it decides stays decided: for every client, and on every day to come."""
        return not self.rule.shadow_percent and (self.rule.blocks or self.rule.expires is None)


def is_impossible(logic: Logic, one: Proven) -> bool:
    """Say whether no flow can match a rule, whatever stands before it."""
    return one.alternatives is not None and all(
        logic.excludes(each, sure=one.rule.blocks) for each in one.alternatives
    )


def shading(logic: Logic, before: Sequence[Proven], one: Proven) -> tuple[Rule, ...]:
    """Give the earlier rules that match whatever a rule matches; (): not proven of any.

    1. One earlier rule takes everything, if each of the rule's alternatives implies one of its own.
    2. Several do so together only if all are blocks: a flow whose addresses are judged together
       matches a rule that does not block only if that one rule holds for all of them.
    """
    if one.alternatives is None:
        return ()
    lasting = [each for each in before if each.is_lasting and each.alternatives is not None]
    for each in lasting:
        if all(_takes(logic, each, alternative, one) for alternative in one.alternatives):
            return (each.rule,)
    blocks = [each for each in lasting if each.rule.blocks]
    found: dict[str, Rule] = {}
    for alternative in one.alternatives:
        for each in blocks:
            if _takes(logic, each, alternative, one):
                found[each.rule.id] = each.rule
                break
        else:
            return ()
    return tuple(found.values())


def _takes(logic: Logic, earlier: Proven, alternative: Alternative, one: Proven) -> bool:
    """Say whether an earlier rule matches wherever an alternative of a rule lets it match."""
    # A block also matches on doubt, on which only a block matches, and what is never in doubt.
    return any(
        logic.implies(alternative, each)
        for each in earlier.alternatives or ()
        if earlier.rule.blocks or not one.rule.blocks or all(literal.is_sure for literal in each)
    )


def may_meet(logic: Logic, one: Proven, other: Proven) -> bool:
    """Say whether some flow could be for both rules, as far as can be told."""
    if one.alternatives is None or other.alternatives is None:
        return True
    return any(
        not logic.excludes(a, b, sure=False) for a in one.alternatives for b in other.alternatives
    )
