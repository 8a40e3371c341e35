"""Signatures: what a datagram is, told by a few octets in fixed places.  Owns: the table that the
flow table and the kernel rules share, and its fast reading.
Knows: nft's raw payload match (offset, mask, value).  Never: nft's syntax, flows, policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

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
    """True: every such datagram may carry identifiers in plaintext, so each one must be judged.
    False: only its traffic may differ from its flow's first datagram: judge it once a flow."""
    transport: Transport = Transport.UDP


def _octets(offset: int, value: str, mask: str = "") -> Condition:
    octets = bytes.fromhex(value)
    return Condition(offset, bytes.fromhex(mask) if mask else b"\xff" * len(octets), octets)


_AGORA_LENGTH = LengthField(0, little_endian=True, added=0)
_STUN_LENGTH = LengthField(2, little_endian=False, added=20)
_CHANNEL_DATA_LENGTH = LengthField(2, little_endian=False, added=4)
_COOKIE = _octets(4, "2112a442")


def _agora(svc: int, uri: int, message: str) -> Signature:
    tag = svc.to_bytes(2, "little") + uri.to_bytes(2, "little")
    conditions = (Condition(2, b"\xff" * 4, tag),)
    return Signature(f"agora {message}", Protocol.AGORA, message, conditions, _AGORA_LENGTH)


def _stun(name: str, kind: Condition) -> Signature:
    return Signature(f"stun {name}", Protocol.STUN, "", (kind, _COOKIE), _STUN_LENGTH)


SIGNATURES: tuple[Signature, ...] = (
    *(_agora(svc, uri, message.name) for (svc, uri), message in MESSAGES.items()),
    Signature(
        f"agora {_TELEMETRY}",
        Protocol.AGORA,
        _TELEMETRY,
        (_octets(2, "04"), _octets(12, "00000000"), _octets(20, "08")),
        _AGORA_LENGTH,
    ),
    # Frames without a name here: service 0 or 1, uri up to 255; nobody knows what they carry.
    Signature(
        "agora other",
        Protocol.AGORA,
        "",
        (_octets(2, "0000", "feff"), _octets(5, "00")),
        _AGORA_LENGTH,
    ),
    # Method 1 of any class; then the indications that carry media; then whatever else has the
    # cookie (RFC 8489 section 5: the class is bits 4 and 8 of the type).
    _stun("Binding", _octets(0, "0001", "feef")),
    _stun("Send Indication", _octets(0, "0016")),
    _stun("Data Indication", _octets(0, "0017")),
    _stun("other", _octets(0, "00", "c0")),
    Signature(
        "sd-rtn hello",
        Protocol.SD_RTN,
        "hello",
        (_octets(0, "00"), _octets(4, "0000210000000000"), _octets(13, "534e4900")),
        carries_identifiers=False,
    ),
    Signature(
        "dtls",
        Protocol.DTLS,
        "",
        (_octets(0, "14fe", "fcff"),),
        carries_identifiers=False,
    ),
    # Payload types 72..79 with the marker bit: RTP may not use them beside RTCP (RFC 5761).
    Signature("rtcp", Protocol.RTCP, "", (_octets(0, "80c8", "c0f8"),)),
    Signature("rtp", Protocol.RTP, "", (_octets(0, "80", "ee"),), carries_identifiers=False),
    Signature(
        "turn ChannelData",
        Protocol.STUN,
        "ChannelData",
        (_octets(0, "40", "f0"),),
        _CHANNEL_DATA_LENGTH,
        carries_identifiers=False,
    ),
)
"""Read in order: the first that holds is the datagram's.

A signature says "look again", never "this it is": that only the recogniser can say.  Every
datagram in which the recognisers find identifiers in plaintext has one."""


# The beginning of a datagram that any condition looks at.
_HEAD_LEN = max(
    condition.offset + len(condition.value)
    for signature in SIGNATURES
    for condition in signature.conditions
)


class _Compiled(NamedTuple):
    """One signature, its conditions folded into one comparison of the datagram's beginning."""

    number: int
    mask: int
    value: int
    least: int
    """Octets that the datagram must have at least."""
    length: LengthField | None


def _compile(number: int, signature: Signature) -> _Compiled:
    mask, value = bytearray(_HEAD_LEN), bytearray(_HEAD_LEN)
    least = signature.length.offset + 2 if signature.length else 0
    for offset, part_mask, part_value in signature.conditions:
        end = offset + len(part_value)
        mask[offset:end], value[offset:end] = part_mask, part_value
        least = max(least, end)
    folded = int.from_bytes(mask, "big"), int.from_bytes(value, "big")
    return _Compiled(number, *folded, least, signature.length)


def _may_begin_with(signature: Signature, octet: int) -> bool:
    first = signature.conditions[0]
    return first.offset > 0 or octet & first.mask[0] == first.value[0]


# All frames of agora begin with their length.  Most differ in four octets only and are found by
# these; they stand first in the table, so finding them first keeps its order.
_FRAMES = [number for number, s in enumerate(SIGNATURES) if s.length is _AGORA_LENGTH]
_BY_TAG = {
    SIGNATURES[number].conditions[0].value: number
    for number in _FRAMES
    if len(SIGNATURES[number].conditions) == 1
}
_OTHER_FRAMES = tuple(
    _compile(number, SIGNATURES[number]) for number in _FRAMES if number not in _BY_TAG.values()
)
_BY_FIRST_OCTET = tuple(
    tuple(
        _compile(number, signature)
        for number, signature in enumerate(SIGNATURES)
        if number not in _FRAMES and _may_begin_with(signature, octet)
    )
    for octet in range(256)
)


def signature(payload: bytes) -> int | None:
    """Give the index in SIGNATURES of the first one that a UDP datagram fits, None if none."""
    size = len(payload)
    if not size:
        return None
    if size > 5 and payload[0] | payload[1] << 8 == size:
        number = _BY_TAG.get(payload[2:6])
        if number is None:
            number = _first_of(_OTHER_FRAMES, payload)
        if number is not None:
            return number
    candidates = _BY_FIRST_OCTET[payload[0]]
    return _first_of(candidates, payload) if candidates else None


def _first_of(candidates: tuple[_Compiled, ...], payload: bytes) -> int | None:
    size = len(payload)
    octets = payload[:_HEAD_LEN] if size >= _HEAD_LEN else payload.ljust(_HEAD_LEN, b"\0")
    head = int.from_bytes(octets, "big")
    for number, mask, value, least, length in candidates:
        if head & mask == value and size >= least and (not length or _fits(payload, length)):
            return number
    return None


def _fits(payload: bytes, field: LengthField) -> bool:
    first, second = payload[field.offset], payload[field.offset + 1]
    told = first | second << 8 if field.little_endian else first << 8 | second
    return told + field.added == len(payload)
