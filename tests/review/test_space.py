"""gateway.review.space: what changes, for which addresses."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from functools import cache
from ipaddress import IPv6Address
from pathlib import Path

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.flow.epoch import Epoch
from gateway.geo import Atlas, Mmdb, Override
from gateway.model import (
    Axis,
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
from gateway.review.atoms import atoms_of
from gateway.review.causes import Cause
from gateway.review.change import Comparison, Sort
from gateway.review.extent import extent
from gateway.review.profiles import Profiles
from gateway.review.sides import atlas_of
from gateway.review.space import compare
from tests.flow.any_policies import HOSTS, allow_lists, atlases, policies
from tests.geo import worlds
from tests.support.facts import policy
from tests.support.rows import rows

_IDENTIFIER = Identifier(IdentifierKind.USER_ID, 0, 4)
_CONTENTS = st.builds(
    Content,
    protocol=st.sampled_from([one for one in Protocol if one is not Protocol.ICMP]),
    traffic=st.none() | st.sampled_from(Traffic),
    plaintext=st.sampled_from((None, (), (_IDENTIFIER,))),
    names=st.sampled_from(((), ("a.example.cn",), ("a.example.org",))),
)
_SPELLING = (
    *("2002:202:304::1", "2002:b02:304::1", "2002::", "2002:ffff:ffff:ffff::9"),
    *("64:ff9b::2.2.3.4", "64:ff9b::11.2.3.4", "::2.2.3.4", "fd00:64::9.0.0.1"),
    *("2401:64:202:304::", "64:ff9b::0.0.0.0", "::255.255.255.255"),
)
_MOST_PROFILES = 80
_CLIENTS = st.sampled_from([pack(host) for host in ("10.1.0.2", "10.2.0.2", "2001:db8::2")])


def _edges(found: Comparison, octets: int) -> list[int]:
    """Give the first and last addresses of all that changes, and their neighbours outside."""
    extents = [one.extent for one in found.changes] + [one.extent for one in found.memberships]
    ranges = [each for one in extents for each in (one.v4 if octets == 4 else one.v6)]
    edges = {edge for first, last in ranges for edge in (first - 1, first, last, last + 1)}
    return sorted(edge for edge in edges if 0 <= edge < 1 << 8 * octets)


def _is_listed(address: bytes, *epochs: Epoch) -> bool:
    """Say whether an address lies where all addresses spell one other, which can be listed."""
    forms = [form for epoch in epochs for form in atlas_of(epoch).forms()]
    inside = [form for form in forms if IPv6Address(address) in form.network]
    return bool(inside) and all(form.at is not None for form in inside)


@st.composite
def _addresses(draw: st.DrawFn, found: Comparison) -> bytes:
    octets = draw(st.sampled_from((4, 16)))
    known = [pack(host) for host in (*HOSTS, "2401::1", "2402:1::1", "2402::1", "fd00:64::1")]
    known += [pack(host) for host in _SPELLING]
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

    @settings(deadline=None, max_examples=40)
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
        # Hundreds of kinds of flows take seconds each, and differ in nothing but their number.
        assume(len(Profiles(atoms_of(old.policy, new.policy)).all) <= _MOST_PROFILES)
        found = compare(old, new)
        event(f"{min(len(found.changes), 5)} changes or more")
        for _ in range(12):
            self._agree(data, old, new, found)

    def _agree(self, data: st.DataObject, old: Epoch, new: Epoch, found: Comparison) -> None:
        address = data.draw(_addresses(found))
        spelled = {one for epoch in (old, new) for one in epoch.atlas.embedded(address)}
        if spelled and not _is_listed(address, old, new):
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
        verdicts = [one.explain(each)[0] for one, each in zip((old, new), facts, strict=True)]
        was, is_ = ((one.action, one.target) if one.settled else None for one in verdicts)
        told = profile in found.changed_profiles(address)
        if spelled and was != is_:
            # What changes as the IPv4 address in it does is told of that.
            told = told or any(profile in found.changed_profiles(one) for one in spelled)
        self.assertEqual(told, was != is_, (key, content))


_AMERICA, _CHINA = ("US", "US", 64496), ("CN", "CN", 64497)
_V4 = ((0, _AMERICA), (0x0B << 24, _CHINA), (0x0C << 24, _AMERICA))
_V6 = ((0, _AMERICA), (0x2600 << 112, _CHINA), (0x2601 << 112, _AMERICA))
_MOVED_V4 = ((0, _AMERICA), ((0x0B << 24) + 7, _CHINA), (0x0C << 24, _AMERICA))
_MOVED_V6 = ((0, _AMERICA), ((0x2600 << 112) + (1 << 64), _CHINA), (0x2601 << 112, _AMERICA))
_POLICY = """
policy: p
jurisdictions: {china: {location: [CN]}}
rules:
- {id: rest, when: {to: {not: china}}, action: allow}
"""


@cache
def _worlds() -> tuple[Atlas, Atlas]:
    """Make two worlds: in the second, seven IPv4 addresses and a /64 are China's no longer."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return (
            worlds.atlas(folder, worlds.bundle(_V4, _V6)),
            worlds.atlas(folder, worlds.bundle(_MOVED_V4, _MOVED_V6)),
        )


def _compared(old: str, new: str, *, moved: bool = False) -> Comparison:
    was, is_ = _worlds()
    return compare(Epoch.of(1, policy(old), was), Epoch.of(2, policy(new), is_ if moved else was))


class DataTests(SynchronousTestCase):
    """One policy over two data."""

    def test_newly_allowed(self) -> None:
        """Newly allowed space is exact to the address, and a touched /48 counts whole."""
        newly = _compared(_POLICY, _POLICY, moved=True).newly_allowed
        self.assertEqual(newly.extent.texts(), ["11.0.0.0-11.0.0.6", "2600::/64"])
        self.assertEqual((newly.v4_addresses, newly.v6_networks), (7, 1))
        self.assertEqual(newly.v6_addresses, 1 << 64)
        self.assertGreater(newly.share, 7 / (1 << 32))
        self.assertLess(newly.share, 7 / (1 << 24))

    def test_why(self) -> None:
        """Which source says what else, on which axis, whose the addresses are."""
        found = _compared(_POLICY, _POLICY, moved=True)
        allowed = next(one for one in found.changes if one.sort is Sort.ALLOWED)
        self.assertEqual(list(allowed.causes), [Cause.DATA])
        self.assertIn("location by dbip-lite: CN → US", allowed.details)
        self.assertEqual(allowed.details["location by dbip-lite: CN → US"].v4_addresses, 7)
        self.assertEqual(set(allowed.countries), {"CN", "US"})
        self.assertEqual(set(allowed.operators), {"AS64496", "AS64497"})
        self.assertEqual((allowed.old_members, allowed.new_members), (("china",), ()))

    def test_memberships(self) -> None:
        """What left a jurisdiction is told, whether or not a verdict changes."""
        blocked = _POLICY.replace("action: allow", "action: block")
        found = _compared(blocked, blocked, moved=True)
        self.assertEqual(found.changes, ())
        self.assertEqual(
            [(one.jurisdiction, one.old, one.new) for one in found.memberships],
            [("china", True, False)],
        )
        self.assertEqual(found.memberships[0].extent.v4_addresses, 7)
        self.assertFalse(found.is_nothing)

    def test_nothing(self) -> None:
        """The same policy and data are no change."""
        self.assertTrue(_compared(_POLICY, _POLICY).is_nothing)

    def test_database(self) -> None:
        """A database of the user's own is compared network by network."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            file = folder / "own.mmdb"
            record = {"country": {"iso_code": "CN"}}
            worlds.write_mmdb(file, {"8.8.8.0/24": record, "2620::/32": record})
            today = datetime.now(UTC).date()
            bundle = worlds.bundle(_V4, _V6)
            mine = Mmdb(file, Axis.LOCATION)
            atlases = [
                worlds.atlas(folder, bundle, today=today, databases=one) for one in ((), (mine,))
            ]
        old, new = (Epoch.of(at, policy(_POLICY), one) for at, one in enumerate(atlases))
        found = compare(old, new)
        self.assertEqual(found.newly_blocked.texts(), ["8.8.8.0/24", "2620::/32"])
        self.assertIn("location by own: nothing → CN", found.changes[0].details)

    def test_override(self) -> None:
        """An override of the operator's is data, and named by its reason."""
        override = Override(network="11.1.0.0/16", location="US", reason="a lease")
        with tempfile.TemporaryDirectory() as name:
            atlas = worlds.atlas(Path(name), worlds.bundle(_V4, _V6), override)
        old, new = (Epoch.of(1, policy(_POLICY), one) for one in (_worlds()[0], atlas))
        found = compare(old, new)
        self.assertEqual(found.newly_allowed.extent.texts(), ["11.1.0.0/16"])
        self.assertIn("location by override: a lease: nothing → US", found.changes[0].details)


@rows(
    cause={
        "another rule": (
            _POLICY.replace(
                "- {id: rest", "- {id: no, when: {to: china}, action: allow}\n- {id: rest"
            ),
            False,
            (Cause.RULES,),
        ),
        "another default": (_POLICY + "default: allow\n", False, (Cause.RULES,)),
        "another mode": (_POLICY + "mode: shadow\n", False, (Cause.RULES,)),
        "another definition": (
            _POLICY.replace("[CN]}", "[CN], except: {networks: [11.0.0.0/8, '2600::/16']}}"),
            False,
            (Cause.DEFINITIONS,),
        ),
        "other data": (_POLICY, True, (Cause.DATA,)),
        "other data or another default: either would do": (
            _POLICY + "default: allow\n",
            True,
            (Cause.RULES, Cause.DATA),
        ),
        "other data, and a rule that changes nothing there": (
            _POLICY.replace("{not: china}}", "{not: china}, asn: 64496}"),
            True,
            (Cause.DATA,),
        ),
    }
)
class CauseTests(SynchronousTestCase):
    """Why verdicts change is found by trying each thing alone."""

    def check_cause(self, new: str, moved: bool, causes: tuple[Cause, ...]) -> None:
        """The causes of what is newly allowed at 11.0.0.1."""
        found = _compared(_POLICY, new, moved=moved)
        ours = [
            one
            for one in found.changes
            if one.sort is Sort.ALLOWED and one.extent.holds(pack("11.0.0.1"))
        ]
        self.assertEqual({cause for one in ours for cause in one.causes}, set(causes))


class PolicyTests(SynchronousTestCase):
    """What is written otherwise."""

    def test_rules(self) -> None:
        """Rules that were added, removed, moved and edited are told apart."""
        rules = [
            "{id: a, when: {traffic: ping}, action: block}",
            "{id: b, when: {traffic: media}, action: block}",
            "{id: c, when: {to: china}, action: block}",
            "{id: d, when: {}, action: allow}",
        ]
        head = "policy: p\njurisdictions: {china: {location: [CN]}}\nrules:\n"
        edited = (
            "{id: c, when: {to: china, port: 443}, action: {block: refuse}, expires: 2027-01-01}"
        )
        old = head + "".join(f"- {rule}\n" for rule in rules)
        new_rules = [rules[1], edited, rules[0], "{id: e, when: {}, action: block}"]
        found = _compared(old, head + "".join(f"- {rule}\n" for rule in new_rules)).policy
        self.assertEqual((found.added, found.removed, found.moved), (("e",), ("d",), ("a",)))
        self.assertEqual(
            [(one.name, one.differences) for one in found.edited],
            [("c", ("when", "action: block → block (refuse)", "expires: never → 2027-01-01"))],
        )

    def test_some_flows(self) -> None:
        """A rule for some flows changes those, and no others."""
        new = _POLICY.replace(
            "- {id: rest",
            "- {id: no, when: {traffic: ping, port: 8000}, action: block}\n- {id: rest",
        )
        found = _compared(_POLICY, new)
        changed = found.changed_profiles(pack("8.8.8.8"))
        contents = {found.profiles.all[at].content for at in changed}
        ports = {found.profiles.all[at].port for at in changed}
        self.assertEqual(ports, {8000})
        # What cannot be told may be a ping; a stream is looked at first.
        told = {one.traffic for one in contents if one is not None}
        self.assertEqual(told, {Traffic.PING, None})

    def test_staged(self) -> None:
        """A rule that leaves shadow for more clients changes the verdict of some."""
        new = _POLICY.replace(
            "- {id: rest", "- {id: no, when: {}, action: block, shadow: {percent: %d}}\n- {id: rest"
        )
        found = _compared(new % 90, new % 50)
        changed = found.changed_profiles(pack("8.8.8.8"))
        self.assertTrue(changed)
        self.assertLess(len(changed), len(found.profiles.all))


@rows(
    extent={
        "adjacent ranges are one": ([(1, 2), (3, 4)], [], 4, 0),
        "overlapping ranges count once": ([(0, 9), (5, 12)], [], 13, 0),
        "two /64s of one /48": ([], [(0, (1 << 64) - 1), (1 << 70, (1 << 70) + 1)], 0, 1),
        "two addresses of two /48s": ([], [(0, 0), (1 << 80, 1 << 80)], 0, 2),
        "a range over an edge": ([], [((1 << 80) - 1, 1 << 80)], 0, 2),
        "everything": ([(0, (1 << 32) - 1)], [(0, (1 << 128) - 1)], 1 << 32, 1 << 48),
    }
)
class ExtentTests(SynchronousTestCase):
    """Space is counted exactly."""

    def check_extent(
        self, v4: list[tuple[int, int]], v6: list[tuple[int, int]], addresses: int, networks: int
    ) -> None:
        """IPv4 addresses, and /48s that are touched."""
        found = extent(v4, v6)
        self.assertEqual((found.v4_addresses, found.v6_networks), (addresses, networks))


class SpelledTests(SynchronousTestCase):
    """Addresses that spell others are told of where they change otherwise than what they spell."""

    def test_follows(self) -> None:
        """What changes as the address in it does is not told twice."""
        newly = _compared(_POLICY, _POLICY, moved=True).newly_allowed
        self.assertEqual(newly.extent.texts(), ["11.0.0.0-11.0.0.6", "2600::/64"])

    def test_listed(self) -> None:
        """A block of 6to4 changes its addresses that were allowed, and nothing else."""
        new = _POLICY.replace("china: {", "six: {networks: ['2002::/16']}, china: {").replace(
            "- {id: rest", "- {id: no, when: {to: six}, action: block}\n- {id: rest"
        )
        found = _compared(_POLICY, new)
        for host, is_blocked in (
            ("8.8.8.8", False),
            ("2002:808:808::1", True),
            ("2002:9ff:ffff:ffff:ffff:ffff:ffff:ffff", True),
            ("2002:a00::", False),
            ("2002:b00::", False),
            ("2002:c00::", True),
            ("64:ff9b::808:808", False),
        ):
            self.assertEqual(found.newly_blocked.holds(pack(host)), is_blocked, host)
            verdicts = []
            for text in (_POLICY, new):
                epoch = Epoch.of(1, policy(text), _worlds()[0])
                key = FlowKey(Transport.ICMP, Endpoint(bytes(4), 0), Endpoint(pack(host), 0))
                verdicts.append(epoch.judge(epoch.facts(key, None)).action)
            self.assertEqual(verdicts[0] is not verdicts[1], is_blocked, host)
