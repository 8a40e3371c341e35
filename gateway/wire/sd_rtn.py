"""SD-RTN, the vendor's encrypted successor.  Owns: its cleartext handshake datagrams → Content.
Knows: the tags of Google's QUIC crypto (little-endian), SDK 3.4.1 and the public capture of 2022.
Never: ports, policy, the ciphertext: a datagram 01, u24, noise cannot be told from noise."""

from __future__ import annotations

import re

from gateway.errors import WireError
from gateway.model import Content, Protocol, Traffic
from gateway.wire.cursor import Cursor
from gateway.wire.names import host_name

_HELLO, _SERVER_HELLO, _ACK = 0x21, 0x23, 0x02
_ACK_LEN = 12
# 3 and 4 tags were seen in hellos, 3 to 5 in answers; more than this is not a handshake.
_MAX_TAGS = 16
_SERVER_NAME = b"SNI\x00"

_DASHED = re.compile(r"(\d{1,3})-(\d{1,3})-(\d{1,3})-(\d{1,3})(?:\.|$)", re.ASCII)


def recognise(payload: bytes) -> Content | None:
    """Recognise a hello, a server hello or an ack; None for all else, encrypted datagrams too.

    Form:    00, u24 number, 00 00, type, 00, u24 number acknowledged, 00; then, but for the ack,
             u8 count of (tag[4], u16 length, value), which fill the datagram exactly.
    """
    if len(payload) < _ACK_LEN or payload[0] or payload[4:6] != b"\0\0" or payload[7] | payload[11]:
        return None
    kind = payload[6]
    if kind == _ACK:
        return _handshake("ack") if len(payload) == _ACK_LEN else None
    if kind not in (_HELLO, _SERVER_HELLO):
        return None
    try:
        tags = _tags(Cursor(payload, _ACK_LEN))
    except WireError:
        return None
    if kind == _SERVER_HELLO:
        return _handshake("server-hello")
    if payload[8:11] != b"\0\0\0" or _SERVER_NAME not in tags:
        return None
    return _handshake("hello", tags[_SERVER_NAME])


def dashed_address(name: str) -> str | None:
    """Give the IPv4 address in the first label of "23-248-186-179.edge.agora.io", or None.

    A hello's name equals its destination in this way, so the two can be held against each other.
    """
    match = _DASHED.match(name)
    if match is None or any(int(octet) > 255 for octet in match.groups()):
        return None
    return ".".join(str(int(octet)) for octet in match.groups())


def _handshake(message: str, name: bytes = b"") -> Content:
    text = host_name(name)
    # What is no name may be anything, and it is in plaintext.
    plaintext = None if name and text is None else ()
    names = () if text is None else (text,)
    return Content(Protocol.SD_RTN, message, Traffic.SIGNALLING, plaintext, names)


def _tags(cursor: Cursor) -> dict[bytes, bytes]:
    count = cursor.u8()
    if not 1 <= count <= _MAX_TAGS:
        raise WireError("tag count", cursor.at, f"1..{_MAX_TAGS}")
    tags = {}
    for _ in range(count):
        tag = cursor.take(4)
        if not tag[:3].isalnum():
            raise WireError("tag", cursor.at, "letters")
        tags[tag] = cursor.take(cursor.little(2))
    if cursor.left:
        raise WireError("tags", cursor.at, "the end")
    return tags
