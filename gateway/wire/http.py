"""HTTP/1.  Owns: the requests at the start of a stream → Content, with the hosts they are for.
Knows: RFC 9110, 9112 (request line, Host, absolute and authority form), 9113 (HTTP/2's preface).
Never: ports, policy, what follows in a stream that is kept alive: only its first bytes are seen,
so the requests of a later segment are judged as its first one was."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

from gateway.model import Content, Identifier, Protocol, Traffic, canonical
from gateway.wire import http_identifiers
from gateway.wire.names import host_name

# Methods that are waited for before a blank ends them; other tokens, once a target follows.
_METHODS = (
    b"GET POST PUT HEAD DELETE OPTIONS CONNECT PATCH TRACE PRI PROPFIND PROPPATCH MKCOL COPY MOVE "
    b"LOCK UNLOCK REPORT SEARCH MERGE"
).split()
# Clients write one request into a segment, now and then a few.
_MAX_REQUESTS = 8
# Empty lines in front are to be ignored (RFC 9112 section 2.2), and so are doubled blanks.
_REQUEST = re.compile(
    rb"(?:\r?\n)*([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32})[ \t]+([^\x00-\x20\x7f]+)[ \t]+"
    rb"HTTP/1\.\d[ \t]*\r?\n",
    re.IGNORECASE,
)
_UNFINISHED = re.compile(
    rb"(?:\r?\n)*\r?(?:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}[ \t]+(?:[^\x00-\x20\x7f]+"
    rb"(?:[ \t]+(?:[HTP/1.\d]+[ \t]*\r?)?)?)?|([A-Za-z]*))",
    re.IGNORECASE,
)
_STATUS = re.compile(rb"HTTP/1\.[01] [1-5]\d\d[ \r\n]")
_PREFACE = b"PRI * HTTP/2.0\r\n"
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_HOST = re.compile(rb"^host[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_LENGTH = re.compile(rb"^content-length[ \t]*:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
# After these the head is followed by what no length tells: chunks, or another protocol.
_OPEN_END = re.compile(rb"^(?:transfer-encoding|upgrade)[ \t]*:", re.IGNORECASE | re.MULTILINE)
_AUTHORITY = re.compile(
    rb"(?:[a-z][a-z0-9+.-]*://)?(?:[^/?#@]*@)?(\[[^/?#\]]*\]|[^/?#:]*)(?::\d*)?(?:[/?#].*)?",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(slots=True)
class _Requests:
    """What the requests tell, as far as they were read."""

    method: str = ""
    """The first one's."""
    found: list[Identifier] = field(default_factory=list)
    names: dict[str, None] = field(default_factory=dict)
    addresses: dict[bytes, None] = field(default_factory=dict)
    is_clear: bool = True
    """Whether all that is there was read, and nothing is to come that was not."""
    is_whole: bool = True
    """Whether each head was."""

    def content(self) -> Content:
        return Content(
            Protocol.HTTP,
            self.method,
            Traffic.OTHER if self.is_whole else None,
            tuple(self.found) if self.is_whole and (self.found or self.is_clear) else None,
            tuple(self.names),
            tuple(self.addresses),
        )


def recognise(payload: bytes) -> Content | None:
    """Recognise the first bytes of an HTTP stream; None if they are none.

    Returns: the first request's method, and of all requests in these bytes the hosts (every Host
             line counts, and the target's authority), the addresses that a proxy is asked for
             (CONNECT, absolute form), and the identifiers in targets, fields and bodies.
             Where none was found, plaintext is () only without a body and without another protocol
             to come; what follows HTTP/2's preface is binary, and an answer is not looked into.
             Traffic and plaintext are None while a head is not whole: one more Host may come.
    """
    if payload.startswith(_PREFACE):
        return Content(Protocol.HTTP, "PRI", Traffic.OTHER)
    if _STATUS.match(payload):
        return Content(Protocol.HTTP, "Response", Traffic.OTHER)
    requests = _Requests()
    at, left = 0, _MAX_REQUESTS
    while at < len(payload) and left:
        end = _read(payload, at, requests)
        if end is None:
            break
        at, left = end, left - 1
    requests.is_clear &= at == len(payload)
    return requests.content() if requests.method else None


def incomplete(payload: bytes) -> bool:
    """Tell whether these first bytes may be a request's head that is not whole yet."""
    request = _REQUEST.match(payload)
    if request is not None:
        return _HEAD_END.search(payload, request.end() - 2) is None
    unfinished = _UNFINISHED.fullmatch(payload)
    if unfinished is None:
        return False
    word = unfinished[1]
    return word is None or any(method.startswith(word.upper()) for method in _METHODS)


def _read(payload: bytes, at: int, requests: _Requests) -> int | None:
    """Read one request; returns where the next one begins, None if that cannot be told."""
    request = _REQUEST.match(payload, at)
    if request is None:
        return None
    end = _HEAD_END.search(payload, request.end() - 2)
    method = request[1].decode("ascii")
    requests.method = requests.method or method
    if end is None:
        requests.is_whole = False
    head = payload[: end.start() + 1 if end else len(payload)]
    head = head[: request.end()] + _FOLD.sub(_blanks, head[request.end() :])
    for authority in _HOST.findall(head, request.end()):
        # Userinfo has no place in Host: whatever stands there is in plaintext.
        requests.is_clear &= b"@" not in authority
        _read_authority(authority.strip(), requests)
    _read_target(method, request[2], requests)
    requests.found += http_identifiers.in_target(payload, *request.span(2))
    requests.found += http_identifiers.in_fields(head, request.end())
    if end is None or _OPEN_END.search(head, request.end()):
        requests.is_clear = False
        return None
    lengths = _LENGTH.findall(head, request.end())
    if not any(length.strip(b" \t").lstrip(b"0") for length in lengths):
        return end.end()
    requests.is_clear = False
    requests.found += http_identifiers.in_body(payload, end.end())
    return None


def _blanks(fold: re.Match[bytes]) -> bytes:
    return b" " * len(fold[0])


def _read_target(method: str, target: bytes, requests: _Requests) -> None:
    if method.upper() == "CONNECT" or not target.startswith((b"/", b"*")):
        address = _read_authority(target, requests)
        if address is not None:
            requests.addresses[address] = None


def _read_authority(authority: bytes, requests: _Requests) -> bytes | None:
    """Note a host name; returns the address if the host is one."""
    match = _AUTHORITY.fullmatch(authority)
    host = match[1] if match else authority
    try:
        text = host.decode("ascii").strip("[]")
        return canonical(ipaddress.ip_address(text).packed)
    except ValueError:
        name = host_name(host)
    if name is not None:
        requests.names[name] = None
    elif host:
        requests.is_clear = False
    return None
