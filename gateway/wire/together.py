"""Many datagrams at once.  Owns: what `recognise` says of those that a few octets tell, by numpy.
Knows: agora's messages whose identifiers have one place.  Never: others: those it leaves open."""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray

from gateway.model import Content
from gateway.wire.agora import FIXED
from gateway.wire.agora_messages import HEADER_LEN
from gateway.wire.demultiplex import DNS_PORTS

Places = NDArray[numpy.int64]

# Ascending, so that they can be searched: svc and uri as one number, where cid stands, and the four
# contents, by whether cid and uid are there.
_TAGS = sorted(
    (int.from_bytes(tag, "little"), at, contents) for tag, (at, contents) in FIXED.items()
)
_NUMBERS = numpy.array([number for number, _, _ in _TAGS], dtype=numpy.uint32)
_CID_AT = numpy.array([at for _, at, _ in _TAGS])
_CONTENTS: tuple[Content | None, ...] = (None, *(one for _, _, four in _TAGS for one in four))


def octets_at(octets: bytes, kind: str) -> NDArray[Any]:
    """Give octets as numbers of a kind of numpy's, one beginning at each octet."""
    size = numpy.dtype(kind).itemsize
    return numpy.ndarray((max(0, len(octets) - size + 1),), kind, octets, 0, (1,))


def contents(
    octets: bytes, start: Places, end: Places, *ports: NDArray[numpy.uint16]
) -> list[Content | None]:
    """Tell what datagrams are; None: `recognise` has to be asked.

    Args:    start, end: where each stands in the octets; ports: of each, both.
    """
    length = end - start
    told = numpy.zeros(len(start), numpy.int64)
    is_open = length >= HEADER_LEN
    for port in ports:
        is_open &= ~numpy.isin(port, DNS_PORTS)
    which = numpy.nonzero(is_open)[0]
    which = which[octets_at(octets, "<u2")[start[which]] == length[which]]
    u32 = octets_at(octets, "<u4")
    tag = u32[start[which] + 2]
    number = numpy.minimum(numpy.searchsorted(_NUMBERS, tag), len(_NUMBERS) - 1)
    is_fixed = (_NUMBERS[number] == tag) & (length[which] >= _CID_AT[number] + 8)
    which, number = which[is_fixed], number[is_fixed]
    cid_at = start[which] + _CID_AT[number]
    has_cid, has_uid = u32[cid_at] != 0, u32[cid_at + 4] != 0
    told[which] = 1 + 4 * number + has_cid + 2 * has_uid
    return [_CONTENTS[one] for one in told.tolist()]
