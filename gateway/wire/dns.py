"""DNS.  Owns: one message, or the first of a TCP stream → Content, with the names it asks for.
Knows: RFC 1035 (messages, names, TCP), 2136 (update), 6762 (multicast), 6891 (OPT).
Never: ports, policy, resolving."""

from __future__ import annotations

from gateway.errors import WireError
from gateway.model import Content, Protocol, Traffic
from gateway.wire.cursor import Cursor

HEADER_LEN = 12
# Opcodes with the form of RFC 1035: query, inverse query, status, notify, update.
_OPCODES = frozenset({0, 1, 2, 4, 5})
_RESERVED_BIT = 0x0040
# No message of a client needs more; each record costs time.
_MAX_QUESTIONS, _MAX_RECORDS = 16, 512
# IN, CH, HS, NONE, ANY; multicast DNS uses the top bit.
_CLASSES = frozenset({1, 3, 4, 254, 255})
# RFC 1035 section 2.3.4.
_MAX_LABEL_LEN, _MAX_NAME_LEN = 63, 255
# A chain of pointers costs time without making a name longer; resolvers' names need a few.
_MAX_POINTERS = 32


def recognise(payload: bytes) -> Content | None:
    """Recognise a message that is well-formed to its last octet; None if it is none.

    Asked for: a known opcode, the reserved bit 0, at least one question or (an answer) record,
    classes that exist, and no octet too many.
    """
    if len(payload) <= HEADER_LEN:
        return None
    flags = int.from_bytes(payload[2:4], "big")
    if flags & _RESERVED_BIT or flags >> 11 & 15 not in _OPCODES:
        return None
    questions = int.from_bytes(payload[4:6], "big")
    records = sum(int.from_bytes(payload[at : at + 2], "big") for at in (6, 8, 10))
    is_answer = bool(flags >> 15)
    if questions > _MAX_QUESTIONS or records > _MAX_RECORDS or not (questions or is_answer):
        return None
    try:
        names = _read(Cursor(payload, HEADER_LEN), questions, records)
    except WireError:
        return None
    return Content(Protocol.DNS, "response" if is_answer else "query", Traffic.DNS, (), names)


def stream(payload: bytes) -> Content | None:
    """Recognise the first message of a TCP stream, behind its length (RFC 1035 section 4.2.2)."""
    length = int.from_bytes(payload[:2], "big")
    return recognise(payload[2 : 2 + length]) if len(payload) >= 2 + length else None


def incomplete(payload: bytes) -> bool:
    """Tell whether these first bytes of a TCP stream may be a query that is not whole yet."""
    length = int.from_bytes(payload[:2], "big")
    if len(payload) >= 2 and (length <= HEADER_LEN or len(payload) >= 2 + length):
        return False
    flags = payload[4:6]
    if len(flags) == 2 and (flags[0] & 0x80 or flags[1] & 0x4F or flags[0] >> 3 not in _OPCODES):
        return False
    return payload[6:8] in (b"", b"\0", b"\0\1")


def _read(cursor: Cursor, questions: int, records: int) -> tuple[str, ...]:
    names = []
    for _ in range(questions):
        names.append(_name(cursor))
        cursor.skip(2)  # type
        if cursor.big(2) & 0x7FFF not in _CLASSES:
            raise WireError("class", cursor.at, "one that exists")
    for _ in range(records):
        _name(cursor)
        cursor.skip(2 + 2 + 4)  # type, class (the size, in an OPT), time to live
        cursor.skip(cursor.big(2))
    if cursor.left or not questions + records:
        raise WireError("message", cursor.at, "the end")
    return tuple(dict.fromkeys(name for name in names if name))


def _name(cursor: Cursor) -> str:
    """Read a name; compressed parts may only point backwards, so that it ends (section 4.1.4)."""
    labels: list[str] = []
    reader, length, pointers = cursor, 0, 0
    while octet := reader.u8():
        if octet > _MAX_LABEL_LEN:
            target = (octet & 0x3F) << 8 | reader.u8()
            pointers += 1
            is_backwards = HEADER_LEN <= target < reader.at - 2
            if octet < 0xC0 or not is_backwards or pointers > _MAX_POINTERS:
                raise WireError("pointer", reader.at, "one that points backwards")
            reader = Cursor(reader.data, target, reader.at - 2)
            continue
        length += octet + 1
        if length >= _MAX_NAME_LEN:
            raise WireError("name", reader.at, f"at most {_MAX_NAME_LEN} octets")
        labels.append(_label(reader.take(octet)))
    return ".".join(labels)


def _label(octets: bytes) -> str:
    """Write a label as text; what is no printable ASCII, and a dot, as \\DDD (section 5.1)."""
    if octets.replace(b"-", b"").replace(b"_", b"").isalnum() and octets.isascii():
        return octets.decode("ascii").lower()
    return "".join(
        chr(octet).lower() if 0x21 <= octet <= 0x7E and octet != 0x2E else f"\\{octet:03}"
        for octet in octets
    )
