"""The plainest packets of a block, read together.  Owns: which frames of a block are unfragmented
UDP and TCP over IPv4 over Ethernet; where datagrams' payloads are, and what those are that a few
octets tell.  Knows: the layout of these headers (IEEE 802.3, RFC 791, 768, 9293); numpy.
Never: flows, any other frame: `packets` reads those."""

from __future__ import annotations

from collections.abc import Iterator

import numpy

from gateway.audit.packets import TCP_MARK
from gateway.evidence.capture import Block
from gateway.model import Content
from gateway.wire.together import Places, contents, octets_at

_ETHERNET = 1
_HEADERS_LEN = 42
# Where the fields are, from the start of the frame.
_ETHERTYPE, _VERSION, _TOTAL_LEN, _PART, _PROTOCOL, _UDP_LEN = 12, 14, 16, 20, 23, 38
_ADDRESSES, _PORTS = 26, 34
_KEY_LEN = 12
# TCP's header, without options, ends here; its flags.
_TCP_LEN, _TCP_FLAGS, _SYN = 54, 47, 2


Plain = tuple[float, int, bytes | None, int, int, Content | None]
"""A frame of a block, as a bare tuple, since there are millions: its time in seconds; its length on
the wire, link layer included; its flow's key, None if it is not plain; where in the block a
datagram's payload begins and ends; what that is, None if the recognisers have to be asked."""


def plain(block: Block, *, recognises: bool) -> tuple[Iterator[Plain], int]:
    """Read a block's frames as far as they are plain.

    Args:    recognises: tell contents too.
    Returns: one for each, and how many were captured cut short.
    """
    octets = block.octets
    times, links, starts, ends, originals = zip(*block.rows, strict=True)
    start, end = numpy.array(starts), numpy.array(ends)
    length = numpy.maximum(numpy.array(originals), end - start)
    which = numpy.nonzero((numpy.array(links) == _ETHERNET) & (end - start >= _HEADERS_LEN))[0]
    at = start[which]
    u8, u16 = octets_at(octets, "u1"), octets_at(octets, ">u2")
    is_whole = (
        (u16[at + _ETHERTYPE] == 0x0800)
        & (u8[at + _VERSION] == 0x45)
        & (u16[at + _PART] & 0x3FFF == 0)
    )
    total_len, protocol = u16[at + _TOTAL_LEN].astype(numpy.int64), u8[at + _PROTOCOL]
    udp_len = u16[at + _UDP_LEN].astype(numpy.int64)
    is_udp = is_whole & (protocol == 17) & (udp_len >= 8) & (udp_len <= total_len - 20)
    keys: list[bytes | None] = [None] * len(times)
    known: list[Content | None] = [None] * len(times)
    _keep_keys(keys, octets, which[is_udp], at[is_udp], b"")
    is_tcp = is_whole & (protocol == 6) & (total_len >= 40) & (end[which] - at >= _TCP_LEN)
    is_tcp[is_tcp] = u8[at[is_tcp] + _TCP_FLAGS] & _SYN == 0
    _keep_keys(keys, octets, which[is_tcp], at[is_tcp], TCP_MARK)
    which, at, udp_len = which[is_udp], at[is_udp], udp_len[is_udp]
    stop = end.copy()
    stop[which] = numpy.minimum(end[which], at + _PORTS + udp_len)
    if recognises:
        told = contents(
            octets, at + _HEADERS_LEN, stop[which], u16[at + _PORTS], u16[at + _PORTS + 2]
        )
        for one, content in zip(which.tolist(), told, strict=True):
            known[one] = content
    rows = zip(
        times,
        length.tolist(),
        keys,
        (start + _HEADERS_LEN).tolist(),
        stop.tolist(),
        known,
        strict=True,
    )
    return rows, int(numpy.count_nonzero(length > end - start))


def _keep_keys(
    keys: list[bytes | None], octets: bytes, which: Places, at: Places, mark: bytes
) -> None:
    for one, place in zip(which.tolist(), (at + _ADDRESSES).tolist(), strict=True):
        keys[one] = octets[place : place + _KEY_LEN] + mark
