"""The SOCKS 5 front door.  Owns: its handshake and its listener.  Knows: RFC 1928, RFC 1929.
Never: verdicts; it only words them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import assert_never

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from gateway.errors import CarryError, WireError
from gateway.listeners.answers import Failing
from gateway.listeners.door import Door
from gateway.listeners.interfaces import Wiring
from gateway.listeners.socks5_udp import Association
from gateway.listeners.socks5_wire import (
    Command,
    Method,
    Reply,
    Request,
    read_credentials,
    read_greeting,
    read_request,
    write_credentials_answer,
    write_greeting,
    write_reply,
)
from gateway.listeners.stream_door import ClientConnection, StreamListener
from gateway.listeners.tally import Drop
from gateway.model import Endpoint, Verdict

Users = Mapping[str, str]
"""Passwords by user name."""


class Socks5Connection(ClientConnection):
    """One client's control connection: greeting, credentials, request, then stream or association.

    The steps are methods; `_step` is the next one and says whether it used up a message.
    """

    def __init__(self, door: Door, users: Users | None) -> None:
        super().__init__(door)
        self._users = users
        self._step: Callable[[], bool] = self._greeting
        self._association: Association | None = None

    def handshake(self) -> None:
        """ClientConnection API: a message is at most 513 octets, and no step waits for more."""
        try:
            while not self.is_done and self._step():
                pass
        except WireError:
            self.cut(Drop.MALFORMED)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """IProtocol API: an association lives as long as its control connection."""
        if self._association is not None:
            self._association.close()
        super().connectionLost(reason)

    # Steps.

    def _greeting(self) -> bool:
        greeting = read_greeting(self.unread)
        if greeting is None:
            return False
        offered, length = greeting
        self.unread = self.unread[length:]
        method = Method.NONE if self._users is None else Method.CREDENTIALS
        if method not in offered:
            self._turn_away(write_greeting(Method.NOT_ACCEPTABLE))
            return False
        self.client.write(write_greeting(method))
        self._step = self._request if self._users is None else self._credentials
        return True

    def _credentials(self) -> bool:
        credentials = read_credentials(self.unread)
        if credentials is None:
            return False
        user, password, length = credentials
        self.unread = self.unread[length:]
        if not is_welcome(user, password, self._users or {}):
            self._turn_away(write_credentials_answer(False))
            return False
        self.client.write(write_credentials_answer(True))
        self._step = self._request
        return True

    def _turn_away(self, answer: bytes) -> None:
        self.door.tally.drop(Drop.UNAUTHORISED)
        self.say_last(answer)

    def _request(self) -> bool:
        request = read_request(self.unread)
        if request is None:
            return False
        self.unread = self.unread[request.length :]
        if request.command == Command.UDP_ASSOCIATE:
            self._associate(request)
        elif request.command != Command.CONNECT:
            self._reject(Reply.COMMAND_NOT_SUPPORTED)
        elif isinstance(request.destination, Reply):
            self._reject(request.destination)
        else:
            self.connect_to(request.destination)
        return False

    def _reject(self, reply: Reply) -> None:
        self.door.tally.drop(Drop.MALFORMED)
        self.say_last(write_reply(reply))

    # UDP ASSOCIATE.

    def _associate(self, request: Request) -> None:
        """Open a relay port where the client reached us, for the host it reached us from.

        Of the address that it says it will send from only the port counts: behind a NAT the
        client does not know its address, and PySocks sends the name "0".
        """
        host, client = self.client.getHost(), Endpoint(self.source.address, request.port)
        try:
            self._association = Association(self.door, client, Endpoint.of(host.host, 0))
        except CarryError as error:
            self.door.tally.not_carried(error)
            self.say_last(write_reply(Reply.GENERAL_FAILURE))
            return
        self.handshake_over()
        self.client.write(write_reply(Reply.SUCCEEDED, self._association.bound))
        self._step = self._ignore
        self._ignore()

    def _ignore(self) -> bool:
        """The control connection has nothing more to say."""
        if self.unread:
            self.unread = b""
            self.door.tally.drop(Drop.UNASKED)
        return False

    # Answers.

    def accept(self) -> None:
        """Answers API."""
        self.client.write(write_reply(Reply.SUCCEEDED))

    def refuse(self, verdict: Verdict) -> None:
        """Answers API."""
        self.say_last(write_reply(Reply.NOT_ALLOWED))

    def fail(self, why: Failing) -> None:
        """Answers API."""
        self.say_last(write_reply(_reply_to(why)))


def _reply_to(why: Failing) -> Reply:
    match why:
        case Failing.NOT_CARRIED:
            return Reply.GENERAL_FAILURE
        case Failing.REFUSED:
            return Reply.REFUSED
        case Failing.UNREACHABLE:
            return Reply.HOST_UNREACHABLE
        case Failing.TIMED_OUT:
            return Reply.TIMED_OUT
        case _:
            assert_never(why)


def is_welcome(user: bytes, password: bytes, users: Users) -> bool:
    """Compare a password in constant time, for users that do not exist too.

    Args:    user, password: as sent, UTF-8.
    """
    expected = users.get(user.decode("utf-8", "replace"))
    given = hashlib.sha256(password).digest()  # equal lengths: compare_digest tells lengths apart
    wanted = hashlib.sha256((expected or "").encode()).digest()
    return hmac.compare_digest(given, wanted) and expected is not None


class Socks5Listener(StreamListener):
    """A SOCKS 5 server: CONNECT and UDP ASSOCIATE."""

    def __init__(self, address: Endpoint, wiring: Wiring, users: Users | None = None) -> None:
        """Make a closed door.

        Args:    users: who may come in; None: everybody.
        """
        super().__init__(address, wiring, lambda door: Socks5Connection(door, users))
