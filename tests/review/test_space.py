"""gateway.review.space: what changes, for which addresses."""

from __future__ import annotations

from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.flow.epoch import Epoch
from gateway.model import (
    Content,
    Endpoint,
    FlowKey,
    Identifier,
    IdentifierKind,
    Protocol,
    Traffic,
    Transport,
    pack,
)
from gateway.review.change import Comparison
from gateway.review.space import compare
from tests.flow.any_policies import HOSTS, allow_lists, atlases, policies
from tests.support.facts import policy

_IDENTIFIER = Identifier(IdentifierKind.USER_ID, 0, 4)
_CONTENTS = st.builds(
    Content,
    protocol=st.sampled_from([one for one in Protocol if one is not Protocol.ICMP]),
    traffic=st.none() | st.sampled_from(Traffic),
    plaintext=st.sampled_from((None, (), (_IDENTIFIER,))),
    names=st.sampled_from(((), ("a.example.cn",), ("a.example.org",))),
)
_CLIENTS = st.sampled_from([pack(host) for host in ("10.1.0.2", "10.2.0.2", "2001:db8::2")])


def _edges(found: Comparison, octets: int) -> list[int]:
    """Give the first and last addresses of all that changes, and their neighbours outside."""
    extents = [one.extent for one in found.changes] + [one.extent for one in found.memberships]
    ranges = [each for one in extents for each in (one.v4 if octets == 4 else one.v6)]
    edges = {edge for first, last in ranges for edge in (first - 1, first, last, last + 1)}
    return sorted(edge for edge in edges if 0 <= edge < 1 << 8 * octets)


@st.composite
def _addresses(draw: st.DrawFn, found: Comparison) -> bytes:
    octets = draw(st.sampled_from((4, 16)))
    known = [pack(host) for host in (*HOSTS, "2401::1", "2402:1::1", "2402::1", "fd00:64::1")]
    drawn: list[st.SearchStrategy[bytes]] = [
        st.binary(min_size=octets, max_size=octets),
        st.sampled_from([one for one in known if len(one) == octets]),
    ]
    edges = _edges(found, octets)
    if edges:
        drawn.insert(0, st.sampled_from(edges).map(lambda edge: edge.to_bytes(octets)))
    return draw(st.one_of(drawn))


class AgreementTests(SynchronousTestCase):
    """What is said to change does, and nothing else."""

    @settings(deadline=None, max_examples=150, phases=[Phase.generate])
    @given(
        st.data(),
        policies() | allow_lists(),
        policies() | allow_lists() | st.none(),
        st.integers(0, 2),
        st.integers(0, 2),
    )
    def test_any_flow(
        self, data: st.DataObject, old_text: str, new_text: str | None, was: int, is_: int
    ) -> None:
        """For any two policies and data, a flow's two verdicts differ where it is said, only."""
        old = Epoch.of(1, policy(old_text), atlases()[was])
        new = Epoch.of(2, policy(new_text or old_text), atlases()[is_])
        found = compare(old, new)
        event(f"{min(len(found.changes), 5)} changes or more")
        for _ in range(12):
            self._agree(data, old, new, found)

    def _agree(self, data: st.DataObject, old: Epoch, new: Epoch, found: Comparison) -> None:
        address = data.draw(_addresses(found))
        if any(one.atlas.embedded(address) for one in (old, new)):
            return
        transport = data.draw(st.sampled_from(Transport))
        port = data.draw(st.sampled_from((0, 443, 8000))) if transport.has_ports else 0
        key = FlowKey(transport, Endpoint(data.draw(_CLIENTS), 5), Endpoint(address, port))
        # A datagram is never judged unseen.
        contents = _CONTENTS | st.none() if transport is Transport.TCP else _CONTENTS
        content = data.draw(contents) if transport.has_ports else None
        if content is not None and content.protocol is Protocol.UNKNOWN:
            content = Content(Protocol.UNKNOWN, traffic=content.traffic)
        facts = [one.facts(key, content) for one in (old, new)]
        profile = found.profiles.find(facts[0])
        event(f"profile {'found' if profile is not None else 'not found'}")
        if profile is None:
            self.assertFalse(found.profiles.is_complete)
            return
        verdicts = [one.judge(each) for one, each in zip((old, new), facts, strict=True)]
        was, is_ = ((one.action, one.target) if one.settled else None for one in verdicts)
        self.assertEqual(profile in found.changed_profiles(address), was != is_, (key, content))
