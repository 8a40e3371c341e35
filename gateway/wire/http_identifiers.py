"""Identifiers in HTTP/1.  Owns: targets, header fields and bodies → Identifiers.
Knows: the vendor's keys and their plain spellings, RFC 3986 (userinfo), 6265 (Cookie), 9110
(credentials), forms and JSON.  Never: where a request begins or ends."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.model import Identifier, IdentifierKind

_USER, _ROOM = IdentifierKind.USER_ID, IdentifierKind.ROOM_ID
# The vendor's own web requests name a listener and a channel.
_KINDS = {
    b"uid": _USER,
    b"userid": _USER,
    b"listener": _USER,
    b"channel": _ROOM,
    b"channelname": _ROOM,
    b"cname": _ROOM,
    b"roomid": _ROOM,
    b"token": IdentifierKind.TOKEN,
    b"appid": IdentifierKind.APP_ID,
    b"deviceid": IdentifierKind.DEVICE_ID,
    b"sid": IdentifierKind.SESSION_ID,
    b"sessionid": IdentifierKind.SESSION_ID,
    b"authorization": IdentifierKind.TOKEN,
    b"cookie": IdentifierKind.SESSION_ID,
}
_KEY = (
    rb"(?P<key>uid|user[_-]?id|listener|channel|channel[_-]?name|cname|room[_-]?id|token|app[_-]?id|"
    rb"device[_-]?id|sid|session[_-]?id)"
)
_PAIR = re.compile(rb"(?<![^?&\s;])" + _KEY + rb"=(?P<value>[^&#\s;]+)", re.IGNORECASE)
_JSON = re.compile(
    rb'"' + _KEY + rb'"\s{0,8}:\s{0,8}(?:"(?P<text>[^"]+)"|(?P<number>-?\d+))', re.IGNORECASE
)
_FIELD = re.compile(
    rb"^(?:x-)?(?:agora-)?(?:"
    + _KEY
    + rb"|(?P<secret>(?:proxy-)?authorization|cookie))[ \t]*:[ \t]*(?P<value>[^\s][^\r\n]*)",
    re.IGNORECASE | re.MULTILINE,
)
_USERINFO = re.compile(rb"[a-z][a-z0-9+.-]*://(?P<value>[^/?#@]+)@", re.IGNORECASE)


def in_target(payload: bytes, start: int, end: int) -> Iterator[Identifier]:
    """Find identifiers in a request's target, by offset."""
    if userinfo := _USERINFO.match(payload, start, end):
        yield _identifier(IdentifierKind.ACCOUNT, *userinfo.span("value"))
    for match in _PAIR.finditer(payload, start, end):
        yield _identifier(_kind(match["key"]), *match.span("value"))


def in_fields(head: bytes, start: int) -> Iterator[Identifier]:
    """Find identifiers in header fields, by offset: credentials and cookies, and fields that are
    called like an identifier."""
    for match in _FIELD.finditer(head, start):
        key = match["key"] or match["secret"].lower().removeprefix(b"proxy-")
        start, value = match.start("value"), match["value"].rstrip(b" \t")
        yield Identifier(_kind(key), start, len(value))


def in_body(payload: bytes, start: int) -> list[Identifier]:
    """Find identifiers in a form or in JSON, as far as it is there, by offset."""
    found = [
        _identifier(_kind(match["key"]), *match.span("value"))
        for match in _PAIR.finditer(payload, start)
    ]
    for match in _JSON.finditer(payload, start):
        value = "text" if match["text"] else "number"
        found.append(_identifier(_kind(match["key"]), *match.span(value)))
    return sorted({one.offset: one for one in found}.values(), key=lambda one: one.offset)


def _kind(key: bytes) -> IdentifierKind:
    return _KINDS[key.lower().replace(b"_", b"").replace(b"-", b"")]


def _identifier(kind: IdentifierKind, start: int, end: int) -> Identifier:
    return Identifier(kind, start, end - start)
