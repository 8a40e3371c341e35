"""What becomes of packets that Python has answered, by carrying the rules out."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.kernel.marks import (
    ANSWER,
    BLOCK,
    BLOCK_PLACE,
    JUDGE,
    OTHERS_MASK,
    PROVISIONAL,
    REFUSE,
    REFUSE_PLACE,
    epoch_of,
    mark,
    target_of,
)
from gateway.model import Endpoint
from tests.kernel.packets import EPOCHS, NOW, NUMBERS, PACKETS, TABLE, six
from tests.kernel.simulation import Packet, Simulation
from tests.support.rows import rows

_ANSWERS = st.builds(
    lambda epoch, target, flags, others: mark(epoch, target, flags | ANSWER) | others << 8,
    EPOCHS,
    NUMBERS,
    st.integers(0, 255),
    st.integers(0, 255),
)
_PLACED = {BLOCK: False, BLOCK_PLACE: True, REFUSE: False, REFUSE_PLACE: True}


@rows(
    blocked={
        f"target {target}, protocol {protocol}, IPv{6 if is_six else 4}": (target, protocol, is_six)
        for target in _PLACED
        for protocol in (17, 6, 132)
        for is_six in (False, True)
    }
)
class AnsweredTests(SynchronousTestCase):
    """What Python answered."""

    def setUp(self) -> None:
        """Begin without flows."""
        self.simulation = Simulation(TABLE)

    def answered(self, packet: Packet, answer: int) -> str:
        """Send a packet on with an answer; give where it ends."""
        packet.mark = answer
        verdict = self.simulation.hooked("prerouting", packet, after=-149)
        return self.simulation.onward(packet) if verdict == "accept" else verdict

    @settings(deadline=None, max_examples=200)
    @given(PACKETS, _ANSWERS)
    def test_late(self, packet: Packet, answer: int) -> None:
        """Python's answer of another epoch, or one that still asks, lets nothing pass."""
        packet.is_dnat = False
        was = packet.ct
        if self.answered(packet, answer) != "accept":
            return
        self.assertEqual(epoch_of(answer), NOW)
        self.assertFalse(answer & JUDGE)
        if not answer & PROVISIONAL:
            self.assertEqual(target_of(packet.ct), target_of(answer))
        self.assertEqual(epoch_of(packet.ct), NOW)
        self.assertEqual(packet.ct & OTHERS_MASK, was & OTHERS_MASK)

    def test_relay(self) -> None:
        """A flow for a relay goes to that relay, in either family, and nowhere else."""
        for given_, at in ((Packet(), "192.0.2.9:4001"), (six(Packet()), "[2001:db8::9]:4001")):
            self.assertEqual(self.answered(given_, mark(NOW, 1, ANSWER)), "accept")
            self.assertEqual(Endpoint.of(given_.destination, given_.dport), Endpoint.parse(at))
        # Where NAT does not send it there, for its flow is not new, it does not leave.
        packet = Packet(mark=mark(NOW, 1, ANSWER))
        self.assertEqual(self.simulation.hooked("forward", packet), "drop")

    def test_exit(self) -> None:
        """A flow for an interface leaves by it alone."""
        for oif, verdict in (("wg1", "accept"), ("up0", "drop")):
            self.assertEqual(self.answered(Packet(oif=oif), mark(NOW, 2, ANSWER)), verdict)

    def test_proxy(self) -> None:
        """What is for the local proxy is taken in, and never forwarded."""
        packet = Packet(protocol=6, ct=0x1200)
        self.assertEqual(self.answered(packet, mark(NOW, 3, ANSWER)), "accept")
        self.assertEqual((packet.is_own, packet.ct), (True, mark(NOW, 3) | 0x1200))
        # Where NAT does not send it there, it goes nowhere; nobody else gets to the proxy.
        packet = Packet(protocol=6, mark=mark(NOW, 3, ANSWER))
        self.assertEqual(self.simulation.hooked("forward", packet), "drop")
        for answer in (mark(NOW, 0, ANSWER), mark(NOW - 1, 3, ANSWER)):
            packet = Packet(protocol=6, is_own=True, dport=7000, mark=answer)
            self.assertEqual(self.simulation.hooked("input", packet), "drop")

    def test_provisional(self) -> None:
        """A flow whose first octets are awaited passes packet by packet, and each one that says
        something asks."""
        packet = Packet(protocol=6)
        for flags, payload in ((0x02, b""), (0x10, b"a"), (0x18, b"b"), (0x11, b"")):
            packet.flags, packet.payload = flags, payload
            self.assertEqual(self.simulation.hooked("prerouting", packet), "queue")
            self.assertEqual(self.answered(packet, mark(NOW, 0, ANSWER | PROVISIONAL)), "accept")
        self.assertEqual(self.answered(packet, mark(NOW, 0, ANSWER)), "accept")
        self.assertEqual(self.simulation.hooked("prerouting", packet), "accept")

    def check_blocked(self, target: int, protocol: int, is_six: bool) -> None:
        """A block is remembered: the flow's next packets, or all to the place, do not ask"""
        flow = six(Packet(protocol=protocol)) if is_six else Packet(protocol=protocol)
        is_told = target in (REFUSE, REFUSE_PLACE)
        told = "reset" if protocol == 6 else "prohibited"
        expected = told if is_told else "drop"
        self.assertEqual(self.answered(replace(flow), mark(NOW, target, ANSWER)), expected)
        # The packet was dropped, so conntrack forgot it: the next one is new.
        self.assertEqual(self.simulation.hooked("prerouting", replace(flow, ct=0)), expected)
        other: dict[str, Any] = {"sport": flow.sport + 1}
        dies = _PLACED[target] or protocol == 132
        for changed, verdict in ((other, expected if dies else "queue"),
                                 ({"protocol": 17 if protocol == 6 else 6}, "queue")):  # fmt: skip
            another = dataclasses.replace(flow, ct=0, mark=0, **changed)
            self.assertEqual(self.simulation.hooked("prerouting", another), verdict)
