"""What the finders say.  Owns: Finding, and whom a value can be followed by.
Knows: nothing but the words of the model.  Never: the values themselves; bytes of packets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gateway.model import Endpoint, IdentifierKind
from gateway.model import Protocol as Spoken


class Scope(StrEnum):
    """Whom or what a value stands for, as far as it can be told."""

    USER = "user"
    """The same for one client towards several addresses, another for another client."""
    ROOM = "room"
    """The same for clients that are together."""
    SESSION = "session"
    """As USER, in the place where RTP and RTCP have their SSRC: it ends with the call."""
    FLOW = "flow"
    """The same towards one address only, as a connection id is: linkable, and no user."""
    UNTOLD = "untold"
    """The same for the only client that was seen: a second client would tell it from a constant
    of the protocol."""
    GIVEN = "given"
    """A value that the operator named, or what a pattern of the operator's fits."""
    SWEEP = "sweep"
    """No value: like datagrams to many endpoints within seconds."""


class Certainty(StrEnum):
    """How much speaks for a finding."""

    SURE = "sure"
    LIKELY = "likely"
    POSSIBLE = "possible"
    """Something harmless would look the same; the sentence says what."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a value stands in datagrams that are alike."""

    shortest: int
    """Octets of the shortest of these datagrams."""
    longest: int
    offset: int
    """Octets from the start of the payload; of the first of them where the value floats."""
    length: int
    """Octets."""
    lengths: int = 1
    """How many lengths between the shortest and the longest have it there."""

    def __str__(self) -> str:
        where = f"octets {self.offset}..{self.offset + self.length - 1} of"
        if self.lengths == 1:
            return f"{where} {self.shortest}-octet datagrams"
        return f"{where} datagrams of {self.lengths} lengths, {self.shortest}..{self.longest}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found, with its evidence: where and how often, never the value."""

    finder: str
    """"values", "unnamed" or "sweeps"."""
    scope: Scope
    certainty: Certainty
    sentence: str
    """The evidence in words."""
    clients: tuple[bytes, ...]
    """Addresses, canonical, in order."""
    endpoints: tuple[Endpoint, ...]
    """Where it went: at most 16 of `endpoint_count`, in order."""
    endpoint_count: int
    packets: int
    """Packets in which it was seen, as far as they were looked at."""
    first_s: float
    last_s: float
    spans: tuple[Span, ...] = ()
    """At most 16."""
    kind: IdentifierKind | None = None
    """None: a sweep, or what may be no identifier (FLOW, UNTOLD)."""
    encoding: str = ""
    """How a given value was written: "u32 little-endian"."""
    expected: float | None = None
    """Hits that chance would make, for a given value."""


Seen = tuple[bytes, Endpoint, float, bytes | memoryview, bool, Spoken | None]
"""A packet as `Finder.seen` takes it."""


class Finder(Protocol):
    """What is shown packets, and asked in the end."""

    def seen(
        self,
        client: bytes,
        endpoint: Endpoint,
        time_s: float,
        payload: bytes | memoryview,
        outbound: bool,
        protocol: Spoken | None,
    ) -> None:
        """Look at one packet.  Never raises; keeps a bounded amount whatever comes.

        Args:    client: its address, canonical; endpoint: the other side; time_s: of the packet,
                 by any one clock; outbound: whether the client sent it; protocol: what a
                 recogniser says that it speaks, None if none was asked.
        """

    def seen_all(self, packets: Iterable[Seen]) -> None:
        """Look at packets one after another."""

    def findings(self) -> list[Finding]:
        """Say what was found so far, the surest first."""


MAX_LISTED = 16
"""Endpoints and spans that one finding lists."""


def listed(endpoints: set[Endpoint]) -> tuple[Endpoint, ...]:
    """Give the endpoints that a finding lists."""
    return tuple(sorted(endpoints)[:MAX_LISTED])


def addresses(endpoints: set[Endpoint]) -> int:
    """Count the addresses: several ports of one machine are one destination."""
    return len({endpoint.address for endpoint in endpoints})
