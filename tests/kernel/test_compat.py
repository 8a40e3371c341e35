"""The rule that leads to the queue is what iptables-nft would have sent."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from gateway.kernel import compat, netlink
from gateway.kernel.router import Queues
from tests.support.rows import rows


@rows(
    rule={
        "one queue": (Queues(8700), False, (8700, 1, 0)),
        "many": (Queues(5, 4), False, (5, 4, 0)),
        "that may be passed by": (Queues(65535), True, (65535, 1, 1)),
    }
)
class CompatTests(SynchronousTestCase):
    """rule."""

    def check_rule(self, queues: Queues, bypass: bool, info: tuple[int, int, int]) -> None:
        """A rule names its table, chain, target and queues, and goes to the chain's head"""
        octets = compat.rule("gateway", "asking", queues, bypass=bypass)
        (one,) = netlink.messages(octets)
        self.assertEqual(one.kind, 10 << 8 | 6)  # NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWRULE
        flags = struct.unpack_from("=H", octets, 6)[0]
        self.assertEqual(flags, 0x1 | 0x4 | 0x400)  # REQUEST, ACK, CREATE; not APPEND
        self.assertEqual(one.body[:4], b"\1\0\0\0")  # NFPROTO_INET
        said = dict(netlink.attributes(one.body, 4))
        self.assertEqual((said[1], said[2]), (b"gateway\0", b"asking\0"))
        ((_, element),) = netlink.attributes(said[4])
        expression = dict(netlink.attributes(element))
        self.assertEqual(expression[1], b"target\0")
        target = dict(netlink.attributes(expression[2]))
        self.assertEqual((target[1], target[2]), (b"NFQUEUE\0", struct.pack("!I", 3)))
        self.assertEqual(struct.unpack("=HHH2x", target[3]), info)
