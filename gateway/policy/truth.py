"""Three-valued logic.  Owns: Truth and Kleene's connectives, also of what is
known in part.  Knows: Kleene's strong logic.
Never: what is true."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

Truth = bool | None
"""None: undetermined."""

Truths = frozenset[Truth]
"""Those that something may have, where it is not known which."""
ANY_TRUTH: Truths = frozenset((True, False, None))
TRUE: Truths = frozenset((True,))
FALSE: Truths = frozenset((False,))
EITHER: Truths = frozenset((True, False))


def negation(truth: Truth) -> Truth:
    """Kleene's not."""
    return None if truth is None else not truth


def every(truths: Iterable[Truth]) -> Truth:
    """Kleene's and: false if any is, else undetermined if any is."""
    result: Truth = True
    for truth in truths:
        if truth is False:
            return False
        if truth is None:
            result = None
    return result


def some(truths: Iterable[Truth]) -> Truth:
    """Kleene's or: true if any is, else undetermined if any is."""
    result: Truth = False
    for truth in truths:
        if truth is True:
            return True
        if truth is None:
            result = None
    return result


def could_every(parts: Iterable[Truths]) -> Truths:
    """Give what `every` may be, of parts that know nothing of each other."""
    result = TRUE
    for part in parts:
        result = frozenset(every(pair) for pair in product(result, part))
    return result


def could_some(parts: Iterable[Truths]) -> Truths:
    """Give what `some` may be, of parts that know nothing of each other."""
    result = FALSE
    for part in parts:
        result = frozenset(some(pair) for pair in product(result, part))
    return result


def word(truth: Truth) -> str:
    """Say a truth: "true", "false" or "undetermined"."""
    return "undetermined" if truth is None else "true" if truth else "false"
