"""gateway.flow.denied: what the kernel may drop unasked."""

from __future__ import annotations

import bisect
import csv
import ipaddress
import json
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.flow.denied import Denied, Ranges, denied
from gateway.flow.epoch import Epoch
from gateway.geo import Atlas, Mmdb, Override
from gateway.model import (
    Action,
    Axis,
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
from tests.flow.test_epoch import promise
from tests.geo import worlds
from tests.support import epochs
from tests.support.bundled import ROOT
from tests.support.facts import policy
from tests.support.rows import rows

# A world of every gap in the evidence: (location, registration, AS).  64497 and 64498 are run from
# China, nobody knows where 64499 is run from.
_SAID: tuple[worlds.Said, ...] = (
    ("", "", 0),
    ("US", "US", 64496),
    ("CN", "CN", 64497),
    ("HK", "HK", 64498),
    ("US", "", 0),
    ("", "CN", 0),
    ("US", "US", 64499),
    ("US", "US", 0),
    ("CN", "US", 64496),
    ("", "", 64496),
)
_V4 = ((0, _SAID[0]), *((at << 24, said) for at, said in enumerate(_SAID, 1)))
_V6 = ((0, _SAID[0]), *((0x2400 + at << 112, said) for at, said in enumerate(_SAID)))
_HOSTS = [f"{at}.2.3.4" for at in range(1, 13)]


@cache
def atlases() -> tuple[Atlas, ...]:
    """Make the world thrice: as it is, with overrides and a NAT64 of its own, with a database."""
    folder = Path(tempfile.mkdtemp(prefix="gateway-test-"))
    bundle = worlds.bundle(_V4, _V6)
    overrides = [
        Override(network="2.2.0.0/16", location="US", reason="a test"),
        Override(network="2.2.3.0/24", registration="CN", reason="a test"),
        Override(network="2402:1::/32", location="US", reason="a test"),
        Override(network="::/64", location="CN", reason="a test"),
    ]
    own = {
        "2.0.0.0/7": {"country": {"iso_code": "US"}},
        "5.0.0.0/8": _record("CN"),
        "2400::/12": _record("US"),
    }
    file = worlds.write_mmdb(folder / "own.mmdb", own)
    own_as = worlds.write_mmdb(
        folder / "as.mmdb", {"4.0.0.0/6": {"autonomous_system_number": 64499}}
    )
    return (
        worlds.atlas(folder, bundle),
        worlds.atlas(folder, bundle, *overrides, nat64_prefixes=["2401:64::/32", "fd00:64::/96"]),
        worlds.atlas(
            folder,
            bundle,
            databases=[Mmdb(file, Axis.LOCATION), Mmdb(own_as, Axis.OPERATOR)],
            today=datetime.now(UTC).date(),
        ),
    )


def _record(country: str) -> dict[str, Any]:
    return {"country": {"iso_code": country}}


_COUNTRIES = st.lists(st.sampled_from(("CN", "US", "HK")), min_size=1, max_size=2, unique=True)
_ASNS = st.lists(st.sampled_from((64496, 64497, 64499)), min_size=1, max_size=2, unique=True)
_NETWORKS = st.lists(
    st.sampled_from(
        (
            "2.2.3.0/24",
            "2.0.0.0/7",
            "9.0.0.0-11.2.3.4",
            "2400::/14",
            "2402::/17",
            "::/0",
            "0.0.0.0/0",
        )
    ),
    max_size=2,
    unique=True,
)
_NAMES = ["*.example.cn"]


@st.composite
def _jurisdiction(draw: st.DrawFn) -> dict[str, Any]:
    axes = draw(st.lists(st.sampled_from(list(Axis)), max_size=3, unique=True))
    section: dict[str, Any] = {str(axis): draw(_COUNTRIES) for axis in axes}
    if draw(st.integers(0, 3)) == 0 or not section:
        section["asns"] = draw(_ASNS)
    if draw(st.integers(0, 3)) == 0:
        section["networks"] = draw(_NETWORKS)
    if draw(st.integers(0, 3)) == 0:
        section["except"] = {"networks": draw(_NETWORKS)}
    if draw(st.integers(0, 2)) == 0:
        section["names"] = _NAMES
    if axes and draw(st.integers(0, 2)) == 0:
        section["agreement"] = "all"
    return section


_LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "to": st.lists(st.sampled_from(("a", "b")), min_size=1, max_size=2, unique=True),
    "asn": _ASNS,
    "traffic": st.sampled_from(("ping", "media", "other")),
    "protocol": st.sampled_from(("stun", "unknown", "icmp", "http")),
    "plaintext": st.sampled_from(("any", "user-id")),
    "transport": st.sampled_from(("udp", "icmp", ["udp", "tcp", "icmp", "other"])),
    "port": st.sampled_from((443, "0-65535")),
    "from": st.just("10.1.0.0/16"),
}


@st.composite
def _when(draw: st.DrawFn, blocks: bool, positive: bool = True, depth: int = 2) -> dict[str, Any]:
    may_name = blocks or not positive
    keys = draw(st.lists(st.sampled_from(list(_LEAVES)), max_size=2, unique=True))
    if draw(st.booleans()) and "to" not in keys:
        keys.append("to")
    section: dict[str, Any] = {}
    for key in keys:
        value = draw(_LEAVES[key])
        section[key] = {"not": value} if draw(st.integers(0, 2)) == 0 else value
    if draw(st.integers(0, 5)) == 0:
        # What does not block may rule a name out, and not ask for one.
        section["name"] = _NAMES if may_name else {"not": _NAMES}
    if depth and draw(st.integers(0, 3)) == 0:
        key = draw(st.sampled_from(("any", "all", "not")))
        if key == "not":
            section[key] = draw(_when(blocks, not positive, depth - 1))
        else:
            section[key] = [draw(_when(blocks, positive, depth - 1)) for _ in range(2)]
    return section


@st.composite
def _rule(draw: st.DrawFn, at: int) -> dict[str, Any]:
    action = draw(
        st.sampled_from(
            ("block", "block", "block", {"block": "refuse"}, "allow", {"wrap": "nearest"})
        )
    )
    blocks = action == "block" or action == {"block": "refuse"}
    rule = {"id": f"r{at}", "when": draw(_when(blocks)), "action": action}
    match draw(st.integers(0, 9)):
        case 0:
            rule["mode"] = "shadow"
        case 1:
            rule["shadow"] = {"percent": 50}
        case 2 | 3:
            rule["expires"] = "2026-01-01"
    return rule


@st.composite
def _policies(draw: st.DrawFn) -> str:
    default = draw(st.sampled_from(("block", "block", "block", {"block": "refuse"}, "allow")))
    return json.dumps(
        {
            "policy": "p",
            "default": default,
            "mode": "shadow" if draw(st.integers(0, 19)) == 0 else "enforce",
            "jurisdictions": {"a": draw(_jurisdiction()), "b": draw(_jurisdiction())},
            "rules": [draw(_rule(at)) for at in range(draw(st.integers(0, 4)))],
        }
    )


_IDENTIFIER = Identifier(IdentifierKind.USER_ID, 0, 4)
_ASKED = st.sampled_from(
    [pack(host) for host in (*_HOSTS, "2401::1", "2402::1", "2002:202:304::1")]
)
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
        other = int.from_bytes(pack(draw(st.sampled_from(_HOSTS))))
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

    @settings(deadline=None, max_examples=400)
    @given(st.data(), _policies(), st.integers(0, 2))
    def test_any_flow(self, data: st.DataObject, text: str, world: int) -> None:
        """A denied address is blocked, for good and as it is said, whatever goes there."""
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
        "what is blocked by its place": ("block", "{to: china}", "", "silent"),
        "a block that is told": ("{block: refuse}", "{to: china}", "", "refused"),
        "a block by another condition as well": (
            "block",
            "{to: china, traffic: ping}",
            "",
            "",
        ),
        "every transport": (
            "block",
            "{to: china, transport: [udp, tcp, icmp, other]}",
            "",
            "silent",
        ),
        "not every transport": ("block", "{to: china, transport: [udp, tcp]}", "", ""),
        "every port": ("block", '{to: china, port: "0-65535"}', "", "silent"),
        "not every client": ("block", "{to: china, from: 0.0.0.0/0}", "", ""),
        "a block that has expired": ("block, expires: 2026-01-01", "{to: china}", "", "silent"),
        "a rule in shadow": ("block, mode: shadow", "{to: china}", "", ""),
        "a rule in shadow for some": ("block, shadow: {percent: 1}", "{to: china}", "", ""),
        "one in shadow for none": ("block, shadow: {percent: 0}", "{to: china}", "", "silent"),
        "what is announced by a network": ("block", "{asn: 37963}", "", "silent"),
        "what is in a network": ("block", "{to: listed}", "", "silent"),
        "any of two": ("block", "{any: [{traffic: ping}, {to: china}]}", "", "silent"),
        "neither of two": ("block", "{not: {all: [{traffic: ping}, {to: us}]}}", "", ""),
    }
)
class CompleteTests(SynchronousTestCase):
    """What can be proven is denied."""

    def check_complete(self, action: str, when: str, _: str, side: str) -> None:
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
        """With a database of the user's, Chinese places stay denied; what it may decide does not."""
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
