"""The tunnel to one exit.  Owns: connecting, reconnecting, saying what is wrong, opening flows.
Knows: RFC 9298 as a client.  Never: which flow takes it, policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from gateway.errors import CarryError
from gateway.flow.round_trips import Timing
from gateway.model import Endpoint
from gateway.tunnel.attempt import Attempt
from gateway.tunnel.credentials import Credentials, Transfer
from gateway.tunnel.masque import ExitAddress, connect_udp
from gateway.tunnel.ports import Reach
from gateway.tunnel.reactor import DelayedCall, Reactor
from gateway.tunnel.tcpflow import StreamEndpoint
from gateway.tunnel.udpflow import UdpFlow

_log = Logger(namespace="gateway.tunnel")

_TRANSFER = Transfer()
# With three round trips, where that is longer: no answer for so long, and the exit is silent.
_SILENCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a tunnel waits."""

    connect_s: float = 10.0
    """For a handshake, and for the exit's answer to a TCP flow."""
    first_retry_s: float = 0.5
    """Before the first new attempt; each further one waits twice as long, more or less."""
    last_retry_s: float = 30.0
    """The longest wait between attempts, which go on for ever."""


class Tunnel:
    """One exit, as the gateway sees it: up or down, and flows through it while it is up."""

    def __init__(
        self,
        reactor: Reactor,
        exit_address: ExitAddress,
        credentials: Credentials,
        reach: Reach,
        *,
        random: Random,
        on_change: Callable[[bool, str], None] = lambda is_up, sentence: None,
        on_round_trip: Callable[[Endpoint, float, float], None] = lambda to, total_s, near_s: None,
        on_bound: Callable[[Endpoint, float, float], None] = lambda to, total_s, least_s: None,
        patience: Patience = Patience(),
        transfer: Transfer = _TRANSFER,
    ) -> None:
        """Prepare; nothing is dialled before start().

        Args:    reach: where the exit's own address is dialled; random: for the jitter of retries;
                 on_change: told (up, one sentence) at each change; on_round_trip: told of each
                 answered ping of a client: its destination, what it took, and what of that was the
                 way to the exit and back, s; on_bound: told the same, but of that way only what it
                 took certainly, on the path that packets take now.
        """
        self.exit_address = exit_address
        self._reactor = reactor
        self._credentials = credentials
        self._reach = reach
        self._random = random
        self._on_change = on_change
        self._on_round_trip = on_round_trip
        self._on_bound = on_bound
        self._patience = patience
        self._transfer = transfer
        self._counters: Counter[str] = Counter()
        self._attempt: Attempt | None = None
        self._retry: DelayedCall | None = None
        self._failures = 0
        self._sentence = "not started"

    @property
    def up(self) -> bool:
        """Can a flow be opened?"""
        return self._attempt is not None and self._attempt.is_up

    @property
    def is_silent(self) -> bool:
        """Has it not answered for longer than any path should take?"""
        attempt = self._attempt
        if attempt is None or not attempt.is_up:
            return False
        patience_s = max(_SILENCE_S, 3 * (self.rtt_s or 0.0))
        return attempt.session.driver.unanswered_s > patience_s

    @property
    def rtt_s(self) -> float | None:
        """The smoothed round-trip time to it; None: not measured."""
        attempt = self._attempt
        return attempt.session.connection.rtt_s if attempt is not None and attempt.is_up else None

    @property
    def sentence(self) -> str:
        """What was last said about it."""
        return self._sentence

    @property
    def counters(self) -> dict[str, int]:
        """What happened since the start: counts by name, names that never happened absent."""
        return dict(self._counters)

    def start(self) -> None:
        """Connect, and go on for ever; errors go to the log and to on_change."""
        if self._attempt is None and self._retry is None:
            self._connect()

    def stop(self) -> Deferred[None]:
        """Send what waits, say goodbye, close every flow, do not come back."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        attempt, self._attempt = self._attempt, None
        self._say(False, "stopped")
        return succeed(None) if attempt is None else attempt.close()

    def open_udp(
        self,
        destination: Endpoint,
        on_datagram: Callable[[bytes], None],
        on_closed: Callable[[str], None],
    ) -> UdpFlow:
        """Open a UDP flow.

        Args:    on_datagram: gets each payload that comes back; on_closed: gets the reason, once,
                 when the flow ends otherwise than by its close().
        Raises:  CarryError: the tunnel is not up, or the exit takes no more flows.
        """
        session = self._usable().session
        self._counters["udp_flows"] += 1
        request = connect_udp(self.exit_address, destination)
        timing = Timing(self._reactor.seconds, lambda took_s: self._timed(destination, took_s))
        return UdpFlow(session, request, on_datagram, on_closed, timing)

    def _timed(self, destination: Endpoint, took_s: float) -> None:
        if self.rtt_s is not None:
            self._on_round_trip(destination, took_s, self.rtt_s)
        attempt = self._attempt
        if attempt is not None and attempt.is_up:
            self._on_bound(destination, took_s, attempt.session.connection.least_rtt_s)

    def stream_endpoint(self, destination: Endpoint) -> StreamEndpoint:
        """Give the IStreamClientEndpoint of a TCP flow; its Deferred fails with CarryError."""
        return StreamEndpoint(
            self._reactor,
            lambda: self._usable().session,
            destination,
            self.exit_address.name,
            self._patience.connect_s,
        )

    def _usable(self) -> Attempt:
        attempt = self._attempt
        if attempt is None or not attempt.is_up:
            raise CarryError(self.exit_address.name, f"the tunnel is down ({self._sentence})")
        if not attempt.session.connection.can_open_stream:
            raise CarryError(self.exit_address.name, "the exit takes no more flows")
        return attempt

    def _connect(self) -> None:
        self._retry = None
        self._counters["attempts"] += 1
        self._attempt = Attempt(
            self._reactor, self.exit_address, self._counters, self._came_up, self._went_down
        )
        self._attempt.start(
            self._credentials, self._transfer, self._reach, self._patience.connect_s
        )

    def _came_up(self) -> None:
        self._failures = 0
        self._say(True, "up")

    def _went_down(self, attempt: Attempt, reason: str) -> None:
        if attempt is not self._attempt:
            return  # stopped, or given up before
        self._attempt = None
        self._say(False, reason)
        self._retry = self._reactor.callLater(self._wait_s(), self._connect)
        self._failures += 1

    def _wait_s(self) -> float:
        # Exponential with "equal jitter", so that gateways do not come back all at once.
        doubled = self._patience.first_retry_s * 2.0 ** min(self._failures, 16)
        longest = min(self._patience.last_retry_s, doubled)
        return longest * self._random.uniform(0.5, 1.0)

    def _say(self, is_up: bool, sentence: str) -> None:
        if sentence == self._sentence:
            return  # the same failure again: said once
        self._sentence = sentence
        log = _log.info if is_up or sentence == "stopped" else _log.warn
        log("exit {exit}: {sentence}", exit=self.exit_address.name, sentence=sentence)
        self._on_change(is_up, f"exit {self.exit_address.name}: {sentence}")
