"""gateway.flow.epoch: what is gathered of a flow, and what the default policy says of it."""

from __future__ import annotations

from functools import cache

from twisted.trial.unittest import SynchronousTestCase

from gateway import policy
from gateway.flow.cases import run_cases
from gateway.flow.epoch import Epoch
from gateway.flow.table import FlowLimits, FlowTable
from gateway.model import UNKNOWN, FlowKey, Protocol
from tests.support import epochs
from tests.support.bundled import DAY, ROOT, atlas
from tests.support.epochs import FakeObserver
from tests.support.rows import rows

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
