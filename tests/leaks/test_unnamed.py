"""gateway.leaks.unnamed on protocols made up: identifiers are found, what resembles them is not."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.leaks import Certainty, Finding, Limits, Scope, UnnamedFinder
from gateway.model import Endpoint
from tests.leaks.clients import ALICE, BOB, CAROL
from tests.support.rows import rows

SERVERS = [Endpoint.of(f"192.0.2.{host}", 4000 + host) for host in range(1, 8)]
IDENTIFIED = (Scope.USER, Scope.ROOM, Scope.SESSION)

Payloads = Callable[[random.Random, bytes, int, Endpoint], bytes]
"""(chance, client, number, to) → one datagram."""


def talk(
    payloads: Payloads, clients: tuple[bytes, ...], seed: int = 1, count: int = 84
) -> UnnamedFinder:
    """Have clients send some datagrams to each server over 21 seconds."""
    finder = UnnamedFinder()
    chances = {client: random.Random(f"{seed} {client.hex()}") for client in clients}
    for number in range(count):
        for client in clients:
            to = SERVERS[number % len(SERVERS)]
            payload = payloads(chances[client], client, number, to)
            finder.seen(client, to, 1_000.0 + number / 4, payload, True, None)
    return finder


def identified(finder: UnnamedFinder) -> list[Finding]:
    """Give the findings of users, rooms and sessions."""
    return [one for one in finder.findings() if one.scope in IDENTIFIED]


def covers(finding: Finding, length: int, offset: int, width: int = 4) -> bool:
    """Tell whether a finding points at these octets of datagrams of this length."""
    return any(
        span.shortest <= length <= span.longest
        and span.offset <= offset
        and span.offset + span.length >= offset + width
        for span in finding.spans
    )


@given(
    st.integers(0, 2**32),
    st.integers(2, 5),
    st.lists(st.binary(min_size=4, max_size=4), min_size=2, max_size=5, unique=True),
    st.integers(6, 40),
)
@settings(deadline=None, max_examples=30)
def _users_found(seed: int, clients: int, ids: list[bytes], offset: int) -> None:
    """Check that whatever the ids and wherever they stand, users are found."""
    assume(
        all(sum(a != b for a, b in zip(x, y, strict=True)) == 4 for x in ids for y in ids if x != y)
    )
    names = [bytes([10, 0, 0, number]) for number in range(min(clients, len(ids)))]
    by_client = dict(zip(names, ids, strict=False))

    def payload(chance: random.Random, client: bytes, number: int, to: Endpoint) -> bytes:
        head = b"\x38\x01\x92" + number.to_bytes(2, "little") + bytes(offset - 5)
        return (
            head + by_client[client] + number.to_bytes(2, "little") + b"\x01" + chance.randbytes(9)
        )

    found = identified(talk(payload, tuple(names), seed))
    assert [one.scope for one in found] == [Scope.USER], found
    assert covers(found[0], offset + 16, offset), found
    assert found[0].clients == tuple(sorted(names))


def rtp(chance: random.Random, client: bytes, number: int, to: Endpoint) -> bytes:
    """RTP, one SSRC for all destinations."""
    ssrc = random.Random(client).randbytes(4)
    return (
        struct.pack(">BBHI", 0x80, 111, number, number * 960 + client[3] * 7**9)
        + ssrc
        + chance.randbytes(80)
    )


def quic(chance: random.Random, client: bytes, number: int, to: Endpoint) -> bytes:
    """QUIC after the handshake: a connection id for each server, protected first octet."""
    dcid = random.Random(client + bytes(to.address)).randbytes(8)
    return bytes([0x40 | chance.randrange(64)]) + dcid + chance.randbytes(60 + chance.randrange(4))


def wireguard(chance: random.Random, client: bytes, number: int, to: Endpoint) -> bytes:
    """WireGuard's transport data: the peer's index for each server, a counter."""
    index = random.Random(client + bytes(to.address)).randbytes(4)
    return b"\4\0\0\0" + index + struct.pack("<Q", number) + chance.randbytes(112)


def dtls(chance: random.Random, client: bytes, number: int, to: Endpoint) -> bytes:
    """DTLS 1.2 with an explicit nonce."""
    return b"\x17\xfe\xfd\0\1" + number.to_bytes(6, "big") + b"\0\x30" + chance.randbytes(48)


def noise(chance: random.Random, client: bytes, number: int, to: Endpoint) -> bytes:
    """Ciphertext without any header."""
    return chance.randbytes(56)


def counters(chance: random.Random, client: bytes, number: int, to: Endpoint) -> bytes:
    """Two clocks and a counter, begun at other times for each client; a version and a length."""
    base = client[3] * 7**9
    return (
        b"\x38\0\1\0\x92\0"
        + struct.pack(
            "<QQIHH", 1_700_000_000_000 + number * 250, base + number * 250, base + number, 56, 7
        )
        + chance.randbytes(4)
    )


def stun(chance: random.Random, client: bytes, number: int, to: Endpoint) -> bytes:
    """STUN's binding request: magic cookie, transaction id."""
    return bytes.fromhex("0001000021 12a442".replace(" ", "")) + chance.randbytes(12)


def settings_only(chance: random.Random, client: bytes, number: int, to: Endpoint) -> bytes:
    """One octet that tells clients apart: a kind of device."""
    return (
        b"\x38\0\1\0\x92\0"
        + client[3:]
        + b"\1\2\3"
        + number.to_bytes(4, "big")
        + chance.randbytes(8)
    )


def two_names(chance: random.Random, client: bytes, number: int, to: Endpoint) -> bytes:
    """A user's number that differs from another's in one octet only, in three kinds of message."""
    uid = b"\x40\x33\x22" + client[3:]
    room = bytes.fromhex("dec0ad0b")
    match number // 7 % 3:
        case 0:
            return (
                b"\x38\0\1\0\x92\0"
                + room
                + uid
                + struct.pack("<HI", number, 1)
                + chance.randbytes(8)
            )
        case 1:
            return b"\x0e\0\1\0\x85\0" + struct.pack("<H", number) + room + uid
        case _:
            return (
                b"\x25\0\1\0\x96\0\1\0\0\0" + struct.pack("<H", number) + room + uid + b"\1\2\3\4"
            )


def late(chance: random.Random, client: bytes, number: int, to: Endpoint) -> bytes:
    """Wall clocks in four kinds of message, of clients that come one after another."""
    now_ms = 1_763_900_000_000 + number * 250 + client[3] * 70_000
    head = bytes([number % 4]) + b"\0\1\0\x92\0" + bytes([1, 2, 3][: number % 4])
    return head + now_ms.to_bytes(8, "little") + chance.randbytes(8)


@rows(
    nothing={
        "QUIC": (quic,),
        "WireGuard": (wireguard,),
        "DTLS": (dtls,),
        "ciphertext": (noise,),
        "clocks and counters": (counters,),
        "STUN": (stun,),
        "a setting of one octet": (settings_only,),
    }
)
class UnnamedTests(SynchronousTestCase):
    """Identifiers are found by what they do, and nothing else is."""

    def check_nothing(self, payloads: Payloads) -> None:
        """What clients send without an identifier of theirs is no finding, whoever sends it."""
        for seed in range(4):
            self.assertEqual(identified(talk(payloads, (ALICE, BOB, CAROL), seed)), [])
            self.assertEqual(identified(talk(payloads, (ALICE, BOB), seed)), [])

    def test_users(self) -> None:
        """A user's four octets are found wherever they stand."""
        _users_found()

    def test_session(self) -> None:
        """An SSRC towards several addresses is an identifier of the session."""
        found = identified(talk(rtp, (ALICE, BOB)))
        self.assertEqual([one.scope for one in found], [Scope.SESSION])
        self.assertTrue(covers(found[0], 92, 8))

    def test_one_octet(self) -> None:
        """Users whose ids differ in one octet are told apart by what comes again in other
        messages, and the room beside the id is found."""
        found = identified(talk(two_names, (ALICE, BOB)))
        self.assertEqual([one.scope for one in found], [Scope.USER, Scope.ROOM])
        self.assertTrue(covers(found[0], 28, 10))
        self.assertTrue(covers(found[1], 28, 6))
        self.assertEqual(found[1].certainty, Certainty.POSSIBLE)

    def test_pings_alone(self) -> None:
        """Pings alone show users and their room, as the researchers saw it."""

        def payload(chance: random.Random, client: bytes, number: int, to: Endpoint) -> bytes:
            uid = random.Random(client).randbytes(4)
            head = bytes.fromhex("380001009200dec0ad0b") + uid
            return head + struct.pack("<HII", number, 1, 2) + bytes(22) + chance.randbytes(10)

        found = identified(talk(payload, (ALICE, BOB)))
        self.assertEqual([one.scope for one in found], [Scope.USER, Scope.ROOM])
        self.assertIn(
            "octets 10..13 of 56-octet datagrams: constant for each of 2", found[0].sentence
        )
        self.assertIn("towards up to 7 endpoints (7 addresses) over 21 s", found[0].sentence)
        self.assertIn("octets 6..9 of 56-octet datagrams: the same for 2", found[1].sentence)
        self.assertEqual(found[1].certainty, Certainty.POSSIBLE)

    def test_many(self) -> None:
        """Thirty clients in four rooms: one finding for the users, one for each room."""
        finder, chance = UnnamedFinder(), random.Random(1)
        uids = [chance.randbytes(4) for _ in range(30)]
        rooms = [chance.randbytes(4) for _ in range(4)]
        for number in range(30 * 80):
            one, kind = number % 30, chance.randrange(4)
            head = bytes([kind, 0, 1, 0, 0x92, 0]) + bytes([0, 0, 1] if kind > 2 else b"")
            tail = number.to_bytes(4, "little") + chance.randbytes(8)
            payload = head + rooms[one % 4] + uids[one] + tail
            to = SERVERS[chance.randrange(7)]
            finder.seen(bytes([10, 0, 0, one]), to, number * 0.01, payload, True, None)
        found = identified(finder)
        self.assertEqual([one.scope for one in found], [Scope.USER] + [Scope.ROOM] * 4)
        self.assertEqual(sorted(len(one.clients) for one in found), [7, 7, 8, 8, 30])

    def test_one_after_another(self) -> None:
        """The time of day is no identifier of clients that were there one after another."""
        for first, then in ((0.0, 100.0), (0.0, 1_000.0)):
            finder = UnnamedFinder()
            for client, begun_s in ((ALICE, first), (BOB, then)):
                chance = random.Random(client)
                for number in range(84):
                    payload = late(chance, client, number, SERVERS[0])
                    to = SERVERS[number // 4 % 7]
                    finder.seen(client, to, begun_s + number / 4, payload, True, None)
            self.assertEqual(identified(finder), [])

    def test_two_devices(self) -> None:
        """One user's two devices among ten users do not hide the users, and are no room."""
        names = tuple(bytes([10, 0, 0, number]) for number in range(11))

        def payload(chance: random.Random, client: bytes, number: int, to: Endpoint) -> bytes:
            uid = random.Random(client if client != names[10] else names[0]).randbytes(4)
            head = b"\x38\0\1\0\x92\0" + number.to_bytes(2, "little") + uid
            return head + bytes(4) + chance.randbytes(8)

        found = identified(talk(payload, names))
        self.assertEqual([one.scope for one in found], [Scope.USER])
        self.assertEqual(found[0].clients, names)

    def test_one_client(self) -> None:
        """With one client nothing is claimed, but that a second would tell."""
        found = talk(two_names, (ALICE,)).findings()
        self.assertEqual([one.scope for one in found], [Scope.UNTOLD])
        self.assertIn("a second client would tell", found[0].sentence)

    def test_one_flow(self) -> None:
        """What is constant towards one address only is no user."""
        finder = UnnamedFinder()
        for number in range(40):
            for client in (ALICE, BOB):
                payload = two_names(random.Random(number), client + b"", 0, SERVERS[0])
                payload = payload[:6] + random.Random(client).randbytes(8) + payload[14:]
                finder.seen(client, SERVERS[0], float(number), payload, True, None)
        self.assertEqual({one.scope for one in finder.findings()}, {Scope.FLOW})

    def test_room_that_changes(self) -> None:
        """A room is told by a client that leaves it."""

        def payload(chance: random.Random, client: bytes, number: int, to: Endpoint) -> bytes:
            is_moved = client == BOB and number >= 240
            room = b"\x11\xa1\xb2\xc3" if is_moved else b"\xde\xc0\xad\x0b"
            uid = random.Random(client).randbytes(4)
            return (
                b"\x38\0\1\0\x92\0"
                + room
                + uid
                + struct.pack("<HI", number, 1)
                + chance.randbytes(8)
            )

        found = identified(talk(payload, (ALICE, BOB), count=480))
        self.assertEqual({one.scope for one in found}, {Scope.USER, Scope.ROOM})
        room = next(one for one in found if one.scope is Scope.ROOM)
        self.assertEqual(room.certainty, Certainty.LIKELY)
        self.assertTrue(covers(room, 28, 6))

    def test_copies(self) -> None:
        """An encrypted datagram that is sent again and again tells nothing."""
        finder = UnnamedFinder()
        for number in range(60):
            for client in (ALICE, BOB):
                payload = random.Random(client).randbytes(64)
                finder.seen(client, SERVERS[number % 7], float(number), payload, True, None)
        self.assertEqual(identified(finder), [])

    def test_bounded(self) -> None:
        """Whatever comes, no more than the limits say is kept."""
        finder = UnnamedFinder(Limits(max_clients=4, max_sorts=16))
        for client, payload in _flood(random.Random(3)):
            finder.seen(client, SERVERS[0], payload[0] * 30.0, payload, True, None)
        kept = dict(finder._sorts.clients())
        self.assertTrue(len(kept) <= 4)
        self.assertTrue(all(len(sorts) <= 16 for sorts in kept.values()))
        finder.findings()

    @given(
        st.lists(
            st.tuples(st.integers(0, 3), st.integers(0, 6), st.binary(max_size=40)), max_size=60
        )
    )
    @settings(deadline=None, max_examples=60)
    def test_anything(self, packets: list[tuple[int, int, bytes]]) -> None:
        """Whatever comes, no exception, and spans lie within their datagrams."""
        finder = UnnamedFinder()
        for number, (client, server, payload) in enumerate(packets):
            name = bytes([10, 0, 0, client])
            finder.seen(name, SERVERS[server], number * 2.0, memoryview(payload), True, None)
        self.assertEqual(finder.findings(), finder.findings())
        for finding in finder.findings():
            self.assertTrue(all(s.offset + s.length <= s.shortest for s in finding.spans))


def _flood(chance: random.Random) -> Iterator[tuple[bytes, bytes]]:
    for _ in range(3_000):
        yield chance.randbytes(4), chance.randbytes(chance.randrange(1, 1_500))
