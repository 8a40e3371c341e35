"""What passes and what does not, by carrying the rules out on packets of every kind."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.kernel import ruleset
from gateway.kernel.marks import (
    ANSWER,
    BLOCK,
    BLOCK_PLACE,
    EPOCH_MASK,
    JUDGE,
    OTHERS_MASK,
    PROVISIONAL,
    QUICK,
    REFUSE,
    REFUSE_PLACE,
    epoch_of,
    mark,
    target_of,
)
from gateway.model import Endpoint
from tests.kernel.simulation import Packet, Simulation
from tests.kernel.test_ruleset import ROUTER
from tests.support.rows import rows

_TABLE = ruleset.render(replace(ROUTER, spot_check=100))
_NOW = ROUTER.epoch
_TARGETS = {0, *ROUTER.targets}
_PAIRS = {
    "203.0.113.7": "2001:db8:a::7",
    "198.51.100.7": "2001:db8::8",
    "10.1.0.2": "2001:db8:1::2",
}
"""Places with and without a denial, and the client, in both families."""

_ICMP = {3: 1, 4: 3, 5: 137, 8: 128, 11: 3, 12: 4}
"""Types of ICMP and their like of ICMPv6 (source quench has none); "too big" is a code of 3."""

_EPOCHS = st.sampled_from([0, _NOW - 1, _NOW, _NOW + 1, 255])
_NUMBERS = st.sampled_from([*_TARGETS, 200, REFUSE_PLACE, REFUSE, 253, BLOCK_PLACE, BLOCK])
_MARKS = st.builds(
    lambda epoch, target, others, flags: mark(epoch, target, flags) | others << 8,
    _EPOCHS,
    _NUMBERS,
    st.integers(0, 255),
    st.integers(0, 255),
)
_PACKETS = st.builds(
    Packet,
    destination=st.sampled_from(["203.0.113.7", "198.51.100.7"]),
    protocol=st.sampled_from([17, 17, 6, 1, 132]),
    sport=st.integers(1, 9),
    flags=st.sampled_from([0x02, 0x10, 0x11, 0x18]),
    payload=st.binary(max_size=30)
    | st.sampled_from([b"\3\1error", b"\3\4too big", b"\x0b\0late", b"\x08\0echo"])
    | st.binary(max_size=30).map(lambda octets: b"\x80" + octets),
    checksum=st.sampled_from([0, 0x15]),
    mark=_MARKS,
    ct=_MARKS,
    oif=st.sampled_from(["up0", "wg1", "wg0"]),
    is_drawn=st.booleans(),
    is_dnat=st.booleans(),
    option=st.sampled_from(["", "", "", "lsrr"]),
)


def six(packet: Packet) -> Packet:
    """Give the same packet in IPv6."""
    ends = _PAIRS[packet.destination], _PAIRS[packet.source]
    other = replace(packet, destination=ends[0], source=ends[1])
    other.option = "rt" if packet.option else ""
    if packet.protocol == 1:
        kind = _ICMP.get(packet.payload[0], 200) if packet.payload else 0
        other.protocol = 58
        other.payload = bytes((2 if packet.payload[:2] == b"\3\4" else kind,)) + packet.payload[1:]
    return other


def others(packet: Packet) -> tuple[int, int]:
    """Give what belongs to other software."""
    return packet.mark & OTHERS_MASK, packet.ct & OTHERS_MASK


class PassageTests(SynchronousTestCase):
    """What Python says nothing of."""

    def way(self, packet: Packet, of: Simulation | None = None) -> str:
        """Send a packet from a client to the outside; give where it ends.  A spot check that nobody
        answers passes."""
        simulation = of or Simulation(_TABLE)
        verdict = simulation.hooked("prerouting", packet)
        if verdict == "sample":
            verdict = simulation.hooked("prerouting", packet, after=-160)
        return simulation.onward(packet) if verdict == "accept" else verdict

    @settings(deadline=None, max_examples=200)
    @given(_PACKETS)
    def test_only_judged(self, packet: Packet) -> None:
        """Only packets of flows that were judged in this epoch, and let go, pass unasked; none with
        a source route does, and none to a denied place of a flow that is new to it."""
        before = replace(packet)
        if self.way(packet) != "accept":
            return
        self.assertEqual(epoch_of(before.ct), _NOW)
        if before.ct & PROVISIONAL:  # it says nothing
            self.assertEqual((packet.protocol, packet.flags & 7, packet.payload), (6, 0, b""))
        self.assertIn(target_of(before.ct), _TARGETS)
        self.assertEqual(before.option, "")

    @settings(deadline=None, max_examples=200)
    @given(_PACKETS)
    def test_denied(self, packet: Packet) -> None:
        """To a denied place nothing goes, and nothing asks, but in a flow that was let go."""
        packet.destination = "198.51.100.7"
        if epoch_of(packet.ct) == _NOW and not packet.ct & PROVISIONAL:
            return
        is_new = packet.flags & 0x12 == 0x02  # a SYN begins a stream, whatever the mark says
        is_stream = packet.protocol == 6 and not is_new
        was_up = packet.ct & EPOCH_MASK and is_stream and not packet.option
        self.assertEqual(self.way(packet), "reset" if was_up else "drop")

    @settings(deadline=None, max_examples=200)
    @given(_PACKETS, st.booleans())
    def test_others(self, packet: Packet, is_reply: bool) -> None:
        """Whatever becomes of a packet, the byte of other software stays, in both marks."""
        if is_reply:
            packet.iif, packet.oif, packet.is_reply = "up0", "eth1", True
        before = others(packet)
        self.way(packet)
        self.assertEqual(others(packet), before)

    @settings(deadline=None, max_examples=200)
    @given(_PACKETS)
    def test_families(self, packet: Packet) -> None:
        """A packet of IPv6 fares as the same packet of IPv4."""
        before, other = replace(packet), six(packet)
        self.assertEqual(self.way(other), self.way(packet), before)
        self.assertEqual((other.mark, other.ct), (packet.mark, packet.ct))

    @settings(deadline=None, max_examples=200)
    @given(_PACKETS, st.booleans())
    def test_from_outside(self, packet: Packet, is_reply: bool) -> None:
        """From outside only answers pass, of flows that were let go."""
        packet.iif, packet.oif, packet.is_reply, packet.is_dnat = "up0", "eth1", is_reply, False
        if not is_reply:  # a stranger's flow is none that a client's packet began
            packet.ct &= OTHERS_MASK
        packet.mark &= OTHERS_MASK
        ct = packet.ct
        if self.way(packet) == "accept":
            self.assertTrue(is_reply)
            self.assertNotEqual(epoch_of(ct), 0)
            self.assertNotIn(target_of(ct), (BLOCK, REFUSE))

    def test_asks(self) -> None:
        """What is new asks, whatever mark it came with; what an earlier epoch let go says where."""
        for ct, asks in ((0, mark(0, 0, 1)), (mark(_NOW - 1, 2), mark(0, 2, 5)),
                         (mark(_NOW, 0, PROVISIONAL), mark(0, 0, 1 | PROVISIONAL)),
                         (mark(_NOW - 1, 200), mark(0, BLOCK, 5))):  # fmt: skip
            packet = Packet(ct=ct | 0x1200, mark=mark(_NOW) | 0x3400)
            self.assertEqual(self.way(packet), "queue")
            self.assertEqual(packet.mark, asks | 0x3400)

    def test_invalid(self) -> None:
        """What conntrack takes for nobody's neither passes nor asks."""
        packet = Packet(protocol=6, is_invalid=True)
        self.assertEqual(self.way(packet), "drop")
        self.assertEqual(self.way(six(Packet(protocol=6, is_invalid=True))), "drop")

    def test_icmp_errors(self) -> None:
        """A client's ICMP errors, which quote what came to it, do not pass nor ask, but for "too
        big"; in a flow that was let go as in a new one."""
        for ct in (0, mark(_NOW)):
            for kind, code in ((3, 1), (3, 3), (4, 0), (5, 1), (11, 0), (12, 0), (3, 4), (8, 0)):
                packet = Packet(protocol=1, payload=bytes((kind, code)) + bytes(6), ct=ct)
                passes = "accept" if ct else "queue"
                expected = passes if (kind, code) in ((3, 4), (8, 0)) else "drop"
                for one in (six(packet), packet):
                    self.assertEqual(self.way(one), expected, (kind, code))

    def test_begins(self) -> None:
        """A SYN begins a stream, whatever the kernel has kept of one of the same five-tuple."""
        for flags, verdict in ((0x02, "queue"), (0x12, "accept"), (0x10, "accept")):
            packet = Packet(protocol=6, flags=flags, ct=mark(_NOW) | 0x1200)
            self.assertEqual(self.way(packet), verdict)

    def test_hidden(self) -> None:
        """What an authentication header hides from the signatures does not pass."""
        packet = replace(six(Packet()), protocol=51, ct=mark(_NOW))
        self.assertEqual(self.way(packet), "drop")

    def test_own(self) -> None:
        """What is for the gateway itself does not ask, and is no flow of anybody's."""
        for dport, verdict in ((67, "accept"), (68, "drop"), (7000, "drop")):
            packet = Packet(is_own=True, dport=dport, mark=mark(_NOW))
            self.assertEqual(self.way(packet), verdict)
            self.assertEqual((packet.mark, packet.ct), (0, 0))

    def test_spot_check(self) -> None:
        """One in so many packets of every flow that was let go goes to Python; where the policy
        wants none, none does."""
        none = Simulation(ruleset.render(replace(ROUTER, spot_check=0)))
        every = Simulation(ruleset.render(replace(ROUTER, spot_check=1)))
        for target in _TARGETS:
            for flags in (0, 0xF0 | QUICK) if target == 0 else (0,):
                for payload in (b"\x7f", b"\x80\x60\x01\x02" + bytes([7]) * 20):
                    packet = Packet(
                        ct=mark(_NOW, target, flags | 0xF0), is_drawn=True, payload=payload
                    )
                    seen = every.hooked("prerouting", replace(packet))
                    self.assertEqual(seen, "sample", (target, payload))
                    self.assertNotEqual(none.hooked("prerouting", replace(packet)), "sample")

    def test_locked(self) -> None:
        """Of a locked host nothing is forwarded; what keeps a link up is taken in."""
        for clients in (("eth1",), ()):
            simulation = Simulation(ruleset.locked("gateway", clients))
            for packet in (Packet(), Packet(ct=mark(_NOW), mark=mark(_NOW)),
                           Packet(iif="up0", oif="eth1", is_reply=True)):  # fmt: skip
                self.assertEqual(simulation.hooked("forward", packet), "drop")
        simulation = Simulation(ruleset.locked("gateway", ["eth1"]))
        for dport, verdict in ((67, "accept"), (53, "drop")):
            self.assertEqual(simulation.hooked("input", Packet(dport=dport)), verdict)


_ANSWERS = st.builds(
    lambda epoch, target, flags, others: mark(epoch, target, flags | ANSWER) | others << 8,
    _EPOCHS,
    _NUMBERS,
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
        self.simulation = Simulation(_TABLE)

    def answered(self, packet: Packet, answer: int) -> str:
        """Send a packet on with an answer; give where it ends."""
        packet.mark = answer
        verdict = self.simulation.hooked("prerouting", packet, after=-160)
        return self.simulation.onward(packet) if verdict == "accept" else verdict

    @settings(deadline=None, max_examples=200)
    @given(_PACKETS, _ANSWERS)
    def test_late(self, packet: Packet, answer: int) -> None:
        """Python's answer of another epoch, or one that still asks, lets nothing pass."""
        packet.is_dnat = False
        was = packet.ct
        if self.answered(packet, answer) != "accept":
            return
        self.assertEqual(epoch_of(answer), _NOW)
        self.assertFalse(answer & JUDGE)
        if not answer & PROVISIONAL:
            self.assertEqual(target_of(packet.ct), target_of(answer))
        self.assertEqual(epoch_of(packet.ct), _NOW)
        self.assertEqual(packet.ct & OTHERS_MASK, was & OTHERS_MASK)

    def test_relay(self) -> None:
        """A flow for a relay goes to that relay, in either family, and nowhere else."""
        for given_, at in ((Packet(), "192.0.2.9:4001"), (six(Packet()), "[2001:db8::9]:4001")):
            self.assertEqual(self.answered(given_, mark(_NOW, 1, ANSWER)), "accept")
            self.assertEqual(Endpoint.of(given_.destination, given_.dport), Endpoint.parse(at))
        # Where NAT does not send it there, for its flow is not new, it does not leave.
        packet = Packet(mark=mark(_NOW, 1, ANSWER))
        self.assertEqual(self.simulation.hooked("forward", packet), "drop")

    def test_exit(self) -> None:
        """A flow for an interface leaves by it alone."""
        for oif, verdict in (("wg1", "accept"), ("up0", "drop")):
            self.assertEqual(self.answered(Packet(oif=oif), mark(_NOW, 2, ANSWER)), verdict)

    def test_proxy(self) -> None:
        """What is for the local proxy is taken in, and never forwarded."""
        packet = Packet(protocol=6, ct=0x1200)
        self.assertEqual(self.answered(packet, mark(_NOW, 3, ANSWER)), "accept")
        self.assertEqual((packet.is_own, packet.ct), (True, mark(_NOW, 3) | 0x1200))
        # Where NAT does not send it there, it goes nowhere; nobody else gets to the proxy.
        packet = Packet(protocol=6, mark=mark(_NOW, 3, ANSWER))
        self.assertEqual(self.simulation.hooked("forward", packet), "drop")
        for answer in (mark(_NOW, 0, ANSWER), mark(_NOW - 1, 3, ANSWER)):
            packet = Packet(protocol=6, is_own=True, dport=7000, mark=answer)
            self.assertEqual(self.simulation.hooked("input", packet), "drop")

    def test_provisional(self) -> None:
        """A flow whose first octets are awaited passes packet by packet, and each one that says
        something asks."""
        packet = Packet(protocol=6)
        for flags, payload in ((0x02, b""), (0x10, b"a"), (0x18, b"b"), (0x11, b"")):
            packet.flags, packet.payload = flags, payload
            self.assertEqual(self.simulation.hooked("prerouting", packet), "queue")
            self.assertEqual(self.answered(packet, mark(_NOW, 0, ANSWER | PROVISIONAL)), "accept")
        self.assertEqual(self.answered(packet, mark(_NOW, 0, ANSWER)), "accept")
        self.assertEqual(self.simulation.hooked("prerouting", packet), "accept")

    def check_blocked(self, target: int, protocol: int, is_six: bool) -> None:
        """A block is remembered: the flow's next packets, or all to the place, do not ask"""
        flow = six(Packet(protocol=protocol)) if is_six else Packet(protocol=protocol)
        is_told = target in (REFUSE, REFUSE_PLACE)
        told = "reset" if protocol == 6 else "prohibited"
        expected = told if is_told else "drop"
        self.assertEqual(self.answered(replace(flow), mark(_NOW, target, ANSWER)), expected)
        # The packet was dropped, so conntrack forgot it: the next one is new.
        self.assertEqual(self.simulation.hooked("prerouting", replace(flow, ct=0)), expected)
        other: dict[str, Any] = {"sport": flow.sport + 1}
        dies = _PLACED[target] or protocol == 132
        for changed, verdict in ((other, expected if dies else "queue"),
                                 ({"protocol": 17 if protocol == 6 else 6}, "queue")):  # fmt: skip
            another = dataclasses.replace(flow, ct=0, mark=0, **changed)
            self.assertEqual(self.simulation.hooked("prerouting", another), verdict)
