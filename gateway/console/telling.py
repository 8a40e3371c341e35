"""What the console tells besides the status.  Owns: flows, policy and data as JSON objects.
Knows: core, the observers; reads only.  Never: clients' addresses, sockets."""

from __future__ import annotations

import datetime
import os
import resource
import sys
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from gateway.audit.countries import countries
from gateway.console.flows import FlowSums, by_action
from gateway.console.recent import Recent
from gateway.core import Core
from gateway.counts import Counts
from gateway.errors import GatewayError
from gateway.evidence.keys import load_key
from gateway.evidence.pseudonyms import KEY_LEN, Pseudonyms
from gateway.policy.rule import Rule
from gateway.routing.accounts import WorkerState, added

Told = dict[str, Any]
"""A JSON object; gateway.console.schemas says what is in it."""


class Telling:
    """Tells of a process."""

    def __init__(
        self,
        reactor: Any,
        core: Core,
        recent: Recent,
        counts: Callable[[], Counts],
        workers: Callable[[], Sequence[WorkerState]],
    ) -> None:
        """Begin.

        Args:    counts: gives what all processes decided; workers: those beside this one.
        """
        self._core = core
        self._recent = recent
        self._counts = counts
        self._workers = workers
        self._sums = FlowSums(reactor, core.table)
        self._pseudonyms = _pseudonyms(core)

    def stop(self) -> None:
        """Add up no further."""
        self._sums.stop()

    def flows(self) -> Deferred[Told]:
        """Fire with the flows of now, what was decided so far, and the latest decisions."""
        return self._sums.ask().addCallback(self._flows)

    def _flows(self, now: Told) -> Told:
        counts, witness = self._counts(), self._core.witness
        states = self._workers()
        told = [one.account for one in states if one.account is not None]
        refused = added([{"": witness.refusals}, *({"": one.numbers["refusals"]} for one in told)])
        return {
            "now": now,
            "decided": {
                "countries": by_action(counts.places),
                "traffic": by_action(
                    {(what, act): n for (act, what), n in counts.decisions.items()}
                ),
            },
            "refused": dict(refused[""]),
            "not_carried": dict(counts.uncarried),
            "names_barred": counts.unresolved,
            "recent": self._recent.told(self._pseudonyms.client),
            "cost": _cost(),
            "shares": self._core.config.router.workers if self._core.config.transparent else 1,
            "flows": now["total"] + sum(one.flows for one in told),
            "silent": [one.queue for one in states if not one.is_ready],
        }

    def policy(self) -> Told:
        """Give the policy in force, with how often each rule has decided."""
        epoch = self._core.table.epoch
        policy, counts = epoch.policy, self._counts()
        hits = counts.rules(epoch)
        would = {rule: count for (_, rule), count in counts.would.items()}
        return {
            "name": policy.name,
            "revision": policy.revision,
            "mode": str(policy.mode),
            "epoch": epoch.number,
            "since": self._core.since.isoformat(timespec="seconds"),
            "default": {"action": str(policy.default.action), "hits": hits["default"]},
            "rules": [_rule(one, hits[one.id], would.get(one.id, 0)) for one in policy.rules],
            "jurisdictions": sorted(policy.jurisdictions),
        }

    def data(self) -> Told:
        """Give the sources of evidence, with their age and what their licences ask for."""
        atlas, today = self._core.table.epoch.atlas, self._core.today
        sources = [
            {
                "name": one.name,
                "axis": str(one.axis),
                "built": one.built,
                "age_days": _age_days(one.built, today),
                "stale": one.stale,
                "licence": one.licence,
                "credit": one.credit,
            }
            for one in atlas.sources
        ]
        return {"revision": atlas.revision, "sources": sources, "warnings": list(atlas.warnings)}


def tiles() -> list[Told]:
    """Give the map: each country's code, name and tile."""
    return [
        {"code": code, "name": one.name, "column": one.column, "row": one.row}
        for code, one in countries().items()
    ]


def _rule(rule: Rule, hits: int, would: int) -> Told:
    return {
        "id": rule.id,
        "action": str(rule.verdict.action),
        "target": rule.verdict.target,
        "reason": rule.verdict.reason,
        "owner": rule.owner,
        "expires": None if rule.expires is None else rule.expires.isoformat(),
        "is_over": rule.is_over,
        "shadow_percent": rule.shadow_percent,
        "line": rule.place.line,
        "hits": hits,
        "would": would,
    }


def _age_days(built: str, today: datetime.date) -> int | None:
    return (today - datetime.date.fromisoformat(built)).days if built else None


def _cost() -> Told:
    """Give what the process has used: getrusage(2)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    # Kilobytes on Linux, octets on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "most_memory": used.ru_maxrss * unit,
        "cpus": os.cpu_count() or 1,
    }


def _pseudonyms(core: Core) -> Pseudonyms:
    """Give the decision log's own, so that a client can be found there; without a log, others."""
    random = core.world.random_octets
    try:
        key = load_key(core.config.path(core.config.evidence.path), random)
    except GatewayError:
        key = random(KEY_LEN)
    return Pseudonyms(key)
