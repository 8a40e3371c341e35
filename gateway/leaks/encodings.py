"""How a value may be written on the wire.  Owns: a value in text → its encodings, as octets.
Knows: RFC 4648 (base16, base64), RFC 3986 (percent-encoding), RFC 8259 (JSON escapes), protobuf's
varint, BCD, RFC 9562 (UUID).  Never: packets."""

from __future__ import annotations

import base64
import json
import re
import struct
import urllib.parse
import uuid
from collections.abc import Iterator

_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
# RFC 3986 section 2.3: nobody escapes these one by one, nor does JSON.
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]+")
_DECIMAL = re.compile(r"0|-?[1-9][0-9]{0,19}")

MIN_LEN = 3
"""Octets of the shortest encoding that is searched for: shorter ones are everywhere."""


def encodings(text: str) -> dict[bytes, str]:
    """Give each way to write a value → its name; the first name stands where two are the same."""
    found: dict[bytes, str] = {}
    for name, octets in _all(text):
        if len(octets) >= MIN_LEN:
            found.setdefault(octets, name)
    return found


def of_octets(value: bytes) -> dict[bytes, str]:
    """Give each way to write a value that is no text (a binary id)."""
    found = {value: "octets"} if len(value) >= MIN_LEN else {}
    for name, octets in _wrapped(value):
        if len(octets) >= MIN_LEN:
            found.setdefault(octets, name)
    return found


def _all(text: str) -> Iterator[tuple[str, bytes]]:
    octets = text.encode()
    yield "text", octets
    for cased in {text.lower(), text.upper()} - {text}:
        yield "text of another case", cased.encode()
    yield "UTF-16 little-endian", text.encode("utf-16-le")
    yield "UTF-16 big-endian", text.encode("utf-16-be")
    yield from _escaped(text)
    yield from _wrapped(octets)
    if _UUID.fullmatch(text):
        yield from _of_uuid(uuid.UUID(text))
    if _DECIMAL.fullmatch(text):
        yield from _of_number(int(text))


def _escaped(text: str) -> Iterator[tuple[str, bytes]]:
    if not _UNRESERVED.fullmatch(text):
        yield from _quoted(text)
    yield (
        "percent-encoding of each octet",
        "".join([f"%{octet:02X}" for octet in text.encode()]).encode(),
    )


def _quoted(text: str) -> Iterator[tuple[str, bytes]]:
    for safe in ("", "/", "@"):
        quoted = urllib.parse.quote(text, safe=safe)
        yield "percent-encoding", quoted.encode()
        yield "percent-encoding", re.sub("%..", lambda hit: hit[0].lower(), quoted).encode()
    yield "percent-encoding", urllib.parse.quote_plus(text).encode()
    yield "JSON escapes", json.dumps(text)[1:-1].encode()


def _wrapped(octets: bytes) -> Iterator[tuple[str, bytes]]:
    yield "hex", octets.hex().encode()
    yield "hex", octets.hex().upper().encode()
    for before in range(3):
        yield "base64", _base64(octets, before)
        yield "base64url", _base64(octets, before).translate(bytes.maketrans(b"+/", b"-_"))


def _base64(octets: bytes, before: int) -> bytes:
    """Give the characters that depend on these octets alone, `before` octets from an alignment."""
    whole = base64.b64encode(bytes(before) + octets)
    return whole[(before * 8 + 5) // 6 : (before + len(octets)) * 8 // 6]


def _of_uuid(value: uuid.UUID) -> Iterator[tuple[str, bytes]]:
    for text in (str(value), value.hex):
        yield "UUID", text.encode()
        yield "UUID", text.upper().encode()
    yield "UUID, 16 octets", value.bytes
    yield "UUID, 16 octets, first three fields little-endian", value.bytes_le
    yield from _wrapped(value.bytes)


def _of_number(number: int) -> Iterator[tuple[str, bytes]]:
    for bits, letter in ((32, "i"), (64, "q")):
        for name, order in (("little-endian", "<"), ("big-endian", ">")):
            form = letter if number < 0 else letter.upper()
            try:
                yield f"u{bits} {name}", struct.pack(order + form, number)
            except struct.error:
                continue
    if not 0 <= number < 1 << 64:
        return
    yield "varint", _varint(number)
    yield "varint, zigzag", _varint(number << 1)
    yield "hex number", f"{number:x}".encode()
    yield "hex number", f"{number:X}".encode()
    yield from _of_digits(str(number))


def _of_digits(digits: str) -> Iterator[tuple[str, bytes]]:
    """Binary-coded decimal: padded in front (packed), or behind with nibbles swapped (TBCD,
    3GPP TS 29.002), as telephony has it."""
    packed = bytes.fromhex(digits if len(digits) % 2 == 0 else "0" + digits)
    yield "BCD", packed
    swapped = bytes.fromhex(digits if len(digits) % 2 == 0 else digits + "f")
    yield "BCD, nibbles swapped", bytes(octet >> 4 | (octet & 15) << 4 for octet in swapped)


def _varint(number: int) -> bytes:
    octets = bytearray()
    while number > 127:
        octets.append(number & 127 | 128)
        number >>= 7
    octets.append(number)
    return bytes(octets)
