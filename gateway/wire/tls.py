"""TLS.  Owns: the first records of a stream → Content, with the server name of a ClientHello.
Knows: RFC 8446 (records, ClientHello), 6066 (server_name).  Never: ports, policy, decryption."""

from __future__ import annotations

from gateway.errors import WireError
from gateway.model import Content, Protocol, Traffic
from gateway.wire.cursor import Cursor

_HEADER_LEN = 5
_HANDSHAKE = 22
_RECORDS = {20: "ChangeCipherSpec", 21: "Alert", 23: "ApplicationData"}
_CLIENT_HELLO = 1
_HANDSHAKES = {2: "ServerHello", 11: "Certificate"}
# RFC 8446 section 5.2, and RFC 5246 section 6.2.3 which allows more: 2^14 + 2048.
_MAX_RECORD_LEN = 18432
_SERVER_NAME = 0
_HOST_NAME = 0


def recognise(payload: bytes) -> Content | None:
    """Recognise the first bytes of a TLS stream.

    Returns: None if they are none, or a ClientHello that is not whole: `incomplete` tells them
             apart.  A name in plaintext is no identifier of a user, so plaintext is ().
    """
    if not _is_record(payload) or len(payload) < _HEADER_LEN + 1:
        return None
    if payload[0] != _HANDSHAKE:
        return _content(_RECORDS[payload[0]])
    handshake = _handshake_octets(payload)
    if handshake[:1] != bytes((_CLIENT_HELLO,)):
        return _content(_HANDSHAKES.get(payload[_HEADER_LEN], "Handshake"))
    try:
        cursor = Cursor(handshake, 1)
        return _content("ClientHello", server_names(cursor.part(cursor.big(3))))
    except WireError:
        return None


def incomplete(payload: bytes) -> bool:
    """Tell whether these first bytes may be a ClientHello that is not whole yet."""
    header = payload[:_HEADER_LEN]
    if header[:1] not in (b"", b"\x16") or header[1:2] not in (b"", b"\x03"):
        return False
    if len(payload) < _HEADER_LEN + 1:
        return len(header) < _HEADER_LEN or _is_record(payload)
    handshake = _handshake_octets(payload)
    if not _is_record(payload) or handshake[:1] not in (b"", bytes((_CLIENT_HELLO,))):
        return False
    if _ends_in_other_record(payload):
        return False
    return len(handshake) < 4 or len(handshake) < 4 + int.from_bytes(handshake[1:4], "big")


def server_names(hello: Cursor, *, cookie: bool = False) -> tuple[str, ...]:
    """Read the names in a ClientHello's body.

    Args:    cookie: DTLS has one more field, behind the session id (RFC 6347 section 4.2.1).
    Raises:  WireError: not a ClientHello.
    """
    hello.skip(2 + 32)  # version, random
    hello.skip(hello.u8())  # session id
    if cookie:
        hello.skip(hello.u8())
    hello.skip(hello.big(2))  # cipher suites
    hello.skip(hello.u8())  # compression methods
    if not hello.left:
        return ()
    extensions = hello.part(hello.big(2))
    names: tuple[str, ...] = ()
    while extensions.left:
        kind = extensions.big(2)
        extension = extensions.part(extensions.big(2))
        if kind == _SERVER_NAME and extension.left:
            names += _host_names(extension)
    return names


def _content(message: str, names: tuple[str, ...] = ()) -> Content:
    return Content(Protocol.TLS, message, Traffic.OTHER, (), names)


def _is_record(payload: bytes) -> bool:
    if len(payload) < _HEADER_LEN or not 20 <= payload[0] <= 23:
        return False
    record_len = int.from_bytes(payload[3:5], "big")
    return payload[1] == 3 and payload[2] <= 4 and 0 < record_len <= _MAX_RECORD_LEN


def _handshake_octets(payload: bytes) -> bytes:
    """Join the bodies of the handshake records in front, the last one as far as it is there."""
    parts, at = [], 0
    while payload[at : at + 1] == b"\x16" and _is_record(payload[at : at + _HEADER_LEN]):
        end = at + _HEADER_LEN + int.from_bytes(payload[at + 3 : at + 5], "big")
        parts.append(payload[at + _HEADER_LEN : end])
        at = end
    return b"".join(parts)


def _ends_in_other_record(payload: bytes) -> bool:
    """Tell whether something that is no handshake record follows: no hello will go on there."""
    at = 0
    while at + _HEADER_LEN <= len(payload):
        if payload[at] != _HANDSHAKE or not _is_record(payload[at : at + _HEADER_LEN]):
            return True
        at += _HEADER_LEN + int.from_bytes(payload[at + 3 : at + 5], "big")
    return False


def _host_names(extension: Cursor) -> tuple[str, ...]:
    names = []
    entries = extension.part(extension.big(2))
    while entries.left:
        kind = entries.u8()
        name = entries.take(entries.big(2))
        if kind == _HOST_NAME and name:
            names.append(name.decode("ascii", "replace").lower().rstrip("."))
    return tuple(names)
