"""QUIC.  Owns: one datagram that begins with a long header → Content.
Knows: RFC 8999 (invariants), 9000; what the hello in an Initial tells (quic_hello).
Never: ports, policy, short headers: they prove nothing."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.model import Content, Protocol, Traffic
from gateway.wire import quic_header, quic_hello
from gateway.wire.tls_hello import Hello

# Datagrams carry at least these; a lone long header is not worth a claim.
_MIN_LEN = 21
IN_PART = "ClientHello in part"
"""The message of an Initial whose ClientHello goes on, or began, in another datagram."""
# What is said of a connection is the client's choice: only what is known is repeated.
_KNOWN_PROTOCOLS = (b"h3", b"doq")
_WITHOUT_HELLO: dict[str, Content] = {
    message: Content(Protocol.QUIC, message, Traffic.OTHER, ())
    for message in ("Initial", "0-RTT", "Handshake", "Retry", "Version Negotiation")
}


def recognise(payload: bytes) -> Content | None:
    """Recognise a datagram whose first packet has a long header of a known version; else None.

    Traffic is other: media is told by its flow.  Names are those of the ClientHello if the Initial
    opens and holds it; an Initial that does not open (a later one of a connection) has none.
    """
    if payload[1:5] not in quic_header.VERSIONS or len(payload) < _MIN_LEN:
        return None  # nearly all datagrams end here
    packet = quic_header.read(payload)
    if packet is None:
        return None
    if packet.message == "Initial" and (hello := quic_hello.read((payload,))) is not None:
        return _content(hello)
    return _WITHOUT_HELLO[packet.message]


def recognise_together(payloads: Sequence[bytes]) -> Content | None:
    """Recognise a connection by its first datagrams, the first one first, of which each alone
    holds a part of the ClientHello; None if they are none.
    """
    hello = quic_hello.read(payloads)
    return None if hello is None else _content(hello)


def _content(hello: Hello) -> Content:
    message = "ClientHello"
    if not hello.is_whole:
        message = IN_PART
    elif known := [one for one in _KNOWN_PROTOCOLS if one in hello.protocols]:
        message += f" {known[0].decode('ascii')}"
    plaintext = () if hello.is_clear else None
    hides = hello.hides_name
    return Content(Protocol.QUIC, message, Traffic.OTHER, plaintext, hello.names, hides_name=hides)
