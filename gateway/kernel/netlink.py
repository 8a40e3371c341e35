"""Netlink messages.  Owns: messages and attributes ⇄ octets.
Knows: netlink(7), linux/netlink.h; sizes and types in the host's order, aligned to 4.
Never: sockets, what a message means."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from gateway.errors import WireError

HEADER = struct.Struct("=IHHII")
"""Length with header, type, flags, sequence, port."""
ATTRIBUTE = struct.Struct("=HH")
"""Length with header, type."""
GENERIC = struct.Struct("!BBH")
"""nfnetlink's own header: family, version 0, resource."""

REQUEST, ACK = 0x1, 0x4
ERROR = 2
"""The type of an answer that is an errno, or 0 for an acknowledgement."""
DUMP_INTERRUPTED = 0x10
"""A flag of answers: what is read out has changed meanwhile."""
NESTED = 0x8000
# The two highest bits of an attribute's type are flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER).
_TYPE_MASK = 0x3FFF


class Message(NamedTuple):
    """One message."""

    kind: int
    sequence: int
    body: bytes
    flags: int = 0


def attribute(kind: int, value: bytes) -> bytes:
    """Write one attribute."""
    return ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """Write one message."""
    return HEADER.pack(HEADER.size + len(body), kind, flags, sequence, 0) + body


def messages(octets: bytes) -> Iterator[Message]:
    """Read what one read of a netlink socket gave.

    Raises:  WireError: a length that cannot be.
    """
    at = 0
    while at < len(octets):
        if len(octets) - at < HEADER.size:
            raise WireError("netlink message", at, "a header of 16 octets")
        length, kind, flags, sequence, _ = HEADER.unpack_from(octets, at)
        if not HEADER.size <= length <= len(octets) - at:
            raise WireError("netlink message", at, "a length of 16 octets to what was read")
        yield Message(kind, sequence, octets[at + HEADER.size : at + length], flags)
        at += length + (-length % 4)


def attributes(octets: bytes, at: int = 0) -> Iterator[tuple[int, bytes]]:
    """Read attributes: type and value.

    Raises:  WireError: a length that cannot be.
    """
    while at < len(octets):
        if len(octets) - at < ATTRIBUTE.size:
            raise WireError("netlink attribute", at, "a header of 4 octets")
        length, kind = ATTRIBUTE.unpack_from(octets, at)
        if not ATTRIBUTE.size <= length <= len(octets) - at:
            raise WireError("netlink attribute", at, "a length of 4 octets to what was read")
        yield kind & _TYPE_MASK, octets[at + ATTRIBUTE.size : at + length]
        at += length + (-length % 4)


def error_of(body: bytes) -> int:
    """Read an answer of type ERROR: an errno, or 0.

    Raises:  WireError: too short.
    """
    if len(body) < 4:
        raise WireError("netlink error", 0, "4 octets")
    return -int(struct.unpack_from("=i", body)[0])
