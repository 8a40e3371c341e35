"""The queue's messages.  Owns: packets from the queue, verdicts and settings to it ⇄ octets.
Knows: linux/netfilter/nfnetlink_queue.h.  Never: sockets, what a verdict rests on."""

from __future__ import annotations

import struct
from typing import NamedTuple

from gateway.errors import WireError
from gateway.kernel.netlink import (
    ACK,
    ATTRIBUTE,
    ERROR,
    GENERIC,
    HEADER,
    REQUEST,
    attribute,
    message,
)

_QUEUE = 3 << 8  # NFNL_SUBSYS_QUEUE
_PACKET, _VERDICT, _CONFIG = _QUEUE | 0, _QUEUE | 1, _QUEUE | 2
# enum nfqnl_attr_type.
_PACKET_HDR, _VERDICT_HDR, _MARK, _IFINDEX_INDEV, _PAYLOAD, _CAP_LEN = 1, 2, 3, 4, 10, 13
# enum nfqnl_attr_config, nfqnl_msg_config_cmds; copying the packet; NFQA_CFG_F_*.
_CFG_CMD, _CFG_PARAMS, _CFG_QUEUE_MAXLEN, _CFG_MASK, _CFG_FLAGS = 1, 2, 3, 4, 5
_CMD_BIND, _CMD_UNBIND, _COPY_PACKET = 1, 2, 2
_F_FAIL_OPEN, _F_GSO = 0x1, 0x4
_NF_DROP, _NF_ACCEPT = 0, 1

_FIRST_ATTRIBUTE = HEADER.size + GENERIC.size
_PACKET_HEADER = struct.Struct("!IHB")
_U32 = struct.Struct("!I")
# Its head; verdict and number; the mark.
_WHOLE_VERDICT = struct.Struct("!24sII4sI")
_MARK_HEADER = ATTRIBUTE.pack(8, _MARK)
_KIND = _SIZE = struct.Struct("=H")
# What a packet from an interface, with a mark, begins with.
_USUAL = [_PACKET_HDR, _IFINDEX_INDEV, _MARK]
# With or without time stamps, checksums, priorities.
_MAX_LESSONS = 8
# A NamedTuple's own constructor takes twice as long.
_tuple = tuple.__new__

DROP = -1
"""The answer that drops; any other is the mark with which a packet goes on."""


class Queued(NamedTuple):
    """One packet that waits for its verdict."""

    queue: int
    number: int
    """What its verdict names it by."""
    octets: bytes
    """The IP packet, as much of it as is copied."""
    mark: int
    ifindex: int
    """Where it came in; 0: nowhere."""
    is_cut: bool
    """Was it longer than what is copied?"""


class Refused(NamedTuple):
    """The kernel's no to a message of ours."""

    errno: int


def read(buffer: bytes | bytearray, length: int) -> Queued | Refused | None:
    """Read what one read of the queue's socket gave: one message.

    Args:    buffer: holds it, may be longer; length: octets of it.
    Returns: None for an acknowledgement, or a message that is none of ours.
    Raises:  WireError: a length that cannot be, or a packet without a number.
    """
    if not _FIRST_ATTRIBUTE <= length <= len(buffer):
        raise WireError("queue message", 0, "20 octets")
    kind = _KIND.unpack_from(buffer, 4)[0]
    if kind == ERROR:
        errno = -struct.unpack_from("=i", buffer, HEADER.size)[0]
        return Refused(errno) if errno else None
    if kind != _PACKET:
        return None
    return _packet(buffer, length)


def _packet(buffer: bytes | bytearray, length: int) -> Queued:
    number, mark, ifindex, octets, is_cut = -1, 0, 0, b"", False
    at = _FIRST_ATTRIBUTE
    unpack = ATTRIBUTE.unpack_from
    while at + 4 <= length:
        size, kind = unpack(buffer, at)
        if size < 4 or at + size > length:
            raise WireError("queue attribute", at, "a length of 4 octets to what was read")
        kind &= 0x3FFF
        if kind == _PAYLOAD:
            octets = bytes(buffer[at + 4 : at + size])
        elif kind == _PACKET_HDR and size >= 11:
            number = _U32.unpack_from(buffer, at + 4)[0]
        elif kind == _MARK and size >= 8:
            mark = _U32.unpack_from(buffer, at + 4)[0]
        elif kind == _IFINDEX_INDEV and size >= 8:
            ifindex = _U32.unpack_from(buffer, at + 4)[0]
        elif kind == _CAP_LEN:
            is_cut = True
        at += (size + 3) & ~3
    if number < 0:
        raise WireError("queued packet", 0, "a number")
    return Queued(buffer[18] << 8 | buffer[19], number, octets, mark, ifindex, is_cut)


class _Shape(NamedTuple):
    """Where everything stands in the messages of packets that came in alike."""

    fields: struct.Struct
    """What is the same in all of them (types and lengths) and what is not, by turns; of the latter
    first queue, number, interface and mark."""
    same: tuple[bytes, ...]
    payload: int
    """Where the packet begins."""


class Reader:
    """Reads one message after another, as `read`: nearly all of them have the same attributes in
    the same places, and those are not looked for again."""

    def __init__(self) -> None:
        self._shapes: tuple[_Shape, ...] = ()
        self._lessons = 0

    def read(self, buffer: bytes | bytearray, length: int) -> Queued | Refused | None:
        """As the function of this name."""
        for fields, same, at in self._shapes:
            if not at <= length <= len(buffer):
                continue
            found = fields.unpack_from(buffer)
            end = at - 4 + _SIZE.unpack_from(buffer, at - 4)[0]
            if found[::2] == same and at <= end <= length < end + 4:
                queue, number, ifindex, mark = found[1:8:2]
                return _tuple(Queued, (queue, number, bytes(buffer[at:end]), mark, ifindex, False))
        got = read(buffer, length)
        if isinstance(got, Queued) and self._lessons < _MAX_LESSONS:
            self._lessons += 1
            self._learn(buffer, length)
        return got

    def _learn(self, buffer: bytes | bytearray, length: int) -> None:
        """Take note of where things stand, if they stand as they do nearly always."""
        form, places, at = "!4x2s12xH", [], _FIRST_ATTRIBUTE
        kind = 0
        while at + 4 <= length and kind != _PAYLOAD:
            size, kind = ATTRIBUTE.unpack_from(buffer, at)
            places.append(kind)
            at += (size + 3) & ~3
            if kind in _USUAL:
                form += f"4sI{(size + 3 & ~3) - 8}x"
            elif kind != _PAYLOAD:
                form += f"4s{(size + 3 & ~3) - 4}s"
        if places[:3] != _USUAL or places[-1] != _PAYLOAD or _CAP_LEN in places or at < length:
            return
        fields = struct.Struct(form + "0s2s2s")
        self._shapes += (_Shape(fields, fields.unpack_from(buffer)[::2], fields.size),)


def verdict_head(queue: int) -> bytes:
    """Write what all verdicts of one queue begin with."""
    header = HEADER.pack(_WHOLE_VERDICT.size, _VERDICT, REQUEST, 0, 0)
    return header + GENERIC.pack(0, 0, queue) + ATTRIBUTE.pack(12, _VERDICT_HDR)


def verdict(head: bytes, number: int, answer: int) -> bytes:
    """Write the verdict on a packet.

    Args:    head: its queue's; answer: DROP, or the mark with which it goes on.
    """
    if answer < 0:
        return _WHOLE_VERDICT.pack(head, _NF_DROP, number, _MARK_HEADER, 0)
    return _WHOLE_VERDICT.pack(head, _NF_ACCEPT, number, _MARK_HEADER, answer)


def bind(queue: int, copied_len: int, max_packets: int) -> tuple[bytes, ...]:
    """Write what opens a queue; each message is acknowledged.

    Args:    copied_len: octets of a packet that are copied, up to 65535; max_packets: how many
             wait at most; more are dropped, for the queue is told never to fail open.
    """
    return (
        _config(queue, attribute(_CFG_CMD, struct.pack("!BBH", _CMD_BIND, 0, 0))),
        _config(queue, attribute(_CFG_PARAMS, struct.pack("!IB", copied_len, _COPY_PACKET))),
        _config(queue, attribute(_CFG_QUEUE_MAXLEN, _U32.pack(max_packets))),
        _config(
            queue,
            # Without F_GSO the kernel cuts what comes in one piece but is several datagrams or
            # segments (UDP_SEGMENT, generic receive offload), and each of them is judged.
            attribute(_CFG_FLAGS, _U32.pack(0))
            + attribute(_CFG_MASK, _U32.pack(_F_GSO | _F_FAIL_OPEN)),
        ),
    )


def unbind(queue: int) -> bytes:
    """Write what closes a queue."""
    return _config(queue, attribute(_CFG_CMD, struct.pack("!BBH", _CMD_UNBIND, 0, 0)))


def _config(queue: int, attributes: bytes) -> bytes:
    return message(_CONFIG, REQUEST | ACK, 0, GENERIC.pack(0, 0, queue) + attributes)
