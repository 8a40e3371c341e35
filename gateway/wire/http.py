"""HTTP/1.  Owns: the head of a request or answer → Content, with the host it is for.
Knows: RFC 9110, 9112 (request line, Host, absolute and authority form).  Never: ports, policy,
bodies."""

from __future__ import annotations

import ipaddress
import re

from gateway.model import Content, Identifier, IdentifierKind, Protocol, Traffic

_METHODS = (
    b"GET",
    b"POST",
    b"PUT",
    b"HEAD",
    b"DELETE",
    b"OPTIONS",
    b"CONNECT",
    b"PATCH",
    b"TRACE",
)
_ANSWER = b"HTTP/1."
_REQUEST = re.compile(rb"([A-Z]+) ([\x21-\x7e]+) HTTP/1\.[01]\r?\n")
_STATUS = re.compile(rb"HTTP/1\.[01] [1-5]\d\d[ \r\n]")
_HOST = re.compile(rb"^host[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_AUTHORITY = re.compile(rb"(?:[a-z][a-z0-9+.-]*://)?(?:[^/?#@]*@)?([^/?#]*)", re.IGNORECASE)
_HEAD_END = re.compile(rb"\r?\n\r?\n")
# The vendor's own web requests name a listener and a channel; the rest are their plain spellings.
_QUERY = re.compile(
    rb"[?&](?P<key>uid|listener|channel|channelName|cname|token|appId|sid)=(?P<value>[^&# ]+)"
)
_KINDS = {
    b"uid": IdentifierKind.USER_ID,
    b"listener": IdentifierKind.USER_ID,
    b"channel": IdentifierKind.ROOM_ID,
    b"channelName": IdentifierKind.ROOM_ID,
    b"cname": IdentifierKind.ROOM_ID,
    b"token": IdentifierKind.TOKEN,
    b"appId": IdentifierKind.APP_ID,
    b"sid": IdentifierKind.SESSION_ID,
}


def recognise(payload: bytes) -> Content | None:
    """Recognise the first bytes of an HTTP/1 stream.

    Returns: None if they are none, or a head that is not whole: one more Host may come.  All Host
             lines count, and the request target's authority; addresses are no names.
    """
    if _STATUS.match(payload):
        return Content(Protocol.HTTP, "Response", Traffic.OTHER, ())
    request = _REQUEST.match(payload)
    end = _HEAD_END.search(payload)
    if request is None or end is None or request[1] not in _METHODS:
        return None
    method, target = request[1].decode("ascii"), request[2]
    authorities = _HOST.findall(payload, request.end(), end.start() + 1)
    if method == "CONNECT" or not target.startswith((b"/", b"*")):
        authorities.append(target)
    names = dict.fromkeys(name for name in map(_name, authorities) if name)
    return Content(
        Protocol.HTTP, method, Traffic.OTHER, _identifiers(payload, request), tuple(names)
    )


def incomplete(payload: bytes) -> bool:
    """Tell whether these first bytes may be a request's head that is not whole yet."""
    if _HEAD_END.search(payload):
        return False
    return any(
        payload.startswith(method + b" ") or (method + b" ").startswith(payload)
        for method in _METHODS
    )


def _name(authority: bytes) -> str | None:
    match = _AUTHORITY.match(authority.rstrip(b" \t"))
    host = match[1].decode("ascii", "replace") if match else ""
    host = re.sub(r":\d*$", "", host).strip("[]").lower().rstrip(".")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host or None
    return None


def _identifiers(payload: bytes, request: re.Match[bytes]) -> tuple[Identifier, ...]:
    return tuple(
        Identifier(_KINDS[match["key"]], match.start("value"), len(match["value"]))
        for match in _QUERY.finditer(payload, request.start(2), request.end(2))
    )
