"""What the lab's internet says.  Owns: Answers, an echo, and a captured destination's own answers.
Knows: the capture's conversations.  Never: sockets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from gateway.demo.conversation import Conversation
from gateway.model import Endpoint, Transport

Hear = Callable[[bytes], Sequence[bytes]]
"""Gets the octets of one stream as they come; gives what is said to them."""


class Answers(Protocol):
    """What is answered, by destination.  Called from several threads, one at a time."""

    def datagram(self, destination: Endpoint, payload: bytes) -> Sequence[bytes]:
        """Give the datagrams that answer one."""

    def stream(self, destination: Endpoint) -> Hear:
        """Give who hears a new stream."""


class Echo:
    """Everybody says what he is told."""

    def datagram(self, destination: Endpoint, payload: bytes) -> Sequence[bytes]:
        """Answers API."""
        return [payload]

    def stream(self, destination: Endpoint) -> Hear:
        """Answers API."""
        return lambda octets: [octets]


class Captured:
    """Everybody answers as in a capture; who said nothing there says nothing here."""

    def __init__(self, conversations: Iterable[Conversation]) -> None:
        self._datagrams: dict[tuple[Endpoint, bytes], deque[tuple[bytes, ...]]] = {}
        self._streams: dict[Endpoint, list[list[tuple[bytes, tuple[bytes, ...]]]]] = {}
        for conversation in conversations:
            destination = conversation.key.destination
            if conversation.key.transport is Transport.TCP:
                self._streams.setdefault(destination, []).append(conversation.answers())
                continue
            for asked, answered in conversation.answers():
                self._datagrams.setdefault((destination, asked), deque()).append(answered)

    def datagram(self, destination: Endpoint, payload: bytes) -> Sequence[bytes]:
        """Answers API."""
        waiting = self._datagrams.get((destination, payload))
        if not waiting:
            return ()
        # The same payload may be sent often; its last answer serves all that come after.
        return waiting.popleft() if len(waiting) > 1 else waiting[0]

    def stream(self, destination: Endpoint) -> Hear:
        """Answers API."""
        return _Script(self._streams.get(destination, [])).hear


class _Script:
    """One stream to a captured destination: it follows the captured stream that begins alike."""

    def __init__(self, known: list[list[tuple[bytes, tuple[bytes, ...]]]]) -> None:
        self._known = known
        self._pairs: list[tuple[bytes, tuple[bytes, ...]]] | None = None
        self._heard = b""

    def hear(self, octets: bytes) -> Sequence[bytes]:
        self._heard += octets
        if self._pairs is None:
            alike = (each for each in self._known if each and self._heard.startswith(each[0][0]))
            self._pairs = next((list(each) for each in alike), None)
        said: list[bytes] = []
        while self._pairs and self._heard.startswith(self._pairs[0][0]):
            asked, answered = self._pairs.pop(0)
            self._heard = self._heard[len(asked) :]
            said += answered
        return said
