"""A flow's line.  Owns: a counted flow → the JSON object of `audit --json`.
Knows: the faces in docs/architecture.md; flow's account, which `explain` has too.
Never: summing up, printing."""

from __future__ import annotations

import datetime
from typing import Any

from gateway.audit.flows import AuditedFlow, Side, most_common, name_of
from gateway.evidence.memo import Memo
from gateway.flow.account import (
    Account,
    considered_account,
    evidence_account,
    facts_account,
    verdict_account,
)
from gateway.flow.epoch import Epoch
from gateway.model import Evidence

_MOST_REMEMBERED = 4_096
_ZONE = datetime.UTC
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=_ZONE)


class Accounts:
    """Gives flows' lines; remembers the evidence on addresses."""

    def __init__(self, epoch: Epoch) -> None:
        self._epoch = epoch
        self._evidence: Memo[bytes, tuple[Evidence, ...]] = Memo(
            lambda address: epoch.atlas.evidence(address, widest=False), _MOST_REMEMBERED
        )

    def evidence(self, address: bytes) -> list[Account]:
        """Give the sources' words on an address."""
        return [dict(evidence_account(one)) for one in self._evidence[address]]

    def of(self, flow: AuditedFlow) -> Account:
        """Give a flow's line: facts and verdict of what the client sent first; of all that it sent,
        what was judged in another way too."""
        facts = self._epoch.facts(flow.key, flow.first.content if flow.first else None)
        verdict, considered = self._epoch.explain(facts)
        evidence = self._evidence[flow.key.destination.address]
        is_judged = not flow.is_counted_only
        return {
            "flow": str(flow.key),
            "facts": facts_account(self._epoch, facts, evidence),
            "verdict": verdict_account(verdict) if is_judged else None,
            "considered": considered_account(considered, self._evidence.__getitem__)
            if is_judged
            else [],
            "packets": flow.client.packets + flow.server.packets,
            "bytes": flow.client.octets + flow.server.octets,
            "sent": _sent(flow.client),
            "received": _sent(flow.server),
            "messages": dict(most_common(flow.messages())),
            "identifiers": {str(kind): count for kind, count in flow.identifiers().items()},
            "judged": _judged(flow),
            "first": time_text(flow.first_s),
            "last": time_text(flow.last_s),
        }


def _sent(side: Side) -> Account:
    return {"packets": side.packets, "bytes": side.octets}


def _judged(flow: AuditedFlow) -> list[Account]:
    """Give what the policy would have done with each kind of message that the client sent."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    for tally in flow.client.tallies.values():
        verdict, content = tally.verdict, tally.content
        if verdict is not None:
            what = (None, None) if content is None else (name_of(content), content.traffic)
            key = (*what, str(verdict.action), verdict.target, verdict.rule)
            counts = sums.setdefault(key, [0, 0])
            counts[0] += tally.packets
            counts[1] += tally.octets
    names = ("message", "traffic", "action", "target", "rule")
    return [
        {**dict(zip(names, key, strict=True)), "packets": counts[0], "bytes": counts[1]}
        for key, counts in sums.items()
    ]


def time_text(time_s: float) -> str:
    """Give a time as RFC 3339, UTC; of a clock that no calendar has, its seconds since 1970."""
    try:
        return (_EPOCH + datetime.timedelta(seconds=time_s)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return f"{time_s:.0f} s"
