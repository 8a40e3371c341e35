"""Which recogniser looks at which bytes.  Owns: the order in which they are asked.
Knows: RFC 7983 and 9443 (the first octet tells), RFC 4571.  Never: what a protocol looks like."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gateway.model import UNKNOWN, Content, Protocol, Transport
from gateway.wire import (
    agora,
    discord,
    dns,
    dtls,
    gquic,
    http,
    json_report,
    portless,
    quic,
    rtcp,
    rtp,
    sd_rtn,
    sip,
    stun,
    stun_stream,
    telegram,
    tls,
    whatsapp,
    wireguard,
    zoom,
)
from gateway.wire.stun import Inside

# A stream that is still unclear then is judged as it is: Node.js and nginx allow no longer heads
# (16 KiB and 8 KiB), and a ClientHello of several post-quantum key shares stays below too.
MAX_FIRST_BYTES_LEN = 16 * 1024

DNS_PORTS = (53, 5353)

# An enum's member takes as long to ask for as a recogniser takes to say no.
_UDP, _TCP = Transport.UDP, Transport.TCP

Recogniser = Callable[[bytes], Content | None]


def _recognisers(first_octet: int, inside: Inside) -> tuple[Recogniser, ...]:
    """Give who is asked about datagrams that begin so, those with the longest proof first.

    DNS begins with a random id, but is read to its last octet: it comes before what is told by a
    few bits.
    """
    message = partial(stun.recognise, inside=inside)
    match first_octet:
        case 0:
            return message, sd_rtn.recognise, discord.recognise, dns.recognise
        case 5:
            return message, dns.recognise, zoom.recognise
        case octet if octet < 5:
            return message, dns.recognise, wireguard.recognise
        case 0x13:
            return message, discord.recognise, dns.recognise
        case octet if octet < 64 and octet & 0x09 == 0x09:
            return message, gquic.recognise, dtls.recognise, dns.recognise
        case octet if octet < 64:
            return message, dtls.recognise, dns.recognise
        case octet if octet < 80:
            return dns.recognise, partial(stun.channel_data, inside=inside), sip.recognise
        case octet if octet < 128:
            return dns.recognise, sip.recognise
        case octet if octet < 192:
            return quic.recognise, dns.recognise, rtcp.recognise, rtp.recognise
        case _:
            return quic.recognise, dns.recognise


def _recogniser_of_datagrams(inside: Inside) -> Inside:
    """Make what recognises a datagram, and the one in it as `inside` does."""
    by_first_octet = tuple(_recognisers(octet, inside) for octet in range(256))

    def recognise_datagram(payload: bytes) -> Content:
        content = agora.datagram(payload)  # its first octet is a length, so it is asked always
        if content is not None:
            return content
        if not payload:
            return UNKNOWN
        for recogniser in by_first_octet[payload[0]]:
            content = recogniser(payload)
            if content is not None:
                return content
        return (
            telegram.recognise(payload)
            or agora.resembles(payload)
            or json_report.recognise(payload)
            or UNKNOWN
        )

    return recognise_datagram


# A relay is asked to pass on a datagram, perhaps to another relay; deeper nobody goes.
_inner = _recogniser_of_datagrams(_recogniser_of_datagrams(stun.nothing_inside))
_datagram = _recogniser_of_datagrams(_inner)

_STREAMS: tuple[Recogniser, ...] = (
    tls.recognise,
    http.recognise,
    sip.recognise,
    agora.stream,
    partial(stun_stream.stream, inside=_inner),
    dns.stream,
    whatsapp.recognise,
    rtp.stream,
    json_report.recognise,
)
_INCOMPLETE = (
    tls.incomplete,
    http.incomplete,
    sip.incomplete,
    agora.incomplete,
    stun_stream.incomplete,
    dns.incomplete,
    whatsapp.incomplete,
)


def recognise(transport: Transport, payload: bytes, port: int = 0) -> Content:
    """Tell what a datagram, or the first bytes of a TCP stream, are.  Never raises.

    What has no ports is told by its transport, whatever the payload.

    Args:    port: the destination's, 0 if unknown; a hint only, nothing depends on it but who is
             asked first.
    Returns: UNKNOWN for all that no recogniser is sure of.
    """
    if transport is not _UDP:
        if transport is _TCP:
            return _first_of(_STREAMS, payload)
        return portless.recognise(transport)
    if port in DNS_PORTS and (content := dns.recognise(payload)) is not None:
        return content
    return _datagram(payload)


def messages(first_bytes: bytes) -> tuple[Content, ...]:
    """Tell which messages stand in the first bytes of a TCP stream, offsets from its start.

    Of frames behind one another each one is told; of other protocols what `recognise` gives.
    """
    first = recognise(Transport.TCP, first_bytes)
    return agora.frames(first_bytes) if first.protocol is Protocol.AGORA else (first,)


def wants_more(first_bytes: bytes) -> bool:
    """Tell whether these first bytes of a TCP stream are a legal beginning that more bytes would
    make clearer.  False from 16 KiB on, so whoever waits has a bound.
    """
    if len(first_bytes) >= MAX_FIRST_BYTES_LEN:
        return False
    return any(incomplete(first_bytes) for incomplete in _INCOMPLETE)


def _first_of(recognisers: tuple[Recogniser, ...], payload: bytes) -> Content:
    for recogniser in recognisers:
        content = recogniser(payload)
        if content is not None:
            return content
    return UNKNOWN
