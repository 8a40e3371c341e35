"""A ClientHello's body.  Owns: octets → the names in it, and whether one may hide behind them.
Knows: RFC 8446 (ClientHello), 6066 (server_name), 7301 (ALPN), 5764 (use_srtp), 9849 (encrypted
ClientHello).  Never: records, fragments, packets: TLS, DTLS and QUIC each have their own."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gateway.errors import WireError
from gateway.wire.cursor import Cursor
from gateway.wire.names import host_name

_SERVER_NAME, _USE_SRTP, _ALPN, _ECH = 0, 14, 16, 0xFE0D
_TOLD = frozenset((_SERVER_NAME, _USE_SRTP, _ALPN, _ECH))
# Type and length.
_EXTENSION = struct.Struct("!HH")
_HOST_NAME = 0
# Clients offer two or three.
_MAX_PROTOCOLS = 16


@dataclass(slots=True)
class Hello:
    """What a ClientHello tells, as far as it was read.  Made by `read` alone."""

    is_whole: bool = False
    """Whether all of it was there and well-formed."""
    names: tuple[str, ...] = ()
    """The server's: each once."""
    is_clear: bool = True
    """Whether all that stands for a name is a host name."""
    has_ech: bool = False
    """Whether another ClientHello may be encrypted in it: the names are then the outer ones, and
    the name that counts is not among them.  Clients send noise there as well (GREASE), so that
    nobody can tell."""
    protocols: tuple[bytes, ...] = ()
    """Offered for the connection (ALPN), first choice first."""
    has_srtp: bool = False
    """Whether it asks for keys for SRTP."""

    @property
    def hides_name(self) -> bool:
        """Whether a name may be there that was not read."""
        return self.has_ech or not self.is_whole


def read(body: Cursor, *, cookie: bool = False) -> Hello:
    """Read a ClientHello behind its handshake header; never raises.

    Args:    cookie: DTLS has one more field, behind the session id (RFC 6347 section 4.2.1).
    """
    hello = Hello()
    try:
        _read(body, hello, cookie=cookie)
        hello.is_whole = True
    except WireError:
        pass  # `is_whole` says so
    return hello


def _read(body: Cursor, hello: Hello, *, cookie: bool) -> None:
    body.skip(2 + 32)  # version, random
    body.skip(body.u8())  # session id
    if cookie:
        body.skip(body.u8())
    body.skip(body.big(2))  # cipher suites
    body.skip(body.u8())  # compression methods
    # Read as far as they go: what a cut hello names is evidence all the same.
    left = body.big(2) if body.left else 0
    at, end = body.at, min(body.end, body.at + left)
    while at < end:
        # Written out: a hello has a score of extensions, and two of them tell anything.
        if end - at < _EXTENSION.size:
            raise WireError("extensions end", at, "a type and a length")
        kind, size = _EXTENSION.unpack_from(body.data, at)
        at += _EXTENSION.size
        if size > end - at:
            raise WireError("extensions end", at, f"{size} more")
        if kind in _TOLD:
            _read_extension(kind, Cursor(body.data, at, at + size), hello)
        at += size
    body.skip(left)


def _read_extension(kind: int, extension: Cursor, hello: Hello) -> None:
    if kind == _SERVER_NAME and extension.left:
        _read_names(extension, hello)
    elif kind == _ALPN:
        hello.protocols = _protocols(extension)
    elif kind == _USE_SRTP:
        hello.has_srtp = True
    elif kind == _ECH:
        hello.has_ech = True


def _read_names(extension: Cursor, hello: Hello) -> None:
    entries = extension.part(extension.big(2))
    while entries.left:
        kind = entries.u8()
        octets = entries.take(entries.big(2))
        name = host_name(octets) if kind == _HOST_NAME else None
        if name is not None:
            hello.names = tuple(dict.fromkeys((*hello.names, name)))
        elif octets:
            hello.is_clear = False


def _protocols(extension: Cursor) -> tuple[bytes, ...]:
    entries = extension.part(extension.big(2))
    found: list[bytes] = []
    while entries.left and len(found) < _MAX_PROTOCOLS:
        found.append(entries.take(entries.u8()))
    return tuple(found)
