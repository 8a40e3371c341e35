"""Small texts of records.  Owns: addresses and ranges as text, JSON's spelling, what stands for a
prefix.  Knows: RFC 5952 (address text), RFC 8259 (JSON).  Never: policies, data: whoever spells
records needs no more than this."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable

from gateway.model import unpack

_FIRST_HALF_ZERO = bytes(8)

PREFIX_GAP = "\0"
"""What stands for a prefix in a text of evidence; JSON text never has it."""

UNSEEN = '"protocol":null,"message":null,"traffic":null,"plaintext":null'
"""What a payload is that nobody has seen."""

to_json = json.JSONEncoder(separators=(",", ":")).encode
"""Gives JSON text (RFC 8259) in ASCII, without spaces and line ends."""


def to_json_array(texts: Iterable[str]) -> str:
    """Give the JSON array of texts, as to_json does, in a third of the time."""
    return f"[{','.join(map(to_json, texts))}]"


def prefix_text(first: bytes, last: bytes) -> str:
    """Spell what PREFIX_GAP stands for."""
    return f'"prefix":"{range_text(first, last)}"'


def range_text(first: bytes, last: bytes) -> str:
    """Write a range as geo.partition.range_text does, in a fifth of the time."""
    number, size = int.from_bytes(first), int.from_bytes(last) - int.from_bytes(first) + 1
    if size & (size - 1) == 0 and number % size == 0:
        return f"{host_text(first)}/{8 * len(first) - size.bit_length() + 1}"
    return f"{host_text(first)}-{host_text(last)}"


def host_text(address: bytes) -> str:
    """Turn 4 or 16 octets into text (RFC 5952), as model.unpack does, in a fifth of the time."""
    if len(address) == 4:
        return socket.inet_ntoa(address)
    if address.startswith(_FIRST_HALF_ZERO):
        return unpack(address)  # the C library spells some of these with an IPv4 address in them
    return socket.inet_ntop(socket.AF_INET6, address)
