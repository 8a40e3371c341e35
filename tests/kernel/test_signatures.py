"""Wire's signatures as nft rules: the kernel asks for every datagram that wire would."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.kernel.signatures import chains
from gateway.kernel.table import Chain
from gateway.model import Protocol, Transport
from gateway.wire import SIGNATURES, Condition, Signature, signature
from tests.support.epochs import AUDIO, PING, STUN

_COMPARE = re.compile(r"@th,(\d+),(\d+)(?: and (0x[0-9a-f]+))? == (0x[0-9a-f]+)")


def fits(rule: str, payload: bytes) -> bool:
    """Carry out the raw comparisons of a rule as nft does."""
    header = bytes(8) + payload
    for bit, bits, mask, value in _COMPARE.findall(rule):
        at, length = int(bit) // 8, int(bits) // 8
        octets = header[at : at + length]
        if len(octets) < length:
            return False
        found = int.from_bytes(octets, "big")
        if found & int(mask or hex((1 << int(bits)) - 1), 16) != int(value, 16):
            return False
    return True


def _sample(one: Signature, filling: bytes) -> bytes:
    octets = bytearray(filling)
    for offset, mask, value in one.conditions:
        for at, (bits, wanted) in enumerate(zip(mask, value, strict=True)):
            octets[offset + at] = octets[offset + at] & ~bits & 0xFF | wanted
    if one.length:
        told = len(octets) - one.length.added
        order = "little" if one.length.little_endian else "big"
        octets[one.length.offset : one.length.offset + 2] = told.to_bytes(2, order)  # type: ignore[arg-type]  # one of the two literals
    return bytes(octets)


class SignatureTests(SynchronousTestCase):
    """The rules made of wire's table."""

    CHAINS = chains(SIGNATURES)

    def asked(self, payload: bytes, of: tuple[Chain, ...] = CHAINS) -> str | None:
        """Give the first rule that fits a payload."""
        rules = {chain.name: chain.rules for chain in of}
        for guard in rules["signatures"]:
            if fits(guard, payload):
                part = guard.rpartition(" ")[2]
                return next((rule for rule in rules[part] if fits(rule, payload)), None)
        return None

    @settings(deadline=None, max_examples=400)
    @given(st.sampled_from(SIGNATURES), st.binary(min_size=40, max_size=60))
    def test_none_missed(self, one: Signature, filling: bytes) -> None:
        """Whatever wire finds a signature in, the kernel asks for; for each such datagram where
        wire says so."""
        payload = _sample(one, filling)
        found = signature(payload)
        if found is None:
            return
        rule = self.asked(payload)
        self.assertIsNotNone(rule, f"{SIGNATURES[found].name}: {payload.hex()}")
        if SIGNATURES[found].carries_identifiers:
            self.assertNotIn("ct mark", rule or "")

    def test_real(self) -> None:
        """Real pings, audio with identifiers and STUN always ask; noise does not."""
        for payload in (PING, AUDIO, STUN):
            self.assertNotIn("ct mark", self.asked(payload) or "ct mark")
        self.assertIsNone(self.asked(b"\x7f" + bytes(range(60))))
        self.assertIsNone(self.asked(b""))

    def test_short(self) -> None:
        """No datagram is compared with as many rules as there are signatures."""
        for chain in self.CHAINS:
            self.assertLess(len(chain.rules), len(SIGNATURES) / 2, chain)

    def test_looks_run_out(self) -> None:
        """Kinds that have no look of their own ask always."""
        conditions = [(Condition(0, b"\xff", bytes([n])),) for n in range(6)]
        kinds = [
            Signature(f"kind {n}", Protocol.RTP, "", one, None, carries_identifiers=False)
            for n, one in enumerate(conditions)
        ]
        lines = chains(kinds)[0].rules
        self.assertEqual([line for line in lines if "ct mark" not in line], list(lines[:2]))
        self.assertEqual(len(lines), 6)
        self.assertEqual(len({line.split("ct mark")[1] for line in lines[2:]}), 4)

    def test_first_octet(self) -> None:
        """A signature is looked for where its first octet can be, and everywhere if it says
        nothing of it."""
        somewhere = Signature("s", Protocol.RTP, "", (Condition(0, b"\xc0", b"\x80"),))
        anywhere = Signature("a", Protocol.RTP, "", (Condition(1, b"\xff", b"\x80"),))
        self.assertEqual([len(one.rules) for one in chains([somewhere])], [0, 0, 1, 0, 4])
        self.assertEqual([len(one.rules) for one in chains([anywhere])], [1, 1, 1, 1, 4])

    def test_long_condition(self) -> None:
        """A condition longer than nft loads at once is several comparisons."""
        condition = Condition(1, b"\xff" * 11, bytes(range(11)))
        long = chains([Signature("long", Protocol.RTP, "", (condition,))])
        self.assertIsNotNone(self.asked(b"\xaa" + bytes(range(11)), long))
        self.assertIsNone(self.asked(b"\xaa" + bytes(range(10)) + b"\0", long))

    def test_only_udp(self) -> None:
        """Signatures of TCP are not looked for in datagrams."""
        condition = Condition(0, b"\xff", b"\x16")
        tcp = Signature("t", Protocol.TLS, "", (condition,), transport=Transport.TCP)
        self.assertIsNone(self.asked(b"\x16", chains([tcp])))
