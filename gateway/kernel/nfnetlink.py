"""netfilter's door to the kernel.  Owns: sending a request and reading what answers it.
Knows: netlink(7): acknowledgements, dumps and their interruption.  Never: what is asked."""

from __future__ import annotations

import errno
import socket

from gateway.errors import CarryError, WireError
from gateway.kernel.netlink import DUMP_INTERRUPTED, ERROR, Message, messages

_NETLINK_NETFILTER = 12
_DONE = 3
_TIMEOUT_S = 10.0
_READ_LEN = 1 << 20
# A busy host may lack room for an answer, and rules may change while they are read.
_TRIES = 5


def text(name: str) -> bytes:
    """Write a name as attributes hold it."""
    return name.encode() + b"\0"


def send(octets: bytes, what: str) -> list[Message]:
    """Send requests, once; give what the kernel says up to its first acknowledgement or error,
    and what came with that.

    Args:    what: names the subject in errors.
    Raises:  CarryError: the kernel gives no answer, or not one that can be read.
    """
    try:
        return _exchanged(octets)
    except OSError as error:
        raise CarryError(what, error.strerror or "the kernel gives no answer") from error
    except WireError as error:
        raise CarryError(what, str(error)) from error


def ask(octets: bytes, what: str) -> list[Message]:
    """As `send`, of a request that changes nothing: it is sent again where the kernel had no room
    for its answer, or what was asked for changed meanwhile.

    Raises:  CarryError: likewise; or it never holds still.
    """
    for _ in range(_TRIES - 1):
        try:
            answers = send(octets, what)
        except CarryError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno != errno.ENOBUFS:
                raise
            continue
        if not any(one.flags & DUMP_INTERRUPTED for one in answers):
            return answers
    answers = send(octets, what)
    if any(one.flags & DUMP_INTERRUPTED for one in answers):
        raise CarryError(what, "it changes faster than it can be read")
    return answers


def _exchanged(octets: bytes) -> list[Message]:
    answers: list[Message] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as door:
        door.settimeout(_TIMEOUT_S)
        door.send(octets)
        while True:
            got = list(messages(door.recv(_READ_LEN)))
            answers += got
            if any(one.kind in (ERROR, _DONE) for one in got):
                return answers
