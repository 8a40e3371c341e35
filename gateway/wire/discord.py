"""Discord's voice.  Owns: one datagram beside its RTP → Content.
Knows: Discord's developer documentation, "Voice Connections" (IP Discovery); captures (the probe,
which is not documented).  Never: ports, policy, its RTP."""

from __future__ import annotations

from gateway.model import Content, Protocol, Traffic

_DISCOVERY_LEN = 74
_REQUEST, _RESPONSE = b"\0\1\0\x46", b"\0\2\0\x46"
_ADDRESS = slice(8, 72)
_PROBE_LEN = 8
_PROBE = b"\x13\x37\xca\xfe"
# A probe counts from 1, little-endian; where it counts higher, it may be no count.
_MAX_COUNT = 0xFFFF


def recognise(payload: bytes) -> Content | None:
    """Recognise an IP Discovery or a probe of a voice server; None if it is none.

    Returns: plaintext () where all of it was read: a source (SSRC) as in each RTP packet, no
             address, and a port that is noise; or a small count.  Else None.
    """
    if len(payload) == _PROBE_LEN:
        if not payload.startswith(_PROBE):
            return None
        count = int.from_bytes(payload[4:], "little")
        return Content(Protocol.DISCORD, "Probe", Traffic.PING, () if count <= _MAX_COUNT else None)
    if len(payload) != _DISCOVERY_LEN:
        return None
    if payload.startswith(_REQUEST):
        plaintext = None if any(payload[_ADDRESS]) else ()
        return Content(Protocol.DISCORD, "IP Discovery", Traffic.SIGNALLING, plaintext)
    if payload.startswith(_RESPONSE):
        return Content(Protocol.DISCORD, "IP Discovery Response", Traffic.SIGNALLING)
    return None
