"""The vendor's plaintext native protocol.  Owns: frames in datagrams and streams → Content.
Knows: u16 length, u16 svc, u16 uri, all little-endian (SDK 3.1.2).  Never: ports, policy, sockets.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.errors import WireError
from gateway.model import Content, Identifier, IdentifierKind, Protocol
from gateway.wire import agora_telemetry
from gateway.wire.agora_messages import HEADER_LEN, MESSAGES, Message

_ZERO = bytes(4)
_SERVICES = (b"\x00\x00", b"\x01\x00")
# A first segment holds a handful of frames; a crafted one could hold thousands of empty ones.
_MAX_FRAMES = 32


def _content(message: Message, plaintext: tuple[Identifier, ...] | None) -> Content:
    return Content(Protocol.AGORA, message.name, message.traffic, plaintext)


def _fixed(message: Message) -> tuple[int, tuple[Content, ...]]:
    """Make the four contents of a message of cid and uid: neither, cid, uid, both are there."""
    at = message.cid_at or 0
    room = Identifier(IdentifierKind.ROOM_ID, at, 4)
    user = Identifier(IdentifierKind.USER_ID, at + 4, 4)
    variants: tuple[tuple[Identifier, ...], ...] = ((), (room,), (user,), (room, user))
    return at, tuple(_content(message, variant) for variant in variants)


def _tag(svc: int, uri: int) -> bytes:
    return svc.to_bytes(2, "little") + uri.to_bytes(2, "little")


_BY_TAG = {_tag(*key): message for key, message in MESSAGES.items()}
# Pings and audio are most of the traffic: their contents are made once, here.
_FIXED = {tag: _fixed(message) for tag, message in _BY_TAG.items() if not message.layout}


def datagram(payload: bytes) -> Content | None:
    """Recognise a UDP datagram: one frame, or one telemetry report, that fills it wholly.

    Returns: None if it is neither.  Of a frame of unknown svc.uri only the form is known: traffic
             and plaintext are then None, and so is the plaintext of a frame that is cut short.
    """
    length = len(payload)
    if length < HEADER_LEN or payload[0] | payload[1] << 8 != length:
        return None
    fixed = _FIXED.get(payload[2:6])
    if fixed is not None:
        at, contents = fixed
        if length >= at + 8:
            has_cid = payload[at : at + 4] != _ZERO
            has_uid = payload[at + 4 : at + 8] != _ZERO
            return contents[has_cid | has_uid << 1]
    return _frame(payload, 0, length) or agora_telemetry.recognise(payload)


def stream(payload: bytes) -> Content | None:
    """Recognise the first bytes of a TCP stream: frames one after another, the last one perhaps
    cut off.

    Returns: the first frame's message and traffic, the identifiers of all (None while one of them
             cannot be read to its end); None if the first frame is none of ours.
    """
    contents = list(_frames(payload))
    if not contents:
        return None
    first = contents[0]
    if any(content.plaintext is None for content in contents):
        plaintext = None
    else:
        plaintext = tuple(found for content in contents for found in content.plaintext or ())
    return Content(Protocol.AGORA, first.message, first.traffic, plaintext)


def incomplete(payload: bytes) -> bool:
    """Tell whether these first bytes of a TCP stream may be frames, the last of them not whole.

    True only for the svc.uri that are known: anything else is not worth waiting for.
    """
    at = 0
    for _ in range(_MAX_FRAMES):
        tag = payload[at + 2 : at + 6]
        if len(tag) < 4:
            return at == 0 and any(known.startswith(tag) for known in _BY_TAG)
        frame_len = payload[at] | payload[at + 1] << 8
        if tag not in _BY_TAG or frame_len < HEADER_LEN:
            return False
        at += frame_len
        if at > len(payload):
            return True
    return False


def _frames(payload: bytes) -> Iterator[Content]:
    at = 0
    for _ in range(_MAX_FRAMES):
        end = at + int.from_bytes(payload[at : at + 2], "little")
        if len(payload) - at < HEADER_LEN or end - at < HEADER_LEN:
            return
        content = _frame(payload, at, min(end, len(payload)))
        # In a stream a length proves nothing unless it ends where the bytes end.
        if content is None or (content.traffic is None and at == 0 and end != len(payload)):
            return
        yield content
        at = end


def _frame(data: bytes, start: int, end: int) -> Content | None:
    """Read one frame, its header checked by the caller but for svc and uri."""
    message = _BY_TAG.get(data[start + 2 : start + 6])
    if message is None:
        return _unnamed(data, start)
    found: list[Identifier] = []
    try:
        if message.cid_at is not None:
            found += _cid_and_uid(data, start + message.cid_at, end)
        if message.layout:
            found += message.layout(data, start, end)
    except WireError:
        return _content(message, None)
    return _content(message, tuple(found))


def _cid_and_uid(data: bytes, at: int, end: int) -> list[Identifier]:
    if at + 8 > end:
        raise WireError("frame ends", end, f"cid and uid at {at}")
    kinds = ((IdentifierKind.ROOM_ID, at), (IdentifierKind.USER_ID, at + 4))
    return [Identifier(kind, place, 4) for kind, place in kinds if data[place : place + 4] != _ZERO]


def _unnamed(data: bytes, start: int) -> Content | None:
    """Claim a frame of unknown uri only where 39 bits fit: its length, svc 0 or 1, uri 1..255."""
    uri = data[start + 4]
    if data[start + 2 : start + 4] not in _SERVICES or data[start + 5] or not uri:
        return None
    return Content(Protocol.AGORA, f"svc{data[start + 2]}/uri{uri}")
