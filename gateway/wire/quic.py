"""QUIC.  Owns: one datagram that begins with a long header → Content.
Knows: RFC 8999 (invariants), 9000, 9369 (version 2), 9287 (greased bit), drafts 23..34, gQUIC Q046
and Q050.  Never: ports, policy, decryption, short headers: they prove nothing."""

from __future__ import annotations

from gateway.errors import WireError
from gateway.model import Content, Protocol, Traffic
from gateway.wire.cursor import Cursor

_VERSION_1 = b"\x00\x00\x00\x01"
_VERSION_2 = b"\x6b\x33\x43\xcf"
_DRAFT, _DRAFTS = b"\xff\x00\x00", range(23, 35)
_Q046 = b"Q046"
_LIKE_VERSION_1 = frozenset({_VERSION_1, _Q046, b"Q050", b"T050", b"T051"})
_NEGOTIATION = bytes(4)
# RFC 9000 section 17.2.
_MAX_ID_LEN = 20
# Datagrams carry at least these; a lone long header is not worth a claim.
_MIN_LEN = 21
_TYPES_1 = ("Initial", "0-RTT", "Handshake", "Retry")
_TYPES_2 = ("Retry", "Initial", "0-RTT", "Handshake")


def recognise(payload: bytes) -> Content | None:
    """Recognise a datagram whose first packet has a long header of a known version; else None.

    The fixed bit is not asked for (RFC 9287).  Traffic is other: media is told by its flow.
    """
    if len(payload) < _MIN_LEN or not payload[0] & 0x80:
        return None
    types = _types(payload[1:5])
    if types is None:
        return None
    message = types[payload[0] >> 4 & 3]
    try:
        _check(Cursor(payload, 5), payload[1:5], message)
    except WireError:
        return None
    return Content(Protocol.QUIC, message, Traffic.OTHER, ())


def _types(version: bytes) -> tuple[str, ...] | None:
    if version == _VERSION_2:
        return _TYPES_2
    if version == _NEGOTIATION:
        return ("Version Negotiation",) * 4
    if version in _LIKE_VERSION_1:
        return _TYPES_1
    return _TYPES_1 if version[:3] == _DRAFT and version[3] in _DRAFTS else None


def _check(cursor: Cursor, version: bytes, message: str) -> None:
    """Read on as far as the invariants and the message go.

    Raises:  WireError: ids too long, or lengths that do not fit the datagram.
    """
    if version == _Q046:
        lengths = cursor.u8()  # two nibbles, each 0 or length - 3
        cursor.skip(sum(nibble + 3 for nibble in (lengths >> 4, lengths & 15) if nibble))
        return
    for _ in range(2):
        id_len = cursor.u8()
        if id_len > _MAX_ID_LEN:
            raise WireError("connection id", cursor.at, f"at most {_MAX_ID_LEN} octets")
        cursor.skip(id_len)
    if message == "Version Negotiation":
        if not cursor.left or cursor.left % 4:
            raise WireError("versions", cursor.at, "a list of u32")
        return
    if message == "Initial":
        cursor.skip(_integer(cursor))  # token
    if message != "Retry":
        cursor.skip(_integer(cursor))


def _integer(cursor: Cursor) -> int:
    """Read a variable-length integer (RFC 9000 section 16)."""
    first = cursor.u8()
    length = 1 << (first >> 6)
    return (first & 0x3F) << 8 * (length - 1) | (cursor.big(length - 1) if length > 1 else 0)
