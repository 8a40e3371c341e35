"""gateway.policy.linting: what is odd about a sound policy."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.document import parse
from gateway.model import Axis, Content, Facts, FlowKey, Place, Protocol, Traffic, pack
from gateway.policy import Remark, lint, load_whole
from gateway.policy.loading import Loaded, compile_whole
from tests.flow.any_policies import policies
from tests.support.bundled import ROOT
from tests.support.facts import AMERICA, CHINA, HONG_KONG, NOBODY, TODAY, USER
from tests.support.rows import rows

HEAD = """\
policy: p
default: block
owner: me
clients: {studio: [10.0.0.0/8], desk: [10.1.0.0/16]}
jurisdictions:
  china: {location: [CN], reason: r}
  asia: {location: [CN, JP], operator: [CN], reason: r}
  named: {names: ["*.example.cn"], reason: r}
rules:
"""
"""Nine lines; rules begin on line 10."""
ALL_USED = "- {id: used, when: {to: [china, asia, named], from: [studio, desk]}, action: block}\n"


def whole(text: str) -> Loaded:
    """Compile a text."""
    return compile_whole(parse(text, "policy.yaml"), TODAY)


def told(text: str, *kinds: str) -> list[tuple[str, int, int, str]]:
    """Give the remarks on a text: kind, line, column, sentence."""
    found = [one for one in lint(whole(text)) if not kinds or one.kind in kinds]
    return [(o.kind, o.problem.line, o.problem.column, o.problem.sentence) for o in found]


def two(first: str, second: str) -> tuple[str]:
    """Make two rules, "when, action" each, on lines 10 and 11."""
    lines = (f"- {{id: {i}, when: {t}}}\n" for i, t in (("one", first), ("two", second)))
    return (HEAD + "".join(lines),)


@rows(
    shaded={
        "the same twice": two("{to: china}, action: block", "{to: china}, action: block"),
        "behind everything": two("{}, action: {wrap: x}", "{to: china}, action: block"),
        "a narrower class": two(
            "{traffic: [ping, media]}, action: allow", "{traffic: ping, port: 1}, action: allow"
        ),
        "a class by what it is not": two(
            "{traffic: {not: dns}}, action: block", "{traffic: [ping, media]}, action: block"
        ),
        "a jurisdiction in another": two(
            "{to: asia}, action: block", "{to: china}, action: {reroute: x}"
        ),
        "not in the larger is not in the smaller": two(
            "{to: {not: china}}, action: allow", "{to: {not: asia}}, action: allow"
        ),
        "fewer clients": two("{from: studio}, action: block", "{from: desk}, action: allow"),
        "fewer ports": two('{port: "1-99"}, action: allow', "{port: [8, 9]}, action: block"),
        "ports by what they are not": two(
            '{port: "100-65535"}, action: allow', '{port: {not: "0-100"}}, action: block'
        ),
        "each of two ways": two(
            "{any: [{port: 1}, {to: china}]}, action: block",
            "{any: [{port: 1, traffic: ping}, {to: china, transport: udp}]}, action: allow",
        ),
        "De Morgan": two(
            "{not: {all: [{to: china}, {traffic: ping}]}}, action: block",
            "{any: [{not: {to: china}}, {traffic: {not: ping}}]}, action: block",
        ),
        "an expired block still blocks": two(
            "{to: china}, action: block, expires: 2026-01-01", "{to: china}, action: block"
        ),
    },
    open={
        "a wider class": two(
            "{traffic: ping}, action: block", "{traffic: [ping, dns]}, action: block"
        ),
        "an allow lets doubt through to a block": two(
            "{to: china}, action: allow, expires: 2027-01-01", "{to: china}, action: block"
        ),
        "a wrap leaves doubt to a block": two(
            "{traffic: ping}, action: {wrap: x}", "{traffic: ping}, action: block"
        ),
        "an exception ends some day": two(
            "{port: 1}, action: allow, expires: 2027-01-01", "{port: 1}, action: allow"
        ),
        "a rule in shadow takes nothing": two(
            "{to: china}, action: block, mode: shadow", "{to: china}, action: block"
        ),
        "a rule in shadow for some": two(
            "{to: china}, action: block, shadow: {percent: 1}", "{to: china}, action: block"
        ),
        "a jurisdiction in another, denied": two(
            "{to: {not: asia}}, action: allow", "{to: {not: china}}, action: allow"
        ),
        "a name in one look only": two(
            "{to: china, name: x.cn}, action: block", "{to: china}, action: block"
        ),
        "an unknown protocol": two(
            "{protocol: {not: unknown}}, action: block", "{protocol: stun}, action: block"
        ),
    },
    impossible={
        "two ports": ("{port: 80, all: [{port: 443}]}", "block"),
        "no transport": ("{transport: {not: [udp, tcp, icmp, other]}}", "block"),
        "no client": ("{from: desk, not: {from: studio}}", "block"),
        "a class and not": ("{traffic: ping, not: {traffic: [ping, dns]}}", "{wrap: x}"),
        "a jurisdiction and not": ("{to: china, not: {to: asia}}", "allow"),
        "two protocols": ("{protocol: stun, all: [{protocol: dns}]}", "allow"),
    },
    possible={
        "a block matches on doubt": ("{traffic: ping, not: {traffic: [ping, dns]}}", "block"),
        "two autonomous systems": ("{asn: 1, all: [{asn: 2}]}", "allow"),
        "a part of a jurisdiction": ("{to: asia, not: {to: china}}", "allow"),
    },
    remark={
        "no default": ("policy: p\n", "no-default", 1, 1, "say `default: block`"),
        "an open default": ("policy: p\ndefault: allow\n", "open-default", 2, 1, "cannot be told"),
        "clients that nobody asks for": (
            HEAD + "- {id: e, when: {}, action: block}\n",
            "unused",
            4,
            11,
            '"studio"',
        ),
        "an endless exception": (
            HEAD + "- {id: e, when: {from: desk}, action: allow}\n" + ALL_USED,
            "endless",
            10,
            4,
            'from rule "used" behind it',
        ),
        "an exception that nobody owns": (
            "policy: p\nrules:\n- {id: e, when: {}, action: allow, expires: 2027-01-01}\n",
            "no-owner",
            3,
            4,
            'rule "e" has no owner',
        ),
        "an allow by names": (
            HEAD + "- {id: e, when: {name: {not: x.cn}}, action: allow}\n",
            "names",
            10,
            11,
            "which clients choose",
        ),
        "an allow by a jurisdiction of names": (
            HEAD + "- {id: e, when: {to: {not: named}}, action: allow}\n",
            "names",
            10,
            11,
            '"named" is told by names only',
        ),
        "a share of nobody": (
            HEAD + "- {id: e, when: {}, action: block, shadow: {percent: 0}}\n",
            "shadow",
            10,
            36,
            "remove `shadow`",
        ),
        "a share of everybody": (
            HEAD + "- {id: e, when: {}, action: block, shadow: {percent: 100}}\n",
            "shadow",
            10,
            36,
            "mode: shadow",
        ),
        "networks in others": (
            "policy: p\njurisdictions:\n  j: {networks: [10.0.0.0/8, 10.1.0.0/16]}\n",
            "covered",
            3,
            30,
            '"10.1.0.0/16" is in "10.0.0.0/8" already',
        ),
        "networks that are excepted": (
            "policy: p\njurisdictions:\n  j: {networks: [::1], except: {networks: ['::/64']}}\n",
            "empty",
            3,
            3,
            "all of its networks are excepted",
        ),
        "a list of which nothing is used": (
            "policy: p\ninclude: [russia]\n",
            "unused",
            2,
            11,
            "nothing of what it defines",
        ),
        "a set in another": (HEAD + ALL_USED, "overlap", 6, 3, '"china" is wholly in "asia"'),
        "a source without a review": (
            "policy: p\njurisdictions: {j: {asns: [1], source: s}}\n",
            "no-review",
            2,
            17,
            "say review_by",
        ),
    },
)
class LintTests(SynchronousTestCase):
    """What is odd is told, with its place; what is not proven is not."""

    def check_shaded(self, text: str) -> None:
        """The second rule can never match, since the first takes everything from it."""
        ((_, line, column, says),) = told(text, "shaded", "impossible")
        self.assertEqual((line, column), (11, 4))
        self.assertIn('rule "two" can never match: rule "one" (line 10) before it', says)

    def check_open(self, text: str) -> None:
        """The second rule can match what the first leaves."""
        self.assertEqual(told(text, "shaded", "impossible"), [])

    def check_impossible(self, when: str, action: str) -> None:
        """A rule whose conditions exclude each other."""
        text = HEAD + f"- {{id: i, when: {when}, action: {action}}}\n"
        self.assertEqual([one[:3] for one in told(text, "impossible")], [("impossible", 10, 4)])

    def check_possible(self, when: str, action: str) -> None:
        """A rule that some flow matches."""
        text = HEAD + f"- {{id: i, when: {when}, action: {action}}}\n"
        self.assertEqual(told(text, "impossible"), [])

    def check_remark(self, text: str, kind: str, line: int, column: int, words: str) -> None:
        """One remark of that kind, at that place, in those words."""
        found = told(text, kind)
        self.assertEqual([one[:3] for one in found][:1], [(kind, line, column)])
        self.assertIn(words, found[0][3])

    def test_by_several(self) -> None:
        """Blocks may shade a rule together; rules that do not block may not, since a flow's
        addresses can fall to different ones."""
        text = HEAD + (
            "- {id: a, when: {to: china}, action: %s}\n- {id: b, when: {port: 1}, action: %s}\n"
            "- {id: c, when: {any: [{to: china}, {port: 1, traffic: ping}]}, action: allow}\n"
        )
        ((_, line, _, says),) = told(text % ("block", "block"), "shaded")
        self.assertEqual(line, 12)
        self.assertIn('rules "a" (line 10) and "b" (line 11) before it match', says)
        self.assertEqual(told(text % ("{wrap: x}", "{wrap: x}"), "shaded"), [])

    def test_too_many(self) -> None:
        """Of conditions with very many alternatives nothing is proven, quickly."""
        many = ", ".join("{any: [{port: 1}, {traffic: ping}, {to: china}]}" for _ in range(40))
        text = HEAD + f"- {{id: a, when: {{all: [{many}]}}, action: block}}\n"
        self.assertEqual(told(text, "shaded", "impossible"), [])

    def test_words(self) -> None:
        """A remark is a line with its place, its weight and its kind."""
        (remark,) = [one for one in lint(whole("policy: p\n")) if one.kind == "no-default"]
        self.assertTrue(str(remark).startswith("policy.yaml:1:1: warning: no default"))
        self.assertTrue(str(remark).endswith("[no-default]"))
        quiet = Remark(remark.kind, remark.problem, is_note=True)
        self.assertIn(": note: ", str(quiet))

    def test_bundled(self) -> None:
        """Nothing is odd about the policies that come with the gateway."""
        for name in ("default", "exit"):
            self.assertEqual(lint(load_whole(ROOT / "policies" / f"{name}.yaml", TODAY)), ())


PLACES = st.sampled_from(
    [CHINA, AMERICA, HONG_KONG, NOBODY]
    + [
        Place({Axis.LOCATION: (code,)}, asns=(asn,))
        for code in ("CN", "US")
        for asn in (64496, 64499)
    ]
    + [Place(dict.fromkeys(Axis, ("CN", "US")), asns=(64497, 64496))]
)
HOSTS = st.sampled_from(["2.2.3.4", "9.1.1.1", "3.0.0.1", "192.0.2.1", "2402::1", "2600::1"])


@st.composite
def flows(draw: st.DrawFn) -> Facts:
    """Give any facts: what is seen, and what is not."""
    transport = draw(st.sampled_from(["udp", "tcp", "icmp"]))
    client = draw(st.sampled_from(["10.1.0.2", "10.2.0.2"]))
    ports = transport != "icmp"
    client += ":5000" if ports else ""
    key = FlowKey.parse(f"{transport} {client} > 192.0.2.1{':443' if ports else ''}")
    port = draw(st.sampled_from([443, 80])) if ports else 0
    key = key._replace(destination=key.destination._replace(address=pack(draw(HOSTS)), port=port))
    content = None
    if draw(st.booleans()):
        content = Content(
            draw(st.sampled_from([Protocol.STUN, Protocol.UNKNOWN, Protocol.ICMP, Protocol.HTTP])),
            traffic=draw(st.sampled_from([None, Traffic.PING, Traffic.MEDIA, Traffic.DNS])),
            plaintext=draw(st.sampled_from([None, (), (USER,)])),
        )
    names = draw(st.sampled_from([(), ("a.example.cn",), ("a.example.us",)]))
    further = tuple(pack(one) for one in draw(st.lists(HOSTS, max_size=2)))
    places = tuple(draw(PLACES) for _ in further)
    return Facts(key, draw(PLACES), content, names, further, places)


@st.composite
def narrowed(draw: st.DrawFn) -> str:
    """Give a policy with one more rule, that asks for what rules before it ask for, and more."""
    text: dict[str, Any] = json.loads(draw(policies()))
    rules = text["rules"]
    assume(rules)
    whens = [
        rule["when"] for rule in draw(st.lists(st.sampled_from(rules), min_size=1, max_size=2))
    ]
    more = draw(st.sampled_from([{}, {"traffic": "ping"}, {"to": "a"}, {"port": 443}]))
    when = {"any": [{"all": [one, more]} for one in whens]}
    asks_names = "name" in json.dumps(when)
    action = "block" if asks_names else draw(st.sampled_from(["block", "allow", {"wrap": "x"}]))
    rules.append({"id": "last", "when": when, "action": action})
    return json.dumps({**text, "mode": "enforce"})


class ProofTests(SynchronousTestCase):
    """A rule of which it is said that it never matches never does."""

    @settings(deadline=None, max_examples=80)
    @given(narrowed(), st.lists(flows(), min_size=8, max_size=8))
    def test_never(self, text: str, given_facts: list[Facts]) -> None:
        """Whatever the flow, its addresses, names and payload, seen or not."""
        loaded = whole(text)
        dead = {
            one.problem.sentence.split('"')[1]
            for one in lint(loaded)
            if one.kind in ("shaded", "impossible")
        }
        assume(dead)
        for facts in given_facts:
            verdict = loaded.policy.judge(facts)
            self.assertNotIn(verdict.rule, dead)
            self.assertTrue(verdict.would is None or verdict.would.rule not in dead)
