"""gateway.flow.epoch: what is gathered of a flow, and what the default policy says of it."""

from __future__ import annotations

from functools import cache

from twisted.trial.unittest import SynchronousTestCase

from gateway import policy
from gateway.flow.cases import run_cases
from gateway.flow.epoch import Epoch
from gateway.flow.table import FlowLimits, FlowTable
from gateway.model import UNKNOWN, FlowKey, Protocol, pack
from tests.support import epochs
from tests.support.bundled import DAY, ROOT, atlas
from tests.support.epochs import FakeObserver
from tests.support.facts import policy as support_policy
from tests.support.rows import rows
from tests.wire.examples import peer, turn

CHINA, AMERICA, PRIVATE = "118.190.148.38", "50.17.126.121", "10.9.9.9"


@cache
def promise() -> Epoch:
    """Put the bundled policy into force over the bundled data."""
    return Epoch.of(1, policy.load(ROOT / "policies" / "default.yaml", DAY), atlas())


@rows(
    judged={
        "ICMP to the United States": (f"icmp 10.1.0.2 > {AMERICA}", "allow", "the-rest"),
        "ICMPv6 to the United States": (
            "icmp 2001:db8::1 > 2600:1f18::1",
            "allow",
            "the-rest",
        ),
        "ICMP to mainland China": (f"icmp 10.1.0.2 > {CHINA}", "block", "nothing-else-to-china"),
        "ICMPv6 to mainland China": (
            "icmp 2001:db8::1 > 240e::1",
            "block",
            "nothing-else-to-china",
        ),
        "ICMP to a Chinese address spelled as 6to4": (
            "icmp 2001:db8::1 > 2002:7272:7272::1",
            "block",
            "nothing-else-to-china",
        ),
        "ICMP to nobody knows where": (
            f"icmp 10.1.0.2 > {PRIVATE}",
            "block",
            "nothing-else-to-china",
        ),
        "another protocol to mainland China": (
            f"other 10.1.0.2 > {CHINA}",
            "block",
            "never-ping-china",
        ),
        "another protocol to the United States": (
            f"other 10.1.0.2 > {AMERICA}",
            "wrap",
            "nothing-unread",
        ),
    }
)
class PortlessTests(SynchronousTestCase):
    """ICMP and every other protocol are judged by address."""

    def check_judged(self, flow: str, action: str, rule: str) -> None:
        """The default policy's verdict, with a payload, without, and by the flow table."""
        epoch, key = promise(), FlowKey.parse(flow)
        table = FlowTable(epoch, lambda: 0.0, FlowLimits(), FakeObserver())
        verdicts = [epoch.judge(epoch.seen(key, each)) for each in (None, b"", epochs.PING)]
        verdicts += [table.judge(key, each) for each in (None, b"", epochs.PING, b"")]
        for verdict in verdicts:
            self.assertEqual((verdict.action, verdict.settled), (action, True))
            self.assertEqual(verdict.rule, rule)

    def test_content(self) -> None:
        """What has no ports is known without a payload; a stream is not."""
        epoch = epochs.epoch()
        contents = [
            epoch.facts(FlowKey.parse(flow), None).content
            for flow in (
                "icmp 10.1.0.2 > 192.0.2.1",
                "other 10.1.0.2 > 192.0.2.1",
                "tcp 10.1.0.2:5 > 192.0.2.1:443",
            )
        ]
        assert contents[0] is not None
        self.assertEqual(contents[0].protocol, Protocol.ICMP)
        self.assertEqual(contents[1:], [UNKNOWN, None])

    def test_conditions(self) -> None:
        """A rule may ask for ICMP by transport and by protocol, and a case may try it."""
        text = """
policy: p
default: block
rules:
- {id: by-transport, when: {transport: icmp, from: 10.1.0.0/16}, action: allow}
- {id: fragments, when: {transport: other}, action: allow}
- {id: by-protocol, when: {protocol: icmp}, action: {block: refuse}}
cases:
- {flow: icmp 10.1.0.2 > 192.0.2.1, expect: {action: allow, rule: by-transport}}
- {flow: icmp 10.2.0.2 > 192.0.2.1, expect: {action: {block: refuse}, rule: by-protocol}}
- {flow: other 10.2.0.2 > 192.0.2.1, expect: {action: allow, rule: fragments}}
"""
        failures = [result.failure for result in run_cases(epochs.epoch(text))]
        self.assertEqual(failures, [None, None, None])


ALLOW_LIST = """
policy: p
default: block
jurisdictions: { us: { location: [US], registration: [US], operator: [US], agreement: all } }
rules:
- { id: us, when: { to: us }, action: allow }
"""
BLOCK_LIST = ALLOW_LIST.replace("default: block", "default: allow").replace(
    "to: us }, action: allow", "to: { not: us } }, action: block"
)
TELECOM = "114.114.114.114"


@cache
def listing(text: str) -> Epoch:
    """Put a policy into force over the bundled data."""
    return Epoch.of(1, support_policy(text), atlas())


def connect(host: str) -> bytes:
    """Ask a proxy for an address (RFC 9110 section 9.3.6)."""
    return f"CONNECT {host}:443 HTTP/1.1\r\n\r\n".encode()


def indication(*hosts: str) -> bytes:
    """Ask a TURN server to let peers send (RFC 8656 section 9.1)."""
    return turn(8, b"".join(peer(pack(host)) for host in hosts))


@rows(
    asked={
        "an American relay": (f"udp {AMERICA}:3478", indication(), True),
        "an American relay, American peers": (
            f"udp {AMERICA}:3478",
            indication(AMERICA, "8.8.8.8"),
            True,
        ),
        "an American relay, a Chinese peer": (
            f"udp {AMERICA}:3478",
            indication("8.8.8.8", TELECOM),
            False,
        ),
        "a Chinese relay, an American peer": (f"udp {CHINA}:3478", indication("8.8.8.8"), False),
        "an American relay, a Chinese peer as 6to4": (
            f"udp {AMERICA}:3478",
            indication("2002:7272:7272::1"),
            False,
        ),
        "a private peer": (f"udp {AMERICA}:3478", indication(PRIVATE), False),
        "an American proxy, an American target": (
            f"tcp {AMERICA}:3128",
            connect("8.8.8.8"),
            True,
        ),
        "an American proxy, a Chinese target": (f"tcp {AMERICA}:3128", connect(TELECOM), False),
        "a Chinese proxy, an American target": (f"tcp {CHINA}:3128", connect("8.8.8.8"), False),
        "NAT64 of an American address": ("udp [64:ff9b::8.8.8.8]:3478", b"", True),
        "NAT64 of a Chinese address": ("udp [64:ff9b::114.114.114.114]:3478", b"", False),
        "6to4 of an American address": ("udp [2002:808:808::1]:3478", b"", True),
        "Teredo, both the same": ("udp [2001:0:808:808::f7f7:f7f7]:3478", b"", True),
        "Teredo, a Chinese server": ("udp [2001:0:7272:7272::f7f7:f7f7]:3478", b"", False),
        "Teredo, a Chinese client": ("udp [2001:0:808:808::8d8d:8d8d]:3478", b"", False),
        "ISATAP, an American address in a Chinese network": (
            "udp [240e::5efe:808:808]:3478",
            b"",
            False,
        ),
        "ISATAP, a Chinese address in an American network": (
            "udp [2600:1f18::5efe:7272:7272]:3478",
            b"",
            False,
        ),
    }
)
class FurtherTests(SynchronousTestCase):
    """Addresses that a payload asks for, or a destination spells, are judged each alone."""

    def check_asked(self, flow: str, payload: bytes, may_go: bool) -> None:
        """By an allow-list, and by a block of all that is not on it."""
        transport, _, destination = flow.partition(" ")
        client = "[2001:db8::2]:5" if "[" in destination else "10.1.0.2:5"
        key = FlowKey.parse(f"{transport} {client} > {destination}")
        for text in (ALLOW_LIST, BLOCK_LIST):
            epoch = listing(text)
            verdict = epoch.judge(epoch.seen(key, payload))
            self.assertEqual(verdict.action, "allow" if may_go else "block")

    def test_why(self) -> None:
        """Who asks why is told which address decided."""
        epoch = listing(BLOCK_LIST)
        key = FlowKey.parse(f"udp 10.1.0.2:5 > {AMERICA}:3478")
        _, considered = epoch.explain(epoch.seen(key, indication("8.8.8.8", TELECOM)))
        self.assertTrue(considered[0].why.startswith(f"{TELECOM}: not (us: location CN"))

    def test_once(self) -> None:
        """An address is judged once, however often it is asked for."""
        epoch = listing(ALLOW_LIST)
        key = FlowKey.parse(f"udp 10.1.0.2:5 > {AMERICA}:3478")
        facts = epoch.facts(
            key, epoch.content(key, indication(AMERICA, "8.8.8.8", "64:ff9b::808:808"))
        )
        self.assertEqual(facts.further, (pack("8.8.8.8"), pack("64:ff9b::808:808")))
        self.assertEqual(facts.further_places[0], facts.further_places[1])
