"""QUIC's long headers.  Owns: octets → one packet's version, type, ids and extent.
Knows: RFC 8999 (invariants), 9000 section 17.2, 9369 (version 2), drafts 23..34, gQUIC Q046, Q050,
T050 and T051.  Never: what is encrypted, short headers: they prove nothing."""

from __future__ import annotations

from typing import NamedTuple

from gateway.errors import WireError
from gateway.wire.cursor import Cursor

VERSION_1 = b"\x00\x00\x00\x01"
VERSION_2 = b"\x6b\x33\x43\xcf"
Q046 = b"Q046"
LATE_GOOGLE = frozenset({b"Q050", b"T050", b"T051"})
DRAFT = b"\xff\x00\x00"
_DRAFTS = range(23, 35)
_LIKE_VERSION_1 = frozenset({VERSION_1, Q046, *LATE_GOOGLE})
_NEGOTIATION = bytes(4)
VERSIONS = frozenset(
    {_NEGOTIATION, VERSION_2, *_LIKE_VERSION_1, *(DRAFT + bytes((number,)) for number in _DRAFTS)}
)
"""All that are known, and what stands for one in a Version Negotiation."""
# RFC 9000 section 17.2.
_MAX_ID_LEN = 20
_TYPES_1 = ("Initial", "0-RTT", "Handshake", "Retry")
_TYPES_2 = ("Retry", "Initial", "0-RTT", "Handshake")


class LongHeader(NamedTuple):
    """One packet, as far as its header tells."""

    version: bytes
    message: str
    """Its type."""
    destination_id: bytes
    start: int
    """Offset of its first octet."""
    number_at: int
    """Offset of its packet number; in Retry and Version Negotiation, of what is there instead."""
    end: int


def read(payload: bytes, start: int = 0) -> LongHeader | None:
    """Read a packet's long header of a known version; None if it is none.

    The fixed bit is not asked for (RFC 9287).
    """
    if len(payload) - start < 7 or not payload[start] & 0x80:
        return None
    version = payload[start + 1 : start + 5]
    if version not in VERSIONS:
        return None
    message = _types(version)[payload[start] >> 4 & 3]
    cursor = Cursor(payload, start + 5)
    try:
        if version == Q046:
            return _of_q046(cursor, start, message)
        return _invariant(cursor, start, version, message)
    except WireError:
        return None


def integer(cursor: Cursor) -> int:
    """Read a variable-length integer (RFC 9000 section 16).

    Raises:  WireError: cut short.
    """
    first = cursor.u8()
    length = 1 << (first >> 6)
    return (first & 0x3F) << 8 * (length - 1) | (cursor.big(length - 1) if length > 1 else 0)


def _types(version: bytes) -> tuple[str, ...]:
    if version == _NEGOTIATION:
        return ("Version Negotiation",) * 4
    return _TYPES_2 if version == VERSION_2 else _TYPES_1


def _of_q046(cursor: Cursor, start: int, message: str) -> LongHeader:
    lengths = cursor.u8()  # two nibbles, each 0 or length - 3
    ids = [cursor.take(nibble + 3 if nibble else 0) for nibble in (lengths >> 4, lengths & 15)]
    return LongHeader(Q046, message, ids[0], start, cursor.at, cursor.end)


def _invariant(cursor: Cursor, start: int, version: bytes, message: str) -> LongHeader:
    """Read on as far as the invariants and the message go.

    Raises:  WireError: ids too long, or lengths that do not fit the datagram.
    """
    ids = []
    for _ in range(2):
        id_len = cursor.u8()
        if id_len > _MAX_ID_LEN:
            raise WireError("connection id", cursor.at, f"at most {_MAX_ID_LEN} octets")
        ids.append(cursor.take(id_len))
    end = cursor.end
    if message == "Version Negotiation":
        if not cursor.left or cursor.left % 4:
            raise WireError("versions", cursor.at, "a list of u32")
    elif message != "Retry":
        if message == "Initial":
            cursor.skip(integer(cursor))  # token
        length = integer(cursor)
        end = cursor.skip(length) + length
        cursor.at -= length
    return LongHeader(version, message, ids[0], start, cursor.at, end)
