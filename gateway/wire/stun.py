"""STUN and TURN.  Owns: one message, or one ChannelData, → Content.
Knows: RFC 8489, 8656 (TURN, its peers and the datagrams it carries), 6062 (TURN over TCP); of
WhatsApp's dialect the token.
Never: ports, policy, streams, the addresses that a server tells: those are the public ones."""

from __future__ import annotations

from collections.abc import Callable

from gateway.errors import WireError
from gateway.model import UNKNOWN, Content, Identifier, IdentifierKind, Protocol, Traffic, canonical
from gateway.wire.cursor import Cursor

HEADER_LEN = 20
MAGIC_COOKIE = b"\x21\x12\xa4\x42"
# RFC 8489 section 5: two zero bits, then method and class interleaved.
_CLASS_BITS = 0x0110
_CLASSES = {
    0x0000: "Request",
    0x0010: "Indication",
    0x0100: "Success Response",
    0x0110: "Error Response",
}
_METHODS = {
    0x001: ("Binding", Traffic.PING),
    0x003: ("Allocate", Traffic.SIGNALLING),
    0x004: ("Refresh", Traffic.SIGNALLING),
    0x006: ("Send", Traffic.MEDIA),
    0x007: ("Data", Traffic.MEDIA),
    0x008: ("CreatePermission", Traffic.SIGNALLING),
    0x009: ("ChannelBind", Traffic.SIGNALLING),
    0x00A: ("Connect", Traffic.SIGNALLING),
    0x00B: ("ConnectionBind", Traffic.SIGNALLING),
    0x00C: ("ConnectionAttempt", Traffic.SIGNALLING),
}
_USERNAME, _PEER_ADDRESS, _DATA = 0x0006, 0x0012, 0x0013
# WhatsApp's, not registered: what a client shows to each relay of a call, the same to all of them.
_RELAY_TOKEN = 0x4000
# Octets of an address by its family (RFC 8489 section 14.1).
_ADDRESS_LENS = {1: 4, 2: 16}
# Each peer is looked up; a client asks for the few candidates of one call.
_MAX_PEERS = 16

Inside = Callable[[bytes], Content]
"""Recognises the datagram that a relay is asked to pass on; UNKNOWN if it cannot be told."""


def nothing_inside(_: bytes) -> Content:
    """Know no inner datagram: where nesting ends."""
    return UNKNOWN


def recognise(payload: bytes, inside: Inside = nothing_inside) -> Content | None:
    """Recognise a STUN message by its cookie; None if it is none.

    Returns: traffic and plaintext None if it does not fill the datagram exactly, or an attribute is
             malformed: that it is STUN is sure all the same.  Methods that no RFC of the card names
             (some apps have their own) give traffic None.  Peers of TURN are `addresses`.
    """
    if payload[4:8] != MAGIC_COOKIE or payload[0] > 0x3F:
        return None
    kind = payload[0] << 8 | payload[1]
    method = kind & ~_CLASS_BITS
    name, traffic = _METHODS.get(method) or (f"Method {method:#06x}", None)
    message = f"{name} {_CLASSES[kind & _CLASS_BITS]}"
    attributes = _Attributes(payload, inside)
    is_whole = int.from_bytes(payload[2:4], "big") == len(payload) - HEADER_LEN
    try:
        attributes.read(Cursor(payload, HEADER_LEN))
    except WireError:
        is_whole = False
    names, addresses = tuple(attributes.names), tuple(attributes.addresses)
    if not is_whole:
        return Content(Protocol.STUN, message, None, None, names, addresses)
    plaintext = tuple(attributes.found) if attributes.is_clear else None
    return Content(Protocol.STUN, message, traffic, plaintext, names, addresses)


def channel_data(payload: bytes, inside: Inside = nothing_inside) -> Content | None:
    """Recognise TURN ChannelData (RFC 8656 section 12.4): channel 4000..4FFF, less than 2 KiB of
    data, exact length, or padded to four octets; None if it is none.

    It carries what the datagram in it carries; None if that is unknown.
    """
    if len(payload) < 4 or payload[0] & 0xF0 != 0x40 or payload[2] > 7:
        return None
    data_len = payload[2] << 8 | payload[3]
    if len(payload) - 4 not in (data_len, (data_len + 3) // 4 * 4):
        return None
    if not data_len:
        return Content(Protocol.STUN, "ChannelData", Traffic.MEDIA, ())
    inner = inside(payload[4 : 4 + data_len])
    plaintext = shifted(inner.plaintext, 4)
    return Content(
        Protocol.STUN, "ChannelData", Traffic.MEDIA, plaintext, inner.names, inner.addresses
    )


def shifted(plaintext: tuple[Identifier, ...] | None, start: int) -> tuple[Identifier, ...] | None:
    """Give identifiers of a part in the coordinates of the whole; None stays None."""
    if not plaintext:
        return plaintext
    return tuple(Identifier(one.kind, one.offset + start, one.length) for one in plaintext)


class _Attributes:
    """What the attributes of one message tell, as far as they could be read."""

    def __init__(self, payload: bytes, inside: Inside) -> None:
        self.found: list[Identifier] = []
        self.names: dict[str, None] = {}
        self.addresses: dict[bytes, None] = {}
        self.is_clear = True
        """Whether all that is carried could be told."""
        self._payload = payload
        self._inside = inside

    def read(self, cursor: Cursor) -> None:
        """Walk type, length, value, padding to four octets (RFC 8489 section 14).

        Raises:  WireError: cut short, or a peer's address that is none.
        """
        while cursor.left:
            kind, length = cursor.big(2), cursor.big(2)
            value = cursor.part(length)
            if kind == _USERNAME and length:
                self.found.append(Identifier(IdentifierKind.ACCOUNT, value.at, length))
            elif kind == _RELAY_TOKEN and length:
                self.found.append(Identifier(IdentifierKind.TOKEN, value.at, length))
            elif kind == _PEER_ADDRESS:
                self._read_peer(value)
            elif kind == _DATA and length:
                self._look_inside(value)
            # The last attribute of some clients lacks its padding.
            cursor.skip(min(-length % 4, cursor.left))

    def _read_peer(self, value: Cursor) -> None:
        """Read XOR-PEER-ADDRESS: masked by cookie and transaction id (RFC 8489 section 14.2)."""
        value.skip(1)
        length = _ADDRESS_LENS.get(value.u8(), 0)
        value.skip(2)  # port
        if length != value.left or len(self.addresses) == _MAX_PEERS:
            raise WireError("peer", value.at, f"IPv4 or IPv6, at most {_MAX_PEERS} of them")
        masked = zip(value.take(length), self._payload[4:HEADER_LEN], strict=False)
        self.addresses[canonical(bytes(octet ^ mask for octet, mask in masked))] = None

    def _look_inside(self, value: Cursor) -> None:
        inner = self._inside(value.data[value.at : value.end])
        self.found += shifted(inner.plaintext, value.at) or ()
        self.is_clear &= inner.plaintext is not None
        self.names.update(dict.fromkeys(inner.names))
        self.addresses.update(dict.fromkeys(inner.addresses))
