"""A destination without a flow.  Owns: what its memberships may be, whatever flow goes there.
Knows: three-valued logic.  Never: rules; which addresses it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.policy.truth import Truths


@dataclass(frozen=True, slots=True)
class Destination:
    """What is known of a destination before any flow goes there: of its own address, names aside.

    Whatever is said here to be true or false may be undetermined instead.  By Kleene's logic no
    condition becomes true or false by that, so it lets no rule match that does not block, and keeps
    no block from matching: what is proven here of both holds all the same.
    """

    members: Mapping[str, Truths]
    """What its membership of each jurisdiction may be."""
    asns: tuple[int, ...]
    """Autonomous systems that announce it."""
    may_have_more: bool
    """Whether there may be others."""
