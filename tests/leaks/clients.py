"""Clients for the tests of leaks.  Owns: captures replayed as one client or another.
Knows: the captures' own client addresses.  Never: what a finder says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from gateway.leaks import Finder
from gateway.model import Endpoint, Transport
from tests.wire.captures import packets

ALICE, BOB, CAROL = bytes([10, 98, 7, 2]), bytes([10, 98, 7, 3]), bytes([10, 98, 7, 4])
NOON_S = 43_200.0

UID, CID = bytes.fromhex("44332211"), bytes.fromhex("dec0ad0b")

Sent = tuple[float, Endpoint, bytes, bool]
Rewrite = Callable[[bytes], bytes]


def another(uid: bytes, cid: bytes = CID, text: bytes = b"1029471130") -> Rewrite:
    """Make a rewriting of a capture's user and room into another user's."""

    def rewrite(payload: bytes) -> bytes:
        return payload.replace(UID, uid).replace(CID, cid).replace(b"287454020", text)

    return rewrite


def datagrams(path: Path, client: str = "10.98.") -> list[Sent]:
    """Give (seconds since the first, the other side, payload, sent) of a capture's UDP."""
    found: list[Sent] = []
    first_s = None
    for one in packets(path):
        if one.transport is not Transport.UDP:
            continue
        first_s = one.time_s if first_s is None else first_s
        sent = one.source.host.startswith(client)
        other = one.destination if sent else one.source
        found.append((one.time_s - first_s, other, one.payload, sent))
    return found


def replay(
    finder: Finder, *clients: tuple[bytes, Iterable[Sent]], rewrite: dict[bytes, Rewrite]
) -> None:
    """Show a finder what several clients sent at the same time, in the order of time."""
    sent = sorted(
        (
            (time_s, client, to, rewrite.get(client, bytes)(payload), is_sent)
            for client, of in clients
            for time_s, to, payload, is_sent in of
        ),
        key=lambda one: one[0],
    )
    for time_s, client, to, payload, is_sent in sent:
        finder.seen(client, to, NOON_S + time_s, payload, is_sent, None)
