"""DTLS.  Owns: one datagram of records → Content, with the server name of a ClientHello.
Knows: RFC 6347 (1.2), 9147 (1.3), 9146 (connection ids), OpenSSL's version 0100.
Never: ports, policy, the unified header of 1.3 (001xxxxx and noise): it proves nothing."""

from __future__ import annotations

from gateway.errors import WireError
from gateway.model import Content, Protocol, Traffic
from gateway.wire.cursor import Cursor
from gateway.wire.tls import server_names

_HEADER_LEN = 13
_VERSIONS = (b"\xfe\xff", b"\xfe\xfd", b"\x01\x00")
_MAX_RECORD_LEN = 18432
_NO_NAMES: tuple[str, ...] = ()
_HANDSHAKE, _CONNECTION_ID = 22, 25
_RECORDS = {
    20: "ChangeCipherSpec",
    21: "Alert",
    22: "Handshake",
    23: "ApplicationData",
    24: "Heartbeat",
    25: "ApplicationData",
}
_HANDSHAKES = {
    0: "HelloRequest",
    1: "ClientHello",
    2: "ServerHello",
    3: "HelloVerifyRequest",
    4: "NewSessionTicket",
    11: "Certificate",
    12: "ServerKeyExchange",
    13: "CertificateRequest",
    14: "ServerHelloDone",
    15: "CertificateVerify",
    16: "ClientKeyExchange",
}


def recognise(payload: bytes) -> Content | None:
    """Recognise a datagram that DTLS records fill exactly; None if it is none.

    A ClientHello in fragments gives no names.
    """
    if len(payload) <= _HEADER_LEN or payload[0] not in _RECORDS or not _is_filled(payload):
        return None
    message, names, is_clear = _RECORDS[payload[0]], _NO_NAMES, True
    # In epoch 0 nothing is encrypted yet.
    if payload[0] == _HANDSHAKE and payload[3:5] == b"\0\0":
        message, names, is_clear = _handshake(Cursor(payload, _HEADER_LEN))
    return Content(Protocol.DTLS, message, Traffic.MEDIA, () if is_clear else None, names)


def _is_filled(payload: bytes) -> bool:
    at = 0
    while at < len(payload):
        if payload[at] not in _RECORDS or payload[at + 1 : at + 3] not in _VERSIONS:
            return False
        if payload[at] == _CONNECTION_ID:
            # The id's length is known to the two peers only, so the record's end is not.
            return payload[at + 1] == 0xFE and len(payload) > at + _HEADER_LEN
        record_len = int.from_bytes(payload[at + 11 : at + _HEADER_LEN], "big")
        if not 0 < record_len <= _MAX_RECORD_LEN:
            return False
        at += _HEADER_LEN + record_len
    return at == len(payload)


def _handshake(cursor: Cursor) -> tuple[str, tuple[str, ...], bool]:
    """Give the message, its names, and whether all that stands for a name is one."""
    try:
        kind, length = cursor.u8(), cursor.big(3)
        cursor.skip(2)  # message number
        offset, fragment_len = cursor.big(3), cursor.big(3)
        message = _HANDSHAKES.get(kind, "Handshake")
        if message != "ClientHello" or offset or fragment_len != length:
            return message, (), True
        return message, *server_names(cursor.part(length), cookie=True)
    except WireError:
        return "Handshake", (), True
