"""Phrases of rules say what they are named for."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.kernel import phrases
from gateway.kernel.marks import OTHERS_MASK
from gateway.kernel.table import Chain, Table
from tests.kernel.simulation import Packet, Simulation

_WORDS: Any = st.integers(0, 0xFFFFFFFF)


def carried_out(rule: str, mark: int, ct: int = 0) -> tuple[str | None, int, int]:
    """Carry out one rule; give its verdict and both marks."""
    packet = Packet(mark=mark, ct=ct)
    chains = (Chain("c", (rule,)), *(Chain(f"to_{n}", (word,)) for n, word in
                                     ((1, "accept"), (2, "drop"))))  # fmt: skip
    return Simulation(Table("t", 1, (), chains)).run("c", packet), packet.mark, packet.ct


class PhraseTests(SynchronousTestCase):
    """Conditions and changes."""

    @settings(deadline=None, max_examples=200)
    @given(_WORDS, _WORDS, _WORDS)
    def test_conditions(self, mask: int, value: int, mark: int) -> None:
        """Bits have a value, or lack it."""
        for bits in (value, mark & mask):
            is_so = mark & mask == bits
            for phrase, verdict in ((phrases.has, is_so), (phrases.lacks, not is_so)):
                for of, marks in (("meta", (mark, 0)), ("ct", (0, mark))):
                    found = carried_out(f"{phrase(mask, bits, of)} drop", *marks)[0]
                    self.assertEqual(found, "drop" if verdict else None)

    @settings(deadline=None, max_examples=200)
    @given(_WORDS, _WORDS)
    def test_become(self, value: int, mark: int) -> None:
        """A mark becomes another but for the bits that are kept, by default others' byte."""
        value &= ~OTHERS_MASK
        changed = value | mark & OTHERS_MASK
        self.assertEqual(carried_out(phrases.become(value), mark, 5), (None, changed, 5))
        self.assertEqual(carried_out(phrases.become(value, of="ct"), 5, mark), (None, 5, changed))
        kept = carried_out(phrases.become(value, phrases.KEEP_FLAGS), mark)[1]
        self.assertEqual(kept, value | mark & 0xFFFF)

    @settings(deadline=None, max_examples=100)
    @given(_WORDS, _WORDS)
    def test_gain(self, value: int, mark: int) -> None:
        """Bits are gained, and none is lost."""
        self.assertEqual(carried_out(phrases.gain(value), mark)[1], mark | value)

    def test_by_target(self) -> None:
        """Each target is sent to its chain, in order, by a comparison of its byte alone."""
        rules = tuple(phrases.by_target((1, 2), "ct", "goto", "to"))
        for ct, verdicts in ((0x07010001, ["accept", None]), (0x07020001, [None, "drop"]),
                             (0x07030001, [None, None])):  # fmt: skip
            self.assertEqual([carried_out(rule, 0, ct)[0] for rule in rules], verdicts)

    def test_hook(self) -> None:
        """What no rule decides goes on: the table is not the host's only one."""
        self.assertEqual(
            phrases.hook("filter", "forward", -150),
            "type filter hook forward priority -150; policy accept;",
        )
