"""Google's own QUIC before it was TLS.  Owns: a CHLO → the name in it; Q024..Q043's public header.
Knows: "QUIC Wire Layout Specification" and "QUIC Crypto" of Chromium, as published.
Never: encrypted parts: a first CHLO has none."""

from __future__ import annotations

from gateway.errors import WireError
from gateway.model import Content, Protocol, Traffic
from gateway.wire.cursor import Cursor
from gateway.wire.names import host_name
from gateway.wire.tls_hello import Hello

_CHLO = b"CHLO"
# Before the CHLO: a packet's number, its hash, a frame's header.
_MAX_BEFORE = 64
# "QUIC Crypto": at most 128 tags.
_MAX_TAGS = 128
_SERVER_NAME = b"SNI\0"
# Version and an id of eight octets are there.
_PUBLIC_FLAGS = 0x09
_VERSION_AT = 9
_VERSIONS = range(24, 44)


def recognise(payload: bytes) -> Content | None:
    """Recognise a client's datagram of Q024..Q043 that begins with a CHLO; None if it is none."""
    version = payload[_VERSION_AT : _VERSION_AT + 4]
    if (payload[:1] and payload[0] & _PUBLIC_FLAGS != _PUBLIC_FLAGS) or version[:2] != b"Q0":
        return None
    if not version[2:].isdigit() or int(version[2:]) not in _VERSIONS:
        return None
    read = hello(payload[_VERSION_AT + 4 :])
    if read is None:
        return None
    plaintext = () if read.is_clear else None
    return Content(
        Protocol.QUIC, "CHLO", Traffic.OTHER, plaintext, read.names, hides_name=read.hides_name
    )


def hello(octets: bytes) -> Hello | None:
    """Read the CHLO that begins within the first 64 octets; None if there is none."""
    at = octets.find(_CHLO, 0, _MAX_BEFORE)
    if at < 0:
        return None
    read = Hello()
    try:
        _read(Cursor(octets, at + len(_CHLO)), read)
        read.is_whole = True
    except WireError:
        pass  # `is_whole` says so
    return read


def _read(cursor: Cursor, read: Hello) -> None:
    """Read the table of tags, each with the end of its value, and then the name."""
    count = cursor.little(2)
    cursor.skip(2)
    if count > _MAX_TAGS:
        raise WireError("tags", cursor.at, f"at most {_MAX_TAGS}")
    begin, end_of_name = 0, None
    last = 0
    for _ in range(count):
        tag, end = cursor.take(4), cursor.little(4)
        if end < last:
            raise WireError("tag", cursor.at, "an end behind the one before")
        if tag == _SERVER_NAME:
            begin, end_of_name = last, end
        last = end
    values = cursor.at
    if end_of_name is not None:
        cursor.skip(begin)
        name = host_name(cursor.take(end_of_name - begin))
        read.names = () if name is None else (name,)
        read.is_clear = name is not None
    cursor.at = values
    cursor.skip(last)
