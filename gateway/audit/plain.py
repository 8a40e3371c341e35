"""The plainest packets of a block, read together.  Owns: which frames of a block are unfragmented
UDP over IPv4 over Ethernet, where their payloads are, and what those are that a few octets tell.
Knows: the layout of these headers (IEEE 802.3, RFC 791, 768); numpy.
Never: flows, any other frame: `packets` reads those."""

from __future__ import annotations

from collections.abc import Iterator

import numpy

from gateway.evidence.capture import Block
from gateway.model import Content
from gateway.wire.together import contents, octets_at

_ETHERNET = 1
_HEADERS_LEN = 42
# Where the fields are, from the start of the frame.
_ETHERTYPE, _VERSION, _TOTAL_LEN, _PART, _PROTOCOL, _UDP_LEN = 12, 14, 16, 20, 23, 38
_ADDRESSES, _PORTS = 26, 34
_KEY_LEN = 12


Plain = tuple[float, int, bytes | None, int, int, Content | None]
"""A frame of a block, as a bare tuple, since there are millions: its time in seconds; its length on
the wire, link layer included; addresses and ports as they stand in it, None if it is not plain;
where in the block its payload begins and ends; what that is, None if the recognisers have to be
asked."""


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
    udp_len = u16[at + _UDP_LEN].astype(numpy.int64)
    is_plain = (
        (u16[at + _ETHERTYPE] == 0x0800)
        & (u8[at + _VERSION] == 0x45)
        & (u8[at + _PROTOCOL] == 17)
        & (u16[at + _PART] & 0x3FFF == 0)
        & (udp_len >= 8)
        & (udp_len <= u16[at + _TOTAL_LEN].astype(numpy.int64) - 20)
    )
    which, at, udp_len = which[is_plain], at[is_plain], udp_len[is_plain]
    keys: list[bytes | None] = [None] * len(times)
    known: list[Content | None] = [None] * len(times)
    for one, place in zip(which.tolist(), (at + _ADDRESSES).tolist(), strict=True):
        keys[one] = octets[place : place + _KEY_LEN]
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
