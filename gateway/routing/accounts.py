"""What router mode's workers count.  Owns: one process's numbers as a report; adding reports up.
Knows: the counts of decisions, a core.  Never: clients, payload; pipes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.canaries import JUDGED, Canaries
from gateway.core import Core
from gateway.counts import Counts
from gateway.routing.judging import Judging
from gateway.routing.orders import Account

Numbers = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What the leader knows of a worker."""

    queue: int
    is_ready: bool
    """False: it is not there, or has not begun; its share of new flows is dropped."""
    age_s: float | None
    """Since its last report; None: none came since it began."""
    ends: int
    """Times that it ended."""
    account: Account | None
    """Its last report since it began."""


def account_of(core: Core, counts: Counts, judging: Judging, canaries: Canaries) -> Account:
    """Give what a worker counted since it began, and how many flows it remembers."""
    witness, log = core.witness, core.witness.log
    epoch = core.table.epoch
    return Account(
        flows=len(core.table),
        epoch=epoch.number,
        rules={rule: count for rule, count in counts.rules(epoch).items() if count},
        numbers={
            **counts.told(),
            "refusals": dict(witness.refusals),
            "found": {str(found): count for found, count in witness.leaks.items()},
            "log": {} if log is None else {"written": log.written, "lost": log.lost},
            "counters": dict(judging.counters),
            "packets": dict(judging.packets),
            # A worker sends none: its own are judged only.
            "canaries": {
                outcome: count
                for (path, outcome), count in canaries.outcomes.items()
                if path == JUDGED
            },
        },
    )


def added(all_numbers: Iterable[Numbers]) -> dict[str, Counter[str]]:
    """Add numbers up, group by group and name by name."""
    total: dict[str, Counter[str]] = {}
    for numbers in all_numbers:
        for group, counted in numbers.items():
            total.setdefault(group, Counter()).update(counted)
    return total
