"""Signatures: what a datagram is, told by a few octets in fixed places.  Owns: the table that the
flow table and the kernel rules share, and its fast reading.
Knows: nft's raw payload match (offset, mask, value).  Never: nft's syntax, flows, policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from gateway.model import Protocol, Transport
from gateway.wire.agora_messages import MESSAGES
from gateway.wire.agora_telemetry import MESSAGE as _TELEMETRY


class Condition(NamedTuple):
    """Octets at `offset` of the payload, and'ed with `mask`, equal `value`: all one length."""

    offset: int
    mask: bytes
    value: bytes


class LengthField(NamedTuple):
    """The u16 at `offset`, plus `added`, is the datagram's payload length."""

    offset: int
    little_endian: bool
    added: int


@dataclass(frozen=True, slots=True)
class Signature:
    """How one kind of datagram begins."""

    name: str
    """What people call it; unique in the table."""
    protocol: Protocol
    message: str
    """As Content.message says it; "" where the signature covers several."""
    conditions: tuple[Condition, ...]
    """All must hold; ascending, apart, within the first 32 octets."""
    length: LengthField | None = None
    """A kernel that cannot compare a field with the length leaves it out, and asks a little more
    than it must; None: no such field."""
    carries_identifiers: bool = True
    """True: every such datagram may carry identifiers in plaintext, or names or addresses of its
    own, so each one must be judged.
    False: only its traffic may differ from its flow's first datagram: judge it once a flow."""
    transport: Transport = Transport.UDP


def _octets(offset: int, value: str, mask: str = "") -> Condition:
    octets = bytes.fromhex(value)
    return Condition(offset, bytes.fromhex(mask) if mask else b"\xff" * len(octets), octets)


_AGORA_LENGTH = LengthField(0, little_endian=True, added=0)
# TURN's channels 4000..4FFF, less than 2 KiB of data: QUIC's short headers begin like them too.
_CHANNEL = _octets(0, "400000", "f000f8")


def _agora(svc: int, uri: int, message: str) -> Signature:
    tag = svc.to_bytes(2, "little") + uri.to_bytes(2, "little")
    return Signature(f"agora {message}", Protocol.AGORA, message, (Condition(2, b"\xff" * 4, tag),))


def _quic(name: str, version: str, mask: str = "ffffffff") -> Signature:
    conditions = (_octets(0, f"80{version}", f"80{mask}"),)
    return Signature(f"quic {name}", Protocol.QUIC, "", conditions)


def _channel_data(name: str, *inner: Condition, carries_identifiers: bool = True) -> Signature:
    return Signature(
        f"turn ChannelData {name}",
        Protocol.STUN,
        "ChannelData",
        (_CHANNEL, *inner),
        carries_identifiers=carries_identifiers,
    )


SIGNATURES: tuple[Signature, ...] = (
    *(_agora(svc, uri, message.name) for (svc, uri), message in MESSAGES.items()),
    Signature(
        f"agora {_TELEMETRY}",
        Protocol.AGORA,
        _TELEMETRY,
        (_octets(2, "04"), _octets(12, "00000000")),
    ),
    # Frames without a name here: service 0 or 1, uri up to 255; nobody knows what they carry.
    Signature(
        "agora other",
        Protocol.AGORA,
        "",
        (_octets(2, "0000", "feff"), _octets(5, "00")),
    ),
    Signature(
        "agora beyond",
        Protocol.AGORA,
        "",
        (_octets(2, "0000", "f8ff"), _octets(5, "00", "fc")),
        _AGORA_LENGTH,
    ),
    # RFC 8489 section 5: two zero bits, and the cookie.
    Signature("stun", Protocol.STUN, "", (_octets(0, "00", "c0"), _octets(4, "2112a442"))),
    Signature(
        "sd-rtn hello",
        Protocol.SD_RTN,
        "hello",
        (_octets(0, "00"), _octets(4, "0000210000000000")),
    ),
    # A standard query of less than sixteen questions: clients put several names to one resolver.
    Signature(
        "dns query",
        Protocol.DNS,
        "query",
        (_octets(2, "00000000000000000000", "f8cffff0fff0fff0fff0"),),
    ),
    _quic("v1", "00000001"),
    _quic("v2", "6b3343cf"),
    _quic("drafts", "ff000000", "ffffffc0"),
    # Q046, Q050, T050, T051.
    _quic("of Google", "50303430", "f8fffef8"),
    Signature(
        "dtls ClientHello",
        Protocol.DTLS,
        "ClientHello",
        (_octets(0, "16"), _octets(3, "0000"), _octets(13, "01")),
    ),
    Signature("dtls", Protocol.DTLS, "", (_octets(0, "14fe", "fcff"),), carries_identifiers=False),
    # Payload types 72..79 with the marker bit: RTP may not use them beside RTCP (RFC 5761).
    Signature("rtcp", Protocol.RTCP, "", (_octets(0, "80c8", "c0f8"),)),
    Signature("rtp", Protocol.RTP, "", (_octets(0, "80", "ee"),), carries_identifiers=False),
    # What a relay passes on is mostly RTP, which is looked at once; all else is looked at always.
    # Frames and reports of the vendor that begin like RTP have an octet 2 below 8.
    _channel_data("agora", _octets(6, "00", "f8")),
    _channel_data("00", _octets(4, "00", "c0")),
    _channel_data("40 or c0", _octets(4, "40", "40")),
    _channel_data("rtcp", _octets(4, "80c8", "c0f8")),
    _channel_data("rtp", _octets(4, "80", "c0"), carries_identifiers=False),
    # Three capitals, then ASCII: all start lines, and one of 2^14 noises.
    Signature("sip", Protocol.SIP, "", (_octets(0, "4040400000000000", "e0e0e08080808080"),)),
)
"""Read in order: the first that holds is the datagram's.

A signature says "look again", never "this it is": that only the recogniser can say.  Every
datagram in which the recognisers find identifiers in plaintext has one."""


# Frames with a name are most of the traffic where there are any.  They stand first in the table, so
# finding them first keeps its order.
_BY_TAG = {one.conditions[0].value: at for at, one in enumerate(SIGNATURES[: len(MESSAGES)])}

# The others are told apart by their first octets, a bit each, the first in the table lowest.
_NUMBERED = tuple(enumerate(SIGNATURES))[len(MESSAGES) :]
# Three octets tell ciphertext and RTP from all else, six most of the rest.
_FEW, _SOME = 3, 6


class _Rest(NamedTuple):
    """What is left to compare of a signature when the first six octets fit.

    Octets that are missing compare unequal, but for those that a mask leaves out: `least` asks
    for them.
    """

    number: int
    exact: tuple[tuple[slice, bytes], ...]
    masked: tuple[tuple[slice, int, int], ...]
    least: int
    """Octets that the datagram must have at least."""
    length: LengthField | None


def _rest(number: int, one: Signature) -> _Rest:
    exact, masked = [], []
    for offset, mask, value in one.conditions:
        cut = max(_SOME - offset, 0)
        place, bits, rest = slice(offset + cut, offset + len(mask)), mask[cut:], value[cut:]
        if bits and bits == b"\xff" * len(bits):
            exact.append((place, rest))
        elif bits:
            masked.append((place, int.from_bytes(bits, "big"), int.from_bytes(rest, "big")))
    last = one.conditions[-1]
    least = last.offset + len(last.value)
    return _Rest(number, tuple(exact), tuple(masked), least, one.length)


def _allowed(place: int, octet: int) -> int:
    """Give the signatures that allow an octet in a place, a bit each."""
    bits = 0
    for bit, (_, one) in enumerate(_NUMBERED):
        fits = all(
            octet & mask[place - offset] == value[place - offset]
            for offset, mask, value in one.conditions
            if 0 <= place - offset < len(value)
        )
        bits |= fits << bit
    return bits


_RESTS = {1 << bit: _rest(number, one) for bit, (number, one) in enumerate(_NUMBERED)}
_DECIDED_BY_FEW = {
    bit: rest.number for bit, rest in _RESTS.items() if rest.least <= _FEW and not rest.length
}
_FIRST, _SECOND, _THIRD, _FOURTH, _FIFTH, _SIXTH = (
    tuple(_allowed(place, octet) for octet in range(256)) for place in range(_SOME)
)


def signature(payload: bytes) -> int | None:
    """Give the index in SIGNATURES of the first one that a UDP datagram fits, None if none."""
    number = _BY_TAG.get(payload[2:6])
    if number is not None:
        return number
    if len(payload) < _SOME:
        return _of_short(payload)
    bits = _FIRST[payload[0]] & _THIRD[payload[2]]
    if not bits:
        return None
    bits &= _SECOND[payload[1]]
    number = _DECIDED_BY_FEW.get(bits)
    if number is not None:
        return number
    bits &= _FOURTH[payload[3]] & _FIFTH[payload[4]] & _SIXTH[payload[5]]
    while bits:
        lowest = bits & -bits
        number, exact, masked, least, length = _RESTS[lowest]
        for place, value in exact:
            if payload[place] != value:
                break
        else:
            if not (masked or length) or _fits(payload, masked, least, length):
                return number
        bits ^= lowest
    return None


def _fits(
    payload: bytes,
    masked: tuple[tuple[slice, int, int], ...],
    least: int,
    length: LengthField | None,
) -> bool:
    if len(payload) < least or (length and not _tells(payload, length)):
        return False
    return all(
        int.from_bytes(payload[place], "big") & mask == value for place, mask, value in masked
    )


def _tells(payload: bytes, field: LengthField) -> bool:
    order: Literal["little", "big"] = "little" if field.little_endian else "big"
    told = int.from_bytes(payload[field.offset : field.offset + 2], order)
    return told + field.added == len(payload)


def _of_short(payload: bytes) -> int | None:
    """Read the table word for word; those with a length ask for six octets, so they cannot fit."""
    for number, one in enumerate(SIGNATURES):
        last = one.conditions[-1]
        if len(payload) >= last.offset + len(last.value) and all(
            octet & bits == want
            for offset, mask, value in one.conditions
            for octet, bits, want in zip(payload[offset:], mask, value, strict=False)
        ):
            return number
    return None
