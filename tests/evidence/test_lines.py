"""gateway.evidence.lines: a quick record is the plain one, character by character."""

from __future__ import annotations

import json
from collections.abc import Sized
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway import geo
from gateway.evidence.entries import Decision, entries, frame, frames
from gateway.evidence.lines import Lines
from gateway.evidence.pseudonyms import Pseudonyms
from gateway.evidence.recording import Recorder
from gateway.evidence.spelling import Spelling
from gateway.flow.epoch import Epoch
from gateway.flow.table import Judged
from gateway.model import (
    UNKNOWN,
    Action,
    Content,
    Endpoint,
    Facts,
    FlowKey,
    Identifier,
    IdentifierKind,
    Mode,
    Place,
    Protocol,
    Traffic,
    Transport,
    Verdict,
)
from tests.evidence.reference import PlainRecords, line
from tests.support.bundled import DAY, atlas
from tests.support.epochs import AUDIO, NOISE, PING, PROMISE, STUN, FakeAtlas, epoch
from tests.support.facts import AMERICA, CHINA, HONG_KONG, NOBODY, policy
from tests.support.rows import rows

SECRET = b"k" * 32
NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, UTC)
HTTP = b"GET / HTTP/1.1\r\nHost: u1.www.example.us\r\n\r\n"

# A policy that asks for all that a destination's memberships can rest on.
LISTS = """
policy: lists
jurisdictions:
  china: {location: [CN], registration: [CN], operator: [CN], names: ["*.example.cn"]}
  listed: {networks: [192.0.2.0/28, "2001:db8::/32"], names: ["*.example.org"]}
  elsewhere: {location: [US], operator: [US], except: {networks: [192.0.2.128/25]}}
rules:
- {id: watched, when: {port: 4002}, action: block, mode: shadow, reason: "\\u2028 \\\\ é"}
- {id: never, when: {traffic: ping, to: [china, listed]}, action: block}
- {id: plain, when: {plaintext: any}, action: {wrap: nearest}}
- {id: rest, when: {to: elsewhere}, action: allow}
"""
BY_PLACE, BY_LIST = epoch(), epoch(LISTS, 7)
EXCEPTING = epoch(LISTS.replace('networks: [192.0.2.0/28, "2001:db8::/32"], ', ""), 8)
SHADOW = epoch("mode: shadow" + PROMISE, 2)
REAL = Epoch.of(3, policy(PROMISE), atlas())
OVERRIDDEN = Epoch.of(
    4,
    policy(LISTS),
    geo.load(
        [geo.Bundled()],
        [
            geo.Override(network="192.0.2.0/24", location="US", reason='outer, "quoted"'),
            geo.Override(network="192.0.2.64/26", location="CN", reason="inner"),
            geo.Override(network="2001:db8::/32", location="US", operator="CN", reason="six"),
        ],
        today=DAY,
        max_age_days=20,
    ),
)
EPOCHS = (BY_PLACE, BY_LIST, EXCEPTING, SHADOW, REAL, OVERRIDDEN)


def key(text: str) -> FlowKey:
    """Read a flow of one client's."""
    transport, _, destination = text.partition(" ")
    client = "10.1.0.2:5000" if Transport(transport).has_ports else "10.1.0.2"
    return FlowKey.parse(f"{transport} {client} > {destination}")


class Both:
    """Writes records quickly and plainly."""

    def __init__(self, now: datetime = NOW) -> None:
        self.told: list[bytes] = []
        self.lines = Recorder(Pseudonyms(SECRET), lambda: now, self.told.append)
        self.spelling = Spelling("a test")
        self.plain = PlainRecords(SECRET, now)

    def quick(self, in_force: Epoch, judged: Judged, payload: bytes | None) -> str:
        """Give a record by way of the entries that a spool has."""
        pieces = self.lines.entries(in_force, [(judged, payload)])
        octets = frame([*self.told, *pieces])
        self.told.clear()
        ((body, end),) = frames(octets, "a test")
        assert end == len(octets)
        line = ""
        for _, said in entries(body, "a test"):
            if isinstance(said, Decision):
                line = self.spelling.line(said)
            else:
                self.spelling.take(said)
        return line

    def decided(self, in_force: Epoch, judged: Judged, payload: bytes | None) -> tuple[str, str]:
        """Give the quick line and the plain one."""
        quick = self.quick(in_force, judged, payload)
        return quick, line(self.plain.decided(in_force, judged, payload))


@rows(
    flow={
        "a ping": ("udp 192.0.2.1:4001", PING, ()),
        "audio": ("udp 192.0.2.1:4001", AUDIO, ()),
        "nothing in plaintext": ("udp 192.0.2.1:4001", STUN, ()),
        "what nobody knows": ("udp 192.0.2.1:4001", NOISE, ()),
        "an empty datagram": ("udp 192.0.2.1:4001", b"", ()),
        "a ping to China": ("udp 198.51.100.1:4001", PING, ()),
        "a private destination": ("udp 10.9.9.9:4001", PING, ()),
        "a stream before its octets": ("tcp 192.0.2.1:443", None, ()),
        "a stream with a name in it": ("tcp 192.0.2.1:80", HTTP, ()),
        "a name that was asked for": ("tcp 192.0.2.1:80", None, ("u1.ap.example.cn",)),
        "names of all lengths": ("udp 192.0.2.1:80", STUN, ("a", "b.c", "d.e.f.example.org")),
        "a name with a quotation mark": ("udp 192.0.2.1:80", STUN, ('"{x}\\.b"c.d\\é',)),
        "a rule that only watches": ("udp 192.0.2.1:4002", PING, ()),
        "a listed network": ("udp 192.0.2.9:4001", STUN, ()),
        "an excepted network": ("udp 192.0.2.200:4001", STUN, ()),
        "an inner override": ("udp 192.0.2.65:4001", STUN, ()),
        "an address abroad": ("udp 50.17.126.121:4001", STUN, ()),
        "a Chinese address": ("udp 118.190.148.38:8000", PING, ()),
        "IPv6": ("udp [2001:db8::1]:4001", PING, ()),
        "IPv6 abroad": ("udp [2600:1f18::1]:443", STUN, ()),
        "loopback": ("udp [::1]:443", STUN, ()),
        "6to4": ("udp [2002:7696:9426::1]:443", STUN, ()),
        "NAT64": ("udp [64:ff9b::c000:201]:443", STUN, ()),
        "Teredo": ("udp [2001:0:c000:201::3fff:fdfe]:443", STUN, ()),
        "ICMP": ("icmp 118.190.148.38", b"", ()),
        "ICMPv6": ("icmp 2600:1f18::1", b"", ()),
        "a fragment": ("other 50.17.126.121", b"", ()),
        "ISATAP": ("udp [2600:1f18::5efe:192.0.2.1]:443", STUN, ()),
    },
)
class DecisionTests(SynchronousTestCase):
    """A decision's record is the account's JSON."""

    def check_flow(self, flow: str, payload: bytes | None, names: tuple[str, ...]) -> None:
        """Under every policy and atlas, at first and from memory, the record is the plain one."""
        both = Both()
        for in_force in (*EPOCHS, *EPOCHS):
            facts = in_force.facts(
                key(flow), None if payload is None else in_force.content(key(flow), payload), names
            )
            judged = Judged(facts, in_force.judge(facts))
            for octets in (payload, None, payload):
                quick, plain = both.decided(in_force, judged, octets)
                self.assertEqual(quick, plain)
                self.assertEqual(quick.count("\n"), 1)
                self.assertTrue(quick.isascii())

    def test_neighbours(self) -> None:
        """Addresses that share evidence do not share what is their own: address and prefix."""
        both, hosts = Both(), ("192.0.2.{}", "8.8.{}.8", "118.190.{}.1", "223.255.{}.255")
        for in_force in (REAL, OVERRIDDEN):
            for destination in (host.format(octet) for octet in range(256) for host in hosts):
                facts = in_force.facts(key(f"udp {destination}:4001"), UNKNOWN)
                self.assertEqual(*both.decided(in_force, Judged(facts, in_force.judge(facts)), b""))

    def test_asked_to_reach(self) -> None:
        """What a payload asks its destination to reach counts, and only for that flow."""
        both = Both()
        asks = Content(Protocol.STUN, "Send indication", Traffic.MEDIA, (), (), (CHINESE,))
        for content in (asks, Content(Protocol.STUN), asks):
            facts = BY_LIST.facts(key("udp 192.0.2.1:3478"), content)
            quick, plain = both.decided(BY_LIST, Judged(facts, BY_LIST.judge(facts)), b"")
            self.assertEqual(quick, plain)
            members = json.loads(quick)["facts"]["to"]["jurisdictions"]
            self.assertEqual("china" in members, content is asks)

    def test_time(self) -> None:
        """A time is cut to its millisecond, whether the clock goes on or back."""
        now = NOW
        both = Both()
        lines = both.lines = Recorder(Pseudonyms(SECRET), lambda: now, both.told.append)
        verdict = Verdict(Action.BLOCK, "r", "")
        judged = Judged(BY_PLACE.facts(key("udp 192.0.2.1:1"), UNKNOWN), verdict)
        for step_us in (0, 543, 1, 0, 999, 1, 3_600_000_000, -3_600_000_000, -1_000, 876_000):
            now += timedelta(microseconds=step_us)
            plain = PlainRecords(SECRET, now)
            flow = key("udp 192.0.2.1:1")
            quick = lines.not_carried(flow, verdict, "x")
            self.assertEqual(quick, line(plain.not_carried(flow, verdict, "x")))
            both.plain = plain
            self.assertEqual(*both.decided(BY_PLACE, judged, b""))


CHINESE = Endpoint.of("198.51.100.7", 1).address
WORDS = st.text(st.characters(codec="utf-8"), max_size=12)
IDENTIFIERS = st.builds(
    Identifier, st.sampled_from(IdentifierKind), st.integers(0, 70), st.integers(0, 70)
)
CONTENTS = st.none() | st.builds(
    Content,
    st.sampled_from(Protocol),
    WORDS,
    st.none() | st.sampled_from(Traffic),
    st.none() | st.lists(IDENTIFIERS, max_size=4).map(tuple),
)
ADDRESSES = st.one_of(
    st.binary(min_size=4, max_size=4),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=4, max_size=4).map(lambda octets: bytes(12) + octets),
    st.integers(0, 255).map(lambda octet: bytes([192, 0, 2, octet])),
)
ENDPOINTS = st.builds(Endpoint, ADDRESSES, st.integers(0, 65535))
PLACES = st.sampled_from([AMERICA, CHINA, HONG_KONG, NOBODY, Place({}, (64496,), ('"doubt"', "é"))])
FURTHER = st.lists(st.tuples(ADDRESSES, PLACES), max_size=2)
FACTS = st.builds(
    lambda key, place, content, names, further: Facts(
        key,
        place,
        content,
        names,
        tuple(address for address, _ in further),
        tuple(place for _, place in further),
    ),
    st.builds(FlowKey, st.sampled_from(Transport), ENDPOINTS, ENDPOINTS),
    PLACES,
    CONTENTS,
    st.lists(WORDS, max_size=2).map(tuple),
    FURTHER,
)
PLAIN_VERDICTS = st.builds(
    Verdict,
    st.sampled_from(Action),
    WORDS,
    WORDS,
    st.none() | WORDS,
    st.sampled_from(Mode),
    st.integers(0, 300),
    settled=st.booleans(),
)
VERDICTS = PLAIN_VERDICTS | st.builds(
    lambda verdict, would: Verdict(verdict.action, verdict.rule, "", would=would),
    PLAIN_VERDICTS,
    PLAIN_VERDICTS,
)


class AnythingTests(SynchronousTestCase):
    """Whatever is decided, the record is the plain one; what is remembered is never mixed up."""

    @settings(deadline=None, max_examples=150)
    @given(
        st.lists(
            st.tuples(st.sampled_from(EPOCHS), FACTS, VERDICTS, st.none() | st.binary(max_size=90)),
            max_size=6,
        )
    )
    def test_decisions(self, decisions: list[tuple[Epoch, Facts, Verdict, bytes | None]]) -> None:
        """Decisions of any shape, one after another in one log."""
        both = Both()
        for in_force, facts, verdict, payload in decisions:
            self.assertEqual(*both.decided(in_force, Judged(facts, verdict), payload))

    @settings(deadline=None, max_examples=100)
    @given(st.builds(FlowKey, st.sampled_from(Transport), ENDPOINTS, ENDPOINTS), VERDICTS, WORDS)
    def test_rare(self, flow: FlowKey, verdict: Verdict, words: str) -> None:
        """Verdicts that could not be carried out, and names that were refused."""
        lines, plain = Lines(Pseudonyms(SECRET), lambda: NOW), PlainRecords(SECRET, NOW)
        self.assertEqual(
            lines.not_carried(flow, verdict, words), line(plain.not_carried(flow, verdict, words))
        )
        self.assertEqual(
            lines.barred(flow.client, words, verdict),
            line(plain.barred(flow.client, words, verdict)),
        )


class MemoryTests(SynchronousTestCase):
    """What is remembered is bounded, and of the epoch in force."""

    def test_bounded(self) -> None:
        """A flood of clients, destinations, verdicts and messages does not make memory grow."""
        both = Both()
        in_force = Epoch.of(1, policy(LISTS), FakeAtlas())
        for number in range(40_000):
            content = Content(Protocol.AGORA, f"message {number}", Traffic.PING, ())
            client = Endpoint((number << 8).to_bytes(4), 1)
            to = Endpoint(number.to_bytes(4), 1)
            facts = Facts(FlowKey(Transport.UDP, client, to), AMERICA, content)
            judged = Judged(facts, Verdict(Action.BLOCK, "r", f"port {number}"))
            quick = both.quick(in_force, judged, b"")
        self.assertEqual(quick, line(both.plain.decided(in_force, judged, b"")))
        lines, destinations = both.lines, both.lines._destinations
        memories: tuple[Sized, ...] = (
            *(lines._verdicts, lines._contents, lines._whose, lines._members),
            *(destinations._of_destinations, both.spelling._evidence),
        )
        sizes = [len(memory) for memory in memories]
        self.assertTrue(all(0 < size <= 16_384 for size in sizes), sizes)
        lines.begin()
        self.assertEqual((len(lines._texts), len(lines._whose)), (0, 0))
        self.assertEqual(lines.actions, {Action.BLOCK: 40_000})

    def test_new_epoch(self) -> None:
        """Another policy or other data are in the next record."""
        both = Both()
        facts = BY_PLACE.facts(key("udp 192.0.2.1:1"), UNKNOWN)
        verdict = Verdict(Action.BLOCK, "r", "")
        one, _ = both.decided(BY_PLACE, Judged(facts, verdict), b"")
        two, plain = both.decided(BY_LIST, Judged(facts, verdict), b"")
        self.assertEqual(two, plain)
        self.assertNotEqual(json.loads(one)["policy"], json.loads(two)["policy"])
