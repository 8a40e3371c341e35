"""gateway.flow.media and the flow table: one datagram that looks like RTP is no proof of it."""

from __future__ import annotations

import random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.flow.epoch import Epoch
from gateway.flow.table import FlowLimits, FlowTable
from gateway.model import FlowKey, Protocol, Transport
from gateway.wire import recognise
from tests.support.epochs import NOISE, STUN, FakeAtlas, FakeObserver
from tests.support.facts import policy
from tests.wire import captures, examples

KEY = FlowKey.parse("udp 10.1.0.2:5000 > 192.0.2.1:4001")
RTP, VIDEO = examples.rtp(), examples.rtp(96).replace(b"\x12\x34\xab\xcd", b"\x99\x99\xab\xcd")
UNREAD = NOISE * 4
POLICY = """
policy: media
rules:
- {id: unread, when: {protocol: unknown}, action: {wrap: nearest}}
- {id: media, when: {traffic: media}, action: MEDIA}
- {id: rest, when: {}, action: allow}
"""


class TableCase(SynchronousTestCase):
    """A flow table by a policy that wraps what nobody knows."""

    def setUp(self) -> None:
        self.observer = FakeObserver()
        self.table = self.make("allow")

    def make(self, media: str) -> FlowTable:
        in_force = Epoch.of(1, policy(POLICY.replace("MEDIA", media)), FakeAtlas())
        return FlowTable(in_force, Clock().seconds, FlowLimits(1 << 20, 1 << 20), self.observer)

    def rules(self, *payloads: bytes) -> list[str]:
        return [self.table.judge(KEY, payload).rule for payload in payloads]


class BeginningTests(TableCase):
    """Flows whose first datagram looks like RTP."""

    def test_borne_out(self) -> None:
        """A second datagram of the same source makes it sure, and then nothing unmakes it."""
        self.assertEqual(self.rules(RTP, RTP, UNREAD), ["media"] * 3)

    def test_refuted(self) -> None:
        """An unknown datagram behind the first one turns the flow, which is written down."""
        self.assertEqual(self.rules(RTP, UNREAD, UNREAD), ["media", "unread", "unread"])
        written = [one.verdict.rule for one in self.observer.judged]
        self.assertEqual(written, ["media", "unread"])

    def test_open(self) -> None:
        """What keeps the way open, another known protocol and another source say nothing."""
        rules = self.rules(RTP, b"\0" * 4, STUN, VIDEO)
        self.assertEqual(rules, ["media", "media", "rest", "media"])
        self.assertEqual(self.rules(UNREAD), ["unread"])

    def test_two_sources(self) -> None:
        """Audio and video in one flow are borne out by either."""
        self.assertEqual(self.rules(RTP, VIDEO, VIDEO, UNREAD), ["media"] * 4)


class WithinTests(TableCase):
    """What looks like RTP in flows that began otherwise."""

    def test_held(self) -> None:
        """One datagram is held to the flow's verdict; from the second of a source on it is RTP."""
        self.assertEqual(
            self.rules(UNREAD, RTP, VIDEO, RTP), ["unread", "unread", "unread", "media"]
        )

    def test_no_door(self) -> None:
        """Where RTP is blocked, what looks like it is blocked at once."""
        self.table = self.make("block")
        self.assertEqual(self.rules(STUN, RTP), ["rest", "media"])


class NoiseTests(TableCase):
    """Flows of random octets."""

    def test_flows(self) -> None:
        """Of 10,000 flows of noise none is taken for RTP by its third datagram."""
        chance = random.Random(2021)
        looked = taken = 0
        for number in range(10_000):
            key = FlowKey.parse(f"udp 10.1.0.2:{number + 1} > 192.0.2.1:4001")
            rules = [
                self.table.judge(key, chance.randbytes(chance.randint(60, 1200))).rule
                for _ in range(3)
            ]
            looked += rules[0] == "media"
            taken += "media" in rules[1:]
        self.assertGreater(looked, 15)
        self.assertEqual(taken, 0)


class CaptureTests(TableCase):
    """Other people's calls, outside the project."""

    def test_flows(self) -> None:
        """Every flow that begins with RTP and goes on is borne out."""
        for name in ("sip.pcap", "rtp.pcapng"):
            flows: dict[FlowKey, list[bytes]] = {}
            for packet in captures.packets(captures.foreign(name)):
                if packet.transport is Transport.UDP:
                    key = FlowKey(packet.transport, packet.source, packet.destination)
                    flows.setdefault(key, []).append(packet.payload)
            begun = [
                (key, payloads)
                for key, payloads in flows.items()
                if len(payloads) > 1
                and recognise(Transport.UDP, payloads[0]).protocol is Protocol.RTP
            ]
            self.assertTrue(begun, name)
            for key, payloads in begun:
                self.assertEqual({self.table.judge(key, one).rule for one in payloads}, {"media"})
