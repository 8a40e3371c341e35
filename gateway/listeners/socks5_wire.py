"""SOCKS 5 messages.  Owns: bytes ⇄ greeting, credentials, request, reply, datagram header.
Knows: RFC 1928, RFC 1929.  Never: sockets, verdicts.

Readers of streams give None while the message is not whole, and its length once it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from gateway.errors import WireError
from gateway.listeners.destination import Destination, read_host
from gateway.model import Endpoint, canonical

VERSION = 5
# RFC 1929 section 2: the sub-negotiation has a version of its own.
_CREDENTIALS_VERSION = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4


class Method(IntEnum):
    """How a client may prove itself (RFC 1928 section 3)."""

    NONE = 0
    CREDENTIALS = 2
    NOT_ACCEPTABLE = 0xFF


class Command(IntEnum):
    """What a client may ask for (RFC 1928 section 4)."""

    CONNECT = 1
    BIND = 2
    UDP_ASSOCIATE = 3


class Reply(IntEnum):
    """What it is told (RFC 1928 section 6)."""

    SUCCEEDED = 0
    GENERAL_FAILURE = 1
    NOT_ALLOWED = 2
    """Connection not allowed by ruleset."""
    HOST_UNREACHABLE = 4
    REFUSED = 5
    TIMED_OUT = 6
    """TTL expired: what other servers say when nobody answered."""
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_TYPE_NOT_SUPPORTED = 8


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request."""

    command: int
    destination: Destination | Reply
    """Or what to reply, because it is none."""
    port: int
    """The destination's; 0 if it is of an unknown address type."""
    length: int
    """Octets of it."""


@dataclass(frozen=True, slots=True)
class Datagram:
    """The header of a datagram (RFC 1928 section 7)."""

    fragment: int
    """FRAG: 0 for a whole datagram."""
    destination: Destination
    length: int
    """Octets of the header; the payload follows."""


def read_greeting(data: bytes) -> tuple[bytes, int] | None:
    """Read the methods a client offers (RFC 1928 section 3), and the length of the message.

    Raises:  WireError: not SOCKS 5.
    """
    if data[:1] != b"" and data[0] != VERSION:
        raise WireError("SOCKS version", 0, "5")
    if len(data) < 2 or len(data) < 2 + data[1]:
        return None
    length = 2 + data[1]
    return data[2:length], length


def read_credentials(data: bytes) -> tuple[bytes, bytes, int] | None:
    """Read user name, password (RFC 1929 section 2), and the length of the message.

    Raises:  WireError: another version.
    """
    if data[:1] != b"" and data[0] != _CREDENTIALS_VERSION:
        raise WireError("version of user name and password", 0, "1")
    if len(data) < 2 or len(data) < 3 + data[1]:
        return None
    password_at = 3 + data[1]
    length = password_at + data[password_at - 1]
    if len(data) < length:
        return None
    return data[2 : password_at - 1], data[password_at:length], length


def read_request(data: bytes) -> Request | None:
    """Read a request (RFC 1928 section 4).

    Raises:  WireError: not SOCKS 5.
    """
    if data[:1] != b"" and data[0] != VERSION:
        raise WireError("SOCKS version", 0, "5")
    if len(data) < 4:
        return None
    if data[3] not in (_IPV4, _NAME, _IPV6):
        return Request(data[1], Reply.ADDRESS_TYPE_NOT_SUPPORTED, 0, 4)
    end = _address_end(data)
    if end is None or len(data) < end:
        return None
    port = int.from_bytes(data[end - 2 : end])
    try:
        return Request(data[1], _read_address(data, end), port, end)
    except WireError:
        return Request(data[1], Reply.HOST_UNREACHABLE, port, end)


def read_datagram(data: bytes) -> Datagram:
    """Read the header of a datagram from a client (RFC 1928 section 7).

    Raises:  WireError: cut short, RSV not 0, an unknown address type, or a name that is none.
    """
    if len(data) < 4 or data[0] or data[1]:
        raise WireError("RSV", 0, "two zero octets before FRAG and ATYP")
    if data[3] not in (_IPV4, _NAME, _IPV6):
        raise WireError("ATYP", 3, "1, 3 or 4")
    end = _address_end(data)
    if end is None or len(data) < end:
        raise WireError("address", 4, "an address and a port")
    return Datagram(data[2], _read_address(data, end), end)


def _address_end(data: bytes) -> int | None:
    """Give the offset after DST.PORT; None if the length of the name is not there yet."""
    match data[3]:
        case 1:
            return 4 + 4 + 2
        case 4:
            return 4 + 16 + 2
        case _:
            return 5 + data[4] + 2 if len(data) > 4 else None


def _read_address(data: bytes, end: int) -> Destination:
    port = int.from_bytes(data[end - 2 : end])
    if data[3] == _NAME:
        return read_host(data[5 : end - 2], port)
    return Endpoint(canonical(data[4 : end - 2]), port)


def write_greeting(method: Method) -> bytes:
    """Choose a method (RFC 1928 section 3)."""
    return bytes((VERSION, method))


def write_credentials_answer(is_welcome: bool) -> bytes:
    """Answer user name and password (RFC 1929 section 2)."""
    return bytes((_CREDENTIALS_VERSION, 0 if is_welcome else 1))


def write_reply(reply: Reply, bound: Endpoint | None = None) -> bytes:
    """Answer a request (RFC 1928 section 6).

    Args:    bound: where the client sends its datagrams.  None: 0.0.0.0:0, as OpenSSH answers
             CONNECT: the gateway's own outside address is no client's business.
    """
    return bytes((VERSION, reply, 0)) + _write_address(bound or Endpoint(bytes(4), 0))


def write_datagram_header(source: Endpoint) -> bytes:
    """Head a datagram to a client: where it came from (RFC 1928 section 7)."""
    return bytes(3) + _write_address(source)


def _write_address(endpoint: Endpoint) -> bytes:
    kind = _IPV4 if len(endpoint.address) == 4 else _IPV6
    return bytes((kind,)) + endpoint.address + endpoint.port.to_bytes(2)
