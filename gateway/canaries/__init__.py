"""Canaries.  Owns: which flows must be held, having them judged and sent again and again, and the
alarm when one is not.  Knows: the core, the policy's cases, the paths that they are sent by.
Never: how one is judged or sent; counting it as a client's.

What judging one covers: recognisers, data and policy in force, the flow table's memory over rounds
and epochs, and for UDP what a session makes of the verdict.  What sending one covers besides: the
listeners' sockets and protocols, and in router mode the kernel's rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from gateway.canaries.bench import Asked, Bench, Seen
from gateway.canaries.paths import Canary, Path, Sight
from gateway.config.canaries import Canaries as Section
from gateway.config.canaries import CanaryFlow
from gateway.core import Core
from gateway.errors import GatewayError
from gateway.flow.apart import WRAP
from gateway.model import Action, FlowKey, Mode, Verdict
from gateway.policy import Case

_log = Logger(namespace="gateway.canaries")

# Of a policy's cases; each is judged in some 50 µs, all in one turn of the reactor.
_MAX_CANARIES = 64
# Of those that nobody sent here and that were about to leave, between two rounds.
_MAX_STRAYS = 64
# After the start: tunnels and listeners go first.
_FIRST_S = 5.0

HELD = "held"
"""It came to what was expected."""
BLOCKED = "blocked"
"""It was to be wrapped, and was blocked: nothing leaked."""
SHADOW = "shadow"
"""The policy is only watching, so it passed."""
UNSEEN = "unseen"
"""It was sent, and nobody took it: nothing leaked, and nothing is known."""
THROUGH = "through"
"""It was allowed, rerouted, or wrapped where it was to be blocked."""
FAILED = "failed"
"""Judging it failed, or it could not be sent."""
ALARMS = frozenset((THROUGH, FAILED))
"""Outcomes that a person must look after."""

JUDGED = "judged"
"""The path of those that are judged and not sent."""

# Their clients' ports: two cases may have one flow and different payloads, and each is judged as
# the first of a flow.
_FIRST_PORT = 40_000
_PROBE = Asked(FlowKey.parse("udp 192.0.2.1:1 > 192.0.2.2:2"), b"")


class Told(NamedTuple):
    """What became of one."""

    canary: Canary
    outcome: str
    path: str
    """By which it came: JUDGED, or a path's name."""


class Canaries:
    """Has a process's canaries judged and sent, regularly and with each policy."""

    def __init__(self, reactor: Any, core: Core, section: Section) -> None:
        """Judge nothing yet."""
        self.every_s = section.every_s
        self.paths: list[Path] = []
        """By which they are also sent."""
        self.not_sent = ""
        """Why they are not sent by a path that there could be; "": they are."""
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """Of all rounds, by path ("stray": by none of them) and outcome."""
        self._judged: list[Told] = []
        self._sent: list[Told] = []
        self._strays: list[Told] = []
        self._core = core
        self._given = None if section.flows is None else tuple(map(_given, section.flows))
        self._bench = Bench(reactor, core)
        self._loop = LoopingCall(self.judge)
        self._loop.clock = reactor
        self._reactor = reactor
        self._begin: Any = None
        self._sending: Deferred[None] | None = None
        self._is_due = False
        core.apart.on_stray = self._strayed

    @property
    def last(self) -> list[Told]:
        """Of the last rounds, with what became of each."""
        return [*self._judged, *self._sent, *self._strays]

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
        paths, self.paths = self.paths, []
        if self._sending is not None:
            self._sending.cancel()
        for path in paths:
            path.close()
        self._bench.close()

    def judge(self) -> None:
        """Judge each, and write down what became of it; then begin to send them."""
        self._judged = []
        for at, canary in enumerate(self._canaries()):
            seen = self._bench.judge(_apart(canary.asked, at))
            told = Told(canary, _outcome(canary, seen), JUDGED)
            self._judged.append(told)
            self._tell(told, seen.through, seen.verdict, seen.carried, seen.error)
        self._is_due = True
        self._send()

    def is_judging(self) -> bool:
        """Say whether flows can be judged at all: any answer will do, and nothing is written."""
        return self._bench.judge_anew(_PROBE).error is None

    def _canaries(self) -> tuple[Canary, ...]:
        if self._given is not None:
            return self._given
        return tuple(islice(_of_cases(self._core.table.epoch.policy.cases), _MAX_CANARIES))

    # Sending them.

    def _send(self) -> None:
        """One round at a time; a policy that comes into force meanwhile asks for another."""
        if self._sending is not None or not self._is_due or not self.paths:
            return
        self._is_due = False
        self._sending = Deferred.fromCoroutine(self._round(self._canaries()))
        self._sending.addBoth(self._is_sent)

    def _is_sent(self, result: object) -> None:
        self._sending = None
        if isinstance(result, Failure) and not isinstance(result.value, CancelledError):
            _log.failure("sending canaries failed", result)
        self._send()

    async def _round(self, canaries: Sequence[Canary]) -> None:
        epoch, told = self._core.table.epoch, []
        strays, self._strays = self._strays, []
        for path in self.paths:
            there = list(self._fit(path, canaries))
            sights = await _sights(path, [asked for _, asked in there])
            if self._core.table.epoch is not epoch:
                self._strays = strays + self._strays
                return  # what was expected may be something else by now: they are sent again
            for (canary, asked), sight in zip(there, sights, strict=True):
                one = Told(replace(canary, asked=asked), _outcome_of(canary, sight), path.name)
                told.append(one)
                self._tell(one, path.name, sight.verdict, sight.carried, sight.error)
        self._sent = told

    def _fit(self, path: Path, canaries: Sequence[Canary]) -> Iterator[tuple[Canary, Asked]]:
        """Give those that can go by a path, and are held by the policy if its client sends them:
        what becomes of them then is the path's doing."""
        for at, canary in enumerate(canaries):
            asked = path.asked(canary, at)
            if asked is not None:
                seen = self._bench.judge_anew(asked)
                if _outcome(canary, seen) == HELD:
                    yield canary, asked

    def _strayed(self, key: FlowKey, way: str) -> None:
        """One that was sent elsewhere, or long ago, was about to leave."""
        canary = Canary(Asked(key, None), Action.BLOCK, "not of a round that is under way")
        told = Told(canary, THROUGH, "stray")
        if len(self._strays) < _MAX_STRAYS:
            self._strays.append(told)
        self._tell(told, "stray", None, way, None)

    def _tell(
        self,
        told: Told,
        through: str,
        verdict: Verdict | None,
        carried: str | None,
        error: str | None,
    ) -> None:
        canary, outcome, path = told
        self.outcomes[path, outcome] += 1
        flow, expected = str(canary.asked.key), str(canary.expected)
        action = None if verdict is None else str(verdict.action)
        rule = None if verdict is None else verdict.rule
        if self._core.witness.log is not None:
            self._core.witness.log.write_canary(
                {
                    "flow": flow,
                    "note": canary.note,
                    "through": through,
                    "expected": expected,
                    "action": action,
                    "rule": rule,
                    "carried": carried,
                    "outcome": outcome,
                }
            )
        if outcome in ALARMS:
            _log.error(
                "canary {flow} by {through}: expected {expected}, and it is {action} (rule {rule}):"
                " {outcome}",
                flow=flow,
                through=through,
                expected=expected,
                action=error or carried or action,
                rule=rule,
                outcome=outcome,
            )


async def _sights(path: Path, flows: Sequence[Asked]) -> Sequence[Sight]:
    """Send flows; a path that fails is an alarm, and the others are tried all the same."""
    try:
        return await path.send(flows)
    except CancelledError:
        raise
    except GatewayError as error:
        return [Sight(went_in=False, error=str(error))] * len(flows)
    except Exception as error:  # whatever it is: nothing is known of what was to be held
        _log.failure("sending canaries by {path} failed", path=path.name)
        return [Sight(went_in=False, error=type(error).__name__)] * len(flows)


def _outcome(canary: Canary, seen: Seen) -> str:
    """Tell what became of one that was judged."""
    verdict = seen.verdict
    if verdict is None or seen.error is not None:
        return FAILED
    if verdict.action is canary.expected and seen.carried in (None, _CARRIED[canary.expected]):
        return HELD
    if verdict.action is Action.BLOCK and seen.carried is None:
        return BLOCKED
    return SHADOW if verdict.mode is Mode.SHADOW else THROUGH


def _outcome_of(canary: Canary, sight: Sight) -> str:
    """Tell what became of one that was sent: what was about to leave counts, and not what any
    verdict says."""
    if sight.error is not None:
        return FAILED
    if sight.carried is not None:
        return HELD if canary.expected is Action.WRAP and sight.carried == WRAP else THROUGH
    if not sight.went_in:
        return UNSEEN
    return HELD if canary.expected is Action.BLOCK else BLOCKED


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
