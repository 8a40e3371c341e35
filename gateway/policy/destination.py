"""A destination without a flow.  Owns: what its memberships may be, whatever flow goes there.
Knows: three-valued logic.  Never: rules; which addresses it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from gateway.policy.truth import Truths


class Knowledge(IntEnum):
    """How much of what is said of an address its place holds."""

    WHOLE = 0
    """All."""
    JOINED = 1
    """Other addresses may be judged with it: their words are added, and an axis that only some of
    them have is a doubt."""
    PART = 2
    """Other sources may say more of it, on axes too on which it has no word; and it may be joined.
    """


@dataclass(frozen=True, slots=True)
class Destination:
    """What is known of a destination before any flow goes there."""

    members: Mapping[str, Truths]
    """What its membership of each jurisdiction may be."""
    asns: tuple[int, ...]
    """Autonomous systems that announce it."""
    may_have_more: bool
    """Whether there may be others."""
