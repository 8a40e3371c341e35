"""Flows and their decisions, as values.  Owns: what is remembered of a flow, its bounds, and who is
told.  Knows: RFC 4787, 5382 (timeouts).  Never: deciding, the clock."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Protocol

from gateway.flow.epoch import Epoch
from gateway.flow.guard import Leak
from gateway.flow.media import Media
from gateway.model import Endpoint, Facts, FlowKey, Identifier, Transport, Verdict
from gateway.model import Protocol as Spoken


@dataclass(frozen=True, slots=True)
class FlowLimits:
    """Bounds of the flow table."""

    max_flows: int = 65_536
    """Above it new flows are blocked, unlogged but counted."""
    max_flows_per_client: int = 4_096
    """Of one transport for one client address, so that one client's flood does not shut out the
    others."""
    idle_timeout_s: float = 300.0
    """RFC 4787 REQ-5 asks for at least 120 s and recommends 300."""
    stream_idle_timeout_s: float = 7_440.0
    """Of TCP flows: 2 hours 4 minutes, the least that RFC 5382 REQ-5 allows."""
    evicts: bool = False
    """True: at a bound the client's oldest flow is forgotten and not the new one blocked, for the
    kernel remembers what was decided (router mode)."""


@dataclass(slots=True)
class Judged:
    """One decision and what went under it."""

    facts: Facts
    verdict: Verdict
    packets: int = 0
    octets: int = 0


@dataclass(slots=True)
class Flow:
    """One flow that was judged."""

    key: FlowKey
    epoch: int
    first: Judged
    last_s: float
    """When its last packet was seen, by the table's clock."""
    by_content: dict[Hashable, Judged] | None = None
    """Decisions for datagrams whose signature asks for a look of their own, by what they were.
    None: nobody asked yet; the first one's is for all of its content."""
    failures: tuple[str, ...] = ()
    """Why its verdict could not be carried out, as far as it was told."""
    shown: tuple[Identifier, ...] = ()
    """Identifiers by value that it showed so far, one of a kind: all of it is judged by them."""
    media: Media | None = None
    """What of it looked like RTP; None: nothing yet."""
    is_doubtful: bool = False
    """Whether its first datagram looked like RTP, and no other has borne it out."""

    @property
    def _begins_as_rtp(self) -> bool:
        content = self.first.facts.content
        return content is not None and content.protocol is Spoken.RTP

    def doubt(self, payload: bytes | None) -> None:
        """Take what looks like RTP for it until another datagram bears it out, or does not."""
        self.is_doubtful = False
        if payload is not None and self.key.transport is Transport.UDP and self._begins_as_rtp:
            self.media = self.media or Media()
            self.is_doubtful = not self.media.hear(payload)

    def bears_out(self, payload: bytes) -> bool:
        """Hear a datagram that looks like RTP, in a flow that may have begun otherwise; tell
        whether it is that surely, or as surely as the flow's first datagram."""
        if self._begins_as_rtp:
            return True
        self.media = self.media or Media()
        return self.media.hear(payload)

    def decisions(self) -> Iterator[Judged]:
        """Give the decisions, the first datagram's first."""
        yield self.first
        others = (self.by_content or {}).values()
        yield from (judged for judged in others if judged is not self.first)


class Observer(Protocol):
    """Who is told what the table does."""

    def decided(self, epoch: Epoch, judged: Judged, payload: bytes | None) -> bool:
        """A flow, or a signature within it, was judged.  The payload must not be kept.

        Returns: False if the decision had to be written down and could not be: it is then a block.
        """

    def ended(self, flow: Flow) -> None:
        """A flow was forgotten."""

    def refused(self, key: FlowKey, reason: str) -> None:
        """A new flow met a bound and was blocked unjudged."""

    def not_carried(self, key: FlowKey, verdict: Verdict, reason: str) -> None:
        """A verdict could not be carried out, and was a block: told once a flow and reason."""

    def barred(self, client: Endpoint, name: str, verdict: Verdict) -> None:
        """A name was refused before it was resolved."""

    def leaked(self, key: FlowKey, leak: Leak) -> None:
        """A flow shows identifiers by value, or is one of a sweep: told once a flow and kind."""


class Nobody:
    """An observer that does nothing; others do some of it."""

    def decided(self, epoch: Epoch, judged: Judged, payload: bytes | None) -> bool:
        """Observer API."""
        return True

    def ended(self, flow: Flow) -> None:
        """Observer API."""

    def refused(self, key: FlowKey, reason: str) -> None:
        """Observer API."""

    def not_carried(self, key: FlowKey, verdict: Verdict, reason: str) -> None:
        """Observer API."""

    def barred(self, client: Endpoint, name: str, verdict: Verdict) -> None:
        """Observer API."""

    def leaked(self, key: FlowKey, leak: Leak) -> None:
        """Observer API."""
