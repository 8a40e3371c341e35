"""A comparison as JSON.  Owns: every change, range, cause and count, complete.
Never: leaving anything out; computing what it tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.review.change import Amount, Change, Comparison, Membership
from gateway.review.describing import Describing
from gateway.review.extent import Extent
from gateway.review.rules import Edited, PolicyChange
from gateway.review.sides import Outcome
from gateway.review.traffic import FlowChange, Replayed

Account = dict[str, Any]
"""A JSON object."""

_TRUTH = {True: "in", False: "out", None: "undetermined"}


def account_of(found: Comparison, replayed: Replayed | None) -> Account:
    """Give the whole comparison."""
    describing = Describing(found.profiles)
    account: Account = {
        "changed": not found.is_nothing or bool(replayed and replayed.changes),
        "data": {"old": found.old_data, "new": found.new_data},
        "newly_allowed": {
            **_extent(found.newly_allowed.extent),
            "share": found.newly_allowed.share,
        },
        "newly_blocked": _extent(found.newly_blocked),
        "changes": [_change(one, describing) for one in found.changes],
        "memberships": [_membership(one) for one in found.memberships],
        "policy": _policy(found.policy),
        "profiles": {"count": len(found.profiles.all), "complete": found.profiles.is_complete},
    }
    if replayed is not None:
        account["traffic"] = {
            "flows": replayed.flows,
            "decisions": replayed.decisions,
            "changes": [_flow_change(one) for one in replayed.changes],
        }
    return account


def _extent(one: Extent) -> Account:
    return {
        "v4_addresses": one.v4_addresses,
        "v6_networks_48": one.v6_networks,
        "v6_addresses": one.v6_addresses,
        "ranges": one.texts(),
    }


def _outcome(one: Outcome) -> Account:
    action = None if one.action is None else str(one.action)
    return {"action": action, "target": one.target}


def _amounts(amounts: Mapping[str, Amount]) -> Account:
    return {
        str(name): {"v4_addresses": one.v4_addresses, "v6_addresses": one.v6_addresses}
        for name, one in amounts.items()
    }


def _change(one: Change, describing: Describing) -> Account:
    return {
        "sort": str(one.sort),
        "jurisdictions": {"old": list(one.old_members), "new": list(one.new_members)},
        "old": _outcome(one.old),
        "new": _outcome(one.new),
        "flows": describing.phrases(one.profiles),
        **_extent(one.extent),
        "causes": _amounts({str(cause): amount for cause, amount in one.causes.items()}),
        "details": _amounts(one.details),
        "countries": _amounts(one.countries),
        "operators": _amounts(one.operators),
    }


def _membership(one: Membership) -> Account:
    words = {"jurisdiction": one.jurisdiction, "old": _TRUTH[one.old], "new": _TRUTH[one.new]}
    return {**words, **_extent(one.extent)}


def _policy(one: PolicyChange) -> Account:
    return {
        "settings": list(one.settings),
        "rules": {
            "added": list(one.added),
            "removed": list(one.removed),
            "moved": list(one.moved),
            "edited": [_edited(each) for each in one.edited],
        },
        "jurisdictions": {
            "added": list(one.jurisdictions_added),
            "removed": list(one.jurisdictions_removed),
            "edited": [_edited(each) for each in one.jurisdictions_edited],
        },
    }


def _edited(one: Edited) -> Account:
    return {"name": one.name, "differences": list(one.differences), "place": one.place or None}


def _flow_change(one: FlowChange) -> Account:
    return {
        "sort": str(one.sort),
        "what": one.what,
        "old": {**_outcome(one.old), "rule": one.old_rule},
        "new": {**_outcome(one.new), "rule": one.new_rule},
        "causes": [str(cause) for cause in one.causes],
        "for_some_clients": one.for_some_clients,
        "flows": one.flows,
        "decisions": one.decisions,
        "examples": [
            {"flow": each.flow, "place": each.place, "details": list(each.details)}
            for each in one.examples
        ],
    }
