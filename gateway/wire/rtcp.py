"""RTCP and SRTCP.  Owns: one compound datagram → Content, with the names in its SDES.
Knows: RFC 3550 section 6 and appendix A.2, 3711 (SRTCP), 4585, 5506 (reduced size), 5761.
Never: ports, policy."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.errors import WireError
from gateway.model import Content, Identifier, IdentifierKind, Protocol, Traffic
from gateway.wire.cursor import Cursor

_NAMES = {
    200: "SR",
    201: "RR",
    202: "SDES",
    203: "BYE",
    204: "APP",
    205: "RTPFB",
    206: "PSFB",
    207: "XR",
}
_SDES = 202
# Words (of 4 octets) of a sender's and a receiver's report before and in each of its blocks.
_REPORTS = {200: 6, 201: 1}
_BLOCK_WORDS = 6
# RFC 3550 section 6.5: CNAME, NAME, EMAIL, PHONE tell who it is; LOC, TOOL, NOTE, PRIV do not.
_ACCOUNT_ITEMS = frozenset({1, 2, 3, 4})


def recognise(payload: bytes) -> Content | None:
    """Recognise an RTCP or SRTCP datagram; None if it is none.

    The first packet must be whole and, if a report, hold the blocks it counts.  What follows is
    read while it is RTCP; in SRTCP it is ciphertext, and carries no identifiers in plaintext.  Of
    an SDES that fits and cannot be read nobody knows whom it names: plaintext None.
    """
    if len(payload) < 8 or payload[0] & 0xC0 != 0x80 or payload[1] not in _NAMES:
        return None
    words = int.from_bytes(payload[2:4], "big")
    least = 1
    if payload[1] in _REPORTS:
        least = _REPORTS[payload[1]] + _BLOCK_WORDS * (payload[0] & 0x1F)
    if words < least or 4 + 4 * words > len(payload):
        return None
    try:
        plaintext = tuple(one for packet in _descriptions(payload) for one in _chunks(*packet))
    except WireError:
        plaintext = None
    return Content(Protocol.RTCP, _NAMES[payload[1]], Traffic.MEDIA, plaintext)


def _descriptions(payload: bytes) -> Iterator[tuple[int, Cursor]]:
    """Give each SDES's count of chunks and body, up to where no packet of RTCP fits."""
    at, size = 0, len(payload)
    while size - at >= 4 and payload[at] & 0xC0 == 0x80 and payload[at + 1] in _NAMES:
        end = at + 4 + 4 * int.from_bytes(payload[at + 2 : at + 4], "big")
        if end > size:
            return
        if payload[at + 1] == _SDES:
            yield payload[at] & 0x1F, Cursor(payload, at + 4, end)
        at = end


def _chunks(count: int, cursor: Cursor) -> Iterator[Identifier]:
    for _ in range(count):
        yield from _chunk(cursor)


def _chunk(cursor: Cursor) -> Iterator[Identifier]:
    """Read one source's items up to the null octet, and its padding to four octets."""
    start = cursor.skip(4)
    while item := cursor.u8():
        length = cursor.u8()
        at = cursor.skip(length)
        if item in _ACCOUNT_ITEMS and length:
            yield Identifier(IdentifierKind.ACCOUNT, at, length)
    cursor.skip((start - cursor.at) % 4)
