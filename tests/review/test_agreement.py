"""One verdict, whoever is asked, and what more evidence or more rules may change of it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.flow.account import account_of
from gateway.flow.denied import Denied, denied
from gateway.flow.epoch import Epoch
from gateway.flow.table import FlowLimits, FlowTable
from gateway.model import Action, Axis, Endpoint, Facts, FlowKey, Place, Traffic, Transport, pack
from tests.flow.any_policies import HOSTS, atlases, policies
from tests.support.epochs import AUDIO, NOISE, PING, STUN, FakeObserver
from tests.support.facts import facts, policy

_PAYLOADS = st.sampled_from((None, b"", PING, AUDIO, STUN, NOISE))
_ADDRESSES = st.sampled_from([pack(one) for one in (*HOSTS, "2401::1", "2402:1::9")]) | st.one_of(
    st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)
)


@st.composite
def flows(draw: st.DrawFn) -> FlowKey:
    transport = draw(st.sampled_from((Transport.UDP, Transport.TCP)))
    client = draw(st.sampled_from(("10.1.0.2", "10.2.0.2", "2001:db8::2")))
    port = draw(st.sampled_from((0, 443, 8000)))
    return FlowKey(transport, Endpoint.of(client, 5), Endpoint(draw(_ADDRESSES), port))


def is_denied(found: Denied, address: bytes) -> str | None:
    """Say what the kernel does with an address by itself: "drop", "refuse" or None: it asks."""
    number, four = int.from_bytes(address), len(address) == 4
    sides = {
        "drop": found.silent4 if four else found.silent6,
        "refuse": found.refused4 if four else found.refused6,
    }
    within = (
        fate for fate, side in sides.items() if any(first <= number <= last for first, last in side)
    )
    return next(within, None)


class OneVerdictTests(SynchronousTestCase):
    """explain, the judge, the flow table and the kernel's sets agree."""

    @settings(deadline=None, max_examples=60)
    @given(st.data(), policies(), st.integers(0, 2))
    def test_all_four(self, data: st.DataObject, text: str, world: int) -> None:
        """A flow has one verdict; where the kernel denies its destination it is a block."""
        epoch = Epoch.of(3, policy(text), atlases()[world])
        sets = denied(epoch)
        table = FlowTable(epoch, Clock().seconds, FlowLimits(), FakeObserver())
        for key in data.draw(st.lists(flows(), min_size=1, max_size=6, unique=True)):
            payload = data.draw(_PAYLOADS)
            seen = epoch.seen(key, payload)
            verdict = epoch.judge(seen)
            self.assertEqual(epoch.explain(seen)[0], verdict)
            self.assertEqual(table.judge(key, payload), verdict)
            self._explained(account_of(epoch, seen), epoch)
            fate = is_denied(sets, key.destination.address)
            event(f"kernel: {fate}")
            if fate is not None:
                self.assertEqual(verdict.action, Action.BLOCK)
                self.assertEqual(verdict.target, "refuse" if fate == "refuse" else None)

    def _explained(self, account: dict[str, Any], epoch: Epoch) -> None:
        """Each rule is told of once; what decides holds, and what it rests on is of its result."""
        told = [*(one["rule"] for one in account["considered"]), *account["not_asked"]]
        self.assertEqual(told, [rule.id for rule in epoch.policy.rules])
        for one in account["considered"]:
            results = {part["result"] for part in one["parts"]}
            if results:  # a rule that asks for nothing rests on nothing
                self.assertEqual(results, {one["result"]})
        if account["not_asked"]:
            self.assertEqual(account["considered"][-1]["rule"], account["verdict"]["rule"])
        json.dumps(account)


_TOTAL = st.sampled_from(("allow", "block", {"block": "refuse"}, {"wrap": "nearest"}))


class BehindTotalTests(SynchronousTestCase):
    """A rule that holds for everything is the last word."""

    @settings(deadline=None, max_examples=60)
    @given(st.data(), policies(), policies(), _TOTAL, st.integers(0, 2))
    def test_changes_nothing(
        self, data: st.DataObject, text: str, other: str, total: object, world: int
    ) -> None:
        """Rules behind it change no verdict, whether or not it is final, and nothing in shadow."""
        value, more = json.loads(text), json.loads(other)["rules"]
        assume(more)
        value["rules"].append({"id": "total", "when": {}, "action": total})
        before = Epoch.of(1, policy(json.dumps(value)), atlases()[world])
        value["rules"] += [{**rule, "id": f"behind-{at}"} for at, rule in enumerate(more)]
        after = Epoch.of(1, policy(json.dumps(value)), atlases()[world])
        for key in data.draw(st.lists(flows(), min_size=1, max_size=4)):
            payload = data.draw(_PAYLOADS)
            verdict = after.judge(after.seen(key, payload))
            self.assertEqual(verdict, before.judge(before.seen(key, payload)))


_COUNTRIES = ("CN", "US", "HK", "SG")
_ASNS = (64496, 64497, 64498)


def _values() -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(_COUNTRIES), min_size=1, max_size=2, unique=True).map(tuple)


_WHOLE_PLACES = st.builds(
    Place,
    values=st.fixed_dictionaries({axis: _values() for axis in Axis}),
    asns=st.lists(st.sampled_from(_ASNS), min_size=1, max_size=2, unique=True).map(tuple),
)
"""Places on which every axis has a word, and nothing is in doubt."""


@st.composite
def _more(draw: st.DrawFn, place: Place) -> Place:
    """Give the place as it is when one source more has spoken."""
    axis = draw(st.sampled_from(Axis))
    word = draw(st.sampled_from(_COUNTRIES))
    said = tuple(dict.fromkeys((*place.values[axis], word)))
    asns = tuple(dict.fromkeys((*place.asns, draw(st.sampled_from(_ASNS)))))
    return Place({**place.values, axis: said}, asns)


@st.composite
def _barred(draw: st.DrawFn) -> dict[str, Any]:
    """Give a jurisdiction that rules block."""
    section: dict[str, Any] = {
        str(axis): draw(_values()) for axis in draw(st.sets(st.sampled_from(Axis), min_size=1))
    }
    if draw(st.booleans()):
        section["agreement"] = "all"
    if draw(st.booleans()):
        section["asns"] = [draw(st.sampled_from(_ASNS))]
    return section


@st.composite
def _let(draw: st.DrawFn) -> dict[str, Any]:
    """Give a jurisdiction that rules let through: only what all sources say belongs to it."""
    axes = draw(st.sets(st.sampled_from(Axis), min_size=1))
    return {**{str(axis): draw(_values()) for axis in axes}, "agreement": "all"}


_BLOCKING = st.sampled_from(
    ({"to": "barred"}, {"to": {"not": "let"}}, {"asn": 64497}, {"traffic": "ping"})
)
_LETTING = st.sampled_from(
    ({"to": {"not": "barred"}}, {"to": "let"}, {"asn": {"not": 64497}}, {"traffic": "media"})
)


@st.composite
def _cautious_rule(draw: st.DrawFn, at: int) -> dict[str, Any]:
    blocks = draw(st.booleans())
    parts = draw(st.lists(_BLOCKING if blocks else _LETTING, min_size=1, max_size=3))
    when = {draw(st.sampled_from(("any", "all"))): parts}
    action = "block" if blocks else draw(st.sampled_from(("allow", {"wrap": "nearest"})))
    return {"id": f"r{at}", "when": when, "action": action}


@st.composite
def cautious_policies(draw: st.DrawFn) -> str:
    """Give a policy that bars what any source may say is barred, and lets through what all say may
    be."""
    return json.dumps(
        {
            "policy": "p",
            "default": draw(st.sampled_from(("block", "allow"))),
            "jurisdictions": {"barred": draw(_barred()), "let": draw(_let())},
            "rules": [draw(_cautious_rule(at)) for at in range(draw(st.integers(1, 4)))],
        }
    )


def action(text: str, place: Place, traffic: Traffic | None = Traffic.PING) -> Action:
    """Give what a policy does with a flow to a place."""
    found: Facts = facts(place, traffic)
    return policy(text).judge(found).action


class MoreEvidenceTests(SynchronousTestCase):
    """A source more never opens a door, where a policy asks as docs/policy.md tells it to."""

    @settings(deadline=None, max_examples=250)
    @given(st.data(), cautious_policies(), _WHOLE_PLACES)
    def test_blocks_stay(self, data: st.DataObject, text: str, place: Place) -> None:
        """What is blocked on evidence of every axis stays blocked when one source more speaks,
        whether or not it agrees with the others."""
        traffic = data.draw(st.none() | st.sampled_from((Traffic.PING, Traffic.MEDIA)))
        before = action(text, place, traffic)
        event(str(before))
        if before is Action.BLOCK:
            after = action(text, data.draw(_more(place)), traffic)
            self.assertEqual(after, Action.BLOCK)

    def test_a_gap_is_not_a_word(self) -> None:
        """A block that rests on a gap alone ends where a source fills it with an innocent word."""
        text = """
policy: p
default: allow
jurisdictions: {china: {location: [CN], operator: [CN]}}
rules: [{id: a, when: {to: china}, action: block}]
"""
        gap = Place({Axis.LOCATION: ("US",)})
        self.assertEqual(action(text, gap), Action.BLOCK)
        filled = Place({Axis.LOCATION: ("US",), Axis.OPERATOR: ("US",)})
        self.assertEqual(action(text, filled), Action.ALLOW)

    def test_lists_of_what_is_let_through(self) -> None:
        """A list to let through asks for `agreement: all`: without it, one source that is wrong
        opens the door; with it, it closes it."""
        text = """
policy: p
jurisdictions: {us: {location: [US]%s}}
rules: [{id: a, when: {to: us}, action: allow}]
"""
        china = Place({Axis.LOCATION: ("CN",)})
        both = Place({Axis.LOCATION: ("CN", "US")})
        for agreement, after in (("", Action.ALLOW), (", agreement: all", Action.BLOCK)):
            self.assertEqual(action(text % agreement, china), Action.BLOCK)
            self.assertEqual(action(text % agreement, both), after)
