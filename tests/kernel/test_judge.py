"""The judge turns verdicts into answers that the kernel carries out; in doubt it blocks."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.kernel import marks
from gateway.kernel.first_octets import FirstOctetsLimits
from gateway.kernel.judge import Hands, Judge, Target
from gateway.kernel.marks import (
    ANSWER,
    BLOCK,
    BLOCK_PLACE,
    CONTENT,
    DIRECT,
    EARLIER,
    JUDGE,
    PROVISIONAL,
    REFUSE,
    REFUSE_PLACE,
    mark,
)
from gateway.kernel.queue_messages import DROP, Queued
from gateway.model import Action, FlowKey, Verdict
from tests.kernel.test_datagram import tcp, udp, v4, v6
from tests.support.rows import rows

ALLOW = Verdict(Action.ALLOW, "r", "")
BLOCKED = Verdict(Action.BLOCK, "r", "")
REFUSED = Verdict(Action.BLOCK, "r", "", "refuse")
RELAY = Verdict(Action.REROUTE, "r", "", "relay")
FAR = Verdict(Action.REROUTE, "r", "", "masque-exit")
SCRUBBED = Verdict(Action.WRAP, "r", "", "scrub:wg")
WRAP = Verdict(Action.WRAP, "r", "", "nearest")
OPEN = Verdict(Action.BLOCK, "r", "", settled=False)
SYN, PSH = 0x02, 0x18

_E = 7


def answer(target: int = DIRECT, flags: int = 0, epoch: int = _E) -> int:
    """Give the mark of an answer."""
    return mark(epoch, target, flags | ANSWER)


_ALLOWED, _RELAYED = answer(), answer(1)
_BLOCKED, _PLACE = answer(BLOCK), answer(BLOCK_PLACE)
_RESET, _RESET_PLACE = answer(REFUSE), answer(REFUSE_PLACE)


@dataclass
class FakeGate:
    """Answers what it is told to."""

    verdict: Verdict = ALLOW
    later: Verdict = ALLOW
    enough: int = 4
    asked: list[bytes | None] = field(default_factory=list)
    begun: int = 0

    def judge(self, key: FlowKey, payload: bytes | None, names: tuple[str, ...] = ()) -> Verdict:
        """Gate API."""
        self.asked.append(payload)
        is_stream = key.transport == "tcp" and payload is not None
        return self.later if is_stream else self.verdict

    def wants_more(self, first: bytes) -> bool:
        """Gate API."""
        return len(first) < self.enough

    def begins(self, key: FlowKey) -> None:
        """Gate API."""
        self.begun += 1


_STRAIGHT = 8443
_TARGETS = {
    "relay": Target(1),
    "only4": Target(2, frozenset({4})),
    "wg": Target(4, carries_all=True),
}


class JudgeCase(SynchronousTestCase):
    """A judge with fakes around it."""

    def setUp(self) -> None:
        """Make one without a local proxy."""
        self.gate, self.clock = FakeGate(), Clock()
        self.carried: list[bytes] = []
        self.forgotten: list[FlowKey] = []
        self.answers: list[tuple[int, int]] = []
        self.turned: list[None] = []
        self.judge = self.make(None)

    def make(self, proxy: int | None, limits: FirstOctetsLimits | None = None) -> Judge:
        """Make a judge."""
        hands = Hands(
            carry=lambda key, payload, verdict: self.carried.append(payload),
            forget=self.forgotten.append,
            answer=lambda queue, number, given: self.answers.append((number, given)),
            turned=lambda: self.turned.append(None),
        )
        return Judge(
            self.gate,
            hands,
            self.clock.seconds,
            epoch=_E,
            targets=_TARGETS,
            proxy=proxy,
            straight_ports=frozenset({_STRAIGHT}),
            limits=limits,
        )

    def ask(self, octets: bytes, asked: int = JUDGE, number: int = 1) -> int | None:
        """Have one packet judged."""
        return self.judge.judge(Queued(7, number, octets, asked, 3, False))


_NEW = JUDGE
_KNOWN = mark(_E, 0, JUDGE)
_CONTENT = mark(_E, 0, JUDGE | CONTENT)
_EARLIER = mark(0, 0, JUDGE | EARLIER)
_WAS_RELAY = mark(0, 1, JUDGE | EARLIER)


@rows(
    datagrams={
        "new, allowed": (_NEW, ALLOW, _ALLOWED, ""),
        "new, blocked": (_NEW, BLOCKED, _BLOCKED, ""),
        "new, refused": (_NEW, REFUSED, _RESET, ""),
        "new, to a relay": (_NEW, RELAY, _RELAYED, ""),
        "new, wrapped": (_NEW, WRAP, DROP, "carried"),
        "new, to an exit by tunnel": (_NEW, FAR, DROP, "carried"),
        "new, by an interface, with pseudonyms": (_NEW, SCRUBBED, DROP, "carried"),
        "sampled, as before": (_KNOWN, ALLOW, _ALLOWED, ""),
        "sampled, now blocked": (_KNOWN, BLOCKED, _BLOCKED, ""),
        "sampled, now elsewhere": (_KNOWN, RELAY, DROP, "forgotten"),
        "sampled, now wrapped": (_KNOWN, WRAP, DROP, "carried forgotten"),
        "its content allowed": (_CONTENT, ALLOW, _ALLOWED, ""),
        "its content blocked": (_CONTENT, BLOCKED, DROP, ""),
        "its content wrapped": (_CONTENT, WRAP, DROP, "carried"),
        "its content to a relay": (_CONTENT, RELAY, DROP, "carried"),
        "an earlier epoch's, as before": (_EARLIER, ALLOW, _ALLOWED, ""),
        "an earlier epoch's, now blocked": (_EARLIER, BLOCKED, _BLOCKED, ""),
        "an earlier epoch's, now to a relay": (_EARLIER, RELAY, DROP, "forgotten"),
        "an earlier epoch's, no more to a relay": (_WAS_RELAY, ALLOW, DROP, "forgotten"),
        "an earlier epoch's, to its relay": (_WAS_RELAY, RELAY, _RELAYED, ""),
        "an earlier epoch's, now wrapped": (_WAS_RELAY, WRAP, DROP, "carried"),
        "new, and content": (JUDGE | CONTENT, BLOCKED, _BLOCKED, ""),
    },
)
class DatagramTests(JudgeCase):
    """UDP and what has no ports."""

    def check_datagrams(self, asked: int, verdict: Verdict, expected: int, what: str) -> None:
        """Each verdict on each kind of question has one answer"""
        self.gate.verdict = verdict
        for packet in (v4(udp(b"abc"), 17), v6(udp(b"abc"), 17)):
            self.assertEqual(self.ask(packet, asked), expected)
        self.assertEqual(self.carried, [b"abc"] * 2 if "carried" in what else [])
        self.assertEqual(len(self.forgotten), 2 if "forgotten" in what else 0)

    def test_turned(self) -> None:
        """That a flow goes on no more as the kernel had it is said before the answer; what is of
        one datagram alone, of an earlier epoch, or as before, is not."""
        asked = {_KNOWN: 1, _CONTENT: 0, _EARLIER: 0, _NEW: 0}
        for verdict in (BLOCKED, REFUSED, WRAP, FAR, RELAY, ALLOW):
            self.gate.verdict = verdict
            for question, count in asked.items():
                self.turned.clear()
                self.ask(v4(udp(b"abc"), 17), question)
                self.assertEqual(len(self.turned), count * (verdict is not ALLOW), verdict)

    def test_family(self) -> None:
        """What a relay has no address for is blocked."""
        self.gate.verdict = Verdict(Action.REROUTE, "r", "", "only4")
        self.assertEqual(self.ask(v4(udp(b""), 17)), answer(2))
        self.assertEqual(self.ask(v6(udp(b""), 17)), _BLOCKED)

    def test_others(self) -> None:
        """Others' bits and the looks stay in the mark."""
        kept = 0x00005A40
        for verdict, expected in ((ALLOW, _ALLOWED), (BLOCKED, _BLOCKED), (RELAY, _RELAYED)):
            self.gate.verdict = verdict
            self.assertEqual(self.ask(v4(udp(b""), 17), JUDGE | kept), expected | kept)

    def test_without_ports(self) -> None:
        """ICMP, fragments and other protocols are allowed, go by an interface, or are blocked."""
        by_interface = Verdict(Action.REROUTE, "r", "", "wg")
        for packet in (v4(bytes(8), 1), v6(bytes(8), 58), v4(b"abc", 17, fragment=5)):
            for verdict, expected in (
                (ALLOW, _ALLOWED),
                (BLOCKED, _BLOCKED),
                (REFUSED, _RESET),
                (RELAY, _BLOCKED),
                (WRAP, _BLOCKED),
                (by_interface, answer(4)),
            ):
                self.gate.verdict = verdict
                self.assertEqual(self.ask(packet), expected)
        self.assertEqual((self.carried, self.forgotten), ([], []))

    def test_malformed(self) -> None:
        """What cannot be read is dropped and counted."""
        self.assertEqual(self.ask(b"\x45"), DROP)
        self.assertEqual(self.judge.judge(Queued(7, 1, v4(udp(b"a"), 17)[:-1], 1, 0, True)), DROP)
        self.assertEqual(self.judge.counters, {"malformed": 1, "cut": 1})

    def test_adopt(self) -> None:
        """After a change the answers bear the new epoch, and a mark of the old one is earlier."""
        self.judge.adopt(8)
        self.assertEqual(self.ask(v4(udp(b""), 17)), answer(epoch=8))

    @settings(deadline=None, max_examples=300)
    @given(
        st.binary(max_size=80), st.sampled_from([b"", b"\x45", b"\x60"]), st.integers(0, 2**32 - 1)
    )
    def test_anything(self, octets: bytes, start: bytes, asked: int) -> None:
        """Whatever comes, there is an answer, and no answer still asks."""
        self.gate.verdict = BLOCKED
        got = self.ask(start + octets, asked)
        assert got is not None
        if got != DROP:
            self.assertFalse(got & JUDGE)
            self.assertIn(marks.target_of(got), (BLOCK, BLOCK_PLACE, REFUSE))


@rows(
    settled={
        "allowed": (_NEW, ALLOW, None, _ALLOWED),
        "blocked": (_NEW, BLOCKED, None, _PLACE),
        "refused": (_NEW, REFUSED, None, _RESET_PLACE),
        "to a relay": (_NEW, RELAY, None, _RELAYED),
        "wrapped, without a proxy": (_NEW, WRAP, None, _PLACE),
        "wrapped": (_NEW, WRAP, 3, answer(3)),
        "to an exit by tunnel": (_NEW, FAR, 3, answer(3)),
        "an earlier epoch's, as before": (_EARLIER, ALLOW, 3, _ALLOWED),
        "an earlier epoch's, now blocked": (_EARLIER, BLOCKED, 3, _RESET),
        "an earlier epoch's, now elsewhere": (_EARLIER, RELAY, 3, _RESET),
        "an earlier epoch's, now wrapped": (_EARLIER, WRAP, 3, _RESET),
        "with the proxy already": (mark(0, 3, JUDGE | EARLIER), ALLOW, 3, answer(3)),
        "with the proxy, now blocked": (mark(0, 3, JUDGE | EARLIER), BLOCKED, 3, _RESET),
    },
    unsettled={
        "new, with a proxy": (_NEW, SYN, b"", 3, answer(3)),
        "new, without": (_NEW, SYN, b"", None, answer(flags=PROVISIONAL)),
        "in midstream": (_NEW, PSH, b"abc", None, _RESET),
        "in midstream, with a proxy": (_NEW, PSH, b"abc", 3, _RESET),
        "an answer to a SYN": (_NEW, 0x12, b"", None, _RESET),
        "data in a SYN": (_NEW, SYN, b"abc", None, DROP),
        "sampled": (_KNOWN, PSH, b"abc", None, _ALLOWED),
        "an earlier epoch's": (_EARLIER, PSH, b"abc", None, _RESET),
        "an earlier epoch's, with the proxy": (mark(0, 3, 5), PSH, b"abc", 3, answer(3)),
    },
)
class StreamTests(JudgeCase):
    """TCP."""

    def check_settled(self, asked: int, verdict: Verdict, proxy: int | None, expected: int) -> None:
        """Where the address decides, the SYN is answered for good"""
        self.gate.verdict, self.judge = verdict, self.make(proxy)
        self.assertEqual(self.ask(v4(tcp(b"", SYN), 6), asked), expected)

    def check_unsettled(
        self, asked: int, flags: int, payload: bytes, proxy: int | None, expected: int
    ) -> None:
        """Where the first octets decide, they are awaited, or there is no way"""
        self.gate.verdict, self.judge = OPEN, self.make(proxy)
        self.assertEqual(self.ask(v4(tcp(payload, flags), 6), asked), expected)

    def begin(self, sequence: int = 999) -> None:
        """Let a flow's SYN and its handshake's end pass."""
        self.gate.verdict = OPEN
        passing = answer(flags=PROVISIONAL)
        self.assertEqual(self.ask(v4(tcp(b"", SYN, sequence), 6)), passing)
        self.assertEqual(self.ask(v4(tcp(b"", 0x10, sequence + 1), 6)), passing)

    def say(self, payload: bytes, at: int, number: int) -> int | None:
        """Send octets at an offset of the stream."""
        return self.ask(v4(tcp(payload, PSH, (1000 + at) % 2**32), 6), JUDGE, number)

    def test_one_segment(self) -> None:
        """First octets in one segment decide at once."""
        self.begin()
        self.assertEqual(self.say(b"good day", 0, 5), _ALLOWED)
        self.assertEqual((self.answers, self.gate.asked[-1]), ([], b"good day"))

    def test_segments(self) -> None:
        """First octets in several segments, in any order, are held until they decide."""
        self.begin()
        self.assertIsNone(self.say(b"od", 2, 5))
        self.assertIsNone(self.say(b"g", 0, 6))
        self.assertEqual(self.say(b"o", 1, 7), _ALLOWED)
        self.assertEqual(self.answers, [(5, _ALLOWED), (6, _ALLOWED)])
        self.assertEqual(self.gate.asked[-1], b"good")

    def test_forbidden(self) -> None:
        """If they forbid the flow, or want it elsewhere, all that was held is blocked."""
        for later, expected in (
            (BLOCKED, _BLOCKED),
            (REFUSED, _RESET),
            (RELAY, _RESET),
            (WRAP, _RESET),
        ):
            self.answers.clear()
            self.gate.later = later
            self.begin()
            self.assertIsNone(self.say(b"ev", 0, 5))
            self.assertEqual(self.say(b"il", 2, 6), expected)
            self.assertEqual(self.answers, [(5, expected)])

    def test_moved(self) -> None:
        """A flow that goes straight and turns out to be for the proxy is reset; the client's next
        try goes to the proxy, and so does everybody's to that place."""
        self.judge, self.gate.verdict, self.gate.later = self.make(3), OPEN, WRAP
        for near in (4000, 4001):
            segment = tcp(b"", SYN, 999, near=near, far=_STRAIGHT)
            passing = answer(flags=PROVISIONAL) if near == 4000 else answer(3)
            self.assertEqual(self.ask(v4(segment, 6)), passing)
            if near == 4000:
                said = tcp(b"GET /?uid=7", PSH, 1000, near=near, far=_STRAIGHT)
                self.assertEqual(self.ask(v4(said, 6)), _RESET)
        self.assertEqual(self.judge.counters["cannot be moved"], 1)

    def test_right_behind(self) -> None:
        """Segments that asked while the first octets were judged get the same answer, unless they
        say something else than those."""
        self.begin()
        self.assertEqual(self.say(b"good day", 0, 5), _ALLOWED)
        asked = JUDGE | PROVISIONAL
        behind = tcp(b" and night", PSH, 1008)
        again, other = tcp(b"good day", PSH, 1000), tcp(b"GET /", PSH, 1000)
        self.assertEqual(self.ask(v4(behind, 6), asked), _ALLOWED)
        self.assertEqual(self.ask(v4(again, 6), asked), _ALLOWED)
        self.assertEqual(self.ask(v4(other, 6), asked), _RESET)
        self.assertEqual(self.gate.begun, 1)

    def test_on_its_way(self) -> None:
        """So do those that the kernel takes for new, for the epoch changed before they asked."""
        self.begin()
        self.assertEqual(self.say(b"good day", 0, 5), _ALLOWED)
        for payload, at in ((b"good", 0), (b"day", 5), (b"", 8), (b" and night", 8)):
            self.assertEqual(self.say(payload, at, 6), _ALLOWED)
        self.assertEqual(self.gate.begun, 1)
        self.assertEqual(self.say(b"GET /", 0, 7), _RESET)
        self.assertEqual(self.gate.begun, 2)

    def test_begins(self) -> None:
        """What the kernel does not know makes the gate forget what an earlier stream of its key
        said, in midstream too; a flow that is known does not."""
        self.ask(v4(tcp(b"", SYN), 6))
        self.ask(v4(tcp(b"", SYN), 6), _KNOWN)
        self.ask(v4(tcp(b"", PSH), 6))
        self.assertEqual(self.gate.begun, 2)

    def test_too_many_packets(self) -> None:
        """Undetermined at the bound is blocked; the gate is not asked with half of it."""
        self.judge = self.make(None, FirstOctetsLimits(packets=2))
        self.gate.enough = 1000
        self.begin()
        self.assertIsNone(self.say(b"a", 0, 5))
        self.assertIsNone(self.say(b"b", 1, 6))
        self.assertEqual(self.say(b"c", 2, 7), _RESET)
        self.assertEqual(self.answers, [(5, _RESET), (6, _RESET)])
        self.assertEqual(self.judge.counters["first octets undetermined"], 1)

    def test_too_many_octets(self) -> None:
        """Octets have a bound too."""
        self.judge = self.make(None, FirstOctetsLimits(octets=8))
        self.gate.enough = 1000
        self.begin()
        self.assertIsNone(self.say(b"1234567", 0, 5))
        self.assertEqual(self.say(b"8", 7, 6), _RESET)

    def test_conflict(self) -> None:
        """Octets that are sent twice and differ block the flow."""
        self.begin()
        self.assertIsNone(self.say(b"go", 0, 5))
        self.assertEqual(self.say(b"eood", 0, 6), _RESET)

    def test_too_late(self) -> None:
        """What says too little for too long is blocked."""
        self.begin()
        self.assertIsNone(self.say(b"go", 0, 5))
        self.clock.advance(9.9)
        self.judge.expire()
        self.assertEqual(self.answers, [])
        self.clock.advance(0.1)
        self.judge.expire()
        self.assertEqual(self.answers, [(5, _RESET)])
        self.assertEqual(self.say(b"od", 2, 6), _RESET)

    def test_reload(self) -> None:
        """A flow that is awaited when the epoch changes is decided in the new one."""
        self.begin()
        self.assertIsNone(self.say(b"go", 0, 5))
        self.judge.adopt(8)
        self.assertEqual(self.say(b"od", 2, 6), answer(epoch=8))
        self.assertEqual(self.answers, [(5, answer(epoch=8))])

    def test_others_of_streams(self) -> None:
        """Others' bits and the looks stay in the marks of a stream's packets, each its own."""
        for last, expected in ((b"od", _ALLOWED), (b"eood", _RESET)):
            self.answers.clear()
            self.begin()
            held = v4(tcp(b"go", PSH, 1000), 6)
            self.assertIsNone(self.ask(held, JUDGE | 0x1110, 5))
            at = 1002 if last == b"od" else 1000
            got = self.ask(v4(tcp(last, PSH, at), 6), JUDGE | 0x2220, 6)
            self.assertEqual((self.answers, got), ([(5, expected | 0x1110)], expected | 0x2220))
        self.begin()
        self.assertIsNone(self.ask(v4(tcp(b"go", PSH, 1000), 6), JUDGE | 0x3340, 7))
        self.clock.advance(10.0)
        self.judge.expire()
        self.assertEqual(self.answers[-1], (7, _RESET | 0x3340))

    def test_another_syn(self) -> None:
        """A SYN with another number begins anew; what was held is blocked."""
        self.begin()
        self.assertIsNone(self.say(b"go", 0, 5))
        self.begin(5000)
        self.assertEqual(self.answers, [(5, _RESET)])
        self.assertEqual(self.ask(v4(tcp(b"good", PSH, 5001), 6)), _ALLOWED)

    def test_too_many_flows(self) -> None:
        """Above the bound of flows the oldest is given up."""
        self.judge = self.make(None, FirstOctetsLimits(flows=1))
        self.begin()
        self.assertIsNone(self.say(b"go", 0, 5))
        self.ask(v6(tcp(b"", SYN), 6))
        self.assertEqual(self.answers, [(5, _RESET)])
