"""JSON that is sent bare.  Owns: a datagram, or a stream's first bytes, of JSON text → Content.
Knows: RFC 8259, the keys that HTTP bodies have too.  Never: ports, policy, whose report it is."""

from __future__ import annotations

import re

from gateway.model import Content, Protocol
from gateway.wire import http_identifiers

_FIRST = (b"{", b"[", b" ", b"\t", b"\r", b"\n")
# An object with a key, or an array of such: 24 bits that fit, and no protocol begins so.
_START = re.compile(
    rb"[ \t\r\n]{0,8}(?:\[[ \t\r\n]{0,8})?\{[ \t\r\n]{0,64}"
    rb'"[^"\\\x00-\x1f]{1,128}"[ \t\r\n]{0,8}:'
)


def recognise(payload: bytes) -> Content | None:
    """Recognise a JSON text by its first key; None if it is none.

    Returns: the identifiers under well-known keys; plaintext None if there is none, as others may
             be there.  Whose it is nobody knows, so protocol and traffic are unknown.
    """
    if payload[:1] not in _FIRST or not _START.match(payload):
        return None
    found = tuple(http_identifiers.in_body(payload, 0))
    return Content(Protocol.UNKNOWN, "JSON", None, found or None)
