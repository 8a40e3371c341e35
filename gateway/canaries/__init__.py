"""Canaries.  Owns: which flows must be held, judging them again and again, and the alarm when one
is not.  Knows: the core, the policy's cases.  Never: how one is judged; counting it as a client's.

What a canary covers: recognisers, data and policy in force, the flow table's memory over rounds and
epochs, and for UDP what a session makes of the verdict.  What not: sockets of listeners, and in
router mode the kernel's rules, which see no packet of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from gateway.canaries.bench import Asked, Bench, Seen
from gateway.config.canaries import Canaries as Section
from gateway.config.canaries import CanaryFlow
from gateway.core import Core
from gateway.model import Action, FlowKey, Mode
from gateway.policy import Case

_log = Logger(namespace="gateway.canaries")

# Of a policy's cases; each is judged in some 50 µs, all in one turn of the reactor.
_MAX_CANARIES = 64
# After the start: tunnels and listeners go first.
_FIRST_S = 5.0

HELD = "held"
"""It came to what was expected."""
BLOCKED = "blocked"
"""It was to be wrapped, and was blocked: nothing leaked."""
SHADOW = "shadow"
"""The policy is only watching, so it passed."""
THROUGH = "through"
"""It was allowed, rerouted, or wrapped where it was to be blocked."""
FAILED = "failed"
"""Judging it failed."""
ALARMS = frozenset((THROUGH, FAILED))
"""Outcomes that a person must look after."""


@dataclass(frozen=True, slots=True)
class Canary:
    """One flow that must be held."""

    asked: Asked
    expected: Action
    note: str = ""
    """What its case says of it."""


# Their clients' ports: two cases may have one flow and different payloads, and each is judged as
# the first of a flow.
_FIRST_PORT = 40_000
_PROBE = Asked(FlowKey.parse("udp 192.0.2.1:1 > 192.0.2.2:2"), b"")


class Canaries:
    """Has a process's canaries judged, regularly and with each policy."""

    def __init__(self, reactor: Any, core: Core, section: Section) -> None:
        """Judge nothing yet."""
        self.every_s = section.every_s
        self.outcomes: Counter[str] = Counter()
        """Of all rounds."""
        self.last: list[tuple[Canary, str]] = []
        """Of the last round, with what became of each."""
        self._core = core
        self._given = None if section.flows is None else tuple(map(_given, section.flows))
        self._bench = Bench(reactor, core)
        self._loop = LoopingCall(self.judge)
        self._loop.clock = reactor
        self._reactor = reactor
        self._begin: Any = None

    def start(self) -> None:
        """Begin, soon."""
        self._begin = self._reactor.callLater(_FIRST_S, self._start)
        self._core.on_adopted.append(self._adopted)

    def _start(self) -> None:
        self._begin = None
        self._loop.start(self.every_s)

    def _adopted(self) -> None:
        if self._loop.running:
            self.judge()

    def stop(self) -> None:
        """End; may be called twice."""
        if self._begin is not None:
            self._begin.cancel()
            self._begin = None
        if self._loop.running:
            self._loop.stop()
        self._bench.close()

    def judge(self) -> None:
        """Judge each, and write down what became of it."""
        self.last = []
        for at, canary in enumerate(self._canaries()):
            seen = self._bench.judge(_apart(canary.asked, at))
            outcome = _outcome(canary, seen)
            self.outcomes[outcome] += 1
            self.last.append((canary, outcome))
            self._tell(canary, seen, outcome)

    def is_judging(self) -> bool:
        """Say whether flows can be judged at all: any answer will do, and nothing is written."""
        return self._bench.judge_anew(_PROBE).error is None

    def _canaries(self) -> tuple[Canary, ...]:
        if self._given is not None:
            return self._given
        return tuple(islice(_of_cases(self._core.table.epoch.policy.cases), _MAX_CANARIES))

    def _tell(self, canary: Canary, seen: Seen, outcome: str) -> None:
        flow = str(canary.asked.key)
        verdict = seen.verdict
        if self._core.witness.log is not None:
            self._core.witness.log.write_canary(
                {
                    "flow": flow,
                    "note": canary.note,
                    "through": seen.through,
                    "expected": str(canary.expected),
                    "action": None if verdict is None else str(verdict.action),
                    "rule": None if verdict is None else verdict.rule,
                    "carried": seen.carried,
                    "outcome": outcome,
                }
            )
        if outcome in ALARMS:
            _log.error(
                "canary {flow}: expected {expected}, and it is {action} (rule {rule}): {outcome}",
                flow=flow,
                expected=str(canary.expected),
                action=seen.error if verdict is None else str(verdict.action),
                rule=None if verdict is None else verdict.rule,
                outcome=outcome,
            )


def _outcome(canary: Canary, seen: Seen) -> str:
    verdict = seen.verdict
    if verdict is None or seen.error is not None:
        return FAILED
    if verdict.action is canary.expected and seen.carried in (None, _CARRIED[canary.expected]):
        return HELD
    if verdict.action is Action.BLOCK and seen.carried is None:
        return BLOCKED
    return SHADOW if verdict.mode is Mode.SHADOW else THROUGH


_CARRIED = {Action.BLOCK: None, Action.WRAP: "wrap"}


def _apart(asked: Asked, at: int) -> Asked:
    client = asked.key.client._replace(port=_FIRST_PORT + at)
    return replace(asked, key=asked.key._replace(client=client))


def _of_cases(cases: Iterable[Case]) -> Iterator[Canary]:
    for case in cases:
        given = case.given
        # What a case says instead of data and payload, no flow has.
        is_real = given.evidence is None and given.content is None
        if is_real and case.action in (Action.BLOCK, Action.WRAP):
            yield Canary(Asked(given.key, given.payload, given.names), case.action, case.note)


def _given(flow: CanaryFlow) -> Canary:
    payload = None if flow.payload is None else bytes.fromhex(flow.payload.hex)
    names = tuple(name.lower().rstrip(".") for name in flow.names)
    return Canary(Asked(FlowKey.parse(flow.flow), payload, names), Action(flow.expect.action))
