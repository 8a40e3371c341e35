"""What passes unasked and what does not, by carrying the rules out on packets of every kind."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.kernel import ruleset
from gateway.kernel.marks import (
    BLOCK,
    EPOCH_MASK,
    OTHERS_MASK,
    PROVISIONAL,
    QUICK,
    REFUSE,
    epoch_of,
    mark,
    target_of,
)
from tests.kernel.packets import NOW, PACKETS, TABLE, TARGETS, others, six
from tests.kernel.simulation import Packet, Simulation
from tests.kernel.test_ruleset import ROUTER


class PassageTests(SynchronousTestCase):
    """What Python says nothing of."""

    def way(self, packet: Packet, of: Simulation | None = None) -> str:
        """Send a packet from a client to the outside; give where it ends.  A spot check that nobody
        answers passes."""
        simulation = of or Simulation(TABLE)
        verdict = simulation.hooked("prerouting", packet)
        if verdict == "sample":
            verdict = simulation.hooked("prerouting", packet, after=-149)
        return simulation.onward(packet) if verdict == "accept" else verdict

    @settings(deadline=None, max_examples=200)
    @given(PACKETS)
    def test_only_judged(self, packet: Packet) -> None:
        """Only packets of flows that were judged in this epoch, and let go, pass unasked; none with
        a source route does, and none to a denied place of a flow that is new to it."""
        before = replace(packet)
        if self.way(packet) != "accept":
            return
        self.assertEqual(epoch_of(before.ct), NOW)
        if before.ct & PROVISIONAL:  # it says nothing
            self.assertEqual((packet.protocol, packet.flags & 7, packet.payload), (6, 0, b""))
        self.assertIn(target_of(before.ct), TARGETS)
        self.assertEqual(before.option, "")

    @settings(deadline=None, max_examples=200)
    @given(PACKETS)
    def test_denied(self, packet: Packet) -> None:
        """To a denied place nothing goes, and nothing asks, but in a flow that was let go."""
        packet.destination = "198.51.100.7"
        if epoch_of(packet.ct) == NOW and not packet.ct & PROVISIONAL:
            return
        is_new = packet.flags & 0x12 == 0x02  # a SYN begins a stream, whatever the mark says
        is_stream = packet.protocol == 6 and not is_new
        was_up = packet.ct & EPOCH_MASK and is_stream and not packet.option
        self.assertEqual(self.way(packet), "reset" if was_up else "drop")

    @settings(deadline=None, max_examples=200)
    @given(PACKETS, st.booleans())
    def test_others(self, packet: Packet, is_reply: bool) -> None:
        """Whatever becomes of a packet, the byte of other software stays, in both marks."""
        if is_reply:
            packet.iif, packet.oif, packet.is_reply = "up0", "eth1", True
        before = others(packet)
        self.way(packet)
        self.assertEqual(others(packet), before)

    @settings(deadline=None, max_examples=200)
    @given(PACKETS)
    def test_families(self, packet: Packet) -> None:
        """A packet of IPv6 fares as the same packet of IPv4."""
        before, other = replace(packet), six(packet)
        self.assertEqual(self.way(other), self.way(packet), before)
        self.assertEqual((other.mark, other.ct), (packet.mark, packet.ct))

    @settings(deadline=None, max_examples=200)
    @given(PACKETS, st.booleans())
    def test_from_outside(self, packet: Packet, is_reply: bool) -> None:
        """From outside only answers pass, of flows that were let go, whatever mark other software
        gave them."""
        packet.iif, packet.oif, packet.is_reply, packet.is_dnat = "up0", "eth1", is_reply, False
        if not is_reply:  # a stranger's flow is none that a client's packet began
            packet.ct &= OTHERS_MASK
        ct = packet.ct
        if self.way(packet) == "accept":
            self.assertTrue(is_reply)
            self.assertNotEqual(epoch_of(ct), 0)
            self.assertNotIn(target_of(ct), (BLOCK, REFUSE))

    def test_forged(self) -> None:
        """A stranger's packet to which other software gave the very mark that known flows have does
        not pass to the clients; an answer with it does, and others' byte stays."""
        for payload in (b"\x7f", b"\x80\x60\x01\x02" + bytes(20)):
            for is_reply, expected in ((False, "drop"), (True, "accept")):
                packet = Packet(payload=payload, iif="up0", oif="eth1", is_reply=is_reply)
                packet.mark, packet.ct = mark(NOW) | 0x3400, mark(NOW) if is_reply else 0
                for one in (six(packet), packet):
                    self.assertEqual(self.way(one), expected)
                    self.assertEqual(one.mark & OTHERS_MASK, 0x3400)

    @settings(deadline=None, max_examples=200)
    @given(PACKETS, st.booleans())
    def test_renamed(self, packet: Packet, is_own: bool) -> None:
        """What comes by a clients' interface that has another name now neither asks nor passes,
        but for media of known flows; and nothing goes to it but answers to these."""
        of = Simulation(ruleset.render(replace(ROUTER, numbers=(8, 9))))
        packet.is_own = is_own
        back = replace(packet, iif="up0", oif="lan0", oif_number=9, is_own=False, mark=0)
        packet.iif, packet.iif_number = "lan0", 8
        known = mark(NOW, 0, QUICK)
        is_media = packet.ct & ~0xFFF0 == known and packet.payload[:1] >= b"\x80"
        for one in (packet, back):
            if not is_media:
                self.assertEqual(self.way(one, of), "drop")
        named = Packet(iif_number=8, ct=mark(NOW), mark=0)
        self.assertEqual(self.way(named, of), "accept")

    def test_longer_than_a_link(self) -> None:
        """A UDP packet longer than its interface's MTU asks, whatever flow it is of, for it may be
        several datagrams; a stream's, and an answer, do not."""
        of = Simulation(ruleset.render(replace(ROUTER, mtus=(1500, 1400))))
        for length, iif, asks in ((1500, "eth1", False), (1501, "eth1", True),
                                  (1500, "wg0", True), (1400, "wg0", False)):  # fmt: skip
            for protocol, header_len in ((17, 28), (6, 40)):
                for first in (b"\x80", b"\x7f"):
                    packet = Packet(protocol=protocol, iif=iif, ct=mark(NOW, 0, 0xF0 | QUICK))
                    packet.payload = first + bytes([7]) * (length - header_len - 1)
                    other = six(packet)
                    other.payload = packet.payload[:-20]
                    back = replace(packet, iif="up0", oif="eth1", is_reply=True)
                    self.assertEqual(self.way(back, of), "accept")
                    for one in (packet, other):
                        self.assertEqual(one.length, length)
                        expected = "queue" if asks and protocol == 17 else "accept"
                        self.assertEqual(self.way(one, of), expected)
                        if expected == "queue":
                            self.assertEqual(one.mark, mark(NOW, 0, 9))

    def test_asks(self) -> None:
        """What is new asks, whatever mark it came with; what an earlier epoch let go says where."""
        for ct, asks in ((0, mark(0, 0, 1)), (mark(NOW - 1, 2), mark(0, 2, 5)),
                         (mark(NOW, 0, PROVISIONAL), mark(0, 0, 1 | PROVISIONAL)),
                         (mark(NOW - 1, 200), mark(0, BLOCK, 5))):  # fmt: skip
            packet = Packet(ct=ct | 0x1200, mark=mark(NOW) | 0x3400)
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
        for ct in (0, mark(NOW)):
            for kind, code in ((3, 1), (3, 3), (4, 0), (5, 1), (11, 0), (12, 0), (3, 4), (8, 0)):
                packet = Packet(protocol=1, payload=bytes((kind, code)) + bytes(6), ct=ct)
                passes = "accept" if ct else "queue"
                expected = passes if (kind, code) in ((3, 4), (8, 0)) else "drop"
                for one in (six(packet), packet):
                    self.assertEqual(self.way(one), expected, (kind, code))

    def test_begins(self) -> None:
        """A SYN begins a stream, whatever the kernel has kept of one of the same five-tuple."""
        for flags, verdict in ((0x02, "queue"), (0x12, "accept"), (0x10, "accept")):
            packet = Packet(protocol=6, flags=flags, ct=mark(NOW) | 0x1200)
            self.assertEqual(self.way(packet), verdict)

    def test_hidden(self) -> None:
        """What an authentication header hides from the signatures does not pass."""
        packet = replace(six(Packet()), protocol=51, ct=mark(NOW))
        self.assertEqual(self.way(packet), "drop")

    def test_own(self) -> None:
        """What is for the gateway itself does not ask, and is no flow of anybody's."""
        for dport, verdict in ((67, "accept"), (68, "drop"), (7000, "drop")):
            packet = Packet(is_own=True, dport=dport, mark=mark(NOW))
            self.assertEqual(self.way(packet), verdict)
            self.assertEqual((packet.mark, packet.ct), (0, 0))

    def test_spot_check(self) -> None:
        """One in so many packets of every flow that was let go goes to Python; where the policy
        wants none, none does."""
        none = Simulation(ruleset.render(replace(ROUTER, spot_check=0)))
        every = Simulation(ruleset.render(replace(ROUTER, spot_check=1)))
        for target in TARGETS:
            for flags in (0, 0xF0 | QUICK) if target == 0 else (0,):
                for payload in (b"\x7f", b"\x80\x60\x01\x02" + bytes([7]) * 20):
                    packet = Packet(
                        ct=mark(NOW, target, flags | 0xF0), is_drawn=True, payload=payload
                    )
                    seen = every.hooked("prerouting", replace(packet))
                    self.assertEqual(seen, "sample", (target, payload))
                    self.assertNotEqual(none.hooked("prerouting", replace(packet)), "sample")

    def test_locked(self) -> None:
        """Of a locked host nothing is forwarded; what keeps a link up is taken in."""
        for clients in (("eth1",), ()):
            simulation = Simulation(ruleset.locked("gateway", clients))
            for packet in (Packet(), Packet(ct=mark(NOW), mark=mark(NOW)),
                           Packet(iif="up0", oif="eth1", is_reply=True)):  # fmt: skip
                self.assertEqual(simulation.hooked("forward", packet), "drop")
        renamed = Simulation(ruleset.locked("gateway", ["eth1"], [8]))
        for packet in (Packet(iif="lan0", iif_number=8), Packet(oif="lan0", oif_number=8)):
            self.assertEqual(renamed.hooked("forward", packet), "drop")
        simulation = Simulation(ruleset.locked("gateway", ["eth1"]))
        for dport, verdict in ((67, "accept"), (53, "drop")):
            self.assertEqual(simulation.hooked("input", Packet(dport=dport)), verdict)
