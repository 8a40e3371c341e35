"""The witness of decisions.  Owns: who is told of what the flow table does: the decision log, other
observers, the operator's log of alarms.  Knows: Twisted's log.  Never: deciding; values of
identifiers, addresses of clients in the operator's log."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Mapping

from twisted.logger import Logger

from gateway.evidence.decisions import DecisionLog
from gateway.flow.apart import Apart
from gateway.flow.epoch import Epoch
from gateway.flow.flows import Flow, Judged, Nobody, Observer
from gateway.flow.guard import Found, Leak
from gateway.model import Endpoint, FlowKey, Verdict

_log = Logger(namespace="gateway.core")

# Alarms that are said between two reports, five seconds; the others are counted.
_MAX_SAID = 8


class Witness:
    """Tells of decisions: to the decision log, and to whoever else observes."""

    def __init__(
        self,
        decisions: DecisionLog | None,
        required: bool,
        observers: tuple[Observer, ...],
        now: Callable[[], datetime.datetime],
        apart: Apart,
    ) -> None:
        self._apart = apart
        self.log = decisions
        """None: no decision is written down."""
        self._required = required
        self._observers = observers
        # Most do not mind, and this is told for each flow.
        self._minding = tuple(one for one in observers if _minds_ends(one))
        self.refusals: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()
        self._now = now
        self.leaks: Counter[Found] = Counter()
        """Alarms, by how the leak was found."""
        self.last_leak: datetime.datetime | None = None
        """When a given or learned identifier was found last."""
        self._said = 0
        self._batch: list[FlowKey] | None = None

    def entered(self, epoch: Epoch) -> None:
        """Write down that an epoch came into force."""
        if self.log is not None:
            self.log.write_epoch(epoch)

    def begin_batch(self) -> None:
        """Gather decisions from now on, to write them together."""
        if self.log is not None:
            self.log.begin_batch()
            self._batch = [] if self._required else None

    def flush(self) -> bool:
        """Write what was gathered, before one of its verdicts is carried out; False: it may not be,
        since evidence is required and a decision of this batch could not be written."""
        return self.log is None or self.log.flush() or not self._required

    def end_batch(self) -> list[FlowKey]:
        """Write what was gathered, and from now on each decision by itself.

        Returns: the flows that were decided in this batch, if `flush` would say False; else none.
        """
        batch, self._batch = self._batch, None
        if self.log is None or self.log.end_batch() or not self._required:
            return []
        return batch or []

    def decided(self, epoch: Epoch, judged: Judged, payload: bytes | None) -> bool:
        """Observer API."""
        if judged.facts.key.client in self._apart:
            self._apart.judged(judged.facts.key, judged.verdict)
            return True
        for observer in self._observers:
            observer.decided(epoch, judged, payload)
        if self.log is None:
            return not self._required
        if self._batch is not None:
            self._batch.append(judged.facts.key)
        return self.log.write(epoch, judged, payload) or not self._required

    def ended(self, flow: Flow) -> None:
        """Observer API."""
        for observer in self._minding:
            observer.ended(flow)

    def refused(self, key: FlowKey, reason: str) -> None:
        """Observer API."""
        if not self.refusals[reason]:
            _log.warn("new flows are blocked: {reason}", reason=reason)
        self.refusals[reason] += 1
        for observer in self._observers:
            observer.refused(key, reason)

    def not_carried(self, key: FlowKey, verdict: Verdict, reason: str) -> None:
        """Observer API."""
        if key.client in self._apart:
            return
        if self.log is not None:
            self.log.write_not_carried(key, verdict, reason)
        for observer in self._observers:
            observer.not_carried(key, verdict, reason)

    def barred(self, client: Endpoint, name: str, verdict: Verdict) -> None:
        """Observer API."""
        if self.log is not None:
            self.log.write_barred(client, name, verdict)
        for observer in self._observers:
            observer.barred(client, name, verdict)

    def leaked(self, key: FlowKey, leak: Leak) -> None:
        """Observer API."""
        if key.client in self._apart:
            return
        self.leaks[leak.found] += 1
        if leak.found is not Found.SWEEP:
            self.last_leak = self._now()
        self._said += 1
        if self._said <= _MAX_SAID:
            _log.warn(
                "leak, towards {to}: {sentence}", to=str(key.destination), sentence=leak.sentence
            )
        if self.log is not None:
            self.log.write_leak(key, leak)
        for observer in self._observers:
            observer.leaked(key, leak)

    def report(self) -> None:
        """Say how many flows met a bound, and how many leaks were not said, since last time."""
        if self._said > _MAX_SAID:
            _log.warn("{count} more leaks", count=self._said - _MAX_SAID)
        self._said = 0
        for reason, count in (self.refusals - self._reported).items():
            _log.warn("{count} new flows blocked: {reason}", count=count, reason=reason)
        self._reported = self.refusals.copy()

    def counts(self) -> Mapping[str, int]:
        """Count the flows that were blocked unjudged: no record tells of each."""
        return {f"refused: {reason}": count for reason, count in self.refusals.items()}

    def tick(self) -> None:
        """Have the decision log signed, if it is time."""
        if self.log is not None:
            self.log.tick()

    def close(self) -> None:
        """Close the decision log."""
        if self.log is not None:
            self.log.close()


def _minds_ends(observer: Observer) -> bool:
    """Say whether an observer does anything when a flow is forgotten."""
    return getattr(type(observer), "ended", None) is not Nobody.ended
