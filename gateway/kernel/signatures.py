"""Signatures as nft rules.  Owns: wire's table → raw payload matches, the looks (one bit a kind).
Knows: nft's raw payload expression (@th,BIT,BITS).  Never: what a signature is a sign of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.kernel.marks import CONTENT, JUDGE, LOOKS
from gateway.kernel.phrases import become, has
from gateway.kernel.table import Chain
from gateway.model import Transport
from gateway.wire import Condition, Signature

# A UDP header's octets; @th begins with it.
_UDP_HEADER_LEN = 8
# nft 1.0.6 loads at most this many octets in one raw expression that it can also compare.
_MAX_OCTETS = 8
# Octets of the payload that may tell signatures apart, and how few values such a one has.
_MAX_TELLING = 16
_FEW = 16
# The value of the first octet's two highest bits in RTP and RTCP (RFC 7983).
_MEDIA = 2
# Octets that the kernel loads fastest: at most so many, and aligned.  The two highest bits of the
# first are known of media.
_MAX_FAST = 4
_MIN_TELLING_BITS = 5
_HEAD = (1 << 8 * _MAX_FAST) - 1 & ~0xC0


def chains(signatures: Iterable[Signature]) -> tuple[Chain, ...]:
    """Give the chain "signatures", which sends a UDP datagram that a signature asks for to the
    chain "question", and the chains that it goes on to: one for each value of the first octet's two
    highest bits, so that media is compared with what media could be mistaken for, and with nothing
    else (RFC 7983).  Media comes first: nearly all packets are of it.

    None of these chains depends on an epoch, so their maps and sets are never changed.
    """
    udp = tuple(one for one in signatures if one.transport is Transport.UDP)
    parts: list[Chain] = []
    ways = []
    for bits in (_MEDIA, 0, 1, 3):
        first = bits << 6
        possible = [one for one in udp if _may_begin(one, first)]
        parts += _chains(f"signatures_{bits}", possible, udp)
        ways.append(f"@th,{8 * _UDP_HEADER_LEN},8 and 0xc0 == {first:#04x} goto signatures_{bits}")
    return *parts, Chain("signatures", tuple(ways))


Conditions = tuple[Condition, ...]
"""Of a datagram's payload; all must hold."""

MEDIA = (Condition(0, b"\xc0", bytes((_MEDIA << 6,))),)
"""Holds for media, and nothing that is none."""


@dataclass(frozen=True, slots=True)
class Media:
    """What tells media that no signature asks for."""

    suspects: tuple[Conditions, ...]
    """Each holds for all datagrams that some signature asks for, whatever their flow is, and for
    few others; none of them holds: no such signature does."""
    kinds: tuple[Conditions, ...]
    """Holds for a kind that is judged once a flow."""
    looks: int
    """Those kinds' bits in a flow's mark."""


def media(signatures: Iterable[Signature]) -> Media:
    """Give the few and fast comparisons that most media needs."""
    udp = tuple(one for one in signatures if one.transport is Transport.UDP)
    looks = _looks(udp)
    possible = [one for one in udp if _may_begin(one, _MEDIA << 6)]
    seen_once = [one for one in possible if one.name in looks]
    always = _distinct([one for one in possible if one.name not in looks])
    return Media(
        tuple(_suspects(always)),
        tuple(one.conditions for one in seen_once),
        sum({looks[one.name] for one in seen_once}),
    )


def _suspects(always: list[Signature]) -> Iterator[Conditions]:
    """Give comparisons of the first octets that hold for all of media that fits a signature."""
    heads = []
    for one in always:
        mask, value = (number & _HEAD for number in _fold(one))
        if mask:
            heads.append((mask, value))
        else:
            yield one.conditions
    for mask, value in _merged(_widest(heads)):
        octets = [at for at in range(_MAX_FAST) if mask >> 8 * at & 0xFF]
        end = octets[-1] + 1
        # Aligned, and not an octet longer than the signature: shorter datagrams may fit it.
        first = next((end - n for n in (1, 2, 4) if end % n == 0 and end - n <= octets[0]), 0)
        texts = (n.to_bytes(_MAX_FAST, "little")[first:end] for n in (mask, value))
        yield (Condition(first, *texts),)


def _merged(heads: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Say it in fewer comparisons, each of which still holds for few datagrams."""
    merged: list[tuple[int, int]] = []
    for mask, value in heads:
        for at, (other, wanted) in enumerate(merged):
            both = mask & other & ~(value ^ wanted)
            if both.bit_count() >= _MIN_TELLING_BITS:
                merged[at] = both, value & both
                break
        else:
            merged.append((mask, value))
    return merged


def _looks(udp: Iterable[Signature]) -> dict[str, int]:
    """Give the kinds that are judged once a flow, and the bit of each."""
    once = (one.name for one in udp if not one.carries_identifiers)
    return dict(zip(once, LOOKS, strict=False))


def _may_begin(signature: Signature, first: int) -> bool:
    mask, value = (number & 0xC0 for number in _fold(signature))
    return first & mask == value


def _chains(name: str, possible: list[Signature], udp: tuple[Signature, ...]) -> Iterator[Chain]:
    """Write the chain of a list of signatures; those that one octet tells apart from most datagrams
    have a chain of their own behind a look at that octet.

    Those that every datagram is judged for come first, so a datagram that is of two kinds is judged
    rather once too often.  One whose kind is judged once a flow asks only while the flow's
    conntrack mark lacks the kind's look; kinds that have no bit left ask always.
    """
    looks = _looks(udp)
    left = _distinct([one for one in possible if one.name not in looks])
    rules = []
    while (octet := _telling_octet(left)) is not None:
        alike = [one for one in left if _tells(one, octet)]
        left = [one for one in left if one not in alike]
        values = sorted({value for one in alike for value in _values(one, octet)})
        text = ", ".join(f"{value:#04x}" for value in values)
        bit = 8 * (_UDP_HEADER_LEN + octet)
        rules.append(f"@th,{bit},8 {{ {text} }} jump {name}_{octet}")
        yield Chain(f"{name}_{octet}", tuple(_rule(one) for one in alike))
    rules += [_rule(one) for one in left]
    for one in possible:
        if look := looks.get(one.name):
            rules.append(f"{has(look, 0, 'ct')} {_rule(one, look)}")
    yield Chain(name, tuple(rules))


def _telling_octet(signatures: list[Signature]) -> int | None:
    """Give the octet that tells most of these from what they are not; None: none tells two."""
    counts = [sum(_tells(one, at) for one in signatures) for at in range(1, _MAX_TELLING)]
    most = max(counts, default=0)
    return counts.index(most) + 1 if most > 1 else None


def _tells(signature: Signature, octet: int) -> bool:
    return len(_values(signature, octet)) <= _FEW


def _values(signature: Signature, octet: int) -> list[int]:
    """Give the values that an octet of a fitting datagram may have."""
    mask, value = (number >> 8 * octet & 0xFF for number in _fold(signature))
    return [one for one in range(256) if one & mask == value]


def _rule(one: Signature, look: int = 0) -> str:
    return f"{match(one.conditions)} {become(JUDGE | CONTENT | look)} goto question"


def _distinct(signatures: list[Signature]) -> list[Signature]:
    """Leave out what another signature of the list says already."""
    widest = _widest([_fold(one) for one in signatures])
    by_fold = {_fold(one): one for one in reversed(signatures)}
    return [by_fold[fold] for fold in widest]


def _widest(folded: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Leave out what another of the list covers."""
    unlike = list(dict.fromkeys(folded))
    return [
        one for one in unlike if not any(_covers(other, one) for other in unlike if other != one)
    ]


def _fold(signature: Signature) -> tuple[int, int]:
    """Give a mask and a value of which bit 0 of the payload is the lowest bits' octet."""
    mask = value = 0
    for condition in signature.conditions:
        shift = 8 * condition.offset
        mask |= int.from_bytes(condition.mask, "little") << shift
        value |= int.from_bytes(condition.value, "little") << shift
    return mask, value


def _covers(wide: tuple[int, int], narrow: tuple[int, int]) -> bool:
    """Say whether all that fits `narrow` fits `wide`."""
    return wide[0] & narrow[0] == wide[0] and narrow[1] & wide[0] == wide[1]


def match(conditions: Conditions, holds: str = "==") -> str:
    """Write conditions as nft's; holds: "!=" for one that shall not hold, of up to eight octets."""
    assert holds == "==" or len(conditions) == 1
    parts = (part for condition in conditions for part in _parts(condition))
    return " ".join(_compare(part, holds) for part in parts)


def _parts(condition: Condition) -> Iterable[Condition]:
    for at in range(0, len(condition.value), _MAX_OCTETS):
        end = at + _MAX_OCTETS
        yield Condition(condition.offset + at, condition.mask[at:end], condition.value[at:end])


def _compare(condition: Condition, holds: str) -> str:
    """Write one comparison.  A datagram that is too short for it does not fit (nft breaks off)."""
    bit = 8 * (_UDP_HEADER_LEN + condition.offset)
    raw = f"@th,{bit},{8 * len(condition.value)}"
    if any(octet != 0xFF for octet in condition.mask):
        raw += f" and 0x{condition.mask.hex()}"
    return f"{raw} {holds} 0x{condition.value.hex()}"
