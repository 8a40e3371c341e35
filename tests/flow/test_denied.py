"""gateway.flow.denied: what the kernel may drop unasked."""

from __future__ import annotations

import bisect
import csv
import ipaddress
from collections.abc import Mapping, Sequence
from functools import cache

from hypothesis import event, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.flow.denied import Denied, Ranges, denied
from gateway.flow.epoch import Epoch
from gateway.model import (
    Action,
    Content,
    Endpoint,
    FlowKey,
    Identifier,
    IdentifierKind,
    Mode,
    Protocol,
    Traffic,
    Transport,
    pack,
)
from tests.flow.any_policies import HOSTS, allow_lists, atlases, policies
from tests.flow.test_epoch import promise
from tests.support import epochs
from tests.support.bundled import ROOT
from tests.support.facts import policy
from tests.support.rows import rows

_IDENTIFIER = Identifier(IdentifierKind.USER_ID, 0, 4)
_ASKED = st.sampled_from([pack(host) for host in (*HOSTS, "2401::1", "2402::1", "2002:202:304::1")])
_CONTENTS = st.none() | st.builds(
    Content,
    protocol=st.sampled_from(Protocol),
    traffic=st.none() | st.sampled_from(Traffic),
    plaintext=st.sampled_from((None, (), (_IDENTIFIER,))),
    names=st.sampled_from(((), ("a.example.cn",), ("a.example.org",))),
    addresses=st.lists(_ASKED, max_size=2).map(tuple),
)
_CLIENTS = st.sampled_from([pack(host) for host in ("10.1.0.2", "10.2.0.2", "2001:db8::2")])


@st.composite
def _inside(draw: st.DrawFn, ranges: Ranges, octets: int) -> bytes:
    """Draw an address of the ranges: of their ends, or among them, or one that spells another."""
    first, last = draw(st.sampled_from(ranges))
    number = draw(st.sampled_from((first, last)) | st.integers(first, last))
    if octets == 16 and draw(st.booleans()):
        other = int.from_bytes(pack(draw(st.sampled_from(HOSTS))))
        spelled = number >> 64 << 64 | 0x5EFE << 32 | other
        number = spelled if first <= spelled <= last else number
    return number.to_bytes(octets)


def _sides(found: Denied) -> list[tuple[int, str | None, Ranges]]:
    return [
        (4, None, found.silent4),
        (16, None, found.silent6),
        (4, "refuse", found.refused4),
        (16, "refuse", found.refused6),
    ]


class SoundTests(SynchronousTestCase):
    """Nothing is denied that any flow could be allowed, carried or watched for."""

    @settings(deadline=None, max_examples=200)
    @given(st.data(), policies(), st.integers(0, 2))
    def test_any_flow(self, data: st.DataObject, text: str, world: int) -> None:
        """A denied address is blocked, for good and as it is said, whatever goes there."""
        self._try(data, text, world)

    @settings(deadline=None, max_examples=200)
    @given(st.data(), allow_lists(), st.integers(0, 2))
    def test_off_the_list(self, data: st.DataObject, text: str, world: int) -> None:
        """So is what is on no allow-list."""
        self._try(data, text, world)

    def _try(self, data: st.DataObject, text: str, world: int) -> None:
        epoch = Epoch.of(1, policy(text), atlases()[world])
        sides = [side for side in _sides(denied(epoch)) if side[2]]
        event(f"{len(sides)} of 4")
        for octets, target, ranges in sides:
            self._well_formed(ranges, octets)
            for _ in range(6):
                transport = data.draw(st.sampled_from(Transport))
                port = data.draw(st.sampled_from((0, 443, 8000))) if transport.has_ports else 0
                to = Endpoint(data.draw(_inside(ranges, octets)), port)
                key = FlowKey(transport, Endpoint(data.draw(_CLIENTS), 5), to)
                names = data.draw(st.sampled_from(((), ("b.example.cn",), ("b.example.org",))))
                verdict = epoch.judge(epoch.facts(key, data.draw(_CONTENTS), names))
                self.assertEqual((verdict.action, verdict.target), (Action.BLOCK, target))
                self.assertEqual((verdict.mode, verdict.settled), (Mode.ENFORCE, True))
                self.assertIsNone(verdict.would)

    def _well_formed(self, ranges: Ranges, octets: int) -> None:
        """Ranges ascend, are apart, not adjacent, and within the family."""
        edges = [edge for first, last in ranges for edge in (first, last + 1)]
        self.assertEqual(edges, sorted(set(edges)))
        self.assertTrue(edges[0] >= 0 and edges[-1] <= 1 << 8 * octets)


CHINA = "china: {location: [CN], registration: [CN], operator: [CN]%s}"
_CHINESE_V4, _AMERICAN_V4 = "198.51.100.7", "192.0.2.7"


@rows(
    complete={
        "what is blocked by its place": ("block", "{to: china}", "silent"),
        "a block that is told": ("{block: refuse}", "{to: china}", "refused"),
        "a block by another condition as well": (
            "block",
            "{to: china, traffic: ping}",
            "",
        ),
        "every transport": (
            "block",
            "{to: china, transport: [udp, tcp, icmp, other]}",
            "silent",
        ),
        "not every transport": ("block", "{to: china, transport: [udp, tcp]}", ""),
        "every port": ("block", '{to: china, port: "0-65535"}', "silent"),
        "not every port": ("block", "{to: china, port: 443}", ""),
        "not every client": ("block", "{to: china, from: 0.0.0.0/0}", ""),
        "a block that has expired": ("block, expires: 2026-01-01", "{to: china}", "silent"),
        "a rule in shadow": ("block, mode: shadow", "{to: china}", ""),
        "a rule in shadow for some": ("block, shadow: {percent: 1}", "{to: china}", ""),
        "one in shadow for none": ("block, shadow: {percent: 0}", "{to: china}", "silent"),
        "what is announced by a network": ("block", "{asn: 37963}", "silent"),
        "what is in a network": ("block", "{to: listed}", "silent"),
        "any of two": ("block", "{any: [{traffic: ping}, {to: china}]}", "silent"),
        "neither of two": ("block", "{not: {all: [{traffic: ping}, {to: us}]}}", "silent"),
    },
    allow_list={
        "what is not on the list": ("{to: us}", "allow", True),
        "nor wrapped there": ("{to: us}", "{wrap: nearest}", True),
        "what is on it for some traffic only": ("{to: us, traffic: media}", "allow", True),
        "what is on another": ("{any: [{to: us}, {to: china}]}", "allow", False),
        "what is on it for some traffic": ("{any: [{to: us}, {traffic: media}]}", "allow", False),
        "what is not kept off it": ("{to: {not: us}}", "allow", False),
        "what its network keeps off": ("{asn: 16509}", "allow", True),
        "a list of networks": ("{to: {not: listed}}", "allow", True),
        "an exception that is over": ("{to: china}", "allow, expires: 2026-01-01", True),
        "an allow that only watches": ("{to: china}", "allow, mode: shadow", False),
        "one that only watches elsewhere": ("{to: us}", "allow, mode: shadow", True),
    },
)
class CompleteTests(SynchronousTestCase):
    """What can be proven is denied."""

    def check_complete(self, action: str, when: str, side: str) -> None:
        """One rule before an `allow` for the rest, and a Chinese address."""
        text = f"""
policy: p
jurisdictions:
  {CHINA % ""}
  us: {{location: [US]}}
  listed: {{networks: [198.51.100.0/24]}}
rules:
- {{id: r, when: {when}, action: {action}}}
- {{id: rest, when: {{}}, action: allow}}
"""
        found = denied(epochs.epoch(text))
        self.assertEqual(_side(found, _CHINESE_V4), side)
        self.assertEqual(_side(found, _AMERICAN_V4), "")

    def check_allow_list(self, when: str, action: str, is_denied: bool) -> None:
        """One rule, and the default blocks the rest: whether the Chinese address is denied."""
        text = f"""
policy: p
jurisdictions:
  {CHINA % ', names: ["*.example.cn"]'}
  us: {{location: [US], names: ["*.example.us"]}}
  listed: {{networks: [198.51.100.0/24]}}
rules:
- {{id: r, when: {when}, action: {action}}}
"""
        self.assertEqual(_side(denied(epochs.epoch(text)), _CHINESE_V4), "silent" * is_denied)

    def test_spelled(self) -> None:
        """Off an allow-list by its own address, what spells others is denied; else it is judged."""
        text = """
policy: p
jurisdictions: { us: { networks: [3.0.0.0/8, "2401::/16"] } }
rules:
- { id: r, when: { to: us }, action: allow }
"""
        found = denied(Epoch.of(1, policy(text), atlases()[0]))
        sides = {"3.2.3.4": "", "4.2.3.4": "silent", "2401::5efe:4.2.3.4": "", "2402::1": "silent"}
        sides |= {"2402::5efe:3.2.3.4": "silent", "2002:302:304::1": "", "64:ff9b::4.2.3.4": ""}
        self.assertEqual({host: _side(found, host) for host in sides}, sides)

    def test_default(self) -> None:
        """Where no rule allows anything, everything is denied: but not IPv4 as IPv6."""
        found = denied(Epoch.of(1, policy("policy: p"), atlases()[1]))
        self.assertEqual(found.silent4, ((0, (1 << 32) - 1),))
        mapped = ipaddress.ip_network("::ffff:0:0/96")
        expected = ((0, int(mapped[0]) - 1), (int(mapped[-1]) + 1, (1 << 128) - 1))
        self.assertEqual(found, Denied(silent4=found.silent4, silent6=expected))

    def test_nothing(self) -> None:
        """Where everything is allowed, or the policy only watches, nothing is denied."""
        for text in ("policy: p\ndefault: allow", "policy: p\nmode: shadow"):
            self.assertEqual(denied(Epoch.of(1, policy(text), atlases()[0])), Denied())

    def test_told_and_not(self) -> None:
        """Where some flows are refused and others meet silence, each is judged."""
        text = f"""
policy: p
jurisdictions: {{ {CHINA % ""} }}
rules:
- {{id: r, when: {{to: china, transport: tcp}}, action: {{block: refuse}}}}
- {{id: s, when: {{to: china}}, action: block}}
"""
        self.assertEqual(_side(denied(epochs.epoch(text)), _CHINESE_V4), "")

    def test_told_where_it_is_named(self) -> None:
        """Where only a name, or an address that is asked for, makes an excepted address a member,
        some flows are refused: each is judged."""
        text = """
policy: p
jurisdictions: { %s }
rules:
- { id: r, when: { to: china }, action: { block: refuse } }
"""
        excepted = ", except: {networks: [198.51.100.0/24]}"
        for more in ("", ', names: ["*.example.cn"]'):
            epoch = epochs.epoch(text % CHINA % (excepted + more))
            self.assertEqual(_side(denied(epoch), _CHINESE_V4), "")

    def test_told_where_sources_disagree(self) -> None:
        """Where what an address spells, or a payload asks for, is refused, each flow is judged."""
        text = """
policy: p
jurisdictions: { us: { location: [US], registration: [US], agreement: all } }
rules:
- { id: r, when: { to: { not: us } }, action: { block: refuse } }
"""
        epoch = Epoch.of(1, policy(text), atlases()[0])
        flows = ("icmp 10.1.0.2 > 2401::1", "icmp 10.1.0.2 > 2401::5efe:3.2.3.4")
        targets = [epoch.judge(epoch.seen(FlowKey.parse(flow), None)).target for flow in flows]
        self.assertEqual(targets, [None, "refuse"])
        sides = [_side(denied(epoch), host) for host in ("2401::1", "2.2.3.4")]
        self.assertEqual(sides, ["", ""])

    def test_told_where_announced(self) -> None:
        """Where what an address spells, or a payload asks for, is announced by a network that is
        refused, each flow is judged."""
        text = """
policy: p
rules:
- { id: r, when: { asn: 64497 }, action: { block: refuse } }
"""
        found = denied(Epoch.of(1, policy(text), atlases()[0]))
        hosts = {"2.2.3.4": "", "3.2.3.4": "refused", "2401::1": "", "2402::1": "refused"}
        self.assertEqual({host: _side(found, host) for host in hosts}, hosts)

    def test_exceptions(self) -> None:
        """What a jurisdiction lists or leaves out is cut exactly."""
        text = f"""
policy: p
jurisdictions:
  {CHINA % ", networks: [2.9.9.0/24], except: {networks: [3.3.0.0-3.3.0.9]}"}
rules:
- {{id: r, when: {{to: china}}, action: block}}
- {{id: rest, when: {{}}, action: allow}}
"""
        found = denied(Epoch.of(1, policy(text), atlases()[0]))
        sides = {
            host: _side(found, host)
            for host in ("2.2.3.4", "2.9.8.255", "2.9.9.0", "2.9.9.255", "3.2.255.255", "3.3.0.0")
        }
        self.assertEqual(list(sides.values()), ["", "", "silent", "silent", "silent", ""], sides)
        self.assertEqual(_side(found, "3.3.0.10"), "silent")

    def test_databases(self) -> None:
        """With a user's database, Chinese places stay denied; what it may decide does not."""
        text = f"""
policy: p
jurisdictions: {{ {CHINA % ""} }}
rules:
- {{id: r, when: {{to: china}}, action: block}}
- {{id: rest, when: {{}}, action: allow}}
"""
        plain, _, with_database = (denied(Epoch.of(1, policy(text), each)) for each in atlases())
        for host, without in (("3.2.3.4", "silent"), ("1.2.3.4", "silent"), ("2.2.3.4", "")):
            self.assertEqual(_side(plain, host), without)
        self.assertEqual(_side(with_database, "3.2.3.4"), "silent")
        self.assertEqual(_side(with_database, "1.2.3.4"), "")
        self.assertEqual(_side(with_database, "10.2.3.4"), "silent")  # private: nobody is asked

    def test_joined(self) -> None:
        """What an unknown network's addresses spell tells nothing of that network: it is denied."""
        text = """
policy: p
jurisdictions: { hosted: { asns: [64497] } }
rules:
- { id: r, when: { to: hosted }, action: block }
- { id: rest, when: {}, action: allow }
"""
        epoch = Epoch.of(1, policy(text), atlases()[0])
        flows = ("icmp 10.1.0.2 > 2407::1", "icmp 10.1.0.2 > 2407::5efe:7.2.3.4")
        verdicts = [epoch.judge(epoch.seen(FlowKey.parse(flow), None)).action for flow in flows]
        self.assertEqual(verdicts, [Action.BLOCK, Action.BLOCK])
        self.assertEqual(_side(denied(epoch), "2407::1"), "silent")
        self.assertEqual(_side(denied(epoch), "8.2.3.4"), "silent")  # its like in IPv4


def _side(found: Denied, host: str) -> str:
    """Say where an address is denied: "silent", "refused" or ""."""
    address = ipaddress.ip_address(host)
    silent, refused = (
        (found.silent4, found.refused4) if address.version == 4 else (found.silent6, found.refused6)
    )
    for ranges, name in ((silent, "silent"), (refused, "refused")):
        at = bisect.bisect_right(ranges, (int(address), 1 << 128)) - 1
        if at >= 0 and ranges[at][0] <= int(address) <= ranges[at][1]:
            return name
    return ""


@cache
def of_promise() -> Denied:
    """Give what the bundled policy denies over the bundled data."""
    return denied(promise())


_GOLDEN = ROOT / "tests" / "data" / "agora_golden.csv"


@rows(
    default={
        "mainland China": (
            ("118.190.148.38", "114.114.114.114", "240e::1", "2408:8000::1"),
            "silent",
        ),
        "run from China, elsewhere": (("47.74.211.17",), "silent"),
        "the United States": (("50.17.126.121", "8.8.8.8", "2600:1f18::1", "2001:4860::8888"), ""),
        "nobody's": (("10.0.0.1", "203.0.113.7", "240.0.0.1", "fd00::1", "2001:db8::1"), "silent"),
        "6to4, which is judged by what it spells": (("2002:7272:7272::1", "2002:808:808::1"), ""),
        "NAT64": (("64:ff9b::114.114.114.114", "64:ff9b::8.8.8.8"), ""),
        "Teredo": (("2001:0:7272:7272::f7f7:f7f7", "2001:0:808:808::f7f7:f7f7"), ""),
        "a Chinese address in an American network (ISATAP)": (("2600::5efe:7272:7272",), ""),
        "an American address in a Chinese network (ISATAP)": (("240e::5efe:808:808",), "silent"),
    }
)
class PromiseTests(SynchronousTestCase):
    """The bundled policy over the bundled data."""

    def check_default(self, hosts: Sequence[str], side: str) -> None:
        """Where addresses stand."""
        self.assertEqual(
            {host: _side(of_promise(), host) for host in hosts}, dict.fromkeys(hosts, side)
        )

    def test_golden(self) -> None:
        """Of the vendor's own addresses those are denied to which a ping is never let go."""
        with _GOLDEN.open(encoding="utf-8", newline="") as file:
            hosts = [row["ip"] for row in csv.DictReader(file)]
        sides = {host: _side(of_promise(), host) for host in hosts}
        self.assertEqual(sides, {host: self._judged(f"icmp 10.1.0.2 > {host}") for host in hosts})
        self.assertEqual(set(sides.values()), {"silent", ""})

    @settings(deadline=None, max_examples=500)
    @given(
        st.binary(min_size=4, max_size=4)
        | st.binary(min_size=16, max_size=16)
        | st.binary(min_size=14, max_size=14).map(lambda rest: b"\x24\x08" + rest)
    )
    def test_everywhere(self, address: bytes) -> None:
        """Every address is denied if and only if ICMP to it is blocked, but for what spells
        others, which is never denied."""
        host = str(ipaddress.ip_address(address))
        side = _side(of_promise(), host)
        if side or not promise().atlas.embedded(address):
            key = FlowKey(Transport.ICMP, Endpoint.of("10.1.0.2", 0), Endpoint(address, 0))
            self.assertEqual(side, self._judged(str(key)))

    def _judged(self, flow: str) -> str:
        epoch = promise()
        verdict = epoch.judge(epoch.seen(FlowKey.parse(flow), b""))
        return "silent" if verdict.action is Action.BLOCK else ""

    def test_whole(self) -> None:
        """No address of a range's edge is on the other side of what is judged."""
        found: Mapping[int, Ranges] = {4: of_promise().silent4, 16: of_promise().silent6}
        for octets, ranges in found.items():
            for first, last in ranges[:: len(ranges) // 500]:
                for number, expected in ((first, "silent"), (last, "silent")):
                    key = FlowKey(
                        Transport.ICMP,
                        Endpoint.of("10.1.0.2", 0),
                        Endpoint(number.to_bytes(octets), 0),
                    )
                    self.assertEqual(self._judged(str(key)), expected)
