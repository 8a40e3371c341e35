"""Where clients' streams went.  Owns: Streams: each that came in went somewhere, once; and so did
each octet that Python read of one.
Knows: the actions.  Never: why one was cut (tally), datagrams (packets)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gateway.model import Action

_WAYS = {Action.ALLOW: "allowed", Action.REROUTE: "rerouted", Action.WRAP: "wrapped"}


class OpenStream(Protocol):
    """A client's connection that is there now."""

    @property
    def is_carried(self) -> bool:
        """Whether it was connected to where it goes."""

    @property
    def held_len(self) -> int:
        """Octets of it that wait to be judged, or for the other end."""


class Streams:
    """Counts a listener's streams from clients, and their octets.

    in = allowed + rerouted + wrapped + blocked + dropped + held, each counted where it happens:
    `held` are those that are there now and not carried.  Octets that the kernel moves by itself,
    once a stream is judged and long enough, are among the listener's `up_bytes`, and not here.
    """

    def __init__(self) -> None:
        self._into = 0
        self._ways = dict.fromkeys((*_WAYS.values(), "blocked", "dropped"), 0)
        self._octets_in = self._octets_sent = self._octets_dropped = 0
        self._open: set[OpenStream] = set()

    def came(self, stream: OpenStream) -> None:
        """Count one for which a client named its destination, in words or by going there."""
        self._into += 1
        self._open.add(stream)

    def carried(self, action: Action) -> None:
        """Count one that was connected to where its verdict says."""
        self._ways[_WAYS[action]] += 1

    def gone(self, stream: OpenStream, *, is_blocked: bool) -> None:
        """Count one that is gone, and what was held of it.

        Args:    is_blocked: by the policy, or since the verdict could not be carried out.
        """
        if stream not in self._open:
            return  # it never said where to
        self._open.remove(stream)
        self._octets_dropped += stream.held_len
        if not stream.is_carried:
            self._ways["blocked" if is_blocked else "dropped"] += 1

    def octets(self, length: int) -> None:
        """Count octets that a client sent, behind what its front door asks for."""
        self._octets_in += length

    def octets_sent(self, length: int) -> None:
        """Count octets that were sent on."""
        self._octets_sent += length

    def octets_dropped(self, length: int) -> None:
        """Count octets that came too late to be sent on."""
        self._octets_dropped += length

    def counts(self) -> Mapping[str, int]:
        """Give the numbers by name; empty if nothing came in."""
        if not self._into:
            return {}
        ways = {f"streams: {way}": count for way, count in self._ways.items()}
        return {
            "streams: in": self._into,
            **ways,
            "streams: held": sum(not one.is_carried for one in self._open),
            "octets: in": self._octets_in,
            "octets: sent on": self._octets_sent,
            "octets: dropped": self._octets_dropped,
            "octets: held": sum(one.held_len for one in self._open),
        }
