"""An exit that is given pseudonyms only.  Owns: flows whose datagrams are rewritten both ways.
Knows: what listeners ask of an exit.  Never: which exit, sockets, a datagram that is not rewritten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IStreamClientEndpoint

from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.scrub.days import Days
from gateway.scrub.rewriting import exchange


class Flow(Protocol):
    """One destination's datagrams through an exit."""

    def send(self, payload: bytes) -> bool: ...
    @property
    def unsent(self) -> int: ...
    def close(self) -> None: ...


class Exit(Protocol):
    """A way out."""

    def open_udp(
        self,
        destination: Endpoint,
        on_datagram: Callable[[bytes], None],
        on_closed: Callable[[str], None],
    ) -> Flow: ...


class Scrubbed:
    """One client's way to an exit."""

    def __init__(self, exit_: Exit, days: Days, client: Endpoint, counters: Counter[str]) -> None:
        """Prepare; nothing is opened yet.

        Args:    counters: of datagrams, by what became of them.
        """
        self._exit = exit_
        self._days = days
        self._client = client
        self._counters = counters

    def open_udp(
        self,
        destination: Endpoint,
        on_datagram: Callable[[bytes], None],
        on_closed: Callable[[str], None],
    ) -> ScrubbedFlow:
        """Open a flow, as the exit does.

        Raises:  CarryError: as the exit.
        """
        flow = ScrubbedFlow(self._days, self._client, destination, self._counters)
        flow.open(self._exit, on_datagram, on_closed)
        return flow

    def stream_endpoint(self, destination: Endpoint) -> IStreamClientEndpoint:
        """Refuse.

        Raises:  CarryError: a stream's octets are not rewritten.
        """
        raise CarryError("scrub", "streams get no pseudonyms: a rule with scrub blocks TCP")


class ScrubbedFlow:
    """A flow that keeps its pseudonyms until it ends."""

    def __init__(
        self, days: Days, client: Endpoint, destination: Endpoint, counters: Counter[str]
    ) -> None:
        self._days = days
        self._stay = days.enter(client.address)
        self._destination = destination
        self._counters = counters
        self._flow: Flow | None = None
        self._is_over = False

    def open(
        self,
        exit_: Exit,
        on_datagram: Callable[[bytes], None],
        on_closed: Callable[[str], None],
    ) -> None:
        """Open it at the exit.

        Raises:  CarryError: as the exit.
        """

        def received(payload: bytes) -> None:
            answer = self._answer(payload)
            if answer is not None:
                on_datagram(answer)

        def closed(reason: str) -> None:
            self._end()
            on_closed(reason)

        try:
            self._flow = exit_.open_udp(self._destination, received, closed)
        except CarryError:
            self._end()
            raise

    def send(self, payload: bytes) -> bool:
        """Send a datagram with pseudonyms; False: as the exit.

        Raises:  CarryError: it may hold an identifier that has none; nothing was sent.
        """
        if self._flow is None:
            return False
        stay = self._stay
        try:
            exchanged = exchange(payload, stay.pseudonyms, self._destination)
            stay.residue.learn(exchanged.originals)
            if encoding := stay.residue.left_in(exchanged.payload):
                says = f"an identifier stands where the protocol has none known ({encoding})"
                raise CarryError("scrub", says)
        except CarryError:
            self._counters["scrub_blocked"] += 1
            raise
        self._counters["scrubbed" if exchanged.originals else "scrub_unchanged"] += 1
        return self._flow.send(exchanged.payload)

    @property
    def unsent(self) -> int:
        """As the exit's flow."""
        return 0 if self._flow is None else self._flow.unsent

    def close(self) -> None:
        """Give the flow up; may be called twice."""
        self._end()
        if self._flow is not None:
            self._flow.close()

    def _answer(self, payload: bytes) -> bytes | None:
        """Give an answer with what the pseudonyms stand for.

        None: it cannot be read, and is dropped: an app that takes somebody's pseudonym for another
        user's id would be told a lie.
        """
        try:
            answer = exchange(payload, self._stay.pseudonyms, self._destination, back=True)
        except CarryError:
            self._counters["scrub_answers_dropped"] += 1
            return None
        self._counters["scrub_answers"] += 1
        self._stay.residue.learn(answer.originals, heard=True)
        return answer.payload

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._days.leave(self._stay)
