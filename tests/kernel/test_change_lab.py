"""Epochs that change under traffic, in the toy gateway: nothing is lost, and nothing leaks."""

from __future__ import annotations

import random
from functools import partial

from gateway.kernel import compat, conntrack, nft, readback
from gateway.kernel.marks import EARLIER, JUDGE, mark, next_epoch
from gateway.kernel.ranges import Ranges
from gateway.model import FlowKey, pack
from tests.kernel.toy import BLOCK
from tests.kernel.toy_case import FAMILIES, ToyCase, both
from tests.lab.queues import kernel_states

_RTP = bytes.fromhex("8060000100000001aabbccdd") + bytes([7]) * 20
_SOMEBODY = "table inet somebody {\n\tchain c {\n\t\ttcp dport 22 accept\n\t}\n}\n"


def ranges(seed: int, count: int, host: str = "198.51.100.7") -> Ranges:
    """Give a denied address, and many ranges in 20.0.0.0/8."""
    first = int.from_bytes(pack("20.0.0.0"), "big")
    drawn = random.Random(seed).sample(range(1 << 20), count)
    denied = int.from_bytes(pack(host), "big")
    return ((denied, denied), *((first + 16 * one, first + 16 * one + 7) for one in drawn))


class ChangeCase(ToyCase):
    """A toy gateway under floods, and what of them arrived."""

    def numbers(self, to: str) -> list[int]:
        """Give the numbers of a flood's datagrams that arrived, sorted: one that is judged once
        more is overtaken."""
        return sorted(int.from_bytes(one[-4:], "big") for one in self.arrived(to))

    def grows(self, to: str, by: int = 50) -> None:
        """Wait until so many more datagrams have arrived."""
        before = self.count(to)
        self.until(lambda: self.count(to) >= before + by, f"too little arrives at {to}")

    def sets(self) -> set[str]:
        """Give the names of the sets of ranges that are in the kernel."""
        names = self.inside(lambda: readback.sets(self.toy.router.name))
        return {name for name in names if "denied" in name}


class LiveTests(ChangeCase):
    """Changes in mid-flood."""

    def test_nothing_lost(self) -> None:
        """While ranges are loaded, put into force and unloaded again and again, a flow that stays
        allowed loses nothing, and nothing reaches what is denied all the while."""
        bad = "198.51.100.7:8000"
        for six in FAMILIES:
            client = self.client(both(1)[six])
            with self.flood(client, [both(1)[six], bad if not six else both(3)[1]], _RTP) as flood:
                self.grows(both(1)[six])
                for epoch in range(six * 6 + 2, six * 6 + 8):
                    self.toy.change(epoch=epoch, denied4=ranges(epoch, 2_000))
                    self.assertEqual(len(self.sets()), 1)
                    self.grows(both(1)[six], 20)
            self.internet_.wait_quiet()
            self.assertEqual(self.numbers(both(1)[six]), list(range(flood.sent)))
        self.assert_none(bad, both(3)[1])

    def test_prepared(self) -> None:
        """What is prepared is beside what is in use, and no packet notices; what is abandoned goes
        again; what is committed holds from the next packet on."""
        to = both(5)
        clients = [self.client(one) for one in to]
        for six in FAMILIES:
            self.ask(clients[six], to[six], b"\x7fa")
        rules, before = self.fingerprint(), self.sets()
        asked = len(self.toy.asked)
        commit = self.toy.prepared(epoch=2, denied4=ranges(1, 100, self.host(to[0])))
        self.assertEqual(len(self.sets() - before), 1)
        self.assertEqual(self.fingerprint(), rules)
        for six in FAMILIES:
            self.assertEqual(self.ask(clients[six], to[six], b"\x7fb")[0], b"\x7fb")
        self.assertEqual(len(self.toy.asked), asked)
        self.inside(self.toy.table.tidy)  # abandoned
        self.assertEqual((self.sets(), self.fingerprint()), (before, rules))
        commit = self.toy.prepared(epoch=2, denied4=ranges(1, 100, self.host(to[0])))
        commit()
        self.send(clients[0], to[0], b"\x7fc")
        self.assertEqual(self.ask(clients[1], to[1], b"\x7fc")[0], b"\x7fc")
        self.sentinel()
        self.assertEqual(self.arrived(to[0]), [b"\x7fa", b"\x7fb"])

    def fingerprint(self) -> str:
        """Give a hash of the rules in the kernel."""
        return self.inside(lambda: readback.fingerprint(self.toy.router.name))

    def test_stricter(self) -> None:
        """A flow that Python forbids in the new epoch stops with its next packet, and so do its
        answers; its place in the queue does not become another's."""
        client = self.client(both(5)[0])
        with self.flood(client, [both(5)[0], both(1)[0]], _RTP) as flood:
            self.grows(both(5)[0])
            self.toy.gate.verdicts[5] = BLOCK
            self.toy.change(epoch=2)
            last = flood.sent + 1
            self.grows(both(1)[0])
        self.internet_.wait_quiet()
        self.assertLessEqual(max(self.numbers(both(5)[0])), last)
        self.assertEqual(self.numbers(both(1)[0]), list(range(flood.sent)))

    def test_waiting(self) -> None:
        """What waits for Python while the kernel is asked what it can, and the epoch changes, is
        not lost: the kernel empties every queue when anybody takes a hook away."""
        clients = [self.client(to) for to in both(1)]
        with self.toy.turn:  # nothing is judged meanwhile
            for number in range(5):
                for six in FAMILIES:
                    self.send(clients[six], both(1)[six], b"\x7f%d" % number)
            self.until(lambda: self.waiting() == 10, "what was sent does not ask")
            for probe in (nft.has_queue, nft.has_redirect, compat.has_target):
                self.inside(probe)
                self.assertEqual(self.waiting(), 10, probe)
            commit = self.toy.prepared(epoch=2, denied4=ranges(1, 100))
            self.assertEqual(self.waiting(), 10)
        commit()
        for six in FAMILIES:
            for _ in range(5):
                clients[six].recv(100)
            self.assertEqual(len(self.arrived(both(1)[six])), 5)

    def waiting(self) -> int:
        """Give how many packets wait for Python."""
        return sum(one.waiting for one in self.inside(kernel_states))

    def test_wraps(self) -> None:
        """After epoch 255 comes 1, and flows live through it, judged once in each epoch; one that
        an epoch of the same number judged long ago is unknown, once its marks are forgotten."""
        self.toy.change(epoch=253)
        old, live = (self.client(both(1)[0], port=port) for port in (6001, 6002))
        self.ask(old, both(1)[0], b"\x7fa")
        self.ask(live, both(1)[0], b"\x7fa")
        epoch = 253
        for expected in (254, 255, 1, 2):
            epoch = next_epoch(epoch)
            self.assertEqual(epoch, expected)
            self.inside(partial(conntrack.forget_epoch, epoch))
            self.toy.asked.clear()
            self.toy.change(epoch=epoch)
            for number in range(3):
                self.assertEqual(self.ask(live, both(1)[0], b"\x7f%d" % number)[0][:1], b"\x7f")
            self.assertEqual([one.mark for one in self.toy.asked], [mark(0, 0, JUDGE | EARLIER)])
        self.toy.change(epoch=252)
        self.inside(lambda: conntrack.forget_epoch(253))
        self.toy.change(epoch=253)
        self.toy.asked.clear()
        for client in (old, live):
            self.ask(client, both(1)[0], b"\x7fb")
        self.assertEqual([one.mark for one in self.toy.asked], [JUDGE, mark(0, 0, JUDGE | EARLIER)])

    def test_others_tables(self) -> None:
        """Tables of others are as they were, when ours comes, changes and goes."""
        self.gateway("nft", "-f", "-", text=_SOMEBODY)
        self.toy.change(epoch=2, denied4=ranges(1, 10))
        self.toy.change(epoch=3, block_s=20)  # a whole new table
        self.assertIn(_SOMEBODY, self.gateway("nft", "list", "ruleset"))
        self.toy.stop()
        self.assertTrue(self.inside(self.toy.table.remove))
        self.assertEqual(self.gateway("nft", "list", "ruleset"), _SOMEBODY)
        self.assertFalse(self.inside(self.toy.table.remove))


class ForgetTests(ToyCase):
    """What conntrack is told to forget."""

    def test_flow(self) -> None:
        """One flow is forgotten, and no other; one that it does not know is none."""
        for six in FAMILIES:
            to, others = both(1)[six], both(5)[six]
            client = self.client(to)
            for one in (to, others):
                self.ask(client, one, b"\x7fa")
            local = f"[{self.lab.CLIENT[1]}]" if six else self.lab.CLIENT[0]
            key = FlowKey.parse(f"udp {local}:{client.getsockname()[1]} > {to}")
            self.assertTrue(self.inside(partial(conntrack.forget_flow, key)))
            self.assertFalse(self.inside(partial(conntrack.forget_flow, key)))
            self.toy.asked.clear()
            for one in (to, others):
                self.ask(client, one, b"\x7fb")
            self.assertEqual([one.mark for one in self.toy.asked], [JUDGE])

    def test_epoch(self) -> None:
        """The flows of one epoch are forgotten, streams as well, and no other's."""
        first = [self.client(to) for to in both(1)]
        for six in FAMILIES:
            self.ask(first[six], both(1)[six], b"\x7fa")
        self.toy.change(epoch=2)
        second = [self.client(to) for to in both(1)]
        for six in FAMILIES:
            self.ask(second[six], both(1)[six], b"\x7fa")
        self.inside(lambda: conntrack.forget_epoch(1))
        self.toy.asked.clear()
        for six in FAMILIES:
            self.ask(second[six], both(1)[six], b"\x7fb")
            self.assertEqual(self.toy.asked, [])
            self.ask(first[six], both(1)[six], b"\x7fb")
            self.assertEqual([one.mark for one in self.toy.asked], [JUDGE])
            self.toy.asked.clear()
        self.inside(lambda: conntrack.forget_epoch(1))
