"""Wire's signatures as nft rules: the kernel asks for every datagram that wire would."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.kernel import ruleset
from gateway.kernel.marks import CONTENT, JUDGE, LOOKS, LOOKS_MASK, QUICK, mark
from gateway.kernel.signatures import chains
from gateway.kernel.table import Table
from gateway.model import Protocol, Transport
from gateway.wire import SIGNATURES, Condition, Signature, signature
from tests.kernel.simulation import Packet, Simulation
from tests.kernel.test_ruleset import ROUTER
from tests.support.epochs import AUDIO, NOISE, PING, STUN

_UDP = [one for one in SIGNATURES if one.transport is Transport.UDP]
_ONCE = dict(zip((one.name for one in _UDP if not one.carries_identifiers), LOOKS, strict=False))
_RTP = bytes.fromhex("8060000100000001aabbccdd") + b"\x07" * 20


def fits(one: Signature, payload: bytes) -> bool:
    """Say whether a payload meets a signature's conditions; lengths the kernel cannot compare."""
    return all(
        len(payload) >= offset + len(value)
        and all(payload[offset + at] & mask[at] == value[at] for at in range(len(value)))
        for offset, mask, value in one.conditions
    )


def sample(one: Signature, filling: bytes) -> bytes:
    """Make a payload that fits a signature, but for where it is too short."""
    octets = bytearray(filling)
    for offset, mask, value in one.conditions:
        for at, (bits, wanted) in enumerate(zip(mask, value, strict=True), offset):
            if at < len(octets):
                octets[at] = octets[at] & ~bits & 0xFF | wanted
    if one.length and len(octets) >= one.length.offset + 2:
        told = len(octets) - one.length.added
        order = "little" if one.length.little_endian else "big"
        octets[one.length.offset : one.length.offset + 2] = told.to_bytes(2, order, signed=told < 0)  # type: ignore[arg-type]  # one of the two literals
    return bytes(octets)


_FILLINGS = st.binary(max_size=60) | st.integers(0, 60).map(bytes)
PAYLOADS = st.one_of(
    _FILLINGS,
    _FILLINGS.map(lambda octets: b"\x80" + octets),
    st.builds(sample, st.sampled_from(_UDP), _FILLINGS),
    st.builds(
        lambda one, filling, at, bit: bytes(
            octet ^ (1 << bit) * (number == at) for number, octet in enumerate(sample(one, filling))
        ),
        st.sampled_from(_UDP),
        st.binary(min_size=20, max_size=60),
        st.integers(0, 20),
        st.integers(0, 7),
    ),
)
"""Noise, media, what fits, what fits but for a bit, and each of them cut short."""


_CONDITIONS = st.builds(
    lambda offset, pairs: Condition(
        offset,
        bytes(mask for mask, _ in pairs),
        bytes(mask & value for mask, value in pairs),
    ),
    st.integers(0, 5),
    st.lists(
        st.tuples(
            st.sampled_from([0xFF, 0xFF, 0xF0, 0xC0, 0x0F]), st.sampled_from([0x80, 0x87, 1])
        ),
        min_size=1,
        max_size=4,
    ),
)


class AskedTests(SynchronousTestCase):
    """Of which datagrams of a known flow the kernel asks."""

    WHOLE = Simulation(ruleset.render(replace(ROUTER, spot_check=0)))

    def asked(self, payload: bytes, seen: int = LOOKS_MASK, host: str = "203.0.113.7") -> int:
        """Send a datagram of a flow that is direct, and in which kinds were seen; give the mark
        with which it asks, or 0."""
        for ct in (mark(ROUTER.epoch, flags=seen), mark(ROUTER.epoch, flags=seen | QUICK)):
            packet = Packet(host, payload=payload, ct=ct, mark=0x1200)
            if ":" in host:
                packet.source = "2001:db8:1::2"
            verdict = self.WHOLE.hooked("prerouting", packet)
            asks = verdict == "queue"
            self.assertEqual(verdict, "queue" if asks else "accept")
            self.assertEqual(bool(packet.mark & JUDGE), asks)
        return packet.mark if asks else 0

    @settings(deadline=None, max_examples=300)
    @given(PAYLOADS, st.integers(0, 15).map(lambda bits: bits << 4))
    @example(_RTP, 0)
    @example(_RTP, LOOKS_MASK)
    @example(b"", 0)
    def test_equivalent(self, payload: bytes, seen: int) -> None:
        """The kernel asks for exactly what the conditions of some signature say, and once a flow
        for the kinds of which that is enough, in either family, quick way or not."""
        fitting = [one for one in _UDP if fits(one, payload)]
        expected = [one for one in fitting if not _ONCE.get(one.name, 0) & seen]
        for host in ("203.0.113.7", "2001:db8:a::7"):
            asks = self.asked(payload, seen, host)
            self.assertEqual(bool(asks), bool(expected), (payload.hex(), expected))
            if asks:
                self.assertEqual(asks & (CONTENT | 0xFF00), CONTENT | 0x1200)
                looks = {_ONCE.get(one.name, 0) for one in expected}
                self.assertIn(asks & LOOKS_MASK, {0} if 0 in looks else looks)

    @settings(deadline=None, max_examples=300)
    @given(PAYLOADS)
    def test_none_missed(self, payload: bytes) -> None:
        """Whatever wire finds a signature in, the kernel asks for; for each such datagram where
        wire says so."""
        found = signature(payload)
        if found is not None:
            self.assertTrue(self.asked(payload, 0), f"{SIGNATURES[found].name}: {payload.hex()}")
            if SIGNATURES[found].carries_identifiers:
                self.assertTrue(self.asked(payload))

    def test_each(self) -> None:
        """Of each signature the shortest datagram asks, and one octet less of it does not, or is
        another's."""
        for one in _UDP:
            end = max(offset + len(value) for offset, _, value in one.conditions)
            whole = sample(one, b"\xa5" * end)
            self.assertTrue(fits(one, whole) or one.length, one.name)
            for payload in (whole, whole[:-1]):
                expected = any(fits(each, payload) for each in _UDP)
                self.assertEqual(bool(self.asked(payload, 0)), expected, one.name)

    def test_real(self) -> None:
        """Real pings, audio with identifiers and STUN always ask; noise and seen media do not."""
        for payload in (PING, AUDIO, STUN):
            self.assertTrue(self.asked(payload))
        for payload in (NOISE, b"", _RTP):
            self.assertFalse(self.asked(payload))
        self.assertTrue(self.asked(_RTP, 0))

    def test_only_udp(self) -> None:
        """What is no UDP has no signature."""
        for protocol in (6, 132):
            packet = Packet(protocol=protocol, payload=PING, ct=mark(ROUTER.epoch))
            self.assertEqual(self.WHOLE.hooked("prerouting", packet), "accept")


class ChainTests(SynchronousTestCase):
    """The chains made of a table of signatures."""

    def asked(self, signatures: list[Signature], payload: bytes, ct: int = 0) -> bool:
        """Say whether chain "signatures" asks for a payload."""
        asked = "question"
        made = (*chains(signatures), replace(chains([])[0], name=asked, rules=("drop",)))
        packet = Packet(payload=payload, ct=ct)
        return Simulation(Table("t", 1, (), made)).run("signatures", packet) == "drop"

    def test_short(self) -> None:
        """No datagram is compared with as many rules as there are signatures."""
        for chain in chains(SIGNATURES):
            self.assertLess(len(chain.rules), len(SIGNATURES) / 2, chain)

    def test_no_epoch(self) -> None:
        """None of these chains depends on an epoch: their sets are never changed."""
        tables = [ruleset.render(replace(ROUTER, epoch=epoch)).chains for epoch in (7, 8)]
        first, second = ([one for one in table if "signatures" in one.name] for table in tables)
        self.assertEqual(first, second)

    def test_looks_run_out(self) -> None:
        """Kinds that have no look of their own ask always."""
        kinds = [
            Signature(
                f"kind {n}", Protocol.RTP, "", (Condition(0, b"\xff", bytes([n])),), None,
                carries_identifiers=False,
            )
            for n in range(6)
        ]  # fmt: skip
        for n in range(6):
            asks = [self.asked(kinds, bytes([n]), look) for look in (0, LOOKS_MASK)]
            self.assertEqual(asks, [True, n >= len(LOOKS)])

    def test_first_octet(self) -> None:
        """A signature is looked for where its first octet can be, and everywhere if it says
        nothing of it."""
        somewhere = Signature("s", Protocol.RTP, "", (Condition(0, b"\xc0", b"\x80"),))
        anywhere = Signature("a", Protocol.RTP, "", (Condition(1, b"\xff", b"\x80"),))
        counts = [[len(one.rules) for one in chains([each])] for each in (somewhere, anywhere)]
        self.assertEqual(counts, [[1, 0, 0, 0, 4], [1, 1, 1, 1, 4]])

    def test_long_condition(self) -> None:
        """A condition longer than nft loads at once is several comparisons."""
        condition = Condition(1, b"\xff" * 11, bytes(range(11)))
        long = [Signature("long", Protocol.RTP, "", (condition,))]
        self.assertTrue(self.asked(long, b"\xaa" + bytes(range(11))))
        self.assertFalse(self.asked(long, b"\xaa" + bytes(range(10)) + b"\0"))

    def test_only_udp(self) -> None:
        """Signatures of TCP are not looked for in datagrams."""
        condition = Condition(0, b"\xff", b"\x16")
        tcp = Signature("t", Protocol.TLS, "", (condition,), transport=Transport.TCP)
        self.assertFalse(self.asked([tcp], b"\x16"))

    @settings(deadline=None, max_examples=60)
    @given(st.lists(_CONDITIONS, max_size=6), st.binary(max_size=9), st.integers(0, 5))
    def test_any_table(self, conditions: list[Condition], filling: bytes, which: int) -> None:
        """Whatever the signatures are, the rules ask for what fits one of them, and for nothing
        else, quick way or not."""
        table = tuple(
            Signature(f"{at}", Protocol.RTP, "", (one,), None, at % 2 == 0)
            for at, one in enumerate(conditions)
        )
        payload = sample(table[which], filling) if which < len(table) else filling
        whole = Simulation(ruleset.render(replace(ROUTER, spot_check=0, signatures=table)))
        for ct in (mark(ROUTER.epoch), mark(ROUTER.epoch, flags=QUICK)):
            verdict = whole.hooked("prerouting", Packet(payload=payload, ct=ct))
            self.assertEqual(verdict == "queue", any(fits(one, payload) for one in table))
