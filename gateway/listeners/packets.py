"""Where clients' datagrams went.  Owns: Packets: each that came in went somewhere, once.
Knows: the actions.  Never: why one was dropped (tally), streams: those have no packets here."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model import Action

# Looking a member up in an enum costs as much as counting it, and this is done for each datagram.
_ALLOW, _WRAP = Action.ALLOW, Action.WRAP


class Packets:
    """Counts a listener's datagrams from clients.

    `into` is counted where one arrives, the rest where it ends, so that one that was forgotten on
    the way, or went two ways, shows: into = allowed + rerouted + wrapped + blocked + dropped +
    held.
    """

    __slots__ = ("allowed", "blocked", "dropped", "held", "into", "rerouted", "wrapped")

    def __init__(self) -> None:
        self.into = 0
        self.allowed = self.rerouted = self.wrapped = 0
        """Sent on, by the verdict's action."""
        self.blocked = 0
        """By the policy, or since the verdict could not be carried out."""
        self.dropped = 0
        """Not judged, or let pass and not taken by socket or tunnel."""
        self.held = 0
        """Waiting for their name's address now."""

    def carried(self, action: Action) -> None:
        """Count one that was sent on."""
        if action is _WRAP:
            self.wrapped += 1
        elif action is _ALLOW:
            self.allowed += 1
        else:
            assert action is Action.REROUTE, action
            self.rerouted += 1

    def counts(self) -> Mapping[str, int]:
        """Give the numbers by name; empty if nothing came in."""
        if not self.into:
            return {}
        return {
            "packets: in": self.into,
            "packets: allowed": self.allowed,
            "packets: rerouted": self.rerouted,
            "packets: wrapped": self.wrapped,
            "packets: blocked": self.blocked,
            "packets: dropped": self.dropped,
            "packets: held": self.held,
        }
