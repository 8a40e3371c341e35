"""TLS.  Owns: the first records of a stream → Content, with the server name of a ClientHello.
Knows: RFC 8446 (records, handshakes).  Never: ports, policy, decryption,
SSLv2's hello, which names nobody and is old."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model import Content, Identifier, Protocol, Traffic
from gateway.wire import tls_hello
from gateway.wire.cursor import Cursor

_HEADER_LEN = 5
_HANDSHAKE = 22
_RECORDS = {20: "ChangeCipherSpec", 21: "Alert", 23: "ApplicationData"}
_CLIENT_HELLO = 1
_HANDSHAKES = {2: "ServerHello", 11: "Certificate"}
# RFC 8446 section 5.2, and RFC 5246 section 6.2.3 which allows more: 2^14 + 2048.
_MAX_RECORD_LEN = 18432
# Clients write a hello in one record, or a few; each record costs time.
_MAX_RECORDS = 64
# Type and length (RFC 8446 section 4).
_HANDSHAKE_HEADER_LEN = 4


@dataclass(slots=True)
class _Handshake:
    """The handshake octets of the records in front."""

    octets: bytes
    is_alone: bool
    """Whether no other record stands between them."""
    goes_on: bool
    """Whether the ClientHello is not whole, and the bytes end where more of it may come."""


def recognise(payload: bytes) -> Content | None:
    """Recognise the first bytes of a TLS stream; None if they are none.

    Returns: a name in plaintext is no identifier of a user, so plaintext is ().  Traffic and
             plaintext are None, and names may be missing, where a ClientHello is not whole (see
             `incomplete`), malformed, or has other records in its midst.
    """
    if not _is_record(payload) or len(payload) < _HEADER_LEN + 1:
        return None
    if payload[0] != _HANDSHAKE:
        # No client begins so; what the record holds may be anything.
        return _content(_RECORDS[payload[0]], plaintext=None)
    if payload[_HEADER_LEN] != _CLIENT_HELLO:
        return _content(_HANDSHAKES.get(payload[_HEADER_LEN], "Handshake"))
    handshake = _handshake(payload)
    if handshake is None:
        return None
    body_len = int.from_bytes(handshake.octets[1:4], "big")
    if len(handshake.octets) < _HANDSHAKE_HEADER_LEN + body_len:
        return Content(Protocol.TLS, "ClientHello")
    end = _HANDSHAKE_HEADER_LEN + body_len
    hello = tls_hello.read(Cursor(handshake.octets, _HANDSHAKE_HEADER_LEN, end))
    if not hello.is_whole:
        return Content(Protocol.TLS, "ClientHello")
    is_clear = hello.is_clear and handshake.is_alone
    return Content(
        Protocol.TLS,
        "ClientHello",
        Traffic.OTHER if handshake.is_alone else None,
        () if is_clear else None,
        hello.names,
        hides_name=hello.hides_name,
    )


def incomplete(payload: bytes) -> bool:
    """Tell whether these first bytes may be a ClientHello that is not whole yet."""
    header = payload[:_HEADER_LEN]
    if header[:1] not in (b"", b"\x16") or header[1:2] not in (b"", b"\x03"):
        return False
    if len(payload) < _HEADER_LEN + 1:
        return len(header) < _HEADER_LEN or _is_record(payload)
    if not _is_record(payload) or payload[_HEADER_LEN] != _CLIENT_HELLO:
        return False
    handshake = _handshake(payload)
    return handshake is not None and handshake.goes_on


def _content(
    message: str,
    names: tuple[str, ...] = (),
    plaintext: tuple[Identifier, ...] | None = (),
) -> Content:
    return Content(Protocol.TLS, message, Traffic.OTHER, plaintext, names)


def _is_record(payload: bytes) -> bool:
    """Tell whether a record's header is in front; servers ignore its minor version."""
    if len(payload) < _HEADER_LEN or not 20 <= payload[0] <= 23:
        return False
    return payload[1] == 3 and 0 < payload[3] << 8 | payload[4] <= _MAX_RECORD_LEN


def _handshake(payload: bytes) -> _Handshake | None:
    """Join the bodies of the first records, up to the end of a ClientHello.

    Returns: None if it has not ended after as many records as are read.
    """
    octets, at, is_alone = bytearray(), 0, True
    for _ in range(_MAX_RECORDS):
        header = payload[at : at + _HEADER_LEN]
        if not _is_record(header) or header[0] > _HANDSHAKE:
            return _Handshake(bytes(octets), is_alone, len(header) < _HEADER_LEN)
        end = at + _HEADER_LEN + int.from_bytes(header[3:], "big")
        if header[0] == _HANDSHAKE:
            octets += payload[at + _HEADER_LEN : end]
        else:
            is_alone = False
        if len(octets) >= 4 and len(octets) >= 4 + int.from_bytes(octets[1:4], "big"):
            return _Handshake(bytes(octets), is_alone, goes_on=False)
        at = end
    return None
