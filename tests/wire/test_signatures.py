"""Tests of gateway.wire.signatures: the table, and that its fast reading is its plain one."""

from __future__ import annotations

import struct

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import Protocol, Transport
from gateway.wire import SIGNATURES, Signature, recognise, signature
from tests.wire import captures, examples

DATAGRAMS = [payload for transport, payload in examples.all_of_them() if transport is Transport.UDP]


def holds(signature: Signature, payload: bytes) -> bool:
    """Read a signature word for word, as the kernel does, and its length field."""
    for offset, mask, value in signature.conditions:
        part = payload[offset : offset + len(mask)]
        if len(part) < len(mask):
            return False
        if any(octet & bits != want for octet, bits, want in zip(part, mask, value, strict=True)):
            return False
    if signature.length is None:
        return True
    offset, little_endian, added = signature.length
    if len(payload) < offset + 2:
        return False
    told = struct.unpack_from("<H" if little_endian else ">H", payload, offset)[0]
    return bool(told + added == len(payload))


def slowly(payload: bytes) -> int | None:
    """Give the first signature of the table that holds."""
    return next((n for n, one in enumerate(SIGNATURES) if holds(one, payload)), None)


def fitting(signature: Signature, noise: bytes) -> bytes:
    """Turn noise into a datagram that a signature fits."""
    payload = bytearray(noise)
    for offset, mask, value in signature.conditions:
        for at, (bits, want) in enumerate(zip(mask, value, strict=True), offset):
            payload[at] = payload[at] & ~bits | want
    if signature.length:
        offset, little_endian, added = signature.length
        told = len(payload) - added
        struct.pack_into("<H" if little_endian else ">H", payload, offset, told)
    return bytes(payload)


mutated = st.builds(
    lambda payload, at, octet, end: (payload[:at] + bytes((octet,)) + payload[at + 1 :])[:end],
    st.sampled_from(DATAGRAMS),
    st.integers(0, 40),
    st.integers(0, 255),
    st.one_of(st.none(), st.integers(0, 60)),
)


class TableTests(SynchronousTestCase):
    """What the kernel rules are made of."""

    def test_form(self) -> None:
        """Conditions ascend, do not touch twice, lie in the first 32 octets, and can be met."""
        for one in SIGNATURES:
            end = 0
            for offset, mask, value in one.conditions:
                self.assertGreaterEqual(offset, end, one.name)
                self.assertEqual(len(mask), len(value), one.name)
                self.assertTrue(all(v & ~m == 0 for m, v in zip(mask, value, strict=True)))
                end = offset + len(mask)
            self.assertTrue(0 < end <= 32, one.name)

    def test_names(self) -> None:
        """No two signatures share a name."""
        self.assertEqual(len({one.name for one in SIGNATURES}), len(SIGNATURES))

    def test_ping(self) -> None:
        """The plaintext ping's signature is the four octets of its service and number."""
        found = signature(captures.first("PPing1_v7"))
        assert found is not None
        one = SIGNATURES[found]
        self.assertEqual(
            (one.message, one.conditions, one.carries_identifiers),
            ("PPing1_v7", ((2, b"\xff\xff\xff\xff", b"\x01\x00\x92\x00"),), True),
        )

    def test_reachable(self) -> None:
        """No signature is hidden behind the ones before it."""
        for number, one in enumerate(SIGNATURES):
            self.assertEqual(signature(fitting(one, b"\x5a" * 60)), number, one.name)


class FastReadingTests(SynchronousTestCase):
    """The fast function is the table, read word for word."""

    @settings(deadline=None, max_examples=500)
    @given(st.one_of(mutated, st.binary(max_size=48)))
    @example(b"")
    @example(b"\x02")
    @example(b"\x80")
    @example(b"\x02\x00")
    def test_same(self, payload: bytes) -> None:
        """Whatever the datagram, both readings give the same signature."""
        self.assertEqual(signature(payload), slowly(payload))

    @settings(deadline=None, max_examples=300)
    @given(st.sampled_from(SIGNATURES), st.binary(min_size=24, max_size=300), st.integers(0, 300))
    def test_fitting(self, one: Signature, noise: bytes, end: int) -> None:
        """Noise that is made to fit one signature, whole or cut, is read the same twice."""
        payload = fitting(one, noise)
        for candidate in (payload, payload[:end]):
            self.assertEqual(signature(candidate), slowly(candidate))
        self.assertIsNotNone(signature(payload))


class SoundnessTests(SynchronousTestCase):
    """A datagram with identifiers is never overlooked in a flow that was judged before."""

    def check(self, payload: bytes) -> None:
        content = recognise(Transport.UDP, payload)
        found = signature(payload)
        if content.plaintext or content.addresses:
            assert found is not None, payload.hex()
            self.assertTrue(SIGNATURES[found].carries_identifiers, SIGNATURES[found].name)
        if content.protocol is Protocol.AGORA:
            assert found is not None, payload.hex()
            self.assertIn(SIGNATURES[found].message, ("", content.message))

    def test_captures(self) -> None:
        """In every datagram of a real session."""
        for packet in captures.packets(captures.live(captures.SPEAKER)):
            if packet.transport is Transport.UDP:
                self.check(packet.payload)

    def test_names(self) -> None:
        """Whatever names its destination anew is looked at each time, in a flow of any beginning:
        one socket asks one resolver for many names."""
        for payload in (
            examples.query("a.example"),
            examples.query("a.example") + b"\0",
            examples.hello("a.example"),
            examples.HELLO_OTHER_ORDER,
            examples.dtls_client_hello("a.example"),
            examples.QUIC,
        ):
            found = signature(payload)
            assert found is not None, payload.hex()
            self.assertTrue(SIGNATURES[found].carries_identifiers, SIGNATURES[found].name)

    def test_quic_versions(self) -> None:
        """Each version's long header is looked at."""
        for version in ("00000001", "6b3343cf", "ff00001d", "51303436", "51303530", "54303531"):
            payload = examples.QUIC[:1] + bytes.fromhex(version) + examples.QUIC[5:]
            found = signature(payload)
            assert found is not None
            self.assertIs(SIGNATURES[found].protocol, Protocol.QUIC)

    @settings(deadline=None, max_examples=500)
    @given(mutated)
    def test_mutated(self, payload: bytes) -> None:
        """In every legal datagram with one octet changed, or cut."""
        self.check(payload)

    @settings(deadline=None, max_examples=300)
    @given(st.sampled_from(SIGNATURES), st.binary(min_size=24, max_size=200))
    def test_fitting(self, one: Signature, noise: bytes) -> None:
        """In noise that fits a signature."""
        self.check(fitting(one, noise))
