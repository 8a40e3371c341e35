"""The fast path's two programs.  Owns: what each does with a frame; the layouts of their maps.
Knows: struct __sk_buff, the helpers of tc programs, the marks.  Never: system calls, interfaces.

`learn` sees what leaves by an interface after the rules did: of media whose mark says that its flow
is direct and was judged in this epoch it writes down where it came in, and the Ethernet header and
the interface by which it leaves.  `repeat` sees what comes in by an interface: media of the same
flow and of the same kind goes out as that which the rules let go within the last second did, its
hop limit one less, and meets neither rules nor routing.  Everything else goes on to the rules, and
so does one media packet in 32: of these some are judged again, and all are learned from.  Several
datagrams in one piece go on with a mark that has the rules ask for each.

So the rules stay the only ones who decide, and what they decide otherwise holds within a second by
itself; at once where Python says so (since)."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.kernel import marks
from gateway.kernel.bpf import R0, R1, R2, R3, R4, R6, R7, R8, R9, STACK, Code, constant
from gateway.kernel.signatures import MEDIA, Conditions, Media

VALID_NS = 1_000_000_000
"""How long one packet's way is repeated."""
DRAWN = 32
"""One packet of so many meets the rules: by its checksum, as quick draws its lots."""
UNDRAWN = (0x1F).to_bytes(2, "big")

KEY_LEN, VALUE_LEN = 48, 136
"""Octets of a flow's key and value:
key: u32 number of the interface it comes in by; 4 or 6; the kind; what IP's first two octets say
(its traffic class, which routes may depend on); two addresses of 16 octets; two ports; zeros.
value: the key; u64 when it was learned (nanoseconds of the monotonic clock); u32 mark; u32 number
of the interface it leaves by; u32 octets of the longest such frame; two Ethernet addresses; u32
priority; zeros; the key again.  The kernel may give a value that is being read to another flow:
what was read is this flow's if the key stood behind it before, and before it afterwards."""
LEARNED_AT = 48
"""Where a value says when it was learned."""

MARK_MASK = (
    marks.EPOCH_MASK
    | marks.TARGET_MASK
    | marks.JUDGE
    | marks.PROVISIONAL
    | marks.ANSWER
    | marks.LOOKS_MASK
)
"""What phrases.straight compares."""

PIECES = marks.JUDGE | marks.CONTENT
"""The mark of several datagrams in one piece."""

GO_ON = (1 << 32) - 1
"""A program's answer: the frame goes on to the rules (TCX_NEXT)."""
REDIRECT = 7
"""It goes elsewhere (TC_ACT_REDIRECT)."""

# struct __sk_buff (linux/bpf.h).
_LEN, _PKT_TYPE, _MARK, _PROTOCOL, _VLAN = 0, 4, 8, 16, 20
_PRIORITY, _CAME_IN, _INTERFACE = 32, 36, 40
_DATA, _DATA_END, _GSO_SIZE = 76, 80, 176
# enum bpf_func_id.
_LOOKUP, _UPDATE, _GO_OUT, _PULL_DATA, _CLOCK = 1, 2, 23, 39, 160
# Octets of headers, and of what a packet may be compared with behind them.
_ETHERNET_LEN, _IP_LEN, _UDP_LEN = 14, {4: 20, 6: 40}, 8
# Of the frame: a flow's key, a value, the counter's key, and what is read of a value.
_KEY, _VALUE, _ZERO, _COPY = -48, -184, -192, -216
# Of a value.
_WHEN, _OF, _OUT, _LONGEST, _FRAME, _CLASS, _AGAIN = 48, 56, 60, 64, 68, 80, 88


@dataclass(frozen=True, slots=True)
class Maps:
    """The descriptors of what the two programs share."""

    flows: int
    epoch: int
    """u32: the mark of direct flows in this epoch; 0: nothing is repeated or learned."""
    since: int
    """u64: nothing that was learned before this is repeated."""
    counts: int
    """u64 a processor: of packets that were repeated."""


def repeat(media: Media, maps: Maps, *, draws: bool) -> bytes:
    """Write the program for frames that come in.

    Args:    draws: whether spot checks draw lots among packets.
    """
    code = Code()
    code.copy(R6, R1)
    code.load(R2, R6, _PKT_TYPE, 4)
    code.when(R2, "!=", 0, "rules")  # for us, and not for everybody or somebody else
    code.load(R2, R6, _MARK, 4)
    code.when(R2, "!=", 0, "rules")  # what has one on its way in, `learn` may take for the rules'
    _read(code, media, hops=2)
    if draws:
        code.load(R2, R9, 6, 2)
        code.keep(R2, constant(UNDRAWN))
        code.when(R2, "==", 0, "rules")
    _find(code, maps)
    code.when_none(R0, "rules")
    code.copy(R9, R0)
    _still_holds(code, maps)
    _count(code, maps)
    _rewrite(code)
    code.load(R1, STACK, _COPY, 4)
    code.set(R2, 0)
    code.call(_GO_OUT)
    code.leave()
    _mark_pieces(code)
    return _finished(code)


def learn(media: Media, maps: Maps) -> bytes:
    """Write the program for frames that go out."""
    code = Code()
    code.copy(R6, R1)
    code.load(R2, R6, _MARK, 4)
    code.keep(R2, MARK_MASK)
    code.map_value(R1, maps.epoch)
    code.load(R3, R1, 0, 4)
    code.when_register(R2, "!=", R3, "rules")
    code.when(R3, "==", 0, "rules")
    code.store(STACK, _VALUE + _OF, R3, 4)
    _read(code, media, hops=0)
    _find(code, maps)
    code.copy(R9, R0)
    code.call(_CLOCK)
    code.store(STACK, _VALUE + _WHEN, R0, 8)
    for field, at in ((_INTERFACE, _OUT), (_PRIORITY, _CLASS)):
        code.load(R2, R6, field, 4)
        code.store(STACK, _VALUE + at, R2, 4)
    code.store(STACK, _VALUE + _LONGEST, R8, 4)
    for at in (0, 4, 8):
        code.load(R2, R7, at, 4)
        code.store(STACK, _VALUE + _FRAME + at, R2, 4)
    code.store_number(STACK, _VALUE + _CLASS + 4, 0, 4)
    for at in range(0, KEY_LEN, 8):
        code.load(R2, STACK, _KEY + at, 8)
        code.store(STACK, _VALUE + at, R2, 8)
        code.store(STACK, _VALUE + _AGAIN + at, R2, 8)
    code.when_none(R9, "new")
    _renew(code)
    code.label("new")
    code.map(R1, maps.flows)
    code.copy(R2, STACK)
    code.add(R2, _KEY)
    code.copy(R3, STACK)
    code.add(R3, _VALUE)
    code.set(R4, 0)
    code.call(_UPDATE)
    return _finished(code)


def _finished(code: Code) -> bytes:
    code.label("pieces")
    code.label("rules")
    code.set(R0, -1)
    code.leave()
    return code.octets()


def _read(code: Code, media: Media, *, hops: int) -> None:
    """Go on with whole UDP datagrams of media that no signature asks for, and that may make so many
    hops.  Then R7 is the frame, R8 its length, R9 the UDP header, and the key is on the stack."""
    code.load(R2, R6, _GSO_SIZE, 4)
    code.when(R2, "!=", 0, "pieces")
    code.load(R2, R6, _VLAN, 4)
    code.when(R2, "!=", 0, "rules")
    code.load(R2, R6, _CAME_IN, 4)
    code.when(R2, "==", 0, "rules")  # this host's own
    code.store(STACK, _KEY, R2, 4)
    code.load(R2, R6, _PROTOCOL, 4)
    code.when(R2, "==", constant(b"\x08\x00"), "4")
    code.when(R2, "!=", constant(b"\x86\xdd"), "rules")
    seen = max(one.offset + len(one.value) for group in _groups(media) for one in group)
    for family in (6, 4):
        code.label(f"{family}")
        _make_whole(code, family, _ETHERNET_LEN + _IP_LEN[family] + _UDP_LEN + seen)
        (_read4 if family == 4 else _read6)(code, hops)
        code.copy(R9, R7)
        code.add(R9, _ETHERNET_LEN + _IP_LEN[family])
        code.load(R2, R9, 0, 4)
        code.store(STACK, _KEY + 40, R2, 4)
        code.store_number(STACK, _KEY + 44, 0, 4)
        code.load(R2, R7, _ETHERNET_LEN, 2)
        code.store(STACK, _KEY + 6, R2, 2)
        code.store_number(STACK, _KEY + 4, family, 1)
        for number, kind in enumerate(((), *media.kinds)):
            label = f"{family}, not {number}"
            if kind:
                _unless(code, kind, label)
            code.store_number(STACK, _KEY + 5, number, 1)
            code.label(label)
        if family == 6:
            code.jump("read")
    code.label("read")
    _unless(code, MEDIA, "rules")
    for number, suspect in enumerate(media.suspects):
        _unless(code, suspect, f"no suspect {number}")
        code.jump("rules")
        code.label(f"no suspect {number}")


def _groups(media: Media) -> tuple[Conditions, ...]:
    return MEDIA, *media.suspects, *media.kinds


def _make_whole(code: Code, family: int, length: int) -> None:
    """Have the first octets of a frame where they can be read.  Shorter ones meet the rules."""
    for is_again in (False, True):
        code.load(R7, R6, _DATA, 4)
        code.load(R3, R6, _DATA_END, 4)
        code.copy(R2, R7)
        code.add(R2, length)
        code.when_register(R2, ">" if is_again else "<=", R3, "rules" if is_again else f"{family}+")
        if not is_again:
            code.copy(R1, R6)
            code.set(R2, length)
            code.call(_PULL_DATA)
            code.when(R0, "!=", 0, "rules")
    code.label(f"{family}+")


def _read4(code: Code, hops: int) -> None:
    """RFC 791: no options, no fragment, UDP, as long as it says, and hops left."""
    for at, comparison, number in ((14, "!=", 0x45), (23, "!=", 17), (22, "<", hops)):
        code.load(R2, R7, at, 1)
        code.when(R2, comparison, number, "rules")
    code.load(R2, R7, 20, 2)
    code.keep(R2, constant(b"\x3f\xff"))
    code.when(R2, "!=", 0, "rules")
    _lengths(code, at=16, beyond=_ETHERNET_LEN, udp_at=38, headers=20)
    for at in (0, 8, 16, 24):
        code.store_number(STACK, _KEY + 8 + at, 0, 8)
    for at, to in ((26, 8), (30, 24)):
        code.load(R2, R7, at, 4)
        code.store(STACK, _KEY + to, R2, 4)


def _read6(code: Code, hops: int) -> None:
    """RFC 8200: UDP without extension headers, as long as it says, and hops left."""
    code.load(R2, R7, 14, 1)
    code.keep(R2, 0xF0)
    code.when(R2, "!=", 0x60, "rules")
    for at, comparison, number in ((20, "!=", 17), (21, "<", hops)):
        code.load(R2, R7, at, 1)
        code.when(R2, comparison, number, "rules")
    _lengths(code, at=18, beyond=_ETHERNET_LEN + 40, udp_at=58, headers=0)
    for at in range(0, 32, 4):
        code.load(R2, R7, 22 + at, 4)
        code.store(STACK, _KEY + 8 + at, R2, 4)


def _lengths(code: Code, *, at: int, beyond: int, udp_at: int, headers: int) -> None:
    """Compare IP's length with the frame's, and UDP's (RFC 768) with IP's."""
    code.load(R8, R6, _LEN, 4)
    code.load(R2, R7, at, 2)
    code.from_network(R2, 16)
    code.copy(R3, R2)
    code.add(R3, beyond)
    code.when_register(R3, "!=", R8, "rules")
    code.load(R3, R7, udp_at, 2)
    code.from_network(R3, 16)
    code.add(R3, headers)
    code.when_register(R3, "!=", R2, "rules")


def _unless(code: Code, conditions: Conditions, label: str) -> None:
    """Go on at a label if a condition of the payload behind R9 does not hold."""
    for offset, mask, value in conditions:
        at = 0
        while at < len(value):
            size = next(n for n in (4, 2, 1) if at + n <= len(value))
            code.load(R2, R9, _UDP_LEN + offset + at, size)
            if mask[at : at + size] != b"\xff" * size:
                code.keep(R2, constant(mask[at : at + size]))
            code.when(R2, "!=", constant(value[at : at + size]), label)
            at += size


def _find(code: Code, maps: Maps) -> None:
    code.map(R1, maps.flows)
    code.copy(R2, STACK)
    code.add(R2, _KEY)
    code.call(_LOOKUP)


def _mark_pieces(code: Code) -> None:
    """Have the rules look at all of what comes in one piece, if it is UDP."""
    code.label("pieces")
    code.load(R7, R6, _DATA, 4)
    code.load(R3, R6, _DATA_END, 4)
    code.copy(R2, R7)
    code.add(R2, 24)
    code.when_register(R2, ">", R3, "rules")
    code.load(R4, R6, _PROTOCOL, 4)
    code.load(R2, R7, 23, 1)
    code.when(R4, "==", constant(b"\x08\x00"), "of pieces")
    code.load(R2, R7, 20, 1)
    code.label("of pieces")
    code.when(R2, "!=", 17, "rules")
    code.set(R2, PIECES)
    code.store(R6, _MARK, R2, 4)


def _still_holds(code: Code, maps: Maps) -> None:
    """Go on if what was learned (R9) is of this epoch and no older than it may be, and of a frame
    as long as this; the way out and the Ethernet addresses are on the stack then."""
    _is_this_flow(code, _AGAIN)
    code.map_value(R1, maps.epoch)
    code.load(R2, R1, 0, 4)
    code.load(R3, R9, _OF, 4)
    code.when_register(R2, "!=", R3, "rules")
    code.load(R2, R9, _LONGEST, 4)
    code.when_register(R8, ">", R2, "rules")
    code.load(R8, R9, _WHEN, 8)
    for at in (_OUT, _FRAME, _FRAME + 4, _FRAME + 8, _CLASS):
        code.load(R2, R9, at, 4)
        code.store(STACK, _COPY + at - _OUT - 4 * (at > _OUT), R2, 4)
    _is_this_flow(code, 0)
    code.map_value(R1, maps.since)
    code.load(R2, R1, 0, 8)
    code.when_register(R8, "<", R2, "rules")
    code.call(_CLOCK)
    # A packet elsewhere may have been learned from since the clock was read here.
    code.when_register(R0, "<", R8, "now")
    code.subtract(R0, R8)
    code.set(R2, VALID_NS)
    code.when_register(R0, ">", R2, "rules")
    code.label("now")


def _is_this_flow(code: Code, at: int) -> None:
    """Go on if the key stands at an offset of what was learned (R9)."""
    for octet in range(0, KEY_LEN, 8):
        code.load(R2, STACK, _KEY + octet, 8)
        code.load(R3, R9, at + octet, 8)
        code.when_register(R2, "!=", R3, "rules")


def _count(code: Code, maps: Maps) -> None:
    code.store_number(STACK, _ZERO, 0, 4)
    code.map(R1, maps.counts)
    code.copy(R2, STACK)
    code.add(R2, _ZERO)
    code.call(_LOOKUP)
    code.when_none(R0, "rules")
    code.load(R2, R0, 0, 8)
    code.add(R2, 1)
    code.store(R0, 0, R2, 8)


def _rewrite(code: Code) -> None:
    """Give the frame its new Ethernet header, and one hop less (RFC 1812 section 5.3.1; the sum is
    carried as RFC 1624 has it)."""
    for at in (0, 4, 8):
        code.load(R2, STACK, _COPY + 4 + at, 4)
        code.store(R7, at, R2, 4)
    code.load(R2, STACK, _COPY + 16, 4)
    code.store(R6, _PRIORITY, R2, 4)
    code.load(R2, STACK, _KEY + 4, 1)
    code.when(R2, "==", 6, "six hops")
    code.load(R2, R7, 22, 1)
    code.add(R2, -1)
    code.store(R7, 22, R2, 1)
    code.load(R2, R7, 24, 2)
    code.from_network(R2, 16)
    code.add(R2, 0x0100)
    code.when(R2, "<", 0xFFFF, "no carry")
    code.add(R2, 1)
    code.label("no carry")
    code.from_network(R2, 16)
    code.store(R7, 24, R2, 2)
    code.jump("out")
    code.label("six hops")
    code.load(R2, R7, 21, 1)
    code.add(R2, -1)
    code.store(R7, 21, R2, 1)
    code.label("out")


def _renew(code: Code) -> None:
    """What is known (R9) and has not changed is as new as this packet; what has changed is written
    anew as a whole, for others are reading it."""
    for at in (_OF, _OUT, _FRAME, _FRAME + 4, _FRAME + 8, _CLASS):
        code.load(R2, STACK, _VALUE + at, 4)
        code.load(R3, R9, at, 4)
        code.when_register(R2, "!=", R3, "new")
    code.load(R3, R9, _LONGEST, 4)
    code.when_register(R8, "<=", R3, "not longer")
    code.store(R9, _LONGEST, R8, 4)
    code.label("not longer")
    code.store(R9, _WHEN, R0, 8)
    code.jump("rules")
