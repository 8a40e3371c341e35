"""The status of a running process.  Owns: one account of it all, and what is wrong.
Knows: core, the ways out, router mode; reads only.  Never: printing, sockets."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Protocol

from gateway.canaries import ALARMS, JUDGED, Canaries
from gateway.core import Core
from gateway.flow.guard import Found
from gateway.routing.accounts import WorkerState
from gateway.routing.mode import RouterMode
from gateway.tunnel.ledger import Account, Route

# Endpoints in the ledger that is shown; a call has some ten.
_MAX_ACCOUNTS = 100

# Of a worker that tells every two seconds, and may load a policy meanwhile.
_SILENT_S = 15.0

_ALARM = datetime.timedelta(hours=1)
"""So long an identifier in plaintext is a trouble."""

Status = dict[str, Any]
"""JSON: health ("ok" or "trouble"), troubles (a sentence each), version, pid, started, policy,
last_load, data, listeners, exits, nearest (null: nothing to choose), ledger, scrub, flows,
refusals, leaks, log, canaries, router, workers (those beside this process;
the numbers are sums with theirs); times are ISO 8601, UTC."""


class Exit(Protocol):
    """A way out that is up or down."""

    @property
    def up(self) -> bool:
        """Whether a flow can be opened."""

    @property
    def sentence(self) -> str:
        """What was last said about it."""

    @property
    def rtt_s(self) -> float | None:
        """The round-trip time to it; None: not measured."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What happened since the start, by name."""


class Nearest(Protocol):
    """The choice among exits."""

    @property
    def chosen(self) -> str | None:
        """The exit that new flows take; None: none is up."""

    @property
    def changes(self) -> int:
        """How often it became another, or none."""

    @property
    def moved(self) -> int:
        """UDP flows that were taken off a silent exit."""


@dataclass(frozen=True, slots=True)
class Door:
    """A listener."""

    kind: str
    at: str
    """Where it listens: an address, or an interface."""
    counters: Mapping[str, int]
    """What it carried and dropped, by kind."""
    packets: Mapping[str, int] = field(default_factory=dict)
    """Where packets, streams and octets went: what came in, and its parts (docs/evidence.md)."""


@dataclass(frozen=True, slots=True)
class Process:
    """What is asked."""

    core: Core
    listeners: tuple[Door, ...]
    exits: Mapping[str, Exit]
    router: RouterMode | None
    accounts: Callable[[int], Iterable[Account]] = lambda most: ()
    """Gives what is known of the ways to that many endpoints."""
    scrub: Mapping[str, int] = field(default_factory=dict)
    """Datagrams whose identifiers are replaced by pseudonyms, by what became of them."""
    canaries: Canaries | None = None
    """None: it has none."""
    nearest: Nearest | None = None
    """None: nothing is chosen here."""


def status(process: Process, started: datetime.datetime) -> Status:
    """Give the status of a process."""
    core = process.core
    said: Status = {
        "version": version("rtc-gateway"),
        "pid": os.getpid(),
        "started": _time(started),
        "policy": _policy(core),
        "last_load": _last_load(core),
        "data": _data(core),
        "listeners": [_door(one) for one in process.listeners],
        "exits": [_exit(name, one) for name, one in process.exits.items()],
        "nearest": None if process.nearest is None else _nearest(process.nearest),
        "ledger": [_account(one) for one in process.accounts(_MAX_ACCOUNTS)],
        "scrub": dict(process.scrub),
        "flows": len(core.table),
        "refusals": dict(core.witness.refusals),
        "leaks": _leaks(core),
        "log": _log(core),
        "canaries": None if process.canaries is None else _canaries(process.canaries),
        "router": None if process.router is None else _router(process.router),
    }
    said["workers"] = [] if process.router is None else _add_workers(said, process.router)
    troubles = list(_troubles(said))
    return {"health": "trouble" if troubles else "ok", "troubles": troubles, **said}


def sentence(said: Status) -> str:
    """Say how a process does, in a line."""
    troubles = said["troubles"]
    more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
    policy = f"policy {said['policy']['name']}, epoch {said['policy']['epoch']}"
    return f"{said['health']}: " + (f"{troubles[0]}{more}; " if troubles else "") + policy


def _time(at: datetime.datetime) -> str:
    return at.isoformat(timespec="seconds")


def _policy(core: Core) -> Status:
    policy = core.table.epoch.policy
    return {
        "name": policy.name,
        "revision": policy.revision,
        "mode": str(policy.mode),
        "epoch": core.table.epoch.number,
        "since": _time(core.since),
        "rules": len(policy.rules),
        "files": [str(file) for file in policy.files],
        "stands_in": core.epochs.is_standing_in,
        "warnings": [str(one) for one in policy.warnings],
    }


def _last_load(core: Core) -> Status:
    last = core.epochs.last
    return {"at": _time(last.at), "accepted": not last.faults, "faults": list(last.faults)}


def _data(core: Core) -> Status:
    atlas = core.table.epoch.atlas
    sources = [
        {"name": one.name, "axis": str(one.axis), "built": one.built, "stale": one.stale}
        for one in atlas.sources
    ]
    return {"revision": atlas.revision, "sources": sources, "warnings": list(atlas.warnings)}


def _door(one: Door) -> Status:
    return {
        "kind": one.kind,
        "at": one.at,
        "counters": dict(one.counters),
        "packets": dict(one.packets),
    }


def _exit(name: str, one: Exit) -> Status:
    return {
        "name": name,
        "up": one.up,
        "rtt_s": one.rtt_s,
        "says": one.sentence,
        "counters": dict(one.counters),
    }


def _account(one: Account) -> Status:
    return {
        "endpoint": str(one.endpoint),
        "fastest": one.fastest and one.fastest.exit,
        "fastest_allowed": one.fastest_allowed and one.fastest_allowed.exit,
        "cost_ms": None if one.cost_s is None else _ms(one.cost_s),
        "routes": [_route(route) for route in one.routes],
    }


def _route(one: Route) -> Status:
    return {
        "route": one.exit,
        "allowed": one.is_allowed,
        "rtt_ms": _ms(one.total_s),
        "behind_ms": _ms(one.far.smoothed_s),
        "behind_least_ms": _ms(one.far.least_s),
        "pings": one.far.samples,
    }


def _ms(time_s: float) -> float:
    return round(time_s * 1000, 3)


def _nearest(one: Nearest) -> Status:
    return {"exit": one.chosen, "changes": one.changes, "moved": one.moved}


def _log(core: Core) -> Status:
    log, required = core.witness.log, core.config.evidence.required
    if log is None:
        return {"path": None, "required": required, "written": 0, "lost": 0}
    return {
        "path": str(log.path),
        "required": required,
        "written": log.written,
        "lost": log.lost,
    }


def _canaries(canaries: Canaries) -> Status:
    return {
        "every_s": canaries.every_s,
        "outcomes": _by_path(canaries.outcomes),
        "sent": [path.name for path in canaries.paths],
        "not_sent": canaries.not_sent,
        "last": [
            {
                "flow": str(one.asked.key),
                "note": one.note,
                "expected": str(one.expected),
                "path": path,
                "outcome": outcome,
            }
            for one, outcome, path in canaries.last
        ],
    }


def _by_path(outcomes: Mapping[tuple[str, str], int]) -> Status:
    counts: dict[str, dict[str, int]] = {}
    for (path, outcome), count in outcomes.items():
        counts.setdefault(path, {})[outcome] = count
    return counts


def _leaks(core: Core) -> Status:
    """Count alarms since the start: flows that showed an identifier by value, and sweeps."""
    last = core.witness.last_leak
    counts = {str(found): core.witness.leaks[found] for found in Found}
    is_fresh = last is not None and core.world.now() - last < _ALARM
    return {**counts, "last": last and _time(last), "is_fresh": is_fresh}


def _router(router: RouterMode) -> Status:
    return {
        "trouble": router.trouble,
        "counters": dict(router.counters),
        "packets": dict(router.carried),
    }


def _add_workers(said: Status, router: RouterMode) -> list[Status]:
    """Tell of each worker, and add to the numbers what they counted."""
    numbers, states = router.of_workers, router.workers
    for group, into in (
        ("refusals", said["refusals"]),
        ("found", said["leaks"]),
        ("log", said["log"]),
        ("counters", said["router"]["counters"]),
        ("packets", said["router"]["packets"]),
        ("canaries", _judged(said["canaries"])),
    ):
        for name, count in numbers.get(group, {}).items():
            into[name] = into.get(name, 0) + count
    said["flows"] += sum(one.account.flows for one in states if one.account is not None)
    return [_worker(one) for one in states]


def _judged(canaries: Status | None) -> Status:
    """Give the counts of those that were only judged, which is what workers do."""
    counts: Status = {} if canaries is None else canaries["outcomes"].setdefault(JUDGED, {})
    return counts


def _worker(one: WorkerState) -> Status:
    account = one.account
    packets = {} if account is None else account.numbers.get("packets", {})
    return {
        "queue": one.queue,
        "up": one.is_ready,
        "age_s": None if one.age_s is None else round(one.age_s, 1),
        "ends": one.ends,
        "flows": None if account is None else account.flows,
        "epoch": None if account is None else account.epoch,
        "packets": packets.get("queue: packets: in"),
    }


def _troubles(said: Status) -> Iterator[str]:
    """Say what a person must look after."""
    if said["policy"]["stands_in"]:
        yield "the policy was refused at the start: the last good one stands in for it"
    elif not said["last_load"]["accepted"]:
        yield f"the last load was refused, epoch {said['policy']['epoch']} stays"
    yield from said["data"]["warnings"]
    if said["leaks"]["is_fresh"]:
        flows = said["leaks"]["given"] + said["leaks"]["learned"]
        yield f"identifiers in plaintext in {flows} flows, the last at {said['leaks']['last']}"
    for one in said["exits"]:
        if not one["up"]:
            yield f'exit "{one["name"]}" is down: {one["says"]}'
    if said["log"]["path"] is None:
        yield "no decision is written down"
    elif said["log"]["lost"]:
        yield f"{said['log']['lost']} decisions could not be written down"
    for one in (said["canaries"] or {"last": ()})["last"]:
        if one["outcome"] in ALARMS:
            yield f"canary {one['flow']} ({one['note']}), {one['path']}: {one['outcome']}"
    for one in said["workers"]:
        if not one["up"]:
            yield f"the worker of queue {one['queue']} is not there: its new flows are dropped"
        elif one["age_s"] is not None and one["age_s"] > _SILENT_S:
            yield f"the worker of queue {one['queue']} has said nothing for {one['age_s']:.0f} s"
    if said["router"] is not None and said["router"]["trouble"]:
        yield f"router mode: {said['router']['trouble']}"
