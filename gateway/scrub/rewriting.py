"""Datagrams with pseudonyms.  Owns: a datagram → the same one with its identifiers exchanged, or
the reason why that cannot be done.  Knows: wire's recognisers, model's Forms.
Never: keys, days, flows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.errors import CarryError
from gateway.model import Content, Endpoint, Form, Identifier, IdentifierKind, Protocol, Transport
from gateway.scrub.pseudonyms import Pseudonyms
from gateway.wire import recognise

SCRUBBED_KINDS = frozenset(
    {
        IdentifierKind.USER_ID,
        IdentifierKind.ROOM_ID,
        IdentifierKind.DEVICE_ID,
        IdentifierKind.SESSION_ID,
    }
)
"""What gets a pseudonym."""
# It names the app and not who uses it, and without it the vendor serves nobody.
_KEPT_KINDS = frozenset({IdentifierKind.APP_ID})


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A datagram, rewritten."""

    payload: bytes
    originals: tuple[tuple[bytes, Form], ...]
    """The values that the client knows them by, each once."""


def exchange(
    payload: bytes, pseudonyms: Pseudonyms, endpoint: Endpoint, *, back: bool = False
) -> Exchanged:
    """Exchange identifiers for pseudonyms, or back; lengths and checksums (there are none inside)
    stay as they are.

    Args:    endpoint: the destination of what a client sent, or who answered.
    Raises:  CarryError: the datagram may hold identifiers that cannot be exchanged.
    """
    content = recognise(Transport.UDP, payload, endpoint.port)
    found = tuple(_exchangeable(content))
    if not found:
        return Exchanged(payload, ())
    octets, originals = bytearray(payload), dict[tuple[bytes, Form], None]()
    for one in found:
        place = slice(one.offset, one.offset + one.length)
        value = payload[place]
        other = pseudonyms.instead(value, one.kind, one.form, back=back)
        octets[place] = other
        originals[other if back else value, one.form] = None
    exchanged = bytes(octets)
    again = recognise(Transport.UDP, exchanged, endpoint.port)
    # What the vendor is to read must be read here as what it was.
    if again != content:
        raise CarryError("scrub", f"{content.message} with pseudonyms would be another message")
    return Exchanged(exchanged, tuple(originals))


def _exchangeable(content: Content) -> Iterator[Identifier]:
    """Give what is to be exchanged, by offset.

    Raises:  CarryError: something else identifies somebody, or may.
    """
    what = " ".join(part for part in (content.protocol, content.message) if part)
    if content.plaintext is None:
        raise CarryError("scrub", f"{what}: nobody knows where its identifiers are")
    end = 0
    for one in content.plaintext:
        if content.protocol is not Protocol.AGORA:
            raise CarryError("scrub", f"{what}: only agora's identifiers have pseudonyms")
        if one.offset < end:
            raise CarryError("scrub", f"{what}: a {one.kind} stands in another identifier")
        end = one.offset + one.length
        if one.kind in SCRUBBED_KINDS:
            yield one
        elif one.kind not in _KEPT_KINDS:
            raise CarryError("scrub", f"{what}: a {one.kind} is signed, or not to be exchanged")
