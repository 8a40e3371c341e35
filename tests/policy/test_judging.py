"""gateway.policy: what a policy says of a flow."""

from __future__ import annotations

import datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import (
    Action,
    Axis,
    Content,
    Facts,
    FlowKey,
    Mode,
    Place,
    Protocol,
    Traffic,
    pack,
)
from tests.support.facts import AMERICA, CHINA, HONG_KONG, NOBODY, TODAY, USER, facts, policy
from tests.support.rows import rows

PROMISE = """
policy: promise
jurisdictions:
  china:
    location: [CN]
    registration: [CN]
    operator: [CN]
    names: ["*.example.cn"]
  agreed-us: {location: [US], operator: [US], agreement: all}
  listed: {networks: [192.0.2.0/24], except: {networks: [192.0.2.9]}}
  hosted: {asns: [37963]}
rules:
- {id: never-ping, when: {traffic: [ping, telemetry], to: china}, action: block}
- {id: media, when: {traffic: media, to: china}, action: {reroute: us-edge}}
- {id: plain, when: {plaintext: any, to: {not: china}}, action: {wrap: nearest}}
- {id: rest, when: {to: {not: china}}, action: allow}
"""

ONE_RULE = """
policy: one
default: allow
jurisdictions:
  china: {location: [CN], registration: [CN], operator: [CN], names: ["*.example.cn"]}
  us: {location: [US], names: ["*.example.us"]}
  agreed: {location: [US], operator: [US], agreement: all}
  listed: {networks: [192.0.2.0/24], except: {networks: [192.0.2.9]}}
  hosted: {asns: [37963]}
clients: {studio: [10.1.0.0/16, 10.3.0.0/16]}
rules:
- {id: r, when: %s, action: %s}
"""

ENCRYPTED = facts(AMERICA, None, (), protocol=Protocol.SD_RTN)
NOISE = facts(AMERICA, None, None, protocol=Protocol.UNKNOWN)
SYN = facts(AMERICA, seen=False, flow="tcp 10.1.0.2:5000 > 192.0.2.1:443")
MIXED = Place({Axis.LOCATION: ("US", "CA"), Axis.OPERATOR: ("US",)})
UNPLACED = Place({Axis.OPERATOR: ("US",)})


@rows(
    verdict={
        "a ping to China dies": (facts(CHINA), "block", "never-ping"),
        "media to China goes by the relay": (facts(CHINA, Traffic.MEDIA), "reroute", "media"),
        "other traffic to China meets the default": (
            facts(CHINA, Traffic.OTHER),
            "block",
            "default",
        ),
        "a class that cannot be told, to China, dies by the first block": (
            facts(CHINA, None),
            "block",
            "never-ping",
        ),
        "a Chinese block that stands in Hong Kong is Chinese": (
            facts(HONG_KONG),
            "block",
            "never-ping",
        ),
        "a ping to nobody knows where dies": (facts(NOBODY), "block", "never-ping"),
        "plain identifiers to nobody knows where are not wrapped": (
            facts(NOBODY, Traffic.OTHER, (USER,)),
            "block",
            "default",
        ),
        "an identifier in plaintext is wrapped": (
            facts(AMERICA, plaintext=(USER,)),
            "wrap",
            "plain",
        ),
        "a ping without identifiers goes": (facts(AMERICA), "allow", "rest"),
        "an unknown protocol is not wrapped on suspicion": (NOISE, "allow", "rest"),
        "a name in China blocks a ping to an American address": (
            facts(AMERICA, names=("ap.example.cn",)),
            "block",
            "never-ping",
        ),
        "a name in China keeps other traffic from being allowed": (
            facts(AMERICA, Traffic.OTHER, names=("ap.example.cn",)),
            "block",
            "default",
        ),
        "an American name does not help a Chinese address": (
            facts(CHINA, names=("edge.example.us",)),
            "block",
            "never-ping",
        ),
    },
    condition={
        "everything": ("{}", NOISE, True),
        "traffic": ("{traffic: ping}", facts(), True),
        "other traffic": ("{traffic: media}", facts(), False),
        "traffic that cannot be told": ("{traffic: media}", ENCRYPTED, None),
        "traffic not seen": ("{traffic: {not: media}}", SYN, None),
        "protocol": ("{protocol: [agora, stun]}", facts(), True),
        "another protocol": ("{protocol: stun}", facts(), False),
        "unknown might be any protocol": ("{protocol: stun}", NOISE, None),
        "unknown asked for": ("{protocol: unknown}", NOISE, True),
        "transport": ("{transport: udp}", facts(), True),
        "another transport": ("{transport: tcp}", facts(), False),
        "a port in a range": ('{port: "7999-8001"}', facts(), True),
        "a port beside a range": ('{port: [9700, "8001-8100"]}', facts(), False),
        "from a group": ("{from: studio}", facts(), True),
        "from a network": ("{from: 10.2.0.0/16}", facts(), False),
        "asn": ("{asn: 16509}", facts(AMERICA), True),
        "another asn": ("{asn: 45102}", facts(AMERICA), False),
        "asn not known": ("{asn: 45102}", facts(MIXED), None),
        "a kind of identifier": ("{plaintext: user-id}", facts(plaintext=(USER,)), True),
        "another kind": ("{plaintext: token}", facts(plaintext=(USER,)), False),
        "no identifiers": ("{plaintext: {not: any}}", facts(), True),
        "identifiers in an unknown protocol": ("{plaintext: any}", NOISE, None),
        "a listed network": ("{to: listed}", facts(NOBODY), True),
        "an excepted address": (
            "{to: listed}",
            facts(CHINA, flow="udp 10.1.0.2:1 > 192.0.2.9:1"),
            False,
        ),
        "outside a listed network": (
            "{to: listed}",
            facts(CHINA, flow="udp 10.1.0.2:1 > 198.51.100.9:1"),
            False,
        ),
        "a listed autonomous system": ("{to: hosted}", facts(CHINA), True),
        "an unlisted autonomous system": ("{to: hosted}", facts(AMERICA), False),
        "an announcer nobody knows": ("{to: hosted}", facts(Place({})), None),
        "one source of two is enough": ("{to: us}", facts(MIXED), True),
        "sources that must agree and do not": ("{to: agreed}", facts(MIXED), None),
        "sources that must agree and do": ("{to: agreed}", facts(AMERICA), True),
        "sources that must agree, one silent": ("{to: agreed}", facts(UNPLACED), None),
        "sources that agree on elsewhere": ("{to: agreed}", facts(CHINA), False),
        "an axis without evidence": ("{to: us}", facts(UNPLACED), None),
        "a private address": ("{to: us}", facts(NOBODY), None),
        "any of two": ("{any: [{traffic: media}, {port: 8000}]}", facts(), True),
        "all of two": ("{all: [{traffic: ping}, {port: 80}]}", facts(), False),
        "not": ("{not: {traffic: ping}}", facts(), False),
        "not of an undetermined": ("{not: {traffic: ping}}", ENCRYPTED, None),
    },
)
class VerdictTests(SynchronousTestCase):
    """The first rule that matches decides, and doubt blocks."""

    def check_verdict(self, given_facts: Facts, action: str, rule: str) -> None:
        """The promise, case by case."""
        verdict = policy(PROMISE).judge(given_facts)
        self.assertEqual((verdict.action, verdict.rule), (action, rule))

    def check_condition(self, when: str, given_facts: Facts, truth: bool | None) -> None:
        """A condition is true, false or undetermined; a block takes all but false, an allow none
        but true."""
        block, considered = policy(ONE_RULE % (when, "block")).explain(given_facts)
        self.assertIs(considered[0].result, truth, considered[0].why)
        self.assertTrue(considered[0].why)
        self.assertEqual(block.rule, "default" if truth is False else "r")
        allow = policy(ONE_RULE % (when, "allow")).judge(given_facts)
        self.assertEqual(allow.rule, "r" if truth is True else "default")

    def test_doubt_is_said(self) -> None:
        """A block that rests on doubt says what was not known."""
        verdict = policy(PROMISE).judge(facts(NOBODY))
        self.assertIn("undetermined: traffic ping; china: ", verdict.reason)
        self.assertIn("RFC 1918", verdict.reason)

    def test_default_is_block(self) -> None:
        """A policy without a default blocks."""
        self.assertIs(policy("policy: empty").judge(facts()).action, Action.BLOCK)

    def test_explain_is_judge(self) -> None:
        """Explaining gives the verdict that judging gives, and the rules up to it."""
        verdict, considered = policy(PROMISE).explain(facts(AMERICA, plaintext=(USER,)))
        self.assertEqual(verdict, policy(PROMISE).judge(facts(AMERICA, plaintext=(USER,))))
        self.assertEqual(
            [(one.rule, one.result) for one in considered],
            [("never-ping", False), ("media", False), ("plain", True)],
        )

    def test_epoch(self) -> None:
        """Verdicts carry the epoch that they were given in."""
        compiled = policy(PROMISE).at_epoch(7)
        self.assertEqual(compiled.judge(facts()).epoch, 7)
        self.assertEqual(compiled.judge(facts(CHINA, Traffic.OTHER)).epoch, 7)

    def test_revision(self) -> None:
        """The revision changes with what the policy says, not with its layout."""
        same = PROMISE.replace("location: [CN]", "location:  [CN]  # a remark")
        other = PROMISE.replace("location: [CN]", "location: [CN, HK]")
        self.assertEqual(policy(PROMISE).revision, policy(same).revision)
        self.assertNotEqual(policy(PROMISE).revision, policy(other).revision)

    @settings(deadline=None, max_examples=100)
    @given(
        st.sampled_from([CHINA, AMERICA, HONG_KONG, NOBODY, MIXED, UNPLACED]),
        st.sampled_from([None, *Traffic]),
        st.sampled_from([None, (), (USER,)]),
        st.booleans(),
    )
    def test_never_to_china(
        self,
        place: Place,
        traffic: Traffic | None,
        plaintext: tuple[()] | None,
        seen: bool,
    ) -> None:
        """Nothing is ever allowed or wrapped to a place that is, or may be, in China."""
        verdict = policy(PROMISE).judge(facts(place, traffic, plaintext, seen=seen))
        if verdict.action in (Action.ALLOW, Action.WRAP):
            self.assertIn(place, (AMERICA,))


@rows(
    name={
        "a block by name": ("{name: '*.example.cn'}", "block", ("ap.example.cn",), True),
        "a block by name, another name": ("{name: '*.example.cn'}", "block", ("a.us",), False),
        "an allow by jurisdiction never rests on a name": (
            "{to: us}",
            "allow",
            ("a.example.us",),
            False,
        ),
        "a wrap by jurisdiction never rests on a name either": (
            "{to: us}",
            "{wrap: nearest}",
            ("a.example.us",),
            False,
        ),
        "an allow but for a name": ("{name: {not: '*.cn'}}", "allow", ("a.us",), True),
        "an allow but for that name": ("{name: {not: '*.cn'}}", "allow", ("a.cn",), False),
        "a block is not lifted by a name": ("{name: {not: '*.us'}}", "block", ("a.us",), True),
    }
)
class NameTests(SynchronousTestCase):
    """Names are evidence for blocking, never for allowing."""

    def check_name(self, when: str, action: str, names: tuple[str, ...], expected: bool) -> None:
        """Whoever sends a name cannot open a door with it."""
        given_facts = facts(CHINA, Traffic.OTHER, names=names)
        _, considered = policy(ONE_RULE % (when, action)).explain(given_facts)
        self.assertIs(considered[0].result, expected)

    def test_name_given_and_hidden(self) -> None:
        """A name that the client gives does not vouch for the one that its payload hides."""
        hidden = facts(AMERICA, Traffic.OTHER, protocol=Protocol.TLS, names=("good.example.us",))
        self.assertEqual(policy(ONE_RULE % ("{name: '*.cn'}", "block")).judge(hidden).rule, "r")

    def test_no_name_known(self) -> None:
        """Where a name can hide, a block by name is undetermined and blocks."""
        when = "{name: '*.example.cn'}"
        hidden = facts(AMERICA, Traffic.OTHER, protocol=Protocol.TLS)
        self.assertEqual(policy(ONE_RULE % (when, "block")).judge(hidden).rule, "r")
        nameless = facts(AMERICA, Traffic.PING, protocol=Protocol.STUN)
        self.assertEqual(policy(ONE_RULE % (when, "block")).judge(nameless).rule, "default")

    def test_outer_name(self) -> None:
        """The name in front of an encrypted ClientHello counts against a flow, and vouches for
        nothing: the name behind it is undetermined."""
        for hides_name, rule in ((False, "default"), (True, "r")):
            hello = Content(
                Protocol.QUIC, "ClientHello", Traffic.OTHER, (), ("x.us",), hides_name=hides_name
            )
            seen = Facts(FlowKey.parse(TCP), AMERICA, hello, ("x.us",))
            for_block = policy(ONE_RULE % ("{name: '*.example.cn'}", "block"))
            self.assertEqual(for_block.judge(seen).rule, rule)
            against = policy(ONE_RULE % ("{name: x.us}", "block"))
            self.assertEqual(against.judge(seen).rule, "r")


TCP = "tcp 10.1.0.2:5000 > 192.0.2.1:443"


def reaching(
    place: Place, *further: tuple[str, Place], content: Content | None = None, host: str = "9.9.9.9"
) -> Facts:
    """Make a flow with the addresses that are judged with its destination, each with its place."""
    key = FlowKey.parse(f"udp 10.1.0.2:5000 > {host}:3478")
    seen = content or Content(Protocol.STUN, "Send indication", Traffic.MEDIA, ())
    addresses, places = (pack(one) for one, _ in further), (one for _, one in further)
    return Facts(key, place, seen, (), tuple(addresses), tuple(places))


IN_CHINA, IN_AMERICA = ("1.2.3.4", CHINA), ("5.6.7.8", AMERICA)
LISTED, EXCEPTED = ("192.0.2.1", NOBODY), ("192.0.2.9", AMERICA)
PEERS = [IN_CHINA, IN_AMERICA, LISTED, EXCEPTED, ("6.6.6.6", NOBODY), ("7.7.7.7", HONG_KONG)]
CONDITIONS = [
    "{to: us}",
    "{to: {not: us}}",
    "{to: china}",
    "{to: [china, us]}",
    "{to: listed}",
    "{to: {not: agreed}}",
    "{to: hosted}",
    "{asn: 16509}",
    "{asn: {not: 37963}}",
    "{to: us, traffic: media}",
    "{any: [{to: us}, {to: listed}]}",
    "{not: {all: [{to: us}, {traffic: media}]}}",
]


@rows(
    peers={
        "a Chinese destination asked for an American peer": (reaching(CHINA, IN_AMERICA), False),
        "an American relay asked for a Chinese peer": (reaching(AMERICA, IN_CHINA), False),
        "one of several": (reaching(AMERICA, IN_AMERICA, IN_CHINA, IN_AMERICA), False),
        "nobody knows whose": (reaching(AMERICA, ("1.2.3.4", NOBODY)), False),
        "an American relay asked for an American peer": (reaching(AMERICA, IN_AMERICA), True),
        "an American relay asked for nobody": (reaching(AMERICA), True),
    },
    lists={
        "a listed destination asked for an unlisted peer": ("192.0.2.1", "6.6.6.6", False),
        "an unlisted destination asked for a listed peer": ("6.6.6.6", "192.0.2.1", False),
        "a listed destination asked for an excepted peer": ("192.0.2.1", "192.0.2.9", False),
        "both listed": ("192.0.2.1", "192.0.2.2", True),
    },
)
class FurtherTests(SynchronousTestCase):
    """What a payload asks its destination to reach, and what an address spells, is judged as the
    destination is: each alone."""

    def check_peers(self, asked: Facts, may_go: bool) -> None:
        """An allow needs every address on its list, and a block against a list needs one off it."""
        allow = policy(ONE_RULE.replace("default: allow", "") % ("{to: us}", "allow"))
        block = policy(ONE_RULE % ("{to: {not: us}}", "block"))
        relayed = policy(ONE_RULE.replace("default: allow", "") % ("{to: us}", "{wrap: nearest}"))
        self.assertIs(allow.judge(asked).action, Action.ALLOW if may_go else Action.BLOCK)
        self.assertIs(block.judge(asked).action, Action.ALLOW if may_go else Action.BLOCK)
        self.assertIs(relayed.judge(asked).action, Action.WRAP if may_go else Action.BLOCK)

    def check_lists(self, host: str, peer: str, may_go: bool) -> None:
        """Networks that a policy lists are looked at for each address too."""
        compiled = policy(ONE_RULE.replace("default: allow", "") % ("{to: listed}", "allow"))
        asked = reaching(AMERICA, (peer, AMERICA), host=host)
        self.assertIs(compiled.judge(asked).action, Action.ALLOW if may_go else Action.BLOCK)

    def test_peer_in_china(self) -> None:
        """A relay in the United States that is asked to reach China is China, and who asks why is
        told for which address."""
        ping = Content(Protocol.STUN, "", Traffic.PING, ())
        asked = reaching(AMERICA, IN_AMERICA, IN_CHINA, content=ping)
        verdict, considered = policy(PROMISE).explain(asked)
        self.assertEqual(verdict.rule, "never-ping")
        self.assertEqual(
            considered[0].why,
            "1.2.3.4: traffic ping; china: location CN; registration CN; operator CN",
        )

    def test_rerouted(self) -> None:
        """What is rerouted for being in China is all in China."""
        media = [
            judged.rule
            for judged in map(
                policy(PROMISE).judge,
                (
                    reaching(CHINA, IN_CHINA),
                    reaching(AMERICA, IN_CHINA),
                    reaching(CHINA, IN_AMERICA),
                ),
            )
        ]
        self.assertEqual(media, ["media", "default", "default"])

    def test_unknown_peer(self) -> None:
        """One that is asked to reach nobody knows where may be China; the log does not tell where
        that is, which can be another client."""
        ping = Content(Protocol.STUN, "", Traffic.PING, ())
        asked = reaching(AMERICA, ("6.6.6.6", NOBODY), content=ping)
        verdict, considered = policy(PROMISE).explain(asked)
        self.assertEqual(verdict.rule, "never-ping")
        self.assertTrue(considered[0].why.startswith("6.6.6.6: traffic ping; china: "))
        self.assertIn("(undetermined: an address judged with it: traffic ping;", verdict.reason)
        self.assertNotIn("6.6.6.6", verdict.reason)

    def test_peer_by_a_name(self) -> None:
        """A name that stands for China keeps a flow to American addresses from being allowed."""
        named = reaching(AMERICA, IN_AMERICA)._replace(names=("ap.example.cn",))
        verdict, considered = policy(PROMISE).explain(named)
        self.assertEqual(verdict.rule, "default")
        self.assertEqual(considered[3].why, "not (china: a name in *.example.cn)")

    def test_jurisdictions(self) -> None:
        """A flow belongs where any of its addresses does."""
        found = policy(PROMISE).jurisdictions_of(reaching(AMERICA, IN_CHINA, LISTED))
        self.assertEqual(found.members, {"china", "agreed-us", "listed", "hosted"})
        found = policy(PROMISE).jurisdictions_of(reaching(AMERICA, ("6.6.6.6", NOBODY)))
        self.assertEqual(found.members, {"agreed-us"})
        self.assertEqual(found.undetermined, {"china", "hosted", "listed"})

    @settings(deadline=None, max_examples=200)
    @given(
        st.sampled_from(CONDITIONS),
        st.sampled_from(["block", "allow", "{wrap: nearest}"]),
        st.lists(st.sampled_from(PEERS), min_size=1, max_size=4, unique=True),
        st.sampled_from(((), ("a.example.cn",), ("a.example.us",))),
    )
    def test_each_alone(
        self, when: str, action: str, addresses: list[tuple[str, Place]], names: tuple[str, ...]
    ) -> None:
        """A block matches if it does for any address alone, all else if it does for every one."""
        compiled = policy(ONE_RULE % (when, action))
        (host, place), *further = addresses
        together = reaching(place, *further, host=host)
        alone = [reaching(place, host=host) for host, place in addresses]
        together, *alone = (one._replace(names=names) for one in (together, *alone))
        rules = [compiled.judge(one).rule for one in alone]
        expected = (any if action == "block" else all)(rule == "r" for rule in rules)
        verdict, considered = compiled.explain(together)
        self.assertEqual(verdict.rule, "r" if expected else "default")
        results = {str(compiled.explain(one)[1][0].result) for one in alone}
        self.assertIn(str(considered[0].result), results)
        self.assertTrue(considered[0].why)


class SettledTests(SynchronousTestCase):
    """Before its first octets, a stream's verdict says whether they can change it."""

    def settled(self, text: str, place: Place) -> tuple[str, bool]:
        verdict = policy(text).judge(facts(place, seen=False, flow=TCP))
        return verdict.action, verdict.settled

    def test_blocked_whatever_it_says(self) -> None:
        """Where every outcome is a block, the block is settled at once."""
        text = PROMISE.replace("{reroute: us-edge}", "block")
        self.assertEqual(self.settled(text, CHINA), ("block", True))

    def test_rerouted_perhaps(self) -> None:
        """Where media would be rerouted, a block waits for the first octets."""
        self.assertEqual(self.settled(PROMISE, CHINA), ("block", False))

    def test_wrapped_perhaps(self) -> None:
        """Where identifiers would be wrapped, an allow waits for the first octets."""
        self.assertEqual(self.settled(PROMISE, AMERICA), ("allow", False))

    def test_nobody(self) -> None:
        """An unknown place is blocked at once: no payload makes it known."""
        text = PROMISE.replace("{reroute: us-edge}", "block")
        self.assertEqual(self.settled(text, NOBODY), ("block", True))

    def test_by_address_alone(self) -> None:
        """A policy that asks for addresses only settles at once, an allow-list too: what the stream
        may ask its destination for is not waited for."""
        text = ONE_RULE % ("{to: china}", "block")
        self.assertEqual(self.settled(text, AMERICA), ("allow", False))  # a name could block
        text = text.replace(', names: ["*.example.cn"]', "")
        self.assertEqual(self.settled(text, AMERICA), ("allow", True))
        self.assertEqual(self.settled(text, CHINA), ("block", True))
        allow_list = ONE_RULE.replace("default: allow", "") % ("{to: hosted}", "allow")
        self.assertEqual(self.settled(allow_list, CHINA), ("allow", True))
        self.assertEqual(self.settled(allow_list, AMERICA), ("block", True))

    def test_off_the_list(self) -> None:
        """Off an allow-list a block is settled, though a name could speak for belonging."""
        allow_list = ONE_RULE.replace("default: allow", "") % ("{to: us}", "allow")
        self.assertEqual(self.settled(allow_list, CHINA), ("block", True))
        self.assertEqual(self.settled(allow_list, AMERICA), ("allow", True))

    def test_list_that_asks_for_content(self) -> None:
        """An allow-list that asks for anything of the content waits for it."""
        text = ONE_RULE.replace("default: allow", "")
        text %= "{to: us, protocol: {not: unknown}}", "allow"
        self.assertEqual(self.settled(text, AMERICA), ("block", False))
        self.assertEqual(self.settled(text, CHINA), ("block", True))

    def test_seen(self) -> None:
        """With its payload seen, a verdict is settled."""
        self.assertTrue(policy(PROMISE).judge(facts()).settled)


class ShadowTests(SynchronousTestCase):
    """A rule or a policy in shadow only watches."""

    def test_rule(self) -> None:
        """A rule in shadow leaves the decision to the next, and says what it would have done."""
        text = PROMISE.replace(
            "to: china}, action: block}", "to: china}, action: block, mode: shadow}"
        )
        verdict = policy(text).judge(facts(CHINA))
        self.assertEqual((verdict.action, verdict.rule), (Action.BLOCK, "default"))
        assert verdict.would is not None
        self.assertEqual(verdict.would.rule, "never-ping")

    def test_policy(self) -> None:
        """A policy in shadow allows, warns of it, and says what it would have done."""
        compiled = policy(PROMISE + "mode: shadow\n")
        verdict = compiled.judge(facts(CHINA))
        self.assertEqual((verdict.action, verdict.mode), (Action.ALLOW, Mode.SHADOW))
        assert verdict.would is not None
        self.assertEqual((verdict.would.action, verdict.would.rule), (Action.BLOCK, "never-ping"))
        self.assertIn("nothing is enforced", compiled.warnings[0].sentence)

    def test_stream(self) -> None:
        """In shadow too a stream's first octets are waited for: what would be done is not known
        before."""
        before = facts(AMERICA, seen=False, flow=TCP)
        verdict = policy(PROMISE + "mode: shadow\n").judge(before)
        self.assertEqual((verdict.action, verdict.settled), (Action.ALLOW, False))
        text = ONE_RULE % ("{protocol: http}", "block, mode: shadow")
        self.assertFalse(policy(text).judge(before).settled)
        other = facts(AMERICA, Traffic.OTHER, protocol=Protocol.TLS, flow=TCP)
        self.assertIsNone(policy(text).judge(other).would)

    def test_percent(self) -> None:
        """A staged rule watches for its share of the clients, always the same ones."""
        text = PROMISE.replace(
            "to: china}, action: block}", "to: china}, action: block, shadow: {percent: 25}}"
        )
        compiled = policy(text)
        flows = [f"udp 10.1.{n // 250}.{n % 250}:5 > 192.0.2.1:8000" for n in range(2000)]
        rules = [compiled.judge(facts(CHINA, flow=flow)).rule for flow in flows]
        self.assertEqual(rules, [compiled.judge(facts(CHINA, flow=flow)).rule for flow in flows])
        watched = rules.count("default") / len(rules)
        self.assertTrue(0.20 < watched < 0.30, watched)  # 5 standard deviations of 25 %


class ExpiryTests(SynchronousTestCase):
    """An exception ends; a block does not."""

    def test_exception(self) -> None:
        """An expired allow no longer allows, and warns."""
        text = PROMISE.replace("action: allow}", "action: allow, expires: 2026-11-22}")
        compiled = policy(text)
        self.assertEqual(compiled.judge(facts()).rule, "default")
        self.assertIn("no longer matches", compiled.warnings[0].sentence)

    def test_last_day(self) -> None:
        """The day named is the last day."""
        compiled = policy(PROMISE.replace("action: allow}", "action: allow, expires: 2026-11-23}"))
        self.assertEqual(compiled.judge(facts()).rule, "rest")
        later = compiled.on(TODAY + datetime.timedelta(days=1))
        self.assertEqual(later.judge(facts()).rule, "default")

    def test_block(self) -> None:
        """An expired block still blocks, and warns."""
        text = PROMISE.replace(
            "to: china}, action: block}", "to: china}, action: block, expires: 2026-01-01}"
        )
        compiled = policy(text)
        self.assertEqual(compiled.judge(facts(CHINA)).rule, "never-ping")
        self.assertIn("still blocks", compiled.warnings[0].sentence)
