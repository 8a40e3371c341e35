"""Round trips refute where an address is said to be, and allow nothing by it."""

from __future__ import annotations

import datetime
import itertools
from dataclasses import replace
from types import MappingProxyType

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway import geo, policy
from gateway.document import parse
from gateway.flow.account import account_of
from gateway.flow.discs import HERE, MAX_ADDRESSES, Discs
from gateway.flow.epoch import Epoch
from gateway.flow.flows import Nobody
from gateway.flow.table import FlowLimits, FlowTable
from gateway.geo import Extents, Position
from gateway.model import Action, Axis, FlowKey, Place
from tests.support.rows import rows

NETWORK = "192.0.2.0/24"

TODAY = datetime.date(2026, 11, 24)
_SETS = """\
policy: x
jurisdictions:
  china: {location: [CN], registration: [CN], operator: [CN], owner: o, reason: r}
  states: {location: [US], owner: o, reason: r}
rules:
"""
POLICIES = tuple(
    _SETS
    + "".join(f"  - {{id: r{at}, {one}, reason: r, owner: o}}\n" for at, one in enumerate(rules))
    for rules in (
        ["when: {to: {not: china}}, action: allow"],
        ["when: {to: china}, action: block", "when: {}, action: allow"],
        ["when: {to: china}, action: {wrap: nearest}", "when: {}, action: allow"],
        ["when: {to: china}, action: {reroute: eu}", "when: {}, action: allow"],
        ["when: {to: states}, action: allow", "when: {}, action: {wrap: nearest}"],
        ["when: {to: states}, action: {wrap: nearest}", "when: {to: {not: china}}, action: allow"],
        ["when: {to: [china, states]}, action: {wrap: eu}", "when: {}, action: allow"],
    )
)

FRANKFURT, HONG_KONG = Position(50.1, 8.7), Position(22.3, 114.2)
EXTENTS = Extents.bundled()
ADDRESS = bytes((192, 0, 2, 1))
KEY = FlowKey.parse("udp 10.0.0.1:5000 > 192.0.2.1:8000")


def place(*countries: str) -> Place:
    """Give a place with these locations."""
    return Place(MappingProxyType({Axis.LOCATION: countries, Axis.OPERATOR: ("US",)}))


class Setting:
    """Discs, with a clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.discs = Discs({"eu": FRANKFURT, HERE: HONG_KONG}, EXTENTS, self.clock.seconds)

    def answer(self, name: str, *rtts_ms: float, address: bytes = ADDRESS) -> bool:
        """Have an address answer, a second apart; say whether the last was news."""
        is_news = False
        for rtt_ms in rtts_ms:
            self.clock.advance(1)
            is_news = self.discs.answered(name, address, rtt_ms / 1e3)
        return is_news


@rows(
    refuted={
        "5 ms from Frankfurt is not in the United States": ("eu", 5.0, "US", True),
        "nor in China": ("eu", 5.0, "CN", True),
        "but in Germany": ("eu", 5.0, "DE", False),
        "and perhaps in France": ("eu", 5.0, "FR", False),
        "60 ms may be anywhere in Europe, not in Australia": ("eu", 60.0, "AU", True),
        "200 ms may be anywhere": ("eu", 200.0, "AU", False),
        "from Hong Kong mainland China cannot be excluded": (HERE, 0.2, "CN", False),
        "a country that the table does not know": ("eu", 0.1, "XK", False),
        "who has no position refutes nothing": ("us", 1.0, "AU", False),
    }
)
class DiscsTests(SynchronousTestCase):
    """What round trips say, alone."""

    def check_refuted(self, name: str, rtt_ms: float, country: str, is_refuted: bool) -> None:
        """A claim is refuted if all of the country is out of light's reach, and only then."""
        setting = Setting()
        setting.answer(name, rtt_ms, rtt_ms, rtt_ms)
        found = setting.discs.refuted(ADDRESS, place(country))
        self.assertEqual(found, (country,) if is_refuted else ())

    def test_three_round_trips(self) -> None:
        """One or two short round trips refute nothing, nor do many within a second: a clock that
        is set makes some wrong."""
        setting = Setting()
        setting.answer("eu", 90.0, 90.0, 5.0, 5.0)
        for _ in range(10):
            setting.discs.answered("eu", ADDRESS, 0.001)
        self.assertEqual(setting.discs.refuted(ADDRESS, place("AU")), ())
        self.assertTrue(setting.answer("eu", 5.0))
        self.assertEqual(setting.discs.refuted(ADDRESS, place("AU")), ("AU",))

    def test_nonsense(self) -> None:
        """A round trip of no time, or of less, is not heard."""
        setting = Setting()
        setting.answer("eu", 0.0, -5.0, 0.0, -1.0)
        self.assertEqual((len(setting.discs), setting.discs.around(ADDRESS)), (0, ()))

    def test_expiry(self) -> None:
        """A day after the last answer nothing is refuted any more, and all begins anew."""
        setting = Setting()
        setting.answer("eu", 5.0, 5.0, 5.0)
        setting.clock.advance(86_400)
        self.assertEqual(setting.discs.refuted(ADDRESS, place("AU")), ("AU",))
        setting.clock.advance(1)
        self.assertEqual(setting.discs.refuted(ADDRESS, place("AU")), ())
        setting.answer("eu", 5.0)
        self.assertEqual(setting.discs.refuted(ADDRESS, place("AU")), ())

    def test_bounded(self) -> None:
        """Those that answered last are remembered, and no more than so many."""
        setting = Setting()
        for number in range(MAX_ADDRESSES + 50):
            setting.discs.answered("eu", number.to_bytes(4, "big"), 0.005)
        self.assertEqual(len(setting.discs), MAX_ADDRESSES)

    def test_one_refuted_word_is_enough(self) -> None:
        """Where one of several locations is refuted, none counts: who errs once may err twice."""
        setting = Setting()
        setting.answer("eu", 5.0, 5.0, 5.0)
        doubted = setting.discs.doubted(ADDRESS, place("DE", "US"))
        assert doubted is not None
        self.assertNotIn(Axis.LOCATION, doubted.values)
        self.assertEqual(doubted.values[Axis.OPERATOR], ("US",))
        self.assertIn("sooner than light comes back from US: location refuted", doubted.doubts[0])

    def test_the_same_place(self) -> None:
        """One object stands for the same evidence, as policies remember by it."""
        setting, claimed = Setting(), place("US")
        setting.answer("eu", 5.0, 5.0, 5.0)
        first = setting.discs.doubted(ADDRESS, claimed)
        self.assertIs(setting.discs.doubted(ADDRESS, claimed), first)
        self.assertIsNone(setting.discs.doubted(bytes(4), claimed))

    def test_between(self) -> None:
        """What the way to an exit takes at least is known from both positions."""
        discs = Setting().discs
        self.assertEqual(round(discs.between_s("eu") * 1e3), 61)
        self.assertEqual(discs.between_s("elsewhere"), 0.0)

    @settings(deadline=None, max_examples=60)
    @given(
        st.sampled_from(sorted(EXTENTS.countries)),
        st.floats(-89, 89),
        st.floats(-180, 180),
        st.integers(0, 10**6),
    )
    def test_sound(self, country: str, latitude: float, longitude: float, pick: int) -> None:
        """From anywhere in a country, at the speed of light, its claim is never refuted."""
        cells = EXTENTS.cells(country)
        there, here = cells[pick % len(cells)], Position(latitude, longitude)
        rtt_s = max(1e-6, 2 * geo.distance_km(here, there) / 299_792.458)
        clock = Clock()
        discs = Discs({"x": here}, EXTENTS, clock.seconds)
        discs.tell("x", ADDRESS, rtt_s)
        self.assertEqual(discs.refuted(ADDRESS, place(country)), ())


class JudgingTests(SynchronousTestCase):
    """What they do to verdicts."""

    def test_an_allow_becomes_a_block(self) -> None:
        """What was allowed for its location is blocked once the location is refuted, with the
        flow's next datagram; the account says why."""
        setting = Setting()
        atlas = geo.of_overrides_only(geo.Override(network=NETWORK, reason="x", location="US"))
        loaded = policy.compile_policy(parse(POLICIES[0], "x.yaml"), TODAY)
        limits = FlowLimits(10, 10, 60.0)
        table = FlowTable(
            Epoch.of(1, loaded, atlas),
            setting.clock.seconds,
            limits,
            Nobody(),
            discs=setting.discs,
        )
        self.assertIs(table.judge(KEY, b"hello").action, Action.ALLOW)
        for _ in range(3):
            setting.clock.advance(1)
            table.answered("eu", ADDRESS, 0.005)
        self.assertIs(table.judge(KEY, b"hello").action, Action.BLOCK)
        account = account_of(table.epoch, table.epoch.facts(KEY, None))
        self.assertEqual(account["verdict"]["action"], "block")
        told = account["facts"]["to"]
        self.assertEqual(told["round_trips"][0]["refutes"], ["US"])
        self.assertEqual(told["undetermined"], ["china", "states"])
        self.assertIn("location refuted", told["doubts"][0])

    def test_nothing_becomes_an_allow(self) -> None:
        """Whatever a policy does by location, and whatever is refuted: nothing is allowed that was
        not; what was blocked stays blocked."""
        for text, country in itertools.product(POLICIES, ("CN", "US", "DE")):
            atlas = geo.of_overrides_only(
                geo.Override(network=NETWORK, reason="x", location=country)
            )
            loaded = policy.compile_policy(parse(text, "x.yaml"), TODAY)
            setting = Setting()
            before = Epoch.of(1, loaded, atlas)
            after = replace(before, discs=setting.discs)
            setting.answer("eu", 0.1, 0.1, 0.1)
            setting.answer(HERE, 0.1, 0.1, 0.1)  # none is that near to both: all is refuted
            was = before.judge(before.facts(KEY, None)).action
            facts = after.facts(KEY, None)
            self.assertIsNotNone(facts.claimed)
            verdict = after.judge(facts)
            self.assertEqual(after.explain(facts)[0], verdict)
            if was is Action.BLOCK or verdict.action is Action.ALLOW:
                self.assertIs(verdict.action, was, (text, country))
