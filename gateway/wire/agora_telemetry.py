"""Quality reports of the vendor's SDK 3.1.2 to report-*.  Owns: one report datagram → Content.
Knows: protobuf's wire format, the fields as captured, the JSON inside.  Never: ports, policy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from gateway.errors import WireError
from gateway.model import Content, Form, Identifier, IdentifierKind, Protocol, Traffic
from gateway.wire.agora_messages import identifier

MESSAGE = "report-edge"
# u16 length, u8 4, u8 kind, u32 sequence, u32 seconds since 1970, u32 0, u32 cid; then protobuf.
_HEADER_LEN = 20
_CID_AT = 16
_VERSION = 4
_ZERO = bytes(4)
# A length that is off by no more than this is a mistake, or a trick, and no accident: 51 bits fit.
_MAX_LENGTH_ERROR = 16
_DOUBTFUL = Content(Protocol.AGORA, MESSAGE)

# Wire types of protobuf.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Ten octets hold 64 bits.
_MAX_VARINT_LEN = 10

_APP_ID = IdentifierKind.APP_ID
_DEVICE = IdentifierKind.DEVICE_ID
_ROOM = IdentifierKind.ROOM_ID
_SESSION = IdentifierKind.SESSION_ID
_USER = IdentifierKind.USER_ID

Fields = Mapping[tuple[int, int], IdentifierKind]
"""(field number, wire type) → what it holds."""

_COMMON: Fields = {
    (1, _BYTES): _SESSION,
    (2, _BYTES): _ROOM,
    (3, _VARINT): _ROOM,
    (6, _VARINT): _USER,
}
_UID_FIFTH: Fields = {
    (1, _BYTES): _SESSION,
    (2, _BYTES): _ROOM,
    (3, _VARINT): _ROOM,
    (5, _VARINT): _USER,
}
_REPORTS: Mapping[int, Fields] = {
    3: {
        **_COMMON,
        (10, _BYTES): _APP_ID,
        (20, _BYTES): _DEVICE,
        (24, _BYTES): _SESSION,
        (29, _BYTES): _SESSION,
        (35, _BYTES): _DEVICE,
        (41, _BYTES): _SESSION,
        (45, _BYTES): _DEVICE,
    },
    133: {**_COMMON, (12, _BYTES): _DEVICE},
    194: _UID_FIFTH,
    264: _UID_FIFTH,
    343: _UID_FIFTH,
    406: {(2, _BYTES): _SESSION, (3, _BYTES): _ROOM, (5, _VARINT): _USER},
    502: {
        (2, _BYTES): _SESSION,
        (4, _BYTES): _DEVICE,
        (5, _BYTES): _DEVICE,
        (11, _BYTES): _APP_ID,
        (12, _BYTES): _SESSION,
    },
}
"""Report number → its fields; the reports that are not here follow _COMMON."""

_JSON = re.compile(
    rb'"(?P<key>uid|rtc\.api\.join_channel|channel|channelName|token|appId)"\s*:\s*'
    rb'(?:"(?P<text>[^"]+)"|(?P<number>-?\d+))'
)
_JSON_KEYS = {
    b"uid": _USER,
    b"rtc.api.join_channel": _ROOM,
    b"channel": _ROOM,
    b"channelName": _ROOM,
    b"token": IdentifierKind.TOKEN,
    b"appId": _APP_ID,
}


def recognise(payload: bytes) -> Content | None:
    """Recognise a report datagram by its header; None if it is none.

    Returns: traffic and plaintext None if its length is off by a few octets, or its protobuf has
             another form than {1: report number, 2: report}: it may carry anything.
    """
    if len(payload) <= _HEADER_LEN or payload[2] != _VERSION or payload[12:16] != _ZERO:
        return None
    error = abs((payload[0] | payload[1] << 8) - len(payload))
    if error:
        return _DOUBTFUL if error <= _MAX_LENGTH_ERROR else None
    try:
        found = _identifiers(payload)
    except (WireError, IndexError):
        return _DOUBTFUL
    if b'{"' in payload:
        found = sorted(found + _in_json(payload), key=lambda identifier: identifier.offset)
    return Content(Protocol.AGORA, MESSAGE, Traffic.TELEMETRY, tuple(found))


def _identifiers(payload: bytes) -> list[Identifier]:
    if payload[_HEADER_LEN] != 1 << 3 | _VARINT:
        raise WireError("report", _HEADER_LEN, "field 1, a number")
    number, at = _varint(payload, _HEADER_LEN + 1)
    if payload[at] != 2 << 3 | _BYTES:
        raise WireError("report", at, "field 2, a message")
    report_len, at = _varint(payload, at + 1)
    if at + report_len != len(payload):
        raise WireError("report", at, "one that ends with the datagram")
    found = list(_report(payload, at, _REPORTS.get(number, _COMMON)))
    if payload[_CID_AT:_HEADER_LEN] != _ZERO:
        found.insert(0, identifier(_ROOM, _CID_AT, 4, Form.U32))
    return found


def _report(payload: bytes, at: int, fields: Fields) -> Iterator[Identifier]:
    """Walk the fields; a number that is 0 and a string that is empty identify nobody."""
    size = len(payload)
    while at < size:
        key = payload[at]
        if key < 128:  # as most are: a call for each octet would take as long as all the rest
            at += 1
        else:
            key, at = _varint(payload, at)
        wire_type, start = key & 7, at
        if wire_type == _VARINT:
            value, at = _varint(payload, at)
        elif wire_type == _BYTES:
            value, start = _varint(payload, at)
            at = start + value
        elif wire_type in (_FIXED32, _FIXED64):
            value, at = 0, at + (4 if wire_type == _FIXED32 else 8)
        else:
            raise WireError("wire type", at, "0, 1, 2 or 5")
        if at > size:
            raise WireError("field", start, "one that ends with the datagram")
        if value and (key >> 3, wire_type) in fields:
            form = Form.VARINT if wire_type == _VARINT else Form.TEXT
            yield identifier(fields[key >> 3, wire_type], start, at - start, form)


def _in_json(payload: bytes) -> list[Identifier]:
    found = []
    for match in _JSON.finditer(payload, _HEADER_LEN):
        value = "text" if match["text"] else "number"
        if match[value] != b"0":
            start, end = match.span(value)
            form = Form.TEXT if match["text"] else Form.DIGITS
            found.append(identifier(_JSON_KEYS[match["key"]], start, end - start, form))
    return found


def _varint(payload: bytes, at: int) -> tuple[int, int]:
    """Read a number; returns it and the offset behind it."""
    octet = payload[at]
    if octet < 128:
        return octet, at + 1
    value = octet & 127
    for shift in range(7, 7 * _MAX_VARINT_LEN, 7):
        at += 1
        octet = payload[at]
        value |= (octet & 127) << shift
        if octet < 128:
            return value, at + 1
    raise WireError("number", at, "at most 10 octets")
