"""DTLS.  Owns: one datagram of records → Content, with the server name of a ClientHello.
Knows: RFC 6347 (1.2), 9147 (1.3), 9146 (connection ids), 5764 (SRTP), OpenSSL's version 0100.
Never: ports, policy, a lone unified header of 1.3 (001xxxxx and noise): it proves nothing."""

from __future__ import annotations

from gateway.errors import WireError
from gateway.model import Content, Protocol, Traffic
from gateway.wire import tls_hello
from gateway.wire.cursor import Cursor

_HEADER_LEN = 13
_VERSIONS = (b"\xfe\xff", b"\xfe\xfd", b"\x01\x00")
_MAX_RECORD_LEN = 18432
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


# RFC 9147 section 4: 001CSLEE.
_UNIFIED_MASK, _UNIFIED = 0xE0, 0x20


def recognise(payload: bytes) -> Content | None:
    """Recognise a datagram that DTLS records fill exactly; None if it is none.

    Behind a record of the old form, records of 1.3's unified header may follow, unread.  A
    ClientHello in fragments, or with another one encrypted in it, may hide a name.
    """
    if len(payload) <= _HEADER_LEN or payload[0] not in _RECORDS or not _is_filled(payload):
        return None
    # In epoch 0 nothing is encrypted yet.
    if payload[0] == _HANDSHAKE and payload[3:5] == b"\0\0":
        return _handshake(Cursor(payload, _HEADER_LEN))
    return Content(Protocol.DTLS, _RECORDS[payload[0]], Traffic.MEDIA, ())


def _is_filled(payload: bytes) -> bool:
    at = 0
    while at < len(payload):
        if at and payload[at] & _UNIFIED_MASK == _UNIFIED:
            return True  # its length depends on what the two peers know
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


def _handshake(cursor: Cursor) -> Content:
    try:
        kind, length = cursor.u8(), cursor.big(3)
        cursor.skip(2)  # message number
        offset, fragment_len = cursor.big(3), cursor.big(3)
        message = _HANDSHAKES.get(kind, "Handshake")
        if message != "ClientHello":
            return Content(Protocol.DTLS, message, Traffic.MEDIA, ())
        if offset or fragment_len != length:
            return Content(Protocol.DTLS, message, Traffic.MEDIA, (), hides_name=True)
        hello = tls_hello.read(cursor.part(length), cookie=True)
    except WireError:
        return Content(Protocol.DTLS, "Handshake", Traffic.MEDIA, (), hides_name=True)
    if hello.has_srtp:
        message += " for SRTP"
    # What stands for a name and is none, or is malformed, may be anything, in plaintext.
    plaintext = () if hello.is_clear and hello.is_whole else None
    names, hides = hello.names, hello.hides_name
    return Content(Protocol.DTLS, message, Traffic.MEDIA, plaintext, names, hides_name=hides)
