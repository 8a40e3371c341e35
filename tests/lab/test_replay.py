"""Tests of replaying a capture's client side."""

from __future__ import annotations

import time
from collections import Counter

from gateway.demo.conversation import Conversation, Said, conversations
from gateway.demo.run import CAPTURE
from gateway.evidence.capture import read_packets
from gateway.model import FlowKey, Transport
from tests.lab.answers import Captured
from tests.lab.case import LabCase
from tests.lab.replay import replay
from tests.lab.topology import Space


class ReplayTests(LabCase):
    """The network cannot tell the replay from the call."""

    def test_a_real_call(self) -> None:
        """Through a gateway that only forwards, every datagram and stream of the call arrives from
        its own address and port, and every answer returns."""
        talks = conversations(read_packets(CAPTURE))
        internet = self.internet(Captured(talks))
        uplink = self.wire(Space.GATEWAY, "uplink")
        replayed = replay(self.lab, talks, speed=20.0)
        internet.wait_quiet()
        uplink.stop()
        said = Counter((talk.key, each.payload) for talk in talks for each in talk.of_client())
        arrived = Counter(
            (FlowKey(each.transport, each.source, each.destination), each.payload)
            for each in internet.arrived()
        )
        self.assertGreater(said.total(), 1_000)
        self.assertEqual(arrived, said)
        passed = Counter(
            (FlowKey(each.transport, each.source, each.destination), each.payload)
            for each in uplink.packets()
            if each.transport is Transport.UDP
        )
        self.assertEqual(
            {key: passed[key] for key in said if key[0].transport == "udp"},
            {key: count for key, count in said.items() if key[0].transport == "udp"},
        )
        answers = {t.key: len(t.said) - len(t.of_client()) for t in talks}
        self.assertEqual(replayed.answers, Counter({k: n for k, n in answers.items() if n}))
        self.assertEqual((replayed.refused, replayed.moved, internet.missed), ({}, set(), 0))

    def test_pace(self) -> None:
        """At speed 1 what was said a second apart is said a second apart."""
        self.internet()
        key = FlowKey.parse("udp 10.98.7.2:5000 > 203.0.113.7:4001")
        talk = Conversation(key, [Said(0.0, True, b"one"), Said(0.6, True, b"two")])
        wire = self.wire(Space.GATEWAY, "uplink")
        began_s = time.monotonic()
        replayed = replay(self.lab, [talk], silence_s=0.1)
        self.assertGreater(time.monotonic() - began_s, 0.7)
        wire.stop()
        times = [each.time_s for each in wire.packets() if each.source == key.client]
        self.assertEqual(len(times), 2)
        self.assertApproximates(times[1] - times[0], 0.6, 0.15)
        self.assertEqual(replayed.answers, Counter({key: 2}))

    def test_ipv6(self) -> None:
        """A call over IPv6 is replayed with its own addresses too, UDP and TCP."""
        internet = self.internet()
        keys = [
            FlowKey.parse(f"{transport} [2001:db8:77::5]:5000 > [2001:db9::7]:4001")
            for transport in (Transport.UDP, Transport.TCP)
        ]
        talks = [Conversation(key, [Said(0.0, True, b"hello")]) for key in keys]
        replayed = replay(self.lab, talks, silence_s=1.0)
        self.assertEqual(replayed.answers, Counter(keys))
        arrived = {
            FlowKey(each.transport, each.source, each.destination) for each in internet.arrived()
        }
        self.assertEqual(arrived, set(keys))

    def test_refused(self) -> None:
        """A stream that nobody accepts is told apart from one that was silent."""
        key = FlowKey.parse("tcp 10.98.7.2:5000 > 203.0.113.7:4001")
        replayed = replay(self.lab, [Conversation(key, [Said(0.0, True, b"hello")])])
        self.assertEqual(list(replayed.refused), [key])
        self.assertIn("refused", replayed.refused[key])
        self.assertEqual(replayed.sent, Counter())
