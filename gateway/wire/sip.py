"""SIP.  Owns: one message, or the first of a stream → Content, with the accounts that it names.
Knows: RFC 3261 (start lines, header fields and their short forms), 3325 (asserted identities).
Never: ports, policy, bodies."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.model import Content, Identifier, IdentifierKind, Protocol, Traffic
from gateway.wire.names import host_name

METHODS = (
    b"REGISTER",
    b"INVITE",
    b"ACK",
    b"BYE",
    b"CANCEL",
    b"OPTIONS",
    b"SUBSCRIBE",
    b"NOTIFY",
    b"PUBLISH",
    b"MESSAGE",
    b"INFO",
    b"REFER",
    b"UPDATE",
    b"PRACK",
)
_STATUS = b"SIP/2.0"
_LINE = re.compile(
    rb"(?:\r\n)*(?:(?P<status>SIP/2\.0) [1-6]\d\d |"
    rb"(?P<method>"
    + b"|".join(METHODS)
    + rb") (?P<uri>(?:sips?|tel|im|pres):[^\s]+) SIP/2\.0\r?\n)"
)
_BLANK_LINES = re.compile(rb"(?:\r\n)*\r?")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_FIELD = re.compile(
    rb"^(?:(?P<call>call-id|i)|(?P<party>from|f|to|t|contact|m|reply-to|referred-by|r|refer-to|"
    rb"p-asserted-identity|p-preferred-identity|remote-party-id|diversion)|"
    rb"(?P<secret>(?:proxy-)?authorization))[ \t]*:[ \t]*(?P<value>[^\s][^\r\n]*)",
    re.IGNORECASE | re.MULTILINE,
)
_USER = re.compile(rb"(?:sips?|tel|im|pres):(?P<value>[^\s@;>,\"]+)", re.IGNORECASE)
_USERNAME = re.compile(rb'username[ \t]*=[ \t]*"(?P<value>[^"]+)"', re.IGNORECASE)
_HOST = re.compile(rb"(?:sips?|im|pres):(?:[^@]*@)?([^\s:;>?]+)", re.IGNORECASE)


def recognise(payload: bytes) -> Content | None:
    """Recognise a datagram, or the first bytes of a stream, by a whole start line; else None.

    Returns: every party's user, the Call-ID and the credentials' user; plaintext None if none was
             found, since every legal message has them.
    """
    line = _LINE.match(payload)
    if line is None:
        return None
    found = sorted(_identifiers(payload, line), key=lambda one: one.offset)
    host = _HOST.match(line["uri"]) if line["uri"] else None
    name = host_name(host[1]) if host else None
    message = "Response" if line["status"] else line["method"].decode("ascii")
    names = () if name is None else (name,)
    return Content(Protocol.SIP, message, Traffic.SIGNALLING, tuple(found) or None, names)


def incomplete(payload: bytes) -> bool:
    """Tell whether these first bytes of a stream may be a message whose head is not whole yet."""
    blank = _BLANK_LINES.match(payload)
    assert blank is not None
    start = payload[blank.end() :]
    if _LINE.match(payload):
        return not _HEAD_END.search(payload, blank.end())
    if b"\n" in start:
        return False
    words = (_STATUS + b" ", *(method + b" " for method in METHODS))
    return any(start.startswith(word) or word.startswith(start) for word in words)


def _identifiers(payload: bytes, line: re.Match[bytes]) -> Iterator[Identifier]:
    if line["uri"] and (user := _USER.match(payload, line.start("uri"))) and b"@" in line["uri"]:
        yield _account(user)
    end = _HEAD_END.search(payload, line.end() - 2)
    for field in _FIELD.finditer(payload, line.end(), end.start() + 1 if end else len(payload)):
        start, stop = field.span("value")
        if field["call"]:
            length = len(field["value"].rstrip(b" \t"))
            yield Identifier(IdentifierKind.SESSION_ID, start, length)
        else:
            pattern = _USERNAME if field["secret"] else _USER
            for match in pattern.finditer(payload, start, stop):
                yield _account(match)


def _account(match: re.Match[bytes]) -> Identifier:
    return Identifier(IdentifierKind.ACCOUNT, match.start("value"), len(match["value"]))
