"""STUN and TURN.  Owns: one message, or one ChannelData, → Content.
Knows: RFC 8489, 8656, 6062 (TURN over TCP), 8445 (ICE), 4571 (its framing in streams).
Never: ports, policy, the addresses that a server tells: those are the public ones."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.errors import WireError
from gateway.model import Content, Identifier, IdentifierKind, Protocol, Traffic
from gateway.wire.cursor import Cursor

HEADER_LEN = 20
MAGIC_COOKIE = b"\x21\x12\xa4\x42"
# RFC 8489 section 5: two zero bits, then method and class interleaved.
_CLASS_BITS = 0x0110
_CLASSES = {
    0x0000: "Request",
    0x0010: "Indication",
    0x0100: "Success Response",
    0x0110: "Error Response",
}
_METHODS = {
    0x001: ("Binding", Traffic.PING),
    0x003: ("Allocate", Traffic.SIGNALLING),
    0x004: ("Refresh", Traffic.SIGNALLING),
    0x006: ("Send", Traffic.MEDIA),
    0x007: ("Data", Traffic.MEDIA),
    0x008: ("CreatePermission", Traffic.SIGNALLING),
    0x009: ("ChannelBind", Traffic.SIGNALLING),
    0x00A: ("Connect", Traffic.SIGNALLING),
    0x00B: ("ConnectionBind", Traffic.SIGNALLING),
    0x00C: ("ConnectionAttempt", Traffic.SIGNALLING),
}
_USERNAME = 0x0006
_CHANNEL_DATA = Content(Protocol.STUN, "ChannelData", Traffic.MEDIA, ())


def recognise(payload: bytes) -> Content | None:
    """Recognise a STUN message that fills a datagram exactly; None if it is none.

    Methods that no RFC of the card names (some apps have their own) give traffic None.
    """
    if len(payload) < HEADER_LEN or payload[4:8] != MAGIC_COOKIE or payload[0] > 0x3F:
        return None
    if int.from_bytes(payload[2:4], "big") != len(payload) - HEADER_LEN:
        return None
    kind = payload[0] << 8 | payload[1]
    method, traffic = _METHODS.get(
        kind & ~_CLASS_BITS, (f"Method {kind & ~_CLASS_BITS:#06x}", None)
    )
    try:
        plaintext = tuple(_identifiers(Cursor(payload, HEADER_LEN)))
    except WireError:
        return None
    message = f"{method} {_CLASSES[kind & _CLASS_BITS]}"
    return Content(Protocol.STUN, message, traffic, plaintext)


def channel_data(payload: bytes) -> Content | None:
    """Recognise TURN ChannelData (RFC 8656 section 12.4): channel 4000..4FFF, exact length, or
    padded to four octets; None if it is none.
    """
    if len(payload) < 4 or payload[0] & 0xF0 != 0x40:
        return None
    data_len = int.from_bytes(payload[2:4], "big")
    if len(payload) - 4 not in (data_len, (data_len + 3) // 4 * 4):
        return None
    return _CHANNEL_DATA


def stream(payload: bytes) -> Content | None:
    """Recognise the first message of a TCP stream, bare (TURN) or framed (ICE, RFC 4571)."""
    for start in (0, 2):
        end = start + HEADER_LEN + int.from_bytes(payload[start + 2 : start + 4], "big")
        if start and int.from_bytes(payload[:2], "big") != end - start:
            break
        content = recognise(payload[start:end])
        if content is not None:
            return _shifted(content, start)
    return None


def incomplete(payload: bytes) -> bool:
    """Tell whether these first bytes of a TCP stream may be a STUN message that is not whole."""
    return _incomplete(payload, 0) or _incomplete(payload, 2)


def _incomplete(payload: bytes, start: int) -> bool:
    header = payload[start : start + 8]
    if header[:1] > b"\x3f" or not MAGIC_COOKIE.startswith(header[4:]):
        return False
    framed_len = int.from_bytes(payload[:2], "big")
    if len(header) < 4:
        return start == 0 or (framed_len >= HEADER_LEN and framed_len % 4 == 0)
    message_len = HEADER_LEN + int.from_bytes(header[2:4], "big")
    if message_len % 4 or (start and framed_len != message_len):
        return False
    return len(payload) < start + message_len


def _shifted(content: Content, start: int) -> Content:
    found = tuple(Identifier(i.kind, i.offset + start, i.length) for i in content.plaintext or ())
    return Content(content.protocol, content.message, content.traffic, found)


def _identifiers(cursor: Cursor) -> Iterator[Identifier]:
    """Walk the attributes: type, length, value, padding to four octets (RFC 8489 section 14)."""
    while cursor.left:
        kind, length = cursor.big(2), cursor.big(2)
        at = cursor.skip(length)
        if kind == _USERNAME and length:
            yield Identifier(IdentifierKind.ACCOUNT, at, length)
        # The last attribute of some clients lacks its padding.
        cursor.skip(min(-length % 4, cursor.left))
