"""What a listener carried and dropped.  Owns: counters, the rate-limited log lines.
Knows: nothing of protocols.  Never: payload, or who a client is: people can be put in prison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from twisted.logger import Logger

from gateway.errors import GatewayError
from gateway.listeners.reactor import Clock, DelayedCall

_log = Logger(namespace="gateway.listeners")

# One line a second: a flood must not become a flood of the disk.
_NOTE_INTERVAL_S = 1.0
# One line for all that was dropped in this time.
_REPORT_INTERVAL_S = 10.0


class Drop(StrEnum):
    """Why a datagram was dropped, or a connection refused or cut."""

    BLOCKED = "blocked"
    """The policy said so."""
    NOT_CARRIED = "not_carried"
    """The verdict could not be carried out; so it was blocked."""
    NOT_CONNECTED = "not_connected"
    """The destination refused, or did not answer in time."""
    NOT_SENT = "not_sent"
    """The socket or the tunnel did not take the datagram (too big, no room, no network)."""
    UNSOLICITED = "unsolicited"
    """From outside, and no answer to a judged flow."""
    STALE_VERDICT = "stale_verdict"
    """An answer on a way that the newest policy has not confirmed; a stream to which it gives
    another way."""
    CHANGED_VERDICT = "changed_verdict"
    """A stream whose first bytes ask for another way than the one it was opened on."""
    INCOMPLETE = "incomplete"
    """A stream whose first bytes did not become enough to judge in time."""
    MALFORMED = "malformed"
    """Not what the front door speaks."""
    FRAGMENT = "fragment"
    """A SOCKS datagram with FRAG set (RFC 1928 section 7 lets us drop these)."""
    FOREIGN = "foreign"
    """A datagram to an association from someone else than its client."""
    UNROUTABLE = "unroutable"
    """From a client of which we have no address but one that is good on its own link only."""
    LOOP = "loop"
    """A connection to the local proxy itself: nobody's flow, and it would lead back here."""
    UNASKED = "unasked"
    """Bytes on the control connection of an association."""
    UNRESOLVED = "unresolved"
    """A name that has no address."""
    PENDING_FULL = "pending_full"
    """Too many datagrams waited for their name."""
    CLIENT_SHARE_FULL = "client_share_full"
    """One client has all the connections, sessions or destinations that one may have."""
    SESSIONS_FULL = "sessions_full"
    DESTINATIONS_FULL = "destinations_full"
    CONNECTIONS_FULL = "connections_full"
    UNAUTHORISED = "unauthorised"
    """Wrong user name or password, or none."""
    TIMED_OUT = "timed_out"
    """A connection that was silent too long, or did not finish closing."""


class Tally:
    """The counters of one listener."""

    def __init__(self, clock: Clock) -> None:
        """Start at nothing."""
        self.where = ""
        """Which listener this is, for the log."""
        self._counts: Counter[str] = Counter()
        self._clock = clock
        self._unreported: Counter[Drop] = Counter()
        self._report: DelayedCall | None = None
        self._is_closed = False
        self._next_note_s = float("-inf")
        self._unnoted = 0

    def drop(self, reason: Drop) -> None:
        """Count one datagram or connection that went nowhere."""
        self._counts[f"dropped_{reason}"] += 1
        self._unreported[reason] += 1
        # What the policy blocks is in the decision log; it is named here beside other things only.
        if self._report is None and reason is not Drop.BLOCKED and not self._is_closed:
            self._report = self._clock.callLater(_REPORT_INTERVAL_S, self._say)

    def close(self) -> None:
        """Say what was not said yet; from now on only count."""
        self._is_closed = True
        if self._report is not None:
            self._report.cancel()
            self._say()

    def _say(self) -> None:
        self._report = None
        dropped, self._unreported = self._unreported, Counter()
        _log.warn(
            "{where}: dropped {dropped}",
            where=self.where or "a listener",
            dropped=", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items())),
        )

    def not_carried(self, error: GatewayError) -> None:
        """Count one that was blocked because its way is not there; say so once a second."""
        self.drop(Drop.NOT_CARRIED)
        self._unnoted += 1
        now = self._clock.seconds()
        if now < self._next_note_s:
            return
        self._next_note_s = now + _NOTE_INTERVAL_S
        _log.warn(
            "Blocked {count} datagrams or connections that could not be carried; last: {error}",
            count=self._unnoted,
            error=str(error),
        )
        self._unnoted = 0

    def connection(self) -> None:
        """Count one accepted connection."""
        self._counts["connections"] += 1

    def up_datagram(self, length: int) -> None:
        """Count one datagram from a client that was sent on."""
        self._counts["up_packets"] += 1
        self._counts["up_bytes"] += length

    def down_datagram(self, length: int) -> None:
        """Count one datagram that was given back to a client."""
        self._counts["down_packets"] += 1
        self._counts["down_bytes"] += length

    def up_stream(self, length: int) -> None:
        """Count octets of a stream from a client that were sent on."""
        self._counts["up_bytes"] += length

    def down_stream(self, length: int) -> None:
        """Count octets of a stream that were given back to a client."""
        self._counts["down_bytes"] += length

    def spliced(self) -> None:
        """Count one direction of a stream that the kernel moves from now on."""
        self._counts["spliced"] += 1

    def not_spliced(self) -> None:
        """Count one that is copied, because there is no pipe for it."""
        self._counts["not_spliced"] += 1

    def snapshot(self) -> Mapping[str, int]:
        """Give the counters: connections, up_/down_ packets and bytes, dropped_REASON,
        spliced, not_spliced."""
        return dict(self._counts)
