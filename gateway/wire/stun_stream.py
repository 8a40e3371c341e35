"""STUN and TURN over TCP.  Owns: the first messages of a stream → Content, and when to wait.
Knows: RFC 8656 section 3.1 (bare messages), 4571 and 6544 (ICE: each behind its length).
Never: ports, policy, what a message holds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from gateway.model import UNKNOWN, Content, Protocol
from gateway.wire.stun import HEADER_LEN, MAGIC_COOKIE, Inside, channel_data, recognise, shifted

# A first segment holds a few; each costs time.
_MAX_MESSAGES = 16
_FRAME_LEN = 2

_Part = tuple[int, Content | None]
"""(where it begins, what it is)."""


def stream(payload: bytes, inside: Inside) -> Content | None:
    """Recognise the messages at the start of a stream, bare (TURN) or framed (ICE).

    Args:    inside: recognises a datagram behind its length, or inside a TURN message.
    Returns: the first one's message and traffic, the identifiers, names and addresses of all; None
             if the first is no STUN.  Plaintext is None where nothing was found and not all could
             be told.
    """
    for start, parts in ((0, _bare), (_FRAME_LEN, _framed)):
        if payload[start + 4 : start + 8] == MAGIC_COOKIE and payload[start] < 0x40:
            return _union(parts(payload, inside))
    return None


def incomplete(payload: bytes) -> bool:
    """Tell whether these first bytes of a TCP stream may be a STUN message that is not whole."""
    return _incomplete(payload, 0) or _incomplete(payload, _FRAME_LEN)


def _bare(payload: bytes, inside: Inside) -> Iterator[_Part]:
    at = 0
    while at < len(payload):
        length = int.from_bytes(payload[at + 2 : at + 4], "big")
        is_channel = payload[at] & 0xF0 == 0x40
        end = at + (4 + (length + 3) // 4 * 4 if is_channel else HEADER_LEN + length)
        message = payload[at:end]
        yield at, channel_data(message, inside) if is_channel else recognise(message, inside)
        at = end


def _framed(payload: bytes, inside: Inside) -> Iterator[_Part]:
    at = 0
    while at < len(payload):
        start = at + _FRAME_LEN
        at = start + int.from_bytes(payload[at:start], "big")
        yield start, inside(payload[start:at])


def _union(parts: Iterator[_Part]) -> Content:
    """Join the parts; the first one is STUN, or it would not be asked."""
    read = list(islice(parts, _MAX_MESSAGES))
    contents = [content or UNKNOWN for _, content in read]
    found = [i for at, one in read if one for i in shifted(one.plaintext, at) or ()]
    is_clear = next(parts, None) is None and all(one.plaintext is not None for one in contents)
    return Content(
        Protocol.STUN,
        contents[0].message,
        contents[0].traffic,
        tuple(found) if found or is_clear else None,
        tuple(dict.fromkeys(name for one in contents for name in one.names)),
        tuple(dict.fromkeys(peer for one in contents for peer in one.addresses)),
    )


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
