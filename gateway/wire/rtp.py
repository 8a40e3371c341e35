"""RTP and SRTP.  Owns: one datagram → Content, with more doubt than RFC 3550 asks for.
Knows: RFC 3550, 3551 (payload types), 5761 (which of them RTCP took), 8285 (extensions), 4571.
Never: ports, policy, a second datagram: whoever sees a flow may ask for two in order."""

from __future__ import annotations

from gateway.model import Content, Protocol, Traffic

HEADER_LEN = 12
# RFC 3551 tables 4 and 5: what is assigned, and the dynamic range; 64..95 is RTCP's (RFC 5761).
_PAYLOAD_TYPES = frozenset({0, *range(3, 19), 25, 26, 28, *range(31, 35), *range(96, 128)})
# A header has no magic number: 0x80 or 0x81 in front is all that noise must hit.  A client is no
# mixer, so more contributing sources than this are taken for noise.
_MAX_CSRC = 1
_ONE_BYTE_EXTENSION = b"\xbe\xde"
_CONTENT = Content(Protocol.RTP, "", Traffic.MEDIA, ())


def recognise(payload: bytes) -> Content | None:
    """Recognise an RTP or SRTP datagram; None if it is none, or not surely enough.

    Asked for: version 2; an assigned or dynamic payload type; at most one contributing source;
    an extension, if announced, of RFC 8285 form that fits; padding, if announced, that is there
    and is zeros (of SRTP it is ciphertext, and then refused).
    About 0.3 % of random datagrams pass.
    """
    length = len(payload)
    if length <= HEADER_LEN or payload[0] & 0xC0 != 0x80:
        return None
    if payload[1] & 0x7F not in _PAYLOAD_TYPES or payload[0] & 0x0F > _MAX_CSRC:
        return None
    at = HEADER_LEN + 4 * (payload[0] & 0x0F)
    if payload[0] & 0x10:
        profile = payload[at : at + 2]
        if profile != _ONE_BYTE_EXTENSION and profile[:1] != b"\x10":
            return None
        at += 4 + 4 * int.from_bytes(payload[at + 2 : at + 4], "big")
    if at > length or (payload[0] & 0x20 and not _is_padded(payload, at)):
        return None
    return _CONTENT


def source(payload: bytes) -> bytes:
    """Give what names the source of an RTP datagram, its SSRC: 4 octets, drawn by chance."""
    return payload[8:12]


def stream(payload: bytes) -> Content | None:
    """Recognise an RTP packet behind its length at the start of a TCP stream (RFC 4571)."""
    framed_len = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 + framed_len:
        return None
    return recognise(payload[2 : 2 + framed_len])


def _is_padded(payload: bytes, at: int) -> bool:
    count = payload[-1]
    return 0 < count <= len(payload) - at and not any(payload[-count:-1])
