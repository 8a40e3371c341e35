"""What a client says to a listener before its stream is carried.  Owns: the words of SOCKS 5 and
HTTP CONNECT from the client's side, and saying them.  Knows: RFC 1928, RFC 1929, RFC 9110.
Never: which flow, why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from gateway.errors import CarryError
from gateway.model import Endpoint, unpack

# An answer is some octets; a listener that says more is none of ours.
_MAX_ANSWER_LEN = 4_096
CONNECT, ASSOCIATE = 1, 3


@dataclass(frozen=True, slots=True)
class Turn:
    """Something to say, and how its answer is read."""

    say: bytes
    length: Callable[[bytes], int]
    """Gives the answer's length by what is there; 0: not whole yet.  Raises CarryError: it refuses.
    """


def socks5(command: int, to: Endpoint, users: Mapping[str, str] | None) -> Sequence[Turn]:
    """Give what a SOCKS 5 client says.

    Args:    command: CONNECT or ASSOCIATE; users: whom the listener lets in; None: everybody.
    """
    login = next(iter(users.items()), None) if users else None
    kind = 1 if len(to.address) == 4 else 4
    request = bytes((5, command, 0, kind)) + to.address + to.port.to_bytes(2)
    turns = [Turn(bytes((5, 1, 2 if login else 0)), _is(2, 1, (0, 2)))]
    if login is not None:
        name, password = (one.encode() for one in login)
        said = bytes((1, len(name))) + name + bytes((len(password),)) + password
        turns.append(Turn(said, _is(2, 1, (0,))))
    return (*turns, Turn(request, _socks_reply))


def _is(length: int, at: int, wanted: Sequence[int]) -> Callable[[bytes], int]:
    def read(data: bytes) -> int:
        if len(data) < length:
            return 0
        if data[at] not in wanted:
            raise CarryError("listener", f"answers {data[:length].hex()}")
        return length

    return read


def _socks_reply(data: bytes) -> int:
    """RFC 1928 section 6; all that the gateway answers with has an address."""
    if len(data) < 4:
        return 0
    if data[1]:
        raise CarryError("listener", f"SOCKS reply {data[1]}")
    length = 10 if data[3] == 1 else 22
    return length if len(data) >= length else 0


def relay_of(reply: bytes) -> Endpoint:
    """Read where datagrams go, of a whole reply to ASSOCIATE."""
    return Endpoint(reply[4:-2], int.from_bytes(reply[-2:]))


def http_connect(to: Endpoint) -> Sequence[Turn]:
    """Give what an HTTP client says to have a stream (RFC 9110 section 9.3.6)."""
    host = unpack(to.address)
    authority = f"[{host}]:{to.port}" if ":" in host else f"{host}:{to.port}"
    head = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"
    return (Turn(head.encode(), _http_answer),)


def _http_answer(data: bytes) -> int:
    length = data.find(b"\r\n\r\n") + 4
    if length < 4:
        return 0
    status = data.split(b" ", 2)[1:2]
    if status != [b"200"]:
        raise CarryError("listener", f"HTTP status {b''.join(status)[:9].decode('latin-1')}")
    return length


class Dialogue(Protocol):
    """Says a client's turns, one after another."""

    def __init__(
        self, turns: Sequence[Turn], through: Callable[[bytes], None], over: Callable[[str], None]
    ) -> None:
        """Begin when connected.

        Args:    through: gets the last answer, once all is said; over: gets why it ended, if it
                 did, once.
        """
        self._turns = list(turns)
        self._through, self._over = through, over
        self._heard = b""
        self._is_talking = True
        self.transport: Any = None

    def connectionMade(self) -> None:
        """IProtocol API."""
        self._say(b"")

    def _say(self, answer: bytes) -> None:
        if self._turns:
            self.transport.write(self._turns[0].say)
        else:
            self._is_talking = False
            self._through(answer)

    def dataReceived(self, data: bytes) -> None:
        """IProtocol API: what a destination might say, nobody waits for."""
        if not self._is_talking:
            return
        self._heard += data
        try:
            length = self._turns[0].length(self._heard)
        except CarryError as error:
            self._end(error.what)
            return
        if length:
            answer, self._heard = self._heard[:length], self._heard[length:]
            del self._turns[0]
            self._say(answer)
        elif len(self._heard) > _MAX_ANSWER_LEN:
            self._end("an answer without end")

    def say_last(self, payload: bytes) -> None:
        """Say what the stream begins with, and nothing more."""
        self.transport.write(payload)
        self.transport.loseWriteConnection()

    def _end(self, why: str) -> None:
        self._is_talking = False
        over, self._over = self._over, lambda why: None
        over(why)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """IProtocol API."""
        self._end("the connection was closed")
