"""The hello in a client's Initials.  Owns: its first datagrams → the names in its ClientHello.
Knows: RFC 9000 section 19 (frames), gQUIC's crypto frames.
Never: other packets, how the protection comes off, for how long datagrams are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.errors import WireError
from gateway.wire import gquic, quic_header, quic_protection, tls_hello
from gateway.wire.cursor import Cursor
from gateway.wire.quic_header import LATE_GOOGLE, Q046, LongHeader, integer
from gateway.wire.tls_hello import Hello

# Initials in one datagram: a client has one, or a few that it did not merge.
_MAX_PACKETS = 4
# Some clients cut their hello into a dozen frames and shuffle them; each frame costs time.
_MAX_FRAMES = 128
# A ClientHello with several post-quantum key shares stays below it, as over TCP.
_MAX_HELLO_LEN = 16 * 1024
_PADDING, _PING, _ACK, _ACK_ECN, _CRYPTO = 0, 1, 2, 3, 6
_GOOGLE_CRYPTO = 8
_CLIENT_HELLO = 1
_HANDSHAKE_HEADER_LEN = 4

_Piece = tuple[int, bytes]
"""(offset in the handshake, octets)."""


def read(datagrams: Sequence[bytes]) -> Hello | None:
    """Read the ClientHello that a client's first datagrams carry, or a part of it.

    Args:    datagrams: of one connection, the first one first; its keys come from that one's id.
    Returns: None if it is something else, or one of them does not open.
    """
    first = quic_header.read(datagrams[0])
    if first is None or first.message != "Initial":
        return None
    if first.version == Q046:
        return gquic.hello(datagrams[0][first.number_at :])  # nothing is encrypted in it
    keys = quic_protection.client_keys(first.version, first.destination_id)
    if keys is None:
        return None
    pieces: list[_Piece] = []
    for payload in datagrams:
        frames = [quic_protection.opened(payload, one, keys) for one in _initials(payload)]
        if not any(frames):
            return None  # of another connection
        for one in filter(None, frames):
            pieces += _pieces(one, first.version in LATE_GOOGLE)
    if not pieces:
        return None
    handshake = _joined(pieces)
    if not handshake:
        return Hello()  # its beginning is in another datagram
    return gquic.hello(handshake) if first.version == b"Q050" else _client_hello(handshake)


def _initials(payload: bytes) -> Iterator[LongHeader]:
    at = 0
    for _ in range(_MAX_PACKETS):
        packet = quic_header.read(payload, at)
        if packet is None or packet.message != "Initial":
            return
        yield packet
        at = packet.end


def _pieces(frames: bytes, of_google: bool) -> list[_Piece]:
    """Give what the crypto frames carry, up to where a frame is none that an Initial may have."""
    found: list[_Piece] = []
    cursor = Cursor(frames)
    crypto = _GOOGLE_CRYPTO if of_google else _CRYPTO
    try:
        for _ in range(_MAX_FRAMES):
            cursor.at = len(frames) - len(frames[cursor.at :].lstrip(b"\0"))  # padding
            kind = cursor.u8()
            if kind == crypto:
                offset = integer(cursor)
                found.append((offset, cursor.take(integer(cursor))))
            elif kind in (_ACK, _ACK_ECN) and not of_google:
                _skip_ack(cursor, kind)
            elif kind != _PING:
                break
    except WireError:
        pass  # the frames end here
    return found


def _skip_ack(cursor: Cursor, kind: int) -> None:
    integer(cursor)  # largest
    integer(cursor)  # delay
    ranges = integer(cursor)
    if ranges > _MAX_FRAMES:
        raise WireError("ranges", cursor.at, f"at most {_MAX_FRAMES}")
    for _ in range(1 + 2 * ranges + (3 if kind == _ACK_ECN else 0)):
        integer(cursor)


def _joined(pieces: list[_Piece]) -> bytes:
    """Join the pieces from the start on, up to the first gap."""
    joined = bytearray()
    for offset, octets in sorted(pieces, key=lambda piece: piece[0]):
        if offset > len(joined) or len(joined) >= _MAX_HELLO_LEN:
            break
        joined += octets[len(joined) - offset :]
    return bytes(joined)


def _client_hello(handshake: bytes) -> Hello | None:
    """Read what there is of a ClientHello; None if it is something else."""
    if handshake[:1] != bytes((_CLIENT_HELLO,)):
        return None
    end = _HANDSHAKE_HEADER_LEN + int.from_bytes(handshake[1:_HANDSHAKE_HEADER_LEN], "big")
    hello = tls_hello.read(Cursor(handshake, _HANDSHAKE_HEADER_LEN, end))
    hello.is_whole &= len(handshake) >= end
    return hello
