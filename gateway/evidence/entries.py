"""Entries of a spool.  Owns: decisions and what is said once for many of them ⇄ octets, in frames.
Knows: CRC-32 (zlib).  Never: files; JSON's words; clients' addresses, payloads.

A frame is its length and its check, then entries; it is there whole, or it is not there.  A text
that many decisions share is an entry of its own, and they name it by its number in the spool."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gateway.errors import DataError

HEAD, TEXT, LINE, DECIDED, COUNTS = b"H", b"T", b"L", b"D", b"C"
"""Kinds: what spool this is; a text; a record, spelled; a decision, which is a record too; what was
counted so far."""

_FRAME = struct.Struct("!II")
_LONG = struct.Struct("!cI")
_LENGTH = struct.Struct("!I")
_DECISION = struct.Struct("!cQ5sBHIIIIIII")
_DESTINATION = struct.Struct("!IBB")
# A batch has 0.3 MB at most; a length beyond this is no length.
_MAX_FRAME_LEN = 16 << 20

NO_TEXT = 0xFFFFFFFF
"""Instead of a text's number: there is none."""


class Decision(NamedTuple):
    """One decision; what is a number of a text says so."""

    time_ms: int
    """Since 1970, UTC."""
    client: bytes
    """The pseudonym's 5 octets."""
    transport: int
    """Its place among the transports."""
    port: int
    content: int
    """A text: what its payload is."""
    member: int
    """A text: to which jurisdictions the destination belongs."""
    doubts: int
    """A text: to which it may, and why."""
    verdict: int
    """A text."""
    revisions: int
    """A text: of policy and data."""
    plaintext: bytes
    """JSON text, if there is any."""
    names: bytes
    """JSON text, if there are any."""
    destination: Destination


class Destination(NamedTuple):
    """Whose a destination is."""

    evidence: int
    """A text: what all sources say, the prefix left out if there is one."""
    address: bytes
    """4 or 16 octets."""
    first: bytes
    """The first address of the prefix; b"": the evidence has prefixes of its own."""
    last: bytes


def long(kind: bytes, text: str) -> bytes:
    """Write an entry that is a text: any but a decision."""
    octets = text.encode("ascii")
    return _LONG.pack(kind, len(octets)) + octets


def destination(whose: Destination) -> bytes:
    """Write a destination, as decisions end with it."""
    head = _DESTINATION.pack(whose.evidence, len(whose.address), len(whose.first))
    return head + whose.address + whose.first + whose.last


pack_decision = _DECISION.pack
"""Writes a decision but for its destination and texts: DECIDED, the fields of Decision as they
stand there, lengths instead of `plaintext` and `names`; then come destination, plaintext, names."""


def frame(entries: Sequence[bytes]) -> bytes:
    """Put entries together so that all of them are there, or none."""
    body = b"".join(entries)
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def frames(octets: bytes, where: str) -> Iterator[tuple[bytes, int]]:
    """Give the bodies of whole frames, each with where it ends.

    Raises:  DataError: a frame is whole by its length, and is not what was written.
    """
    at = 0
    while at + _FRAME.size <= len(octets):
        length, check = _FRAME.unpack_from(octets, at)
        end = at + _FRAME.size + length
        if length > _MAX_FRAME_LEN or not length:
            raise DataError(where, f"has a frame of {length} octets", f"1..{_MAX_FRAME_LEN}")
        if end > len(octets):
            return
        body = octets[at + _FRAME.size : end]
        if zlib.crc32(body) != check:
            raise DataError(where, "has a frame that is not what was written", "its CRC-32")
        yield body, end
        at = end


def entries(body: bytes, where: str) -> Iterator[tuple[bytes, str | Decision]]:
    """Read a frame's entries: the kind of each, and its text, or the decision.

    Raises:  DataError: it has others.
    """
    at = 0
    try:
        while at < len(body):
            kind = body[at : at + 1]
            if kind == DECIDED:
                decision, at = _decision(body, at)
                yield kind, decision
                continue
            if kind not in (HEAD, TEXT, LINE, COUNTS):
                raise DataError(where, f"has an entry of kind {kind!r}", "one of this version")
            begin = at + _LONG.size
            at = begin + _LENGTH.unpack_from(body, at + 1)[0]
            if at > len(body):
                raise DataError(where, "has an entry that goes beyond its frame", "a whole one")
            yield kind, body[begin:at].decode("ascii")
    except (struct.error, UnicodeDecodeError) as error:
        raise DataError(where, f"has no entry where one should be ({error})", "one") from error


def _decision(body: bytes, at: int) -> tuple[Decision, int]:
    _, *fields, plaintext_len, names_len = _DECISION.unpack_from(body, at)
    at += _DECISION.size
    evidence, address_len, prefix_len = _DESTINATION.unpack_from(body, at)
    at += _DESTINATION.size
    parts = []
    for length in (address_len, prefix_len, prefix_len, plaintext_len, names_len):
        parts.append(body[at : at + length])
        at += length
    if at > len(body):
        raise struct.error("a decision is cut off")
    address, first, last, plaintext, names = parts
    whose = Destination(evidence, address, first, last)
    return Decision._make((*fields, plaintext, names, whose)), at
