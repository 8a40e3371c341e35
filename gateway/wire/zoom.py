"""Zoom's media.  Owns: one datagram in the encapsulation of its media servers → Content.
Knows: "Enabling Passive Measurement of Zoom Performance in Production Networks" (IMC 2022).
Never: ports, policy, its other messages, which nobody documents."""

from __future__ import annotations

from gateway.model import Content, Protocol, Traffic
from gateway.wire import rtcp, rtp

# Server layer: type, number (2), unknown (4), direction: 0 to the server, 4 from it.
_MEDIA = 5
_DIRECTION_AT, _DIRECTIONS = 7, (0, 4)
_SERVER_LEN = 8
# Media layer, by its type: how long it is; RTP stands behind it.
_RTP_KINDS = {13: ("Screen", 27), 15: ("Audio", 19), 16: ("Video", 24)}
_RTCP_KINDS = {33: ("RTCP", 16), 34: ("RTCP", 16)}


def recognise(payload: bytes) -> Content | None:
    """Recognise media behind Zoom's two headers; None if it is none.

    Plaintext is None: a dozen octets of the headers are not understood.
    """
    if len(payload) <= _SERVER_LEN or payload[0] != _MEDIA:
        return None
    if payload[_DIRECTION_AT] not in _DIRECTIONS:
        return None
    kind = payload[_SERVER_LEN]
    if (layer := _RTP_KINDS.get(kind)) is not None:
        inner = rtp.recognise(payload[_SERVER_LEN + layer[1] :])
    elif (layer := _RTCP_KINDS.get(kind)) is not None:
        inner = rtcp.recognise(payload[_SERVER_LEN + layer[1] :])
    else:
        return None
    return None if inner is None else Content(Protocol.ZOOM, layer[0], Traffic.MEDIA)
