"""The vendor's plaintext native protocol.  Owns: frames in datagrams and streams → Content.
Knows: u16 length, u16 svc, u16 uri, all little-endian (SDK 3.1.2).  Never: ports, policy, sockets.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import WireError
from gateway.model import Content, Form, Identifier, IdentifierKind, Protocol
from gateway.wire import agora_telemetry
from gateway.wire.agora_messages import HEADER_LEN, MESSAGES, Message, identifier

_ZERO = bytes(4)
_SERVICES = (b"\x00\x00", b"\x01\x00")
# A first segment holds a handful of frames; a crafted one could hold thousands of empty ones.
_MAX_FRAMES = 32
# Where frames are told one by one: as many as 16 KiB hold of usual ones.
_MAX_STREAM_FRAMES = 1_024
# A stream is not held longer than this (16 KiB), so a longer frame is not waited for.
_MAX_FRAME_LEN = 16 * 1024
# Frames of other versions: a few bits more than those that were met, so that with the length 35
# bits must fit.
_MAX_SVC, _MAX_URI = 7, 1023
# A length that is off by no more than this is a mistake, or a trick, and no accident: 34 bits fit.
_MAX_LENGTH_ERROR = 16


def _content(message: Message, plaintext: tuple[Identifier, ...] | None) -> Content:
    return Content(Protocol.AGORA, message.name, message.traffic, plaintext)


def _fixed(message: Message) -> tuple[int, tuple[Content, ...]]:
    """Make the four contents of a message of cid and uid: neither, cid, uid, both are there."""
    at = message.cid_at or 0
    room = Identifier(IdentifierKind.ROOM_ID, at, 4, Form.U32)
    user = Identifier(IdentifierKind.USER_ID, at + 4, 4, Form.U32)
    variants: tuple[tuple[Identifier, ...], ...] = ((), (room,), (user,), (room, user))
    return at, tuple(_content(message, variant) for variant in variants)


def _tag(svc: int, uri: int) -> bytes:
    return svc.to_bytes(2, "little") + uri.to_bytes(2, "little")


_BY_TAG = {_tag(*key): message for key, message in MESSAGES.items()}
# Pings and audio are most of the traffic: their contents are made once, here.
FIXED = {tag: _fixed(message) for tag, message in _BY_TAG.items() if not message.layout}


def datagram(payload: bytes) -> Content | None:
    """Recognise a UDP datagram: one frame that fills it, several, or one telemetry report.

    Returns: None if it is neither.  Of a frame of unknown svc.uri only the form is known: traffic
             and plaintext are then None, and so they are where a known svc.uri stands in its place
             and the frames do not end with the datagram.
    """
    length = len(payload)
    tag = payload[2:6]
    is_filled = length >= HEADER_LEN and payload[0] | payload[1] << 8 == length
    fixed = FIXED.get(tag)
    if fixed is not None and is_filled:
        at, contents = fixed
        if length >= at + 8:
            has_cid = payload[at : at + 4] != _ZERO
            has_uid = payload[at + 4 : at + 8] != _ZERO
            return contents[has_cid | has_uid << 1]
    if is_filled and (content := _frame(payload, 0, length)) is not None:
        return content
    if tag in _BY_TAG:
        chain = _chain(payload)
        return chain.content() if chain.is_clear else _doubtful(_BY_TAG[tag].name)
    return agora_telemetry.recognise(payload)


def resembles(payload: bytes) -> Content | None:
    """Recognise what nobody else knows and what looks like frames of a kind not met yet.

    Asked for: a frame of unknown svc.uri with others behind it, or whose length is off by a few
    octets; or one of a higher svc or uri that fills the datagram.  Traffic and plaintext are None.
    """
    if len(payload) < HEADER_LEN:
        return None
    svc, uri = payload[2], payload[4] | payload[5] << 8
    told = payload[0] | payload[1] << 8
    if payload[3] or svc > _MAX_SVC or not 0 < uri <= _MAX_URI:
        return None
    is_usual = _is_unnamed(payload[2:6])
    if told == len(payload) or (is_usual and abs(told - len(payload)) <= _MAX_LENGTH_ERROR):
        return _doubtful(f"svc{svc}/uri{uri}")
    chain = _chain(payload)
    return chain.content() if chain.is_convincing else None


def stream(payload: bytes) -> Content | None:
    """Recognise the first bytes of a TCP stream: frames one after another, the last one perhaps
    cut off.

    Returns: the first frame's message, the identifiers of all (None while one of them cannot be
             read to its end); None if the first frame is none of ours.
    """
    chain = _chain(payload)
    if chain.contents and chain.is_convincing:
        return chain.content()
    return None


def frames(payload: bytes) -> tuple[Content, ...]:
    """Tell the frames at the start of a stream one by one, offsets from its start; the last one
    may be cut off."""
    return tuple(_chain(payload, _MAX_STREAM_FRAMES).contents)


def incomplete(payload: bytes) -> bool:
    """Tell whether these first bytes of a TCP stream may be frames, the last of them not whole."""
    at = 0
    for _ in range(_MAX_FRAMES):
        header = payload[at : at + HEADER_LEN]
        if len(header) < HEADER_LEN:
            return (bool(header) or not at) and _may_begin(header)
        if not _may_begin(header):
            return False
        at += header[0] | header[1] << 8
        if at > len(payload):
            return True
    return False


@dataclass(slots=True)
class _Chain:
    """Frames one after another, as far as they could be followed."""

    contents: list[Content]
    is_convincing: bool
    """Whether they are surely ours: one has a known tag, or the last ends with the bytes."""
    is_clear: bool
    """Whether nothing is left over, and every frame was read to its end."""

    def content(self) -> Content:
        """Join the frames: the first one's message, the traffic if they agree, all identifiers."""
        found = tuple(one for content in self.contents for one in content.plaintext or ())
        traffics = {content.traffic for content in self.contents}
        traffic = traffics.pop() if len(traffics) == 1 else None
        plaintext = found if self.is_clear else None
        return Content(Protocol.AGORA, self.contents[0].message, traffic, plaintext)


def _chain(payload: bytes, most: int = _MAX_FRAMES) -> _Chain:
    contents: list[Content] = []
    at, size, is_named = 0, len(payload), False
    while size - at >= HEADER_LEN and len(contents) < most:
        end = at + (payload[at] | payload[at + 1] << 8)
        content = _frame(payload, at, min(end, size))
        if end - at < HEADER_LEN or content is None:
            break
        contents.append(content)
        is_named |= payload[at + 2 : at + 6] in _BY_TAG
        at = end
    is_clear = at == size and all(content.plaintext is not None for content in contents)
    return _Chain(contents, is_named or at == size, is_clear)


def _may_begin(header: bytes) -> bool:
    """Tell whether up to six octets are, or may become, a frame's header that is worth waiting
    for: of a known svc, an uri of one octet, and a length that can be held."""
    if len(header) >= 2 and not HEADER_LEN <= header[0] | header[1] << 8 <= _MAX_FRAME_LEN:
        return False
    tag = header[2:6]
    return _is_unnamed(tag + b"\0\0\1\0"[len(tag) :])


def _frame(data: bytes, start: int, end: int) -> Content | None:
    """Read one frame, its length checked by the caller."""
    tag = data[start + 2 : start + 6]
    message = _BY_TAG.get(tag)
    if message is None:
        # 39 bits fit with the length: svc 0 or 1, uri 1..255.
        return _doubtful(f"svc{tag[0]}/uri{tag[2]}") if _is_unnamed(tag) else None
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
    return [
        identifier(kind, place, 4, Form.U32)
        for kind, place in kinds
        if data[place : place + 4] != _ZERO
    ]


def _is_unnamed(tag: bytes) -> bool:
    return tag[:2] in _SERVICES and tag[2] > 0 and not tag[3]


def _doubtful(message: str) -> Content:
    """Make the content of what is surely a frame and cannot be read."""
    return Content(Protocol.AGORA, message)
