"""What a comparison finds, as values.  Owns: changes, memberships, newly allowed space.
Never: finding them, printing them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.review.causes import Cause
from gateway.review.extent import Extent
from gateway.review.profiles import Profiles
from gateway.review.rules import PolicyChange
from gateway.review.sides import Outcome


class Sort(StrEnum):
    """Of which sort a change is, the gravest first."""

    ALLOWED = "newly allowed"
    """What did not go directly does now."""
    BLOCKED = "newly blocked"
    """What went somehow is blocked now."""
    OTHER = "other"


def sort_of(old: Outcome, new: Outcome) -> Sort:
    """Say of which sort a change from one outcome to another is."""
    if new.goes and not old.goes:
        return Sort.ALLOWED
    return Sort.BLOCKED if new.blocks and not old.blocks else Sort.OTHER


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of the address space."""

    v4_addresses: int = 0
    v6_addresses: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of outcome, everywhere it happens."""

    old_members: tuple[str, ...]
    """The jurisdictions of these addresses before; "NAME?": they may be in it."""
    new_members: tuple[str, ...]
    old: Outcome
    new: Outcome
    profiles: frozenset[int]
    """The flow profiles that it happens to."""
    extent: Extent
    causes: Mapping[Cause, Amount]
    """Why, and for how much of it."""
    details: Mapping[str, Amount]
    """Which source says what else, and about how much of it: where data are a cause."""
    countries: Mapping[str, Amount]
    """Those that any source names, before or after."""
    operators: Mapping[str, Amount]
    """AS numbers, before or after: "AS4134"."""

    @property
    def sort(self) -> Sort:
        """Of which sort it is."""
        return sort_of(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Membership:
    """Addresses that joined or left a jurisdiction that both policies have."""

    jurisdiction: str
    old: bool | None
    """None: undetermined."""
    new: bool | None
    extent: Extent


@dataclass(frozen=True, slots=True)
class Newly:
    """Address space that something new happens to, for at least one flow profile."""

    extent: Extent
    share: float
    """0..1: of the IPv4 addresses to which, before, some flow did not go directly that does go
    directly somewhere, before or after."""

    @property
    def v4_addresses(self) -> int:
        """How many IPv4 addresses."""
        return self.extent.v4_addresses

    @property
    def v6_networks(self) -> int:
        """How many /48s of IPv6; one that is touched counts whole."""
        return self.extent.v6_networks

    @property
    def v6_addresses(self) -> int:
        """How many IPv6 addresses, exactly."""
        return self.extent.v6_addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What changes from one epoch to another, over all of IPv4 and IPv6."""

    changes: tuple[Change, ...]
    """Newly allowed first, then newly blocked, then others; the largest first."""
    memberships: tuple[Membership, ...]
    policy: PolicyChange
    """What is written otherwise in the policies."""
    newly_allowed: Newly
    newly_blocked: Extent
    profiles: Profiles = field(repr=False)
    old_data: str
    """The revision."""
    new_data: str

    @property
    def is_nothing(self) -> bool:
        """Whether no verdict, no membership and nothing in the policy changes."""
        return not (self.changes or self.memberships or self.policy)

    def changed_profiles(self, address: bytes) -> frozenset[int]:
        """Give the flow profiles whose verdict changes for an address.

        Args:    address: 4 or 16 octets.  Of those that spell others (Teredo, ISATAP) what is said
                 is of the address itself: see `review.space`.
        """
        held = (one.profiles for one in self.changes if one.extent.holds(address))
        return frozenset().union(*held)
