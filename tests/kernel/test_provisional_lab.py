"""Streams through the toy gateway whose first octets decide: what passes until they do."""

from __future__ import annotations

import contextlib
import socket
from functools import partial

from gateway.kernel.marks import JUDGE, PROVISIONAL
from tests.kernel.toy_case import FAMILIES, ToyCase, both


class ProvisionalTests(ToyCase):
    """Streams to an endpoint that wants to hear "good" first."""

    def opened(self, six: int) -> tuple[str, socket.socket]:
        """Open a stream whose segments are sent as they are written."""
        to = both(4)[six]
        stream = self.connect(to)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return to, stream

    def come(self, count: int) -> None:
        """Wait until so many packets with octets of a stream have been held."""
        self.until(lambda: self.payloads() >= count, "too few packets came to the queue")

    def payloads(self) -> int:
        """Give how many packets with octets of a stream came to the queue."""
        return sum(self.octets_in(one.octets) > 0 for one in self.toy.asked)

    def octets_in(self, packet: bytes) -> int:
        """Give how many octets of a stream an IP packet carries."""
        start = 40 if packet[0] >> 4 == 6 else 20
        protocol = packet[6] if start == 40 else packet[9]
        return len(packet) - start - (packet[start + 12] >> 4) * 4 if protocol == 6 else 0

    def test_decided(self) -> None:
        """Nothing that a client says passes before it is enough, in however many segments; then
        all of it does, and nothing asks any more."""
        for six in FAMILIES:
            to, stream = self.opened(six)
            self.toy.asked.clear()
            for at, octets in enumerate((b"g", b"o", b"o"), 1):
                stream.sendall(octets)
                self.come(at)
            self.assertEqual(self.arrived(to), [])
            stream.sendall(b"d day")
            self.assertEqual(self.hear(stream, 8), b"good day")
            self.sentinel()  # what was sent twice has asked by now
            self.toy.asked.clear()
            stream.sendall(b"more")
            self.assertEqual(self.hear(stream, 4), b"more")
            self.assertEqual(self.toy.asked, [])

    def test_forbidden(self) -> None:
        """What its first octets forbid dies with them, and the flow's next packets do not ask."""
        for six in FAMILIES:
            to, stream = self.opened(six)
            self.toy.asked.clear()
            stream.sendall(b"evil day")
            self.come(1)
            self.sentinel()
            self.toy.asked.clear()
            with contextlib.suppress(ConnectionError):  # reset, if it said "evil" twice
                stream.sendall(b"good day")
            self.sentinel()
            self.assertEqual(len(self.toy.asked), 2)  # the sentinels
            self.assertEqual(self.arrived(to), [])

    def test_too_many(self) -> None:
        """A stream that says too little in too many packets is reset, unheard."""
        for six in FAMILIES:
            to, stream = self.opened(six)
            self.toy.asked.clear()
            self.toy.gate.wants_more = lambda first: True  # type: ignore[method-assign]  # for ever
            with self.assertRaises(ConnectionError):
                for at in range(1, 6):
                    stream.sendall(b"g")
                    self.come(at)
                self.hear(stream, 1)
            self.assertEqual(self.toy.judge.counters["first octets undetermined"], six + 1)
            self.assertEqual(self.arrived(to), [])

    def test_too_late(self) -> None:
        """A stream that says too little for too long is reset with its next packet, unheard."""
        for six in FAMILIES:
            to, stream = self.opened(six)
            self.toy.asked.clear()
            stream.sendall(b"g")
            self.come(1)
            self.toy.late_s += 60.0
            self.toy.expire()
            with self.assertRaises(ConnectionResetError):
                self.hear(stream, 1)
            self.assertEqual(self.arrived(to), [])

    def test_changed(self) -> None:
        """A stream that is awaited when the epoch changes is decided in the new one."""
        for six in FAMILIES:
            to, stream = self.opened(six)
            self.toy.asked.clear()
            stream.sendall(b"go")
            self.come(1)
            self.toy.change(epoch=self.toy.router.epoch + 1)
            stream.sendall(b"od day")
            self.assertEqual(self.hear(stream, 8), b"good day")
            self.assertEqual(self.arrived(to)[0][:2], b"go")

    def test_sent_twice(self) -> None:
        """What is sent again while Python is late gets the answer that it got."""
        for six in FAMILIES:
            _, stream = self.opened(six)
            self.sentinel()
            with self.toy.turn:
                self.toy.asked.clear()
                stream.sendall(b"good day")
                self.until(partial(self.is_retransmitted, stream), "it never was")
            self.assertEqual(self.hear(stream, 8), b"good day")
            stream.sendall(b"more")
            self.assertEqual(self.hear(stream, 4), b"more")

    def is_retransmitted(self, stream: socket.socket) -> bool:
        """Say whether a stream has sent something again (tcpi_total_retrans of linux/tcp.h)."""
        told = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        return bool(int.from_bytes(told[100:104], "little"))

    def test_bare(self) -> None:
        """A handshake asks once, and answers to it pass; whatever a stream says meanwhile asks,
        packet by packet."""
        for six in FAMILIES:
            self.toy.asked.clear()
            to, stream = self.opened(six)
            stream.sendall(b"go")
            self.come(1)
            stream.sendall(b"od")
            self.hear(stream, 4)
            said = [self.octets_in(one.octets) for one in self.toy.asked]
            self.assertEqual(said[0], 0)
            self.assertEqual([count for count in said if count][:2], [2, 2])
            marks = [one.mark for one in self.toy.asked]
            self.assertEqual(set(marks), {JUDGE, JUDGE | PROVISIONAL})
            self.assertEqual(marks[0], JUDGE)
            self.assertEqual(b"".join(self.arrived(to)), b"good")
