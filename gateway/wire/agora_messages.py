"""The messages of the vendor's plaintext protocol.  Owns: svc.uri → name, traffic, body → where
its identifiers are.  Knows: SDK 3.1.2 as captured: all little-endian, a string is u16 length and
octets, a map is u16 count of (u32 key, string).  Never: datagrams, streams, policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct

from gateway.errors import WireError
from gateway.model import Form, Identifier, IdentifierKind, Traffic
from gateway.wire.cursor import Cursor

_APP_ID = IdentifierKind.APP_ID
_DEVICE = IdentifierKind.DEVICE_ID
_ROOM = IdentifierKind.ROOM_ID
_SESSION = IdentifierKind.SESSION_ID
_TOKEN = IdentifierKind.TOKEN
_USER = IdentifierKind.USER_ID

identifier = lru_cache(maxsize=4_096)(Identifier)
"""The same place comes again and again, and to make a frozen value takes a microsecond."""

# Octets of every frame's header: u16 length, u16 svc, u16 uri.
HEADER_LEN = 6
_UNASSIGNED = bytes(4)

Layout = Callable[[bytes, int, int], Iterator[Identifier]]
"""(data, start, end of the frame) → its identifiers by offset; WireError where it is cut short."""


@dataclass(frozen=True, slots=True)
class Message:
    """One kind of frame."""

    name: str
    traffic: Traffic
    cid_at: int | None = None
    """Where u32 cid and right behind it u32 uid stand, from the frame's start; None: nowhere."""
    layout: Layout | None = None
    """Reads what has no fixed place; None: cid and uid are all there is."""


def _number(data: bytes, at: int, kind: IdentifierKind) -> Iterator[Identifier]:
    """Give a u32 identifier; 0 means that nothing is assigned yet."""
    if data[at : at + 4] != _UNASSIGNED:
        yield identifier(kind, at, 4, Form.U32)


def _string(cursor: Cursor, kind: IdentifierKind | None) -> Iterator[Identifier]:
    """Read a string; an empty one, or one without kind, is no identifier."""
    length = cursor.little(2)
    at = cursor.skip(length)
    if kind is not None and length:
        yield identifier(kind, at, length)


def _vendor(cursor: Cursor) -> Iterator[Identifier]:
    """Read the string that is the app id, or the whole token where the app uses tokens."""
    length = cursor.little(2)
    at = cursor.skip(length)
    if length:
        yield identifier(_vendor_kind(cursor.data, at, length), at, length)


def _vendor_kind(data: bytes, at: int, length: int) -> IdentifierKind:
    """A token begins with its version, "006" or "007"; an app id is 32 hexadecimal digits."""
    return _TOKEN if length > 32 and data[at : at + 2] == b"00" else _APP_ID


def _join(data: bytes, start: int, end: int) -> Iterator[Identifier]:
    cursor = Cursor(data, start + HEADER_LEN, end)
    cursor.skip(8)  # the client's clock, ms
    yield from _vendor(cursor)
    yield from _string(cursor, _ROOM)
    yield from _string(cursor, None)  # "info", the app's own words
    for _ in range(cursor.little(2)):
        cursor.skip(4)
        yield from _string(cursor, None)
    yield from _number(data, cursor.skip(4), _USER)


_LOGIN_DETAILS = {3: _DEVICE, 5: _SESSION, 14: _ROOM}
_LOGIN_VENDOR = 21
_LOGIN_KEYS = frozenset({*_LOGIN_DETAILS, _LOGIN_VENDOR})
_U16, _ENTRY = Struct("<H"), Struct("<IH")


def _login(data: bytes, start: int, end: int) -> Iterator[Identifier]:
    """Read the login's map; without a cursor, as it has some twenty entries in every login."""
    at = start + HEADER_LEN + 4 + 4 + 4 + 8  # cid, uid, protocol version, the client's clock
    if at + 2 > end:
        raise WireError("map", at, "its count")
    (count,) = _U16.unpack_from(data, at)
    at += 2
    for _ in range(count):
        if at + _ENTRY.size > end:
            raise WireError("map", at, "one more entry")
        key, length = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size + length
        if at > end:
            raise WireError("entry", at, "one that ends with the frame")
        if length and key in _LOGIN_KEYS:
            kind = _LOGIN_DETAILS.get(key) or _vendor_kind(data, at - length, length)
            yield identifier(kind, at - length, length)
    # The edge's ticket follows: opaque, made anew by the access point for each join.
    yield from _string(Cursor(data, at, end), None)


_SDK_KEYS = {
    b"device": _DEVICE,
    b"detail": _DEVICE,
    b"install_id": _DEVICE,
    b"session_id": _SESSION,
}


def _sdk_configuration(data: bytes, start: int, end: int) -> Iterator[Identifier]:
    cursor = Cursor(data, start + HEADER_LEN, end)
    cursor.skip(4)
    for _ in range(cursor.little(2)):
        key = cursor.take(cursor.little(2))
        if key == b"vendor":
            yield from _vendor(cursor)
        else:
            yield from _string(cursor, _SDK_KEYS.get(key))


def _report_addresses(data: bytes, start: int, end: int) -> Iterator[Identifier]:
    cursor = Cursor(data, start + HEADER_LEN, end)
    cursor.skip(4 + 8 + 4)  # flags, the client's clock, 0
    yield from _vendor(cursor)


def _probe_addresses(data: bytes, start: int, end: int) -> Iterator[Identifier]:
    cursor = Cursor(data, start + HEADER_LEN, end)
    cursor.skip(24)  # zeros but for one octet, in all captures
    yield from _string(cursor, _SESSION)


def _app_id_only(data: bytes, start: int, end: int) -> Iterator[Identifier]:
    yield from _vendor(Cursor(data, start + HEADER_LEN, end))


def _broadcast(data: bytes, start: int, end: int) -> Iterator[Identifier]:
    """Look into the frame in the frame: packet 0.8 carries a string that repeats the user's id."""
    cursor = Cursor(data, start + 20, end)
    if cursor.left < 18 or cursor.little(2) != end - start - 20 or cursor.little(4) != 8:
        return
    if cursor.little(2) == end - start - 28 == cursor.little(2):
        yield from _number(data, start + 34, _USER)


MESSAGES: dict[tuple[int, int], Message] = {
    # Its name is not in the public record; it goes to access points and holds the app id alone.
    (0, 28): Message("svc0/uri28", Traffic.SIGNALLING, layout=_app_id_only),
    (0, 42): Message("PCreateChannelAndGetAddrs_v5", Traffic.SIGNALLING, layout=_join),
    (0, 43): Message("PCreateChannelAndGetAddrs_Res_v5", Traffic.SIGNALLING, cid_at=10),
    (0, 54): Message("PAPCdsTdsReq", Traffic.SIGNALLING, layout=_sdk_configuration),
    (0, 63): Message("PGetReportAPAddrsReq", Traffic.SIGNALLING, layout=_report_addresses),
    # The last-mile probe's first step asks an access point for addresses: it measures nothing yet,
    # so it is signalling like the other requests to access points.
    (0, 67): Message("PGetAPAddrsReq7", Traffic.SIGNALLING, layout=_probe_addresses),
    (1, 3): Message("PQuitVos", Traffic.SIGNALLING, cid_at=6),
    (1, 20): Message("PPing2_v2", Traffic.PING, cid_at=6),
    (1, 71): Message("PLoginVos_v7", Traffic.SIGNALLING, cid_at=6, layout=_login),
    (1, 72): Message("PLoginVosRes_v3", Traffic.SIGNALLING, cid_at=10),
    (1, 97): Message("PBroadcastPacket3", Traffic.MEDIA, cid_at=6, layout=_broadcast),
    (1, 133): Message("PUsersStreamInfoReq", Traffic.SIGNALLING, cid_at=6),
    (1, 144): Message("PAudioData_v3", Traffic.MEDIA, cid_at=6),
    (1, 146): Message("PPing1_v7", Traffic.PING, cid_at=6),
    (1, 147): Message("PPong1_v7", Traffic.PING, cid_at=6),
    (1, 150): Message("PSyncCapabilitySetReq", Traffic.SIGNALLING, cid_at=14),
}
"""(svc, uri) → what is known of it."""
