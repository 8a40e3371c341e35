"""The account of a decision.  Owns: facts, verdict and considered rules → the JSON object that
`explain`, `audit` and the decision log share.  Knows: the faces in docs/architecture.md.
Never: payload octets, keys, the clock."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gateway.flow.discs import Discs
from gateway.flow.epoch import Epoch
from gateway.model import Content, Evidence, Facts, Place, Verdict, unpack
from gateway.policy import Considered, Part, Truth, word

Account = dict[str, Any]
"""A JSON object; see docs/architecture.md, Faces."""


def account_of(epoch: Epoch, facts: Facts, given: Iterable[Evidence] | None = None) -> Account:
    """Judge facts, and give the whole account with evidence and every rule.

    Args:    given: what was said of the destination instead of what the data say.
    """
    verdict, considered = epoch.explain(facts)
    destination = facts.key.destination.address
    evidence = tuple(epoch.atlas.evidence(destination) if given is None else given)

    @functools.cache
    def evidence_on(address: bytes) -> tuple[Evidence, ...]:
        return evidence if address == destination else epoch.atlas.evidence(address)

    return {
        "flow": str(facts.key),
        "facts": facts_account(epoch, facts, evidence),
        "verdict": verdict_account(verdict),
        "considered": considered_account(considered, evidence_on),
        "not_asked": [rule.id for rule in epoch.policy.rules[len(considered) :]],
    }


def facts_account(epoch: Epoch, facts: Facts, evidence: Iterable[Evidence]) -> Account:
    """Give what is known of a flow."""
    jurisdictions = epoch.policy.jurisdictions_of(facts)
    to: Account = {
        "address": facts.key.destination.host,
        "jurisdictions": sorted(jurisdictions.members),
        "evidence": [evidence_account(one) for one in evidence],
        "undetermined": sorted(jurisdictions.undetermined),
        "doubts": list(facts.place.doubts),
    }
    if epoch.discs is not None:
        address, place = facts.key.destination.address, facts.claimed or facts.place
        if told := round_trips_account(epoch.discs, address, place):
            to["round_trips"] = told
    return {**content_account(facts.content), "names": list(facts.names), "to": to}


def round_trips_account(discs: Discs, address: bytes, place: Place) -> list[Account]:
    """Give the discs in which an address must be, and which claims on its location each refutes."""
    return [
        {
            "from": disc.name,
            "position": list(disc.position),
            "rtt_ms": round(disc.rtt_s * 1e3, 3),
            "within_km": round(disc.radius_km, 1),
            "refutes": list(discs.refuted_by(disc, place)),
        }
        for disc in discs.around(address)
    ]


def content_account(content: Content | None) -> Account:
    """Give what a payload is; null is "not told": no payload, or bytes that do not tell."""
    if content is None:
        return {"protocol": None, "message": None, "traffic": None, "plaintext": None}
    found = content.plaintext
    return {
        "protocol": str(content.protocol),
        "message": content.message or None,
        "traffic": None if content.traffic is None else str(content.traffic),
        "plaintext": None
        if found is None
        else [{"kind": str(one.kind), "offset": one.offset, "length": one.length} for one in found],
    }


def evidence_account(evidence: Evidence) -> Mapping[str, str | bool]:
    """Give one source's word; `stale` only where it is."""
    words: dict[str, str | bool] = {
        "axis": str(evidence.axis),
        "value": evidence.value,
        "source": evidence.source,
        "built": evidence.built,
        "prefix": evidence.prefix,
    }
    return {**words, "stale": True} if evidence.stale else words


def verdict_account(verdict: Verdict) -> Account:
    """Give a verdict; `settled` only where the payload can still change it, `would` where a rule
    in shadow mode would have given another."""
    account: Account = {
        "action": str(verdict.action),
        "target": verdict.target,
        "rule": verdict.rule,
        "reason": verdict.reason,
        "mode": str(verdict.mode),
        "epoch": verdict.epoch,
    }
    if not verdict.settled:
        account["settled"] = False
    if verdict.would is not None:
        account["would"] = verdict_account(verdict.would)
    return account


def considered_account(
    considered: Iterable[Considered], evidence_on: Callable[[bytes], Iterable[Evidence]]
) -> list[Account]:
    """Give the rules that were looked at, with the conditions that each result rests on, and the
    evidence behind each; `result` is true, false or "undetermined"."""
    return [
        {
            "rule": one.rule,
            "result": _result(one.result),
            "why": one.why,
            "parts": [part_account(part, evidence_on(part.address)) for part in one.parts],
        }
        for one in considered
    ]


def part_account(part: Part, evidence: Iterable[Evidence]) -> Account:
    """Give one condition that a result rests on, with the sources of its words."""
    return {
        "condition": part.condition,
        "result": _result(part.result),
        "why": part.why,
        "address": unpack(part.address),
        "evidence": [
            evidence_account(one)
            for one in evidence
            if (one.axis, one.value) in part.words and not one.stale
        ],
    }


def _result(truth: Truth) -> bool | str:
    return word(truth) if truth is None else truth
