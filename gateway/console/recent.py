"""The latest decisions.  Owns: a bounded ring of them, told by the client's pseudonym.
Knows: the flow table's Observer.
Never: clients' addresses in what it tells; payload, names and destinations' addresses at all: a
destination may be another client."""

from __future__ import annotations

import datetime
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from gateway.counts import NOWHERE, Counts
from gateway.flow.epoch import Epoch
from gateway.flow.flows import Nobody
from gateway.flow.table import Judged
from gateway.model import Axis, Endpoint, Facts, FlowKey, Transport, Verdict

# A screenful, and some to scroll.
MOST = 50
NOT_CARRIED = "not carried"
BARRED = "not resolved"
# A NamedTuple's own constructor takes twice as long.
_tuple = tuple.__new__


class _Entry(NamedTuple):
    """Kept as it comes, since there is one for each decision, and looked at only when told."""

    number: int
    at: datetime.datetime
    client: bytes
    transport: Transport | None
    facts: Facts | None
    """None: not told."""
    verdict: Verdict
    but: str = ""
    """What became of it otherwise; "" for nothing."""


class Recent(Nobody):
    """Remembers the latest decisions."""

    def __init__(self, now: Callable[[], datetime.datetime]) -> None:
        """Begin; `now` gives the time of day, UTC."""
        self._now = now
        self._entries: deque[_Entry] = deque(maxlen=MOST)
        self._number = 0

    def told(self, pseudonym: Callable[[bytes], str]) -> list[dict[str, Any]]:
        """Give them as JSON objects, the latest first."""
        return [_told(one, pseudonym) for one in reversed(self._entries)]

    def decided(self, epoch: Epoch, judged: Judged, payload: bytes | None) -> bool:
        """Observer API."""
        facts = judged.facts
        transport, client, _ = facts.key
        self._number = number = self._number + 1
        entry = (number, self._now(), client[0], transport, facts, judged.verdict, "")
        self._entries.append(_tuple(_Entry, entry))
        return True

    def refused(self, key: FlowKey, reason: str) -> None:
        """Observer API: the core counts these; a flood of them would push out all else."""

    def not_carried(self, key: FlowKey, verdict: Verdict, reason: str) -> None:
        """Observer API."""
        self._add(key.client, verdict, key.transport, but=f"{NOT_CARRIED}: {reason}")

    def barred(self, client: Endpoint, name: str, verdict: Verdict) -> None:
        """Observer API."""
        self._add(client, verdict, but=BARRED)

    def _add(
        self, client: Endpoint, verdict: Verdict, transport: Transport | None = None, *, but: str
    ) -> None:
        self._number += 1
        number, at = self._number, self._now()
        self._entries.append(_Entry(number, at, client.address, transport, None, verdict, but))


class Seen(NamedTuple):
    """The observers of a process that the console tells of."""

    counts: Counts
    recent: Recent

    @classmethod
    def begin(cls, now: Callable[[], datetime.datetime]) -> Seen:
        """Begin; `now` gives the time of day, UTC."""
        return cls(Counts(), Recent(now))


def _told(one: _Entry, pseudonym: Callable[[bytes], str]) -> dict[str, Any]:
    facts, verdict = one.facts, one.verdict
    content = None if facts is None else facts.content
    found = () if content is None else content.plaintext
    return {
        "number": one.number,
        "time": one.at.isoformat(timespec="milliseconds"),
        "client": pseudonym(one.client),
        "transport": None if one.transport is None else str(one.transport),
        "protocol": None if content is None else str(content.protocol),
        "message": None if content is None else content.message or None,
        "traffic": None if content is None or content.traffic is None else str(content.traffic),
        "plaintext": None if found is None else sorted({str(each.kind) for each in found}),
        "country": None if facts is None else _country(facts),
        "action": str(verdict.action),
        "target": verdict.target,
        "rule": verdict.rule,
        "reason": verdict.reason,
        "would": None if verdict.would is None else str(verdict.would.action),
        "but": one.but or None,
    }


def _country(facts: Facts) -> str:
    countries = facts.place.values.get(Axis.LOCATION)
    return countries[0] if countries else NOWHERE
