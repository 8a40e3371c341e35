"""WhatsApp's connection for messages.  Owns: the first bytes of a stream → Content, and when to
wait.  Knows: what its open-source clients publish (the Noise prologue "WA", and the routing
information that may stand before it).  Never: ports, policy, its calls: these are STUN and RTP."""

from __future__ import annotations

from gateway.model import Content, Protocol, Traffic

_ROUTING = b"ED\0\1"
_ROUTING_HEAD_LEN = 7
# Sixteen octets at most were seen.
_MAX_ROUTING_LEN = 64
_PROLOGUE = b"WA"
_PROLOGUE_LEN = 4
# Major version of the protocol: 1 of 2014, 2..6 later.  The minor one is a version of dictionaries.
_MAJORS = range(1, 8)
_MAX_MINOR = 15
# Type and length of the first message: a ClientHello of less than 64 KiB.
_LENGTH_LEN = 3


def recognise(payload: bytes) -> Content | None:
    """Recognise a client's first bytes; None if they are none, or too few.

    Plaintext is None: of the routing information, which stays the same, and of the first message
    nobody says what they tell.
    """
    start = _start(payload)
    head = payload[start : start + _PROLOGUE_LEN + _LENGTH_LEN]
    if len(head) < _PROLOGUE_LEN + _LENGTH_LEN or not _is_prologue(head):
        return None
    # Four octets prove too little: noise has them once in 5 million times, other software oftener.
    if head[_PROLOGUE_LEN] != 0:
        return None
    return Content(Protocol.WHATSAPP, "ClientHello", Traffic.SIGNALLING)


def incomplete(payload: bytes) -> bool:
    """Tell whether these first bytes may be a client's, and not enough."""
    if len(payload) < _ROUTING_HEAD_LEN and _ROUTING.startswith(payload[: len(_ROUTING)]):
        return True
    start = _start(payload)
    head = payload[start : start + _PROLOGUE_LEN + _LENGTH_LEN]
    if start == 0 and not head.startswith(_PROLOGUE[: len(head)]):
        return False
    if len(head) >= _PROLOGUE_LEN + _LENGTH_LEN:
        return False
    return _PROLOGUE.startswith(head[:2]) and (len(head) < _PROLOGUE_LEN or _is_prologue(head))


def _start(payload: bytes) -> int:
    """Give where the prologue begins."""
    if not payload.startswith(_ROUTING):
        return 0
    length = int.from_bytes(payload[len(_ROUTING) : _ROUTING_HEAD_LEN], "big")
    return _ROUTING_HEAD_LEN + length if 0 < length <= _MAX_ROUTING_LEN else 0


def _is_prologue(head: bytes) -> bool:
    return head.startswith(_PROLOGUE) and head[2] in _MAJORS and head[3] <= _MAX_MINOR
