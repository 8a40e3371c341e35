"""Counts of decisions.  Owns: how many there were, by what they were and by the rule that decided.
Knows: the flow table's Observer.  Never: clients, payload: nothing here names anybody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from gateway.flow.epoch import Epoch
from gateway.flow.flows import Nobody
from gateway.flow.guard import Found, Leak
from gateway.flow.table import Judged
from gateway.model import Axis, Endpoint, FlowKey, Verdict

# Countries are some 250, but an operator's own file may say anything.
_MAX_COUNTRIES = 400
# Asked for each decision, and an enum's member takes long.
_LOCATION = Axis.LOCATION
# Between the two words of a pair: no name has it.
_BETWEEN = "\x1f"
_PAIRS = ("decisions", "would", "places", "leaks")
OTHERS = "others"
NOWHERE = "none"
"""The country of what no source places."""


class Counts(Nobody):
    """Counts what the flow table decides, since the process began."""

    def __init__(self) -> None:
        self.decisions: Counter[tuple[str, str]] = Counter()
        """By action and traffic ("unknown" where it is not told)."""
        self.would: Counter[tuple[str, str]] = Counter()
        """By action and rule: what rules in shadow would have decided."""
        self.places: Counter[tuple[str, str]] = Counter()
        """By the destination's country and the action."""
        self.uncarried: Counter[str] = Counter()
        """By the way that could not be gone."""
        self.leaks: Counter[tuple[str, str]] = Counter()
        """By how they were found and kind of identifier ("none": a sweep)."""
        self.unresolved = 0
        """Names that were not resolved."""
        self._epoch = 0
        self._rules: Counter[str] = Counter()

    def rules(self, epoch: Epoch) -> dict[str, int]:
        """Give how often each rule of the policy in force has decided since it is in force; the
        default too."""
        hits = self._rules if epoch.number == self._epoch else Counter[str]()
        return {rule: hits[rule] for rule in (*(one.id for one in epoch.policy.rules), "default")}

    def told(self) -> dict[str, dict[str, int]]:
        """Give all but the rules' as names and numbers, for another process to add up."""
        pairs = {name: _joined(getattr(self, name)) for name in _PAIRS}
        return {**pairs, "uncarried": dict(self.uncarried), "unresolved": {"": self.unresolved}}

    def plus(
        self,
        numbers: Mapping[str, Mapping[str, int]],
        rules: Iterable[tuple[int, Mapping[str, int]]],
    ) -> Counts:
        """Give the sum with what other processes told.

        Args:    rules: of each, by the number of its epoch; those of another one do not count.
        """
        total = Counts()
        for name in _PAIRS:
            summed: Counter[tuple[str, str]] = getattr(total, name)
            summed.update(getattr(self, name))
            summed.update(_parted(numbers.get(name, {})))
        total.uncarried = self.uncarried + Counter(numbers.get("uncarried", {}))
        total.unresolved = self.unresolved + sum(numbers.get("unresolved", {}).values())
        total._epoch, total._rules = self._epoch, self._rules.copy()
        for epoch, hits in rules:
            if epoch == self._epoch:
                total._rules.update(hits)
        return total

    def decided(self, epoch: Epoch, judged: Judged, payload: bytes | None) -> bool:
        """Observer API."""
        facts, verdict = judged.facts, judged.verdict
        content, action = facts.content, verdict.action
        self.decisions[action, (content.traffic if content else None) or "unknown"] += 1
        if epoch.number != self._epoch:
            self._epoch = epoch.number
            self._rules.clear()
        self._rules[verdict.rule] += 1
        countries = facts.place.values.get(_LOCATION)
        where = (countries[0] if countries else NOWHERE), action
        if where not in self.places and len(self.places) >= _MAX_COUNTRIES:
            where = OTHERS, action
        self.places[where] += 1
        if verdict.would is not None:
            self.would[verdict.would.action, verdict.would.rule] += 1
        return True

    def refused(self, key: FlowKey, reason: str) -> None:
        """Observer API: the core counts these."""

    def not_carried(self, key: FlowKey, verdict: Verdict, reason: str) -> None:
        """Observer API."""
        self.uncarried[verdict.target or verdict.action.value] += 1

    def barred(self, client: Endpoint, name: str, verdict: Verdict) -> None:
        """Observer API."""
        self.unresolved += 1

    def leaked(self, key: FlowKey, leak: Leak) -> None:
        """Observer API."""
        if leak.found is Found.SWEEP:
            self.leaks[leak.found.value, "none"] += 1
        for one in leak.identifiers:
            self.leaks[leak.found.value, one.kind.value] += 1


def _joined(counts: Mapping[tuple[str, str], int]) -> dict[str, int]:
    return {_BETWEEN.join(pair): count for pair, count in counts.items()}


def _parted(counts: Mapping[str, int]) -> dict[tuple[str, str], int]:
    pairs = ((name.partition(_BETWEEN), count) for name, count in counts.items())
    return {(one, other): count for (one, _, other), count in pairs}
