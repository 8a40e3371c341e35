"""WireGuard.  Owns: one datagram → Content.
Knows: the WireGuard paper and protocol page (message types 1..4, their lengths; data is padded to
16 octets).  Never: ports, policy, what the tunnel carries."""

from __future__ import annotations

from gateway.model import Content, Protocol

# By type: its name and the only length that it has.
_HANDSHAKES = {
    b"\1\0\0\0": ("Handshake Initiation", 148),
    b"\2\0\0\0": ("Handshake Response", 92),
    b"\3\0\0\0": ("Cookie Reply", 64),
}
_DATA = b"\4\0\0\0"
# Header, and the tag of a keep-alive, which is empty.
_LEAST_DATA_LEN = 32
_PAD = 16
# What is as long as the link allows has no padding left; no link of IPv6 allows less than this.
_MAYBE_FULL_LEN = 1280
# A counter of eight octets begins at 0; 2^40 datagrams fill a 10 Gbit/s line for two weeks.
_COUNTER_AT, _COUNTER_END = 13, 16


def recognise(payload: bytes) -> Content | None:
    """Recognise a message by its type, three reserved octets and length; None if it is none.

    Asked of data also: a length of whole pads, and a counter below 2^40.  Traffic and plaintext are
    None: a tunnel carries anything to anywhere, and what is no WireGuard may begin like its data.
    """
    kind, length = payload[:4], len(payload)
    handshake = _HANDSHAKES.get(kind)
    if handshake is not None:
        name, want = handshake
        return Content(Protocol.WIREGUARD, name) if length == want else None
    if kind != _DATA or length < _LEAST_DATA_LEN:
        return None
    if length % _PAD and length < _MAYBE_FULL_LEN:
        return None
    if any(payload[_COUNTER_AT:_COUNTER_END]):
        return None
    return Content(Protocol.WIREGUARD, "Transport Data")
