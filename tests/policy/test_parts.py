"""gateway.policy.parts: which conditions, and whose words, a result rests on."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model import Axis, Facts, Place
from gateway.policy import Considered
from tests.support.facts import AMERICA, CHINA, facts, policy
from tests.support.rows import rows

RULES = """
policy: p
jurisdictions:
  china: {location: [CN], operator: [CN], names: ["*.example.cn"]}
  agreed: {location: [CN], registration: [CN], agreement: all, asns: [1]}
rules:
- {id: a, when: %s, action: %s}
"""

_CN = tuple((axis, "CN") for axis in (Axis.LOCATION, Axis.OPERATOR))
_US = tuple((axis, "US") for axis in (Axis.LOCATION, Axis.OPERATOR))


def considered(when: str, seen: Facts, action: str = "block") -> Considered:
    """Explain a rule's result."""
    return policy(RULES % (when, action)).explain(seen)[1][0]


@rows(
    parts={
        "a true all rests on every part": (
            "{traffic: ping, to: china}", CHINA, True,
            [("traffic: ping", True), ("to: china", True)],
        ),
        "a false all on what is false": (
            "{traffic: ping, to: china}", AMERICA, False, [("to: china", False)],
        ),
        "a true any on what is true": (
            "{any: [{traffic: media}, {protocol: agora}]}", CHINA, True,
            [("protocol: agora", True)],
        ),
        "a false any on every part": (
            "{any: [{traffic: media}, {protocol: [rtp, rtcp]}]}", CHINA, False,
            [("traffic: media", False), ("protocol: rtcp, rtp", False)],
        ),
        "not of an any is told by its parts": (
            "{not: {any: [{traffic: media}, {protocol: rtp}]}}", CHINA, True,
            [("not traffic: media", True), ("not protocol: rtp", True)],
        ),
        "not of a not is what it was": (
            "{not: {traffic: {not: ping}}}", CHINA, True, [("traffic: ping", True)],
        ),
        "what asks for nothing rests on nothing": ("{}", CHINA, True, []),
        "the same condition twice is told once": (
            "{traffic: ping, all: [{traffic: ping}]}", CHINA, True, [("traffic: ping", True)],
        ),
        "ports, clients, networks and transport": (
            '{port: [8000, "1-9"], from: 10.1.0.0/16, asn: [16509, 2], transport: udp}', AMERICA,
            True,
            [("transport: udp", True), ("from: 10.1.0.0/16", True), ("port: 8000, 1-9", True),
             ("asn: 2, 16509", True)],
        ),
    },
    words={
        "of a member those that say so": (
            "china", Place({Axis.LOCATION: ("CN", "US"), Axis.OPERATOR: ("US",)}),
            ((Axis.LOCATION, "CN"),),
        ),
        "of no member all that was asked": ("china", AMERICA, _US),
        "of a doubt all that is known": (
            "china", Place({Axis.OPERATOR: ("US",)}), ((Axis.OPERATOR, "US"),),
        ),
        "of agreement each word": (
            "agreed", Place({Axis.LOCATION: ("CN", "HK"), Axis.REGISTRATION: ("CN",)}),
            ((Axis.LOCATION, "CN"), (Axis.LOCATION, "HK"), (Axis.REGISTRATION, "CN")),
        ),
        "of a network that announces it": (
            "agreed", Place({}, (1, 2)), ((Axis.OPERATOR, "AS1"),),
        ),
    },
)  # fmt: skip
class PartsTests(SynchronousTestCase):
    """A result is told by the conditions that make it what it is."""

    def check_parts(
        self, when: str, place: Place, result: bool, expected: list[tuple[str, bool]]
    ) -> None:
        """The conditions, as in the file, each with its result."""
        one = considered(when, facts(place))
        self.assertEqual(one.result, result)
        self.assertEqual([(part.condition, part.result) for part in one.parts], expected)

    def check_words(self, name: str, place: Place, words: tuple[tuple[Axis, str], ...]) -> None:
        """The words behind belonging to a jurisdiction."""
        parts = considered(f"{{to: {name}}}", facts(place)).parts
        self.assertEqual(set(parts[0].words), set(words))

    def test_undetermined(self) -> None:
        """A doubt rests on what is in doubt, not on what holds."""
        one = considered("{traffic: ping, to: china}", facts(CHINA, None))
        self.assertIsNone(one.result)
        self.assertEqual([part.condition for part in one.parts], ["traffic: ping"])

    def test_name(self) -> None:
        """Where a name alone makes a member, no evidence is behind it."""
        named = facts(names=("a.example.cn",))
        (part,) = considered("{to: china}", named).parts
        self.assertEqual((part.result, part.words), (True, ()))
        (other,) = considered("{to: {not: china}}", named, "allow").parts
        self.assertIs(other.result, False)

    def test_expired(self) -> None:
        """An exception that is over rests on its date."""
        text = RULES % ("{}", "allow, expires: 2026-01-01")
        (one,) = policy(text).explain(facts(CHINA))[1]
        self.assertEqual([part.condition for part in one.parts], ["expires: 2026-01-01"])
