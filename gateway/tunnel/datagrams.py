"""HTTP datagrams that carry UDP payload.  Owns: what stands before a payload, both ways.
Knows: RFC 9297 section 2.1 (quarter stream ids), RFC 9298 section 4 (context ids), RFC 9000 section
16 (integers).  Never: connections, flows.

All that a tunnel carries passes here one by one, which is why nothing is done twice.
"""

from __future__ import annotations

from aioquic._buffer import Buffer, BufferReadError
from aioquic.buffer import encode_uint_var

_UDP_PAYLOAD = b"\0"
"""Context id 0 (RFC 9298 section 4)."""


def heading(stream_id: int) -> bytes:
    """Give what stands before a UDP payload of a request stream."""
    quarter = stream_id >> 2
    if quarter < 0x40:
        return bytes((quarter, 0))
    if quarter < 0x4000:
        return bytes((0x40 | quarter >> 8, quarter & 0xFF, 0))
    return encode_uint_var(quarter) + _UDP_PAYLOAD


def read(data: bytes) -> tuple[int, bytes | None] | None:
    """Read one datagram.

    Returns: the stream, and the UDP payload, or None if it has another context's; None: it has no
             heading that can be read.
    """
    head = data[:3]
    if len(head) == 3:
        if head[0] < 0x40 and not head[1]:
            return head[0] << 2, data[2:]
        if 0x40 <= head[0] < 0x80 and not head[2]:
            return ((head[0] & 0x3F) << 8 | head[1]) << 2, data[3:]
    return _read_any(data)


def _read_any(data: bytes) -> tuple[int, bytes | None] | None:
    """Read one whose integers may be written longer than they need be, or are large."""
    buffer = Buffer(data=data)
    try:
        stream_id = buffer.pull_uint_var() * 4
    except BufferReadError:
        return None
    try:
        context = buffer.pull_uint_var()
    except BufferReadError:
        return stream_id, None
    return stream_id, data[buffer.tell() :] if context == 0 else None
