"""DNS.  Owns: one message, or the first of a TCP stream → Content, with the names it asks for.
Knows: RFC 1035 (messages, names, TCP), 2136 (update), 6762 (multicast), 6891 (OPT).
Never: ports, policy, resolving."""

from __future__ import annotations

from gateway.errors import WireError
from gateway.model import Content, Protocol, Traffic
from gateway.wire.cursor import Cursor
from gateway.wire.names import host_name

HEADER_LEN = 12
# Opcodes with the form of RFC 1035: query, inverse query, status, notify, update.
_OPCODES = frozenset({0, 1, 2, 4, 5})
_RESERVED_BIT = 0x0040
# No message of a client needs more; each record costs time.
_MAX_QUESTIONS, _MAX_RECORDS = 16, 512
# A first segment holds a few.
_MAX_MESSAGES = 16
# IN, CH, HS, NONE, ANY; multicast DNS uses the top bit.
_CLASSES = frozenset({1, 3, 4, 254, 255})
# RFC 1035 section 2.3.4.
_MAX_LABEL_LEN, _MAX_NAME_LEN = 63, 255
# A chain of pointers costs time without making a name longer; resolvers' names need a few.
_MAX_POINTERS = 32


def recognise(payload: bytes) -> Content | None:
    """Recognise a message that is well-formed to its last octet; None if it is none.

    Asked for: a known opcode, the reserved bit 0, at least one question or (an answer) record,
    classes that exist, and no octet too many.  A standard query's header is proof enough: what
    follows it may be malformed, and traffic and plaintext are then None.  A question that is no
    host name is no name either, and may tell anything: plaintext None.
    """
    # Nearly all that is none ends here: its counts' first octets are those of too many.
    if len(payload) <= HEADER_LEN or payload[4] or payload[6] > 2 or payload[8] > 2:
        return None
    flags = int.from_bytes(payload[2:4], "big")
    if flags & _RESERVED_BIT or flags >> 11 & 15 not in _OPCODES:
        return None
    questions = int.from_bytes(payload[4:6], "big")
    records = sum(int.from_bytes(payload[at : at + 2], "big") for at in (6, 8, 10))
    is_answer = bool(flags >> 15)
    if questions > _MAX_QUESTIONS or records > _MAX_RECORDS or not (questions or is_answer):
        return None
    names: dict[str | None, None] = {}
    try:
        _read(Cursor(payload, HEADER_LEN), questions, records, names)
    except WireError:
        if not _is_query(payload):
            return None
        return Content(Protocol.DNS, "query", None, None, tuple(filter(None, names)))
    message = "response" if is_answer else "query"
    plaintext = None if None in names else ()
    return Content(Protocol.DNS, message, Traffic.DNS, plaintext, tuple(filter(None, names)))


def stream(payload: bytes) -> Content | None:
    """Recognise the messages at the start of a TCP stream, each behind its length (RFC 1035
    section 4.2.2).

    Returns: the first one's message, the names of all; plaintext None where one is not whole.
    """
    contents: list[Content | None] = []
    at = 0
    while at < len(payload) and len(contents) < _MAX_MESSAGES:
        end = at + 2 + int.from_bytes(payload[at : at + 2], "big")
        contents.append(recognise(payload[at + 2 : end]) if end <= len(payload) else None)
        at = end
    first = contents[0] if contents else None
    if first is None or len(contents) == 1:
        return first
    is_clear = at >= len(payload) and all(one and one.plaintext is not None for one in contents)
    names = dict.fromkeys(name for one in contents if one for name in one.names)
    plaintext = () if is_clear else None
    return Content(Protocol.DNS, first.message, first.traffic, plaintext, tuple(names))


def _is_query(payload: bytes) -> bool:
    """Tell whether a header is one that clients write: 57 bits of it are fixed."""
    flags = payload[2] & 0xF8 | payload[3] & 0xCF
    counts = payload[4] | payload[6] | payload[8] | payload[10]
    return not flags and not counts and max(payload[5], payload[7], payload[9], payload[11]) < 16


def incomplete(payload: bytes) -> bool:
    """Tell whether these first bytes of a TCP stream may be a query that is not whole yet."""
    length = int.from_bytes(payload[:2], "big")
    if len(payload) >= 2 and (length <= HEADER_LEN or len(payload) >= 2 + length):
        return False
    flags = payload[4:6]
    if len(flags) == 2 and (flags[0] & 0x80 or flags[1] & 0x4F or flags[0] >> 3 not in _OPCODES):
        return False
    return payload[6:8] in (b"", b"\0", b"\0\1")


def _read(cursor: Cursor, questions: int, records: int, names: dict[str | None, None]) -> None:
    """Read a message to its end; into `names` what it asks for, None for what is no host name."""
    for _ in range(questions):
        name = _name(cursor)
        if name:
            names[host_name(name)] = None
        cursor.skip(2)  # type
        if cursor.big(2) & 0x7FFF not in _CLASSES:
            raise WireError("class", cursor.at, "one that exists")
    for _ in range(records):
        _name(cursor)
        cursor.skip(2 + 2 + 4)  # type, class (the size, in an OPT), time to live
        cursor.skip(cursor.big(2))
    if cursor.left or not questions + records:
        raise WireError("message", cursor.at, "the end")


def _name(cursor: Cursor) -> bytes:
    """Read a name; compressed parts may only point backwards, so that it ends (section 4.1.4)."""
    labels: list[bytes] = []
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
        # A dot inside a label would make another name of it.
        labels.append(reader.take(octet).replace(b".", b"\\"))
    return b".".join(labels)
