"""Three-valued logic.  Owns: Truth and Kleene's connectives.  Knows: Kleene's strong logic.
Never: what is true."""

from __future__ import annotations

from collections.abc import Iterable

Truth = bool | None
"""None: undetermined."""


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


def word(truth: Truth) -> str:
    """Say a truth: "true", "false" or "undetermined"."""
    return "undetermined" if truth is None else "true" if truth else "false"
