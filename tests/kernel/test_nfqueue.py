"""The queue's messages and counts, and its socket against a kernel of the test's own."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import WireError
from gateway.kernel import netlink
from gateway.kernel import queue_messages as messages
from gateway.kernel.netlink import attribute
from gateway.kernel.nfqueue import QueueLimits, QueueSocket
from gateway.kernel.queue_messages import DROP, Queued, Refused


def packet(number: int | None, *more: bytes, queue: int = 7) -> bytes:
    """Make what the kernel sends for one packet."""
    body = struct.pack("!BBH", 2, 0, queue)
    if number is not None:
        body += attribute(1, struct.pack("!IHB", number, 0x0800, 0))
    return netlink.message(3 << 8, 0, 0, body + b"".join(more))


class QueueMessageTests(SynchronousTestCase):
    """read, verdict, bind."""

    def test_packet(self) -> None:
        """A packet comes with its queue, number, octets, mark and interface."""
        octets = packet(
            9,
            attribute(3, struct.pack("!I", 0x01020304)),
            attribute(4, struct.pack("!I", 5)),
            attribute(99, b"unknown"),
            attribute(10, b"the packet"),
        )
        self.assertEqual(
            messages.read(octets, len(octets)), Queued(7, 9, b"the packet", 0x01020304, 5, False)
        )

    def test_bare(self) -> None:
        """What a packet lacks is 0 or empty."""
        octets = packet(1)
        self.assertEqual(messages.read(octets, len(octets)), Queued(7, 1, b"", 0, 0, False))

    def test_cut(self) -> None:
        """A packet that was not copied whole says so."""
        octets = packet(1, attribute(10, b"abc"), attribute(13, struct.pack("!I", 9000)))
        got = messages.read(octets, len(octets))
        assert isinstance(got, Queued)
        self.assertTrue(got.is_cut)

    def test_longer_buffer(self) -> None:
        """Only what was read counts, not what the buffer held before."""
        octets = packet(1, attribute(10, b"abc"))
        buffer = bytearray(octets + b"\xff" * 50)
        self.assertEqual(messages.read(buffer, len(octets)), messages.read(octets, len(octets)))

    def test_answers(self) -> None:
        """An acknowledgement is nothing, an errno a refusal, another message nothing."""
        for errno, expected in ((0, None), (-2, Refused(2))):
            octets = netlink.message(2, 0, 0, struct.pack("=i", errno) + bytes(16))
            self.assertEqual(messages.read(octets, len(octets)), expected)
        other = netlink.message(4 << 8, 0, 0, bytes(4))
        self.assertIsNone(messages.read(other, len(other)))

    def test_no_number(self) -> None:
        """A packet without a number cannot be answered."""
        octets = packet(None, attribute(10, b"abc"))
        self.assertRaises(WireError, messages.read, octets, len(octets))

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=60), st.booleans())
    def test_anything(self, tail: bytes, is_packet: bool) -> None:
        """Whatever comes, it is a value or a WireError."""
        octets = packet(1)[:20] + tail if is_packet else tail
        try:
            got = messages.read(octets, len(octets))
        except WireError:
            return
        self.assertTrue(got is None or isinstance(got, Queued | Refused))

    @settings(deadline=None, max_examples=100)
    @given(st.integers(0, 65535), st.integers(0, 0xFFFFFFFF), st.integers(-1, 0xFFFFFFFF))
    def test_verdict(self, queue: int, number: int, answer: int) -> None:
        """A verdict names queue and packet, and accepts with the mark or drops."""
        octets = messages.verdict(messages.verdict_head(queue), number, answer)
        (one,) = netlink.messages(octets)
        self.assertEqual(one.kind, 3 << 8 | 1)
        self.assertEqual(one.body[:4], struct.pack("!BBH", 0, 0, queue))
        found = dict(netlink.attributes(one.body, 4))
        accepted = int(answer != DROP)
        self.assertEqual(found[2], struct.pack("!II", accepted, number))
        self.assertEqual(found[3], struct.pack("!I", max(answer, 0)))

    def test_bind(self) -> None:
        """A queue copies whole packets, is bounded, has segments cut, and never fails open."""
        found: dict[int, bytes] = {}
        for octets in messages.bind(7, 65535, 1024):
            (one,) = netlink.messages(octets)
            found.update(netlink.attributes(one.body, 4))
        self.assertEqual(found[2], struct.pack("!IB", 65535, 2))
        self.assertEqual(found[3], struct.pack("!I", 1024))
        flags, mask = (struct.unpack("!I", found[kind])[0] for kind in (5, 4))
        self.assertEqual((flags, mask), (0, 5))


class FakeKernel(QueueSocket):
    """A queue whose other end is the test's, and not the kernel's."""

    def _open(self) -> socket.socket:
        ours, self.kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.kernel.setblocking(False)
        return ours

    def _bind(self, queue: int) -> None:
        """Nothing acknowledges."""

    def verdicts(self) -> list[list[tuple[int, int]]]:
        """Give what was answered since it was asked last: number and answer, batch by batch."""
        batches: list[list[tuple[int, int]]] = []
        while True:
            try:
                octets = self.kernel.recv(65_536)
            except BlockingIOError:
                return batches
            batch = []
            for one in netlink.messages(octets):
                said = dict(netlink.attributes(one.body, 4))
                accepted, number = struct.unpack("!II", said[2])
                mark = struct.unpack("!I", said[3])[0]
                batch.append((number, mark if accepted else DROP))
            batches.append(batch)


class FakeBatch:
    """Writes down when it is asked what."""

    def __init__(self, said: list[str]) -> None:
        self.said = said
        self.is_written = True

    def begin(self) -> None:
        """Batch API."""
        self.said.append("begin")

    def end(self) -> bool:
        """Batch API."""
        self.said.append("end")
        return self.is_written


class QueueTests(SynchronousTestCase):
    """QueueSocket: batches, answers, and what goes wrong."""

    def setUp(self) -> None:
        """Open a queue that answers each packet with 1000 and its number."""
        self.said: list[str] = []
        self.batch = FakeBatch(self.said)
        self.queue = self.open(self.judged)

    def open(self, judge: Callable[[Queued], int | None]) -> FakeKernel:
        """Open a queue of at most three packets a batch."""
        opened = FakeKernel([7], judge, QueueLimits(batch=3), self.batch)
        self.addCleanup(opened.close)
        self.addCleanup(opened.kernel.close)
        return opened

    def judged(self, queued: Queued) -> int | None:
        """Judge API."""
        self.said.append(str(queued.number))
        return 1000 + queued.number

    def come(self, *numbers: int) -> None:
        """Let packets wait."""
        for number in numbers:
            self.queue.kernel.send(packet(number))

    def test_batch(self) -> None:
        """What waits is judged between a batch's begin and end, so many at most, and answered in
        one message after that."""
        self.come(1, 2, 3, 4)
        self.queue.doRead()
        self.assertEqual(self.said, ["begin", "1", "2", "3", "end"])
        self.assertEqual(self.queue.verdicts(), [[(1, 1001), (2, 1002), (3, 1003)]])
        self.queue.doRead()
        self.assertEqual(self.said[5:], ["begin", "4", "end"])
        self.assertEqual(self.queue.verdicts(), [[(4, 1004)]])
        self.assertEqual(self.queue.counters, {"packets": 4, "verdicts": 4})

    def test_nothing(self) -> None:
        """Where nothing waits nothing is answered."""
        self.queue.doRead()
        self.assertEqual((self.said, self.queue.verdicts()), (["begin", "end"], []))

    def test_unwritten(self) -> None:
        """What was not written down is dropped, all of the batch, and counted; the next is not."""
        self.batch.is_written = False
        self.come(1, 2)
        self.queue.doRead()
        self.assertEqual(self.queue.verdicts(), [[(1, DROP), (2, DROP)]])
        self.assertEqual(self.queue.counters["dropped unwritten"], 2)
        self.batch.is_written = True
        self.come(3)
        self.queue.doRead()
        self.assertEqual(self.queue.verdicts(), [[(3, 1003)]])

    def test_raises(self) -> None:
        """A packet that cannot be judged is dropped and counted, and said once; the others of its
        batch, and the next ones, are judged."""

        def judge(queued: Queued) -> int | None:
            if queued.number % 2:
                raise ZeroDivisionError("odd")
            return self.judged(queued)

        self.queue = self.open(judge)
        self.come(1, 2, 3)
        self.queue.doRead()
        self.assertEqual(self.queue.verdicts(), [[(1, DROP), (2, 1002), (3, DROP)]])
        self.assertEqual(self.said, ["begin", "2", "end"])
        self.assertEqual(self.queue.counters["failed"], 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.come(4)
        self.queue.doRead()
        self.assertEqual(self.queue.verdicts(), [[(4, 1004)]])

    def test_held(self) -> None:
        """A packet that is held is answered later: with a batch that is judged, or at once."""

        def judge(queued: Queued) -> int | None:
            if queued.number == 2:
                self.queue.answer(7, 1, 5)
            return None if queued.number in (1, 3) else 6

        self.queue = self.open(judge)
        for numbers, answered in (((1,), []), ((2,), [[(1, 5), (2, 6)]]), ((3,), [])):
            self.come(*numbers)
            self.queue.doRead()
            self.assertEqual(self.queue.verdicts(), answered)
        self.queue.answer(7, 3, DROP)
        self.assertEqual(self.queue.verdicts(), [[(3, DROP)]])

    def test_malformed(self) -> None:
        """What is no packet is counted, and so is the kernel's no."""
        self.queue.kernel.send(packet(None))
        self.queue.kernel.send(netlink.message(2, 0, 0, struct.pack("=i", -2) + bytes(16)))
        self.come(1)
        self.queue.doRead()
        self.assertEqual(self.queue.verdicts(), [[(1, 1001)]])
        self.assertEqual(self.queue.counters["malformed"], 1)
        self.assertEqual(self.queue.counters["refused ENOENT"], 1)

    def test_not_sent(self) -> None:
        """Answers that the kernel does not take are counted; their packets do not pass."""
        self.come(1)
        self.queue.kernel.close()
        self.queue.doRead()
        self.assertEqual(self.queue.counters["verdicts"], 0)
        self.assertEqual(sum(self.queue.counters.values()), 2)
