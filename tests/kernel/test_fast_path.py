"""The fast path's programs, run by the kernel on single frames."""

from __future__ import annotations

import struct
import time
from ipaddress import ip_address

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from gateway.errors import CarryError
from gateway.kernel import bpf_calls, fast_path, host, marks
from gateway.kernel.fast_path import FastPath
from gateway.kernel.fast_path_code import GO_ON, LEARNED_AT, PIECES, REDIRECT, VALID_NS, VALUE_LEN
from gateway.wire import SIGNATURES, signature
from tests.kernel.test_signatures import PAYLOADS
from tests.support.epochs import PING, STUN
from tests.support.rows import rows

_EPOCH = 7
_CLIENTS, _UPLINK = 1, 1
"""Numbers of interfaces: a trial run takes those that there are, and there is a loopback."""
_MEDIA = bytes.fromhex("80604001000000a011223344") + bytes(range(160))
_ENDS = (("10.1.0.2", "203.0.113.7"), ("2001:db8:1::2", "2001:db8:a::7"))
_CHECKSUM = 0x1234
_IN = bytes.fromhex("000000000000 020000000102")
"""To the loopback's own address: of what is for others a trial run says so."""
_OUT = bytes.fromhex("020000000202 020000000201")


def frame(payload: bytes, *, six: bool = False, ethernet: bytes = _IN, hops: int = 64,
          checksum: int = _CHECKSUM, port: int = 4001) -> bytes:  # fmt: skip
    """Write an Ethernet frame of a UDP datagram."""
    source, destination = (ip_address(one).packed for one in _ENDS[six])
    udp = struct.pack("!HHHH", 5000, port, 8 + len(payload), checksum) + payload
    if six:
        header = struct.pack("!IHBB", 6 << 28, len(udp), 17, hops) + source + destination
        return ethernet + b"\x86\xdd" + header + udp
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0x4000, hops, 17, 0)
    header += source + destination
    total = ~_sum(header) & 0xFFFF
    return ethernet + b"\x08\x00" + header[:10] + total.to_bytes(2, "big") + header[12:] + udp


def _sum(octets: bytes) -> int:
    """Give the sum of RFC 1071: all ones for a header whose checksum is right."""
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return total


def context(*, mark: int = 0, came_in: int = _CLIENTS, pieces: int = 0) -> bytes:
    """Write struct __sk_buff as a program shall see it."""
    octets = bytearray(192)
    for at, value in ((8, mark), (36, came_in), (40, _UPLINK), (176, pieces)):
        struct.pack_into("=I", octets, at, value)
    return bytes(octets)


class FastPathCase(SynchronousTestCase):
    """Programs in the kernel, which no interface's packets pass."""

    def setUp(self) -> None:
        """Make them; skip where the kernel takes none from us."""
        if (reason := host.no_fast_path()) is not None:
            raise SkipTest(reason)
        self.path = FastPath()
        self.addCleanup(self.path.close)
        self.path.begin(_EPOCH)

    def learn(self, octets: bytes, mark: int | None = None, came_in: int = _CLIENTS) -> None:
        """Let a frame leave by the uplink."""
        seen = marks.mark(_EPOCH) if mark is None else mark
        ran = bpf_calls.trial(self.path.learn, octets, context(mark=seen, came_in=came_in))
        self.assertEqual(ran.answer, GO_ON)

    def repeats(self, octets: bytes, came_in: int = _CLIENTS) -> bool:
        """Let a frame come in from the clients; say whether it is repeated."""
        ran = bpf_calls.trial(self.path.repeat, octets, context(came_in=came_in))
        self.assertIn(ran.answer, (GO_ON, REDIRECT))
        if ran.answer == GO_ON:
            self.assertEqual(ran.octets, octets)
        return ran.answer == REDIRECT


_LONG = _MEDIA + bytes(1)
_WHOLE = frame(_MEDIA)


def _changed(at: int, octets: bytes, whole: bytes = _WHOLE) -> bytes:
    return whole[:at] + octets + whole[at + len(octets) :]


@rows(
    not_repeated={
        "of another flow": (frame(_MEDIA, port=4002),),
        "of another kind": (frame(b"\x82" + _MEDIA[1:]),),
        "no media": (frame(b"\x40" + _MEDIA[1:]),),
        "a ping": (frame(PING),),
        "STUN": (frame(STUN),),
        "RTCP": (frame(bytes.fromhex("80c80006") + bytes(24)),),
        "too short to be looked at": (frame(b"\x80"),),
        "longer than any": (frame(_LONG),),
        "its last hop": (frame(_MEDIA, hops=1),),
        "no hop left": (frame(_MEDIA, hops=0),),
        "drawn for a spot check": (frame(_MEDIA, checksum=0x1220),),
        "without a checksum": (frame(_MEDIA, checksum=0),),
        "IPv4 with options": (_changed(14, b"\x46"),),
        "a fragment": (_changed(20, b"\x20\x00"),),
        "a later fragment": (_changed(20, b"\x00\x10"),),
        "of another protocol": (_changed(23, b"\x06"),),
        "of another traffic class": (_changed(15, b"\xb8"),),
        "with octets behind it": (_WHOLE + bytes(6),),
        "cut short": (_WHOLE[:-6],),
        "a wrong length in UDP": (_changed(38, b"\x00\x20"),),
        "no IP": (_changed(12, b"\x08\x06"),),
        "IPv6 with an extension header": (_changed(20, b"\x00", frame(_MEDIA, six=True)),),
        "IPv6, its last hop": (frame(_MEDIA, six=True, hops=1),),
        "no IPv6 after all": (_changed(14, b"\x40", frame(_MEDIA, six=True)),),
    }
)
class RepeatTests(FastPathCase):
    """What is repeated, and what is not."""

    def check_not_repeated(self, octets: bytes) -> None:
        """Check that such a frame meets the rules, though media of its flow does not."""
        for six in (False, True):
            self.learn(frame(_MEDIA, six=six, ethernet=_OUT))
            self.assertTrue(self.repeats(frame(_MEDIA, six=six)))
        self.assertFalse(self.repeats(octets))

    def test_repeated(self) -> None:
        """It goes out as the frame did that was learned from, with one hop less and a right sum;
        and it is counted."""
        for six in (False, True):
            for hops in (2, 64, 255):
                self.learn(frame(_MEDIA, six=six, ethernet=_OUT, hops=hops - 1))
                came = frame(_MEDIA, six=six, hops=hops)
                ran = bpf_calls.trial(self.path.repeat, came, context())
                self.assertEqual(ran.answer, REDIRECT)
                left = frame(_MEDIA, six=six, ethernet=_OUT, hops=hops - 1)
                self.assertEqual(ran.octets, left)
                self.assertTrue(six or _sum(ran.octets[14:34]) == 0xFFFF)
        self.assertEqual(self.path.packets, 6)

    @given(st.integers(0, 0xFFFF), st.integers(2, 255))
    @settings(deadline=None, max_examples=60)
    @example(0, 2)
    def test_sums(self, number: int, hops: int) -> None:
        """Whatever IPv4's sum is, it stays right."""
        self.learn(frame(_MEDIA, ethernet=_OUT))
        octets = bytearray(_changed(22, bytes((hops,))))
        octets[18:20], octets[24:26] = number.to_bytes(2, "big"), bytes(2)
        octets[24:26] = (~_sum(bytes(octets[14:34])) & 0xFFFF).to_bytes(2, "big")
        ran = bpf_calls.trial(self.path.repeat, bytes(octets), context())
        self.assertEqual((ran.answer, _sum(ran.octets[14:34])), (REDIRECT, 0xFFFF))

    def test_marked(self) -> None:
        """What bears a mark when it comes in meets the rules: nobody shall learn from it."""
        self.learn(frame(_MEDIA, ethernet=_OUT))
        ran = bpf_calls.trial(self.path.repeat, frame(_MEDIA), context(mark=marks.mark(_EPOCH)))
        self.assertEqual(ran.answer, GO_ON)

    def test_other_interface(self) -> None:
        """What was learned of one interface's packets is not of another's."""
        self.learn(frame(_MEDIA, ethernet=_OUT), came_in=_CLIENTS + 1)
        self.assertFalse(self.repeats(frame(_MEDIA)))

    @given(PAYLOADS)
    @settings(deadline=None, max_examples=400)
    @example(PING)
    @example(STUN)
    def test_signatures(self, payload: bytes) -> None:
        """Whatever was learned, no datagram is repeated that a signature has judged always."""
        self.learn(frame(_MEDIA + bytes(1200), ethernet=_OUT))
        self.learn(frame(b"\x82" + _MEDIA + bytes(1200), ethernet=_OUT))
        self.learn(frame(payload, ethernet=_OUT))
        number = signature(payload)
        asks = number is not None and SIGNATURES[number].carries_identifiers
        if self.repeats(frame(payload)):
            self.assertFalse(asks)
            self.assertEqual(payload[0] >> 6, 2)

    def test_pieces(self) -> None:
        """Several datagrams in one piece meet the rules, marked, if they are UDP."""
        self.learn(frame(_MEDIA, ethernet=_OUT))
        tcp = _changed(23, b"\x06")
        for octets, mark in ((_WHOLE, PIECES), (frame(_MEDIA, six=True), PIECES), (tcp, 0)):
            ran = bpf_calls.trial(self.path.repeat, octets, context(pieces=100))
            self.assertEqual((ran.answer, ran.mark), (GO_ON, mark))


@rows(
    not_learned={
        "no mark": (0,),
        "the epoch before": (marks.mark(_EPOCH - 1),),
        "a target": (marks.mark(_EPOCH, 3),),
        "a question": (marks.mark(_EPOCH, 0, marks.JUDGE),),
        "provisional": (marks.mark(_EPOCH, 0, marks.PROVISIONAL),),
        "Python's answer": (marks.mark(_EPOCH, 0, marks.ANSWER),),
        "a first look": (marks.mark(_EPOCH, 0, marks.LOOKS[1]),),
    }
)
class LearnTests(FastPathCase):
    """What is learned, and how long it holds."""

    def check_not_learned(self, mark: int) -> None:
        """Check that nothing follows from a frame with such a mark."""
        self.learn(frame(_MEDIA, ethernet=_OUT), mark)
        self.assertFalse(self.repeats(frame(_MEDIA)))

    def test_others_bits(self) -> None:
        """Other software's bits of a mark do not matter."""
        self.learn(frame(_MEDIA, ethernet=_OUT), marks.mark(_EPOCH) | 0xAB00)
        self.assertTrue(self.repeats(frame(_MEDIA)))

    def test_own(self) -> None:
        """What this host says itself came in nowhere."""
        self.learn(frame(_MEDIA, ethernet=_OUT), came_in=0)
        self.assertFalse(self.repeats(frame(_MEDIA), came_in=0))

    def test_longer(self) -> None:
        """What was longer is learned, and what was shorter changes nothing."""
        for payload in (_MEDIA, _LONG, _MEDIA):
            self.learn(frame(payload, ethernet=_OUT))
        self.assertTrue(self.repeats(frame(_LONG)))

    def test_moved(self) -> None:
        """A flow that leaves by another header is repeated by that from then on."""
        for ethernet in (_OUT, _OUT[::-1]):
            self.learn(frame(_MEDIA, ethernet=ethernet))
            ran = bpf_calls.trial(self.path.repeat, frame(_MEDIA), context())
            self.assertEqual(ran.octets[:12], ethernet)

    def test_pause(self) -> None:
        """While the rules change nothing is repeated, and nothing learned; afterwards nothing is
        that was learned before, in the same epoch or in the next."""
        self.learn(frame(_MEDIA, ethernet=_OUT))
        self.path.pause()
        self.assertFalse(self.repeats(frame(_MEDIA)))
        for mark in (marks.mark(_EPOCH), 0):
            self.learn(frame(_MEDIA, port=4002, ethernet=_OUT), mark)
        self.assertIsNone(self.learned(4002))
        self.assertIsNotNone(self.learned())
        for epoch in (_EPOCH, _EPOCH + 1):
            self.path.begin(epoch)
            self.assertFalse(self.repeats(frame(_MEDIA)))

    def test_next_epoch(self) -> None:
        """What was learned in one epoch is not repeated in another, however new it is."""
        self.learn(frame(_MEDIA, ethernet=_OUT))
        self.assertTrue(self.repeats(frame(_MEDIA)))
        self.path.begin(_EPOCH + 1)
        self.assertFalse(self.repeats(frame(_MEDIA)))

    def test_recycled(self) -> None:
        """What the kernel gave to another flow while it was read is not this flow's."""
        for at in (0, 8, VALUE_LEN - 48, VALUE_LEN - 8):
            self.learn(frame(_MEDIA, ethernet=_OUT))
            value = self.learned()
            assert value is not None, "it was learned"
            other = value[:at] + bytes((value[at] ^ 1,)) + value[at + 1 :]
            bpf_calls.update(self.path.maps.flows, self.key(), other)
            self.assertFalse(self.repeats(frame(_MEDIA)), at)
            bpf_calls.update(self.path.maps.flows, self.key(), value)
            self.assertTrue(self.repeats(frame(_MEDIA)))

    def test_since(self) -> None:
        """Once a verdict has changed, what was learned before does not hold, nor what is learned in
        the seconds after; what is learned then does."""
        self.learn(frame(_MEDIA, ethernet=_OUT))
        since = fast_path.Since(self.path.since.descriptor)
        self.addCleanup(since.close)
        since.now()
        self.assertFalse(self.repeats(frame(_MEDIA)))
        self.learn(frame(_MEDIA, ethernet=_OUT))
        self.assertFalse(self.repeats(frame(_MEDIA)))
        self.age(-6 * VALID_NS)
        self.assertTrue(self.repeats(frame(_MEDIA)))

    def test_second(self) -> None:
        """What was learned holds for a second."""
        for age_ns, holds in ((VALID_NS // 100, True), (2 * VALID_NS, False)):
            self.learn(frame(_MEDIA, ethernet=_OUT))
            self.age(age_ns)
            self.assertEqual(self.repeats(frame(_MEDIA)), holds)

    def key(self, port: int = 4001) -> bytes:
        """Give the key of the clients' flow to a port."""
        source, destination = (ip_address(one).packed.ljust(16, b"\0") for one in _ENDS[0])
        key = struct.pack("=IBB2s", _CLIENTS, 4, 1, b"\x45\x00") + source + destination
        return key + struct.pack("!HHI", 5000, port, 0)

    def learned(self, port: int = 4001) -> bytes | None:
        """Give what was learned of it."""
        return bpf_calls.lookup(self.path.maps.flows, self.key(port), VALUE_LEN)

    def age(self, by_ns: int) -> None:
        """Make what was learned of it older."""
        value = self.learned()
        assert value is not None, "it was learned"
        when = struct.pack("=Q", time.clock_gettime_ns(time.CLOCK_MONOTONIC) - by_ns)
        aged = value[:LEARNED_AT] + when + value[LEARNED_AT + 8 :]
        bpf_calls.update(self.path.maps.flows, self.key(), aged)


class RefusalTests(SynchronousTestCase):
    """What cannot be."""

    def test_spot_checks(self) -> None:
        """So many spot checks that none is left to repeat."""
        error = self.assertRaises(CarryError, FastPath, spot_check=32)
        self.assertIn("expected over 32, or 0", str(error))

    def test_no_interface(self) -> None:
        """An interface that there is not is refused; what is attached stays so."""
        if (reason := host.no_fast_path()) is not None:
            raise SkipTest(reason)
        path = FastPath()
        self.addCleanup(path.close)
        self.assertRaises(CarryError, path.follow, [1, 1 << 30])
        path.follow([1])
        path.follow([])
