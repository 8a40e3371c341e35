"""gateway.policy.truth: Kleene's logic."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.truth import (
    ANY_TRUTH,
    Truth,
    Truths,
    could_every,
    could_some,
    every,
    negation,
    some,
    word,
)
from tests.support.rows import rows

T, F, U = True, False, None


def _chosen(join: Callable[[tuple[Truth, ...]], Truth], parts: tuple[Truths, ...]) -> Truths:
    return frozenset(map(join, product(*parts)))


@rows(
    every={
        "nothing asked": ((), T),
        "true and true": ((T, T), T),
        "true and undetermined": ((T, U), U),
        "undetermined and false": ((U, F), F),
        "false and undetermined": ((F, U), F),
    },
    some={
        "nothing asked": ((), F),
        "false or false": ((F, F), F),
        "false or undetermined": ((F, U), U),
        "undetermined or true": ((U, T), T),
    },
    negation={"true": (T, F), "false": (F, T), "undetermined": (U, U)},
)
class TruthTests(SynchronousTestCase):
    """Undetermined is neither true nor false."""

    def check_every(self, truths: tuple[Truth, ...], expected: Truth) -> None:
        """False beats undetermined beats true."""
        self.assertIs(every(truths), expected)

    def check_some(self, truths: tuple[Truth, ...], expected: Truth) -> None:
        """True beats undetermined beats false."""
        self.assertIs(some(truths), expected)

    def check_negation(self, truth: Truth, expected: Truth) -> None:
        """What is undetermined stays so."""
        self.assertIs(negation(truth), expected)

    def test_could(self) -> None:
        """What parts may be together is what each choice among them is."""
        sets = [
            frozenset(truth for truth, is_in in zip((T, F, U), chosen, strict=True) if is_in)
            for chosen in product((True, False), repeat=3)
            if any(chosen)
        ]
        for parts in (*((one,) for one in sets), *product(sets, repeat=2), (ANY_TRUTH, *sets[:2])):
            self.assertEqual(could_every(parts), _chosen(every, parts))
            self.assertEqual(could_some(parts), _chosen(some, parts))
        self.assertEqual((could_every(()), could_some(())), (frozenset((T,)), frozenset((F,))))

    def test_words(self) -> None:
        """Each truth has its word."""
        self.assertEqual([word(T), word(F), word(U)], ["true", "false", "undetermined"])
