"""Which recorded flows change their verdict.  Owns: judging recorded traffic under two epochs, and
counting what differs.  Knows: the flow table, which judges as a running gateway does.
Never: reading files' formats, printing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.flow.epoch import Epoch
from gateway.flow.flows import Nobody
from gateway.flow.table import FlowLimits, FlowTable
from gateway.geo.cells import Said
from gateway.model import Content, Endpoint, FlowKey, Verdict
from gateway.review.atoms import atoms_of
from gateway.review.causes import Cause, Setting, crossed, otherwise, tried
from gateway.review.change import Sort, sort_of
from gateway.review.profiles import Profiles
from gateway.review.records import Recorded, is_log, recorded, sent
from gateway.review.sides import Outcome, outcome_of

_MAX_EXAMPLES = 5
# Room for every flow of a capture: nothing is forgotten while one is read.
_LIMITS = FlowLimits(1 << 20, 1 << 20)


@dataclass(frozen=True, slots=True)
class Example:
    """One flow whose verdict changes."""

    flow: str
    place: str
    """file:frame or file:line."""
    details: tuple[str, ...]
    """What the sources say otherwise of its destination."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowChange:
    """Recorded flows whose verdict changes alike."""

    old: Outcome
    new: Outcome
    old_rule: str
    new_rule: str
    what: str
    """Protocol, message and traffic."""
    causes: tuple[Cause, ...]
    for_some_clients: bool
    """True: the log does not tell clients, and it depends on the client."""
    flows: int
    decisions: int
    """Datagrams of a capture, or records of a log."""
    examples: tuple[Example, ...]

    @property
    def sort(self) -> Sort:
        """Of which sort it is."""
        return sort_of(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What two epochs make of recorded traffic."""

    changes: tuple[FlowChange, ...]
    """The gravest sort first, then the most flows."""
    flows: int
    """How many were judged."""
    decisions: int


_Key = tuple[Sort, Outcome, Outcome, str, str, str, tuple[Cause, ...], bool]


def replay(old: Epoch, new: Epoch, paths: Iterable[Path]) -> Replayed:
    """Judge recorded traffic under two epochs.

    Args:    paths: captures (pcap, pcapng) and decision logs.
    Raises:  DataError: a file that is neither, or is broken.
    """
    replaying = _Replaying(old, new)
    for path in paths:
        if is_log(path):
            replaying.log(path)
        else:
            replaying.capture(path)
    return replaying.result()


class _Group:
    """Flows whose verdict changes alike, being counted."""

    def __init__(self) -> None:
        self.flows: set[str] = set()
        self.decisions = 0
        self.examples: list[Example] = []


class _Replaying:
    """Recorded traffic under two epochs."""

    def __init__(self, old: Epoch, new: Epoch) -> None:
        self._epochs = (old, new)
        self._policies = crossed(old.policy, new.policy)
        self._clients = Profiles(atoms_of(old.policy, new.policy)).clients
        self._groups: dict[_Key, _Group] = {}
        self._flows: set[str] = set()
        self._decisions = 0

    def capture(self, path: Path) -> None:
        """Judge what the clients of a capture sent, each packet as a gateway does."""
        nobody = Nobody()
        tables = [FlowTable(epoch, _never, _LIMITS, nobody) for epoch in self._epochs]
        for one in sent(path):
            if one.payload is None:
                for table in tables:
                    table.begins(one.key)
            was, is_ = (table.judge(one.key, one.payload) for table in tables)
            self._count(str(one.key))
            if outcome_of(was) != outcome_of(is_):
                content = self._content(one.key, one.payload)
                causes = self._causes(one.key, content, ())
                self._add(was, is_, content, causes, False, str(one.key), one.key, one.place)

    def log(self, path: Path) -> None:
        """Judge the facts of a decision log's records."""
        for one in recorded(path):
            self._count(one.flow)
            pairs = [self._both(one, client) for client in self._clients]
            changed = [pair for pair in pairs if outcome_of(pair[1]) != outcome_of(pair[2])]
            if changed:
                key, was, is_ = changed[0]
                causes = self._causes(key, one.content, one.names)
                some = len(changed) < len(pairs)
                self._add(was, is_, one.content, causes, some, one.flow, key, one.place)

    def result(self) -> Replayed:
        """Give what was found."""
        made = (_change(*item) for item in self._groups.items())
        ranked = sorted(made, key=lambda one: (list(Sort).index(one.sort), -one.flows, one.what))
        return Replayed(tuple(ranked), len(self._flows), self._decisions)

    def _count(self, flow: str) -> None:
        self._flows.add(flow)
        self._decisions += 1

    def _content(self, key: FlowKey, payload: bytes | None) -> Content | None:
        return None if payload is None else self._epochs[1].content(key, payload)

    def _both(self, one: Recorded, client: bytes) -> tuple[FlowKey, Verdict, Verdict]:
        key = one.key._replace(client=Endpoint(client, 0))
        old, new = (epoch.judge(epoch.facts(key, one.content, one.names)) for epoch in self._epochs)
        return key, old, new

    def _causes(
        self, key: FlowKey, content: Content | None, names: tuple[str, ...]
    ) -> tuple[Cause, ...]:
        def judge(setting: Setting) -> Outcome:
            policy = self._policies[setting.rules, setting.definitions]
            facts = self._epochs[setting.data].facts(key, content, names)
            return outcome_of(policy.judge(facts))

        return tried(judge)

    def _add(
        self,
        was: Verdict,
        is_: Verdict,
        content: Content | None,
        causes: tuple[Cause, ...],
        some: bool,
        flow: str,
        key: FlowKey,
        place: str,
    ) -> None:
        outcomes = outcome_of(was), outcome_of(is_)
        about = (sort_of(*outcomes), *outcomes, was.rule, is_.rule, _what(content), causes, some)
        group = self._groups.setdefault(about, _Group())
        group.decisions += 1
        if flow not in group.flows and len(group.examples) < _MAX_EXAMPLES:
            details = tuple(self._details(key.destination.address)) if Cause.DATA in causes else ()
            group.examples.append(Example(flow, place, details))
        group.flows.add(flow)

    def _details(self, address: bytes) -> Iterator[str]:
        old, new = (
            [
                Said(one.source, one.axis, one.value)
                for one in epoch.atlas.evidence(address, widest=False)
                if not one.stale
            ]
            for epoch in self._epochs
        )
        yield from otherwise(old, new)


def _change(key: _Key, group: _Group) -> FlowChange:
    _, old, new, old_rule, new_rule, what, causes, some = key
    return FlowChange(
        old=old,
        new=new,
        old_rule=old_rule,
        new_rule=new_rule,
        what=what,
        causes=causes,
        for_some_clients=some,
        flows=len(group.flows),
        decisions=group.decisions,
        examples=tuple(group.examples),
    )


def _what(content: Content | None) -> str:
    if content is None:
        return "before its first bytes"
    said = (str(content.protocol), content.message, content.traffic and str(content.traffic))
    return " ".join(filter(None, said))


def _never() -> float:
    """Give the time for a table that forgets nothing."""
    return 0.0
