"""gateway.flow.verdicts: what is remembered is what would be decided."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from hypothesis import event, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.flow import verdicts
from gateway.flow.epoch import Epoch
from gateway.flow.verdicts import Verdicts
from gateway.model import (
    Content,
    Endpoint,
    FlowKey,
    Identifier,
    IdentifierKind,
    Protocol,
    Traffic,
    Transport,
    Verdict,
    pack,
)
from tests.flow.any_policies import HOSTS, atlases, policies
from tests.support import epochs
from tests.support.facts import policy
from tests.support.rows import rows

_FEW_HOSTS = [*HOSTS[:6], "2401::1", "2402::1", "2002:202:304::1", "2401:64::202:304"]
_IDENTIFIERS = [
    Identifier(IdentifierKind.USER_ID, 0, 4),
    Identifier(IdentifierKind.USER_ID, 9, 2),
    Identifier(IdentifierKind.ROOM_ID, 4, 4),
]
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "protocol": st.sampled_from((Protocol.STUN, Protocol.HTTP, Protocol.TLS, Protocol.UNKNOWN)),
    "message": st.sampled_from(("", "a")),
    "traffic": st.sampled_from((None, Traffic.PING, Traffic.MEDIA)),
    "plaintext": st.none() | st.lists(st.sampled_from(_IDENTIFIERS), max_size=2).map(tuple),
    "names": st.sampled_from(((), ("a.example.cn",), ("a.example.org",))),
    "addresses": st.lists(st.sampled_from(_FEW_HOSTS).map(pack), max_size=1).map(tuple),
    "may_show_more": st.booleans(),
    "hides_name": st.booleans(),
}
_CLIENTS = ("10.1.0.2", "10.1.0.3", "10.2.0.2", "10.3.0.2", "2001:db8::2")


class _Asked(NamedTuple):
    transport: Transport
    client: bytes
    address: bytes
    port: int
    content: Content | None
    names: tuple[str, ...]

    @property
    def key(self) -> FlowKey:
        client, destination = Endpoint(self.client, 5000), Endpoint(self.address, self.port)
        return FlowKey(self.transport, client, destination)


_ASPECTS: dict[str, st.SearchStrategy[Any]] = {
    "transport": st.sampled_from(Transport),
    "client": st.sampled_from(_CLIENTS).map(pack),
    "address": st.sampled_from(_FEW_HOSTS).map(pack),
    "port": st.sampled_from((443, 8000)),
    "content": st.none() | st.fixed_dictionaries(_FIELDS).map(lambda its: Content(**its)),
    "names": st.sampled_from(((), ("b.example.cn",), ("b.example.org",))),
}


@st.composite
def _alike(draw: st.DrawFn) -> list[_Asked]:
    """Draw a flow, and others that differ from it in one thing."""
    first = _Asked(**draw(st.fixed_dictionaries(_ASPECTS)))
    found = [first]
    for name in draw(st.permutations([*_ASPECTS, *_FIELDS]))[:8]:
        if name in _ASPECTS:
            found.append(first._replace(**{name: draw(_ASPECTS[name])}))
        elif first.content is not None:
            other = replace(first.content, **{name: draw(_FIELDS[name])})
            found.append(first._replace(content=other))
    return found


class AgreementTests(SynchronousTestCase):
    """A remembered verdict is the one that the policy would give."""

    @settings(deadline=None, max_examples=400)
    @given(policies(), st.integers(0, 2), _alike())
    def test_any_flow(self, text: str, world: int, asked: list[_Asked]) -> None:
        """Facts and verdict are those of the policy itself, whatever was asked before."""
        epoch = Epoch.of(7, policy(text), atlases()[world])
        remembered, decided = Verdicts(epoch), set[Verdict]()
        for one in asked:
            judged = remembered.judge(one.key, one.content, one.names)
            facts = epoch.facts(one.key, one.content, one.names)
            self.assertEqual(judged.facts, facts)
            self.assertEqual(judged.verdict, epoch.judge(facts))
            decided.add(judged.verdict)
        event(f"some were remembered: {len(remembered) < len(asked)}")
        event(f"they differ: {len(decided) > 1}")

    def test_remembered(self) -> None:
        """Flows of many clients that are alike take one decision."""
        remembered = Verdicts(epochs.epoch())
        for number in range(1, 9):
            key = FlowKey.parse(f"udp 10.1.0.{number}:5000 > 192.0.2.1:4001")
            remembered.judge(key, Content(Protocol.RTP, "", Traffic.MEDIA, ()))
        self.assertEqual(len(remembered), 1)

    def test_own_identifiers(self) -> None:
        """A remembered verdict says nothing of where identifiers lie: each datagram has its own."""
        remembered = Verdicts(epochs.epoch())
        key = FlowKey.parse("udp 10.1.0.2:5000 > 192.0.2.1:4001")
        for one in _IDENTIFIERS[:2]:
            content = Content(Protocol.AGORA, "", None, (one,))
            self.assertIs(remembered.judge(key, content).facts.content, content)
        self.assertEqual(len(remembered), 1)

    def test_bound(self) -> None:
        """What is remembered is bounded: the oldest makes room."""
        self.patch(verdicts, "_MAX_KNOWN", 3)
        remembered = Verdicts(epochs.epoch())
        for port in range(1, 10):
            remembered.judge(FlowKey.parse(f"udp 10.1.0.2:5000 > 192.0.2.1:{port}"), None)
        self.assertEqual(len(remembered), 3)


_TLS = Content(Protocol.TLS, "ClientHello", Traffic.OTHER, (), ("a.example.org",))
_GIVEN = Content(Protocol.RTP, "", Traffic.MEDIA, (Identifier(IdentifierKind.GIVEN, 0, 4),))


@rows(
    apart={
        "a name may hide": (
            "{id: r, when: {name: x.example.cn}, action: block}",
            _TLS,
            replace(_TLS, hides_name=True),
        ),
        "more may be shown": (
            "{id: r, when: {plaintext: {not: user-id}}, action: {wrap: nearest}}",
            _GIVEN,
            replace(_GIVEN, may_show_more=True),
        ),
    }
)
class DoubtTests(SynchronousTestCase):
    """What leaves a condition undetermined is told apart from what does not."""

    def check_apart(self, rule: str, one: Content, other: Content) -> None:
        """Two contents, of which the second leaves a doubt, get their own verdicts"""
        text = f"policy: p\nrules:\n- {rule}\n- {{id: rest, when: {{}}, action: allow}}\n"
        remembered = Verdicts(epochs.epoch(text))
        key = FlowKey.parse("udp 10.1.0.2:5000 > 192.0.2.1:4001")
        first, second = (remembered.judge(key, content).verdict.rule for content in (one, other))
        self.assertNotEqual(first, second)


_RULE = "policy: p\nclients: {office: [10.1.0.0/16]}\nrules:\n- {id: r, action: block, %s}\n"


@rows(
    asks={
        "no rule does": ("when: {port: 443}", False),
        "by an address": ("when: {from: 10.1.0.0/16}", True),
        "by a group": ("when: {from: office}", True),
        "by whom it is not": ("when: {from: {not: office}}", True),
        "within others": ("when: {any: [{port: 443}, {all: [{not: {from: office}}]}]}", True),
        "for a part of the clients": ("when: {}, shadow: {percent: 5}", True),
        "for none of them": ("when: {}, mode: shadow", False),
    },
)
class AsksClientsTests(SynchronousTestCase):
    """Policy.asks_clients."""

    def check_asks(self, rest: str, expected: bool) -> None:
        """A policy says whether two clients may get different verdicts"""
        self.assertIs(policy(_RULE % rest).asks_clients, expected)
