"""Flows, added up.  Owns: the flow table → how many there are by country, by jurisdiction and by
traffic, each by verdict; in slices, so that packets do not wait.
Knows: the flow table; Twisted's cooperator.  Never: naming a client or a destination."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Cooperator

from gateway.counts import NOWHERE
from gateway.flow.epoch import Epoch
from gateway.flow.table import Flow, FlowTable
from gateway.model import Axis, Facts, Place

# Of flows at a time: a slice takes some milliseconds where every flow's place is new.
_SLICE = 250
# Of sets of jurisdictions at hand.
_MAX_REMEMBERED = 16_384
# However many ask, the table is walked through once in this time, and for a tenth of all time.
_FRESH_S = 0.9
_REST = 10
NO_JURISDICTION = "none"
# An operator's own file may name any country; so many are told.
_MOST = 400

_Whose = Place | tuple[Place, bytes, tuple[str, ...], tuple[bytes, ...]]
"""All that a flow's jurisdictions rest on."""


class FlowSums:
    """Adds up a process's flows when it is asked for them."""

    def __init__(self, reactor: Any, table: FlowTable) -> None:
        """Begin with nothing; `reactor` gives the time and turns (IReactorTime)."""
        self._table = table
        self._seconds: Callable[[], float] = reactor.seconds
        self._cooperator = Cooperator(scheduler=lambda turn: reactor.callLater(0, turn))
        self._sums = _Sums()
        self._until_s: float | None = None
        """So long the sums are fresh."""
        self._waiting: list[Deferred[dict[str, Any]]] | None = None
        self._members: dict[_Whose, tuple[str, ...]] = {}
        self._enter(table.epoch)

    def stop(self) -> None:
        """Walk no further; who waits is not answered."""
        self._waiting = None
        self._cooperator.stop()

    def ask(self) -> Deferred[dict[str, Any]]:
        """Fire with the sums as JSON: a second old at most, or ten times as long as they take."""
        if self._until_s is not None and self._seconds() < self._until_s:
            return succeed(self._sums.told())
        waits: Deferred[dict[str, Any]] = Deferred()
        if self._waiting is not None:
            self._waiting.append(waits)
            return waits
        self._waiting = [waits]
        self._cooperator.coiterate(self._walk()).addErrback(self._failed)
        return waits

    def _walk(self) -> Iterator[None]:
        if self._epoch is not self._table.epoch:
            self._enter(self._table.epoch)
        sums, flows, began_s = _Sums(), self._table.flows(), self._seconds()
        while part := tuple(islice(flows, _SLICE)):
            for flow in part:
                self._add(sums, flow)
            yield
        now_s = self._seconds()
        self._sums, self._until_s = sums, now_s + max(_FRESH_S, _REST * (now_s - began_s))
        waiting, self._waiting = self._waiting or [], None
        for each in waiting:
            each.callback(sums.told())

    def _enter(self, epoch: Epoch) -> None:
        self._epoch = epoch
        self._members.clear()
        jurisdictions = epoch.policy.jurisdictions.values()
        self._place_decides = not any(one.networks or one.exceptions for one in jurisdictions)

    def _failed(self, failure: Any) -> None:
        waiting, self._waiting = self._waiting or [], None
        for each in waiting:
            each.errback(failure)

    def _add(self, sums: _Sums, flow: Flow) -> None:
        facts, verdict = flow.first.facts, flow.first.verdict
        action = verdict.action.value
        countries = facts.place.values.get(Axis.LOCATION)
        content = facts.content
        traffic = None if content is None else content.traffic
        sums.total += 1
        sums.countries[countries[0] if countries else NOWHERE, action] += 1
        sums.traffic[traffic.value if traffic is not None else "unknown", action] += 1
        key: _Whose = facts.place
        if facts.names or facts.further or not self._place_decides:
            key = facts.place, facts.key.destination.address, facts.names, facts.further
        for name in self._members.get(key) or self._remember(key, facts):
            sums.jurisdictions[name, action] += 1

    def _remember(self, key: _Whose, facts: Facts) -> tuple[str, ...]:
        if len(self._members) >= _MAX_REMEMBERED:
            self._members.clear()
        sets = self._epoch.policy.jurisdictions_of(facts)
        names = *sorted(sets.members), *(f"{one}?" for one in sorted(sets.undetermined))
        self._members[key] = names or (NO_JURISDICTION,)
        return self._members[key]


class _Sums:
    """How many flows there are."""

    def __init__(self) -> None:
        self.total = 0
        self.countries: Counter[tuple[str, str]] = Counter()
        self.jurisdictions: Counter[tuple[str, str]] = Counter()
        self.traffic: Counter[tuple[str, str]] = Counter()

    def told(self) -> dict[str, Any]:
        """Give them as JSON."""
        return {
            "total": self.total,
            "countries": by_action(self.countries),
            "jurisdictions": by_action(self.jurisdictions),
            "traffic": by_action(self.traffic),
        }


def by_action(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Turn counts of (what, action) into {what: {action: count}}, the largest first."""
    told: dict[str, dict[str, int]] = {}
    for (what, action), count in counts.items():
        told.setdefault(what, {})[action] = count
    most = sorted(told.items(), key=lambda one: (-sum(one[1].values()), one[0]))[:_MOST]
    return dict(most)
