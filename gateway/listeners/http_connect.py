"""The HTTP CONNECT front door.  Owns: reading the request head, wording the answers, the listener.
Knows: RFC 9110 section 9.3.6 (CONNECT), RFC 9112 (HTTP/1.1).  Never: verdicts, any other method."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.errors import WireError
from gateway.listeners.answers import Failing
from gateway.listeners.destination import Destination, read_host
from gateway.listeners.interfaces import Wiring
from gateway.listeners.stream_door import ClientConnection, StreamListener
from gateway.listeners.tally import Drop
from gateway.model import Endpoint, Verdict

# Octets.  What Apache, nginx and Node grant a whole head, or more; a client's head is held by us.
MAX_HEAD_LEN = 16 * 1024
_END = b"\r\n\r\n"
# RFC 9112 sections 3 and 5: method SP target SP version, then field lines, CRLF throughout.
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/(\d)\.\d")
_FIELD_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*")
# RFC 9112 section 3.2.3, authority-form; the port is not optional.
_AUTHORITY = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]+)):(\d{1,5})")


@dataclass(frozen=True, slots=True)
class Head:
    """A whole request head."""

    method: bytes
    target: bytes
    length: int
    """Octets, with the empty line."""


def read_head(data: bytes) -> Head | None:
    """Read a request head; None while it is not whole.

    Raises:  WireError: not HTTP/1.x, or longer than MAX_HEAD_LEN.
    """
    end = data.find(_END, 0, MAX_HEAD_LEN)
    if end < 0:
        if len(data) >= MAX_HEAD_LEN:
            raise WireError("request head", MAX_HEAD_LEN, f"at most {MAX_HEAD_LEN} octets")
        return None
    first, *fields = data[:end].split(b"\r\n")
    line = _REQUEST_LINE.fullmatch(first)
    if line is None or line[3] != b"1":
        raise WireError("request line", 0, "METHOD TARGET HTTP/1.1")
    if not all(_FIELD_LINE.fullmatch(field) for field in fields):
        raise WireError("header", len(first) + 2, "lines of NAME: VALUE")
    return Head(line[1], line[2], end + len(_END))


def read_authority(target: bytes) -> Destination:
    """Read "host:port" or "[2001:db8::1]:443".

    Raises:  WireError: not of that form, or a port that is not 1..65535.
    """
    parts = _AUTHORITY.fullmatch(target)
    if parts is None or not 1 <= int(parts[3]) <= 65535:
        raise WireError("target", 0, "host:port")
    destination = read_host(parts[1] or parts[2], int(parts[3]))
    if parts[1] and not isinstance(destination, Endpoint):
        raise WireError("target", 0, "an IPv6 address between the brackets")
    return destination


def write_response(status: str, sentence: str, fields: str = "") -> bytes:
    """Say no: a status line and one sentence, and the connection closes."""
    body = sentence.encode() + b"\n"
    head = (
        f"HTTP/1.1 {status}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"{fields}"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body


_FAILURES = {
    Failing.NOT_CARRIED: ("502 Bad Gateway", "The way that the policy asks for is not there."),
    Failing.REFUSED: ("502 Bad Gateway", "The destination refused the connection."),
    Failing.UNREACHABLE: ("502 Bad Gateway", "The destination cannot be reached."),
    Failing.TIMED_OUT: ("504 Gateway Timeout", "The destination did not answer."),
}


class HttpConnectConnection(ClientConnection):
    """One client's connection."""

    def handshake(self) -> None:
        """ClientConnection API."""
        try:
            head = read_head(self.unread)
            if head is None:
                return
            if head.method != b"CONNECT":
                self._reject("405 Method Not Allowed", "Only CONNECT.", "Allow: CONNECT\r\n")
                return
            destination = read_authority(head.target)
        except WireError as error:
            self._reject("400 Bad Request", f"{error}.")
            return
        self.unread = self.unread[head.length :]
        self.connect_to(destination)

    def _reject(self, status: str, sentence: str, fields: str = "") -> None:
        self.door.tally.drop(Drop.MALFORMED)
        self.say_last(write_response(status, sentence, fields))

    def accept(self) -> None:
        """Answers API."""
        self.client.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    def refuse(self, verdict: Verdict) -> None:
        """Answers API."""
        sentence = f"Blocked by the rule {verdict.rule}: {verdict.reason}"
        self.say_last(write_response("403 Forbidden", sentence))

    def fail(self, why: Failing) -> None:
        """Answers API."""
        self.say_last(write_response(*_FAILURES[why]))


class HttpConnectListener(StreamListener):
    """An HTTP proxy that only tunnels."""

    def __init__(self, address: Endpoint, wiring: Wiring) -> None:
        super().__init__(address, wiring, HttpConnectConnection)
