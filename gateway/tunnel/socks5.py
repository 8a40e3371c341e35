"""A SOCKS 5 proxy, asked for a TCP stream.  Owns: our side of the conversation.
Knows: RFC 1928, RFC 1929.  Never: sockets, names: only addresses are asked for."""

from __future__ import annotations

from collections.abc import Callable

from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.tunnel.asking import Login

_VERSION, _LOGIN_VERSION = 5, 1
_NO_LOGIN, _LOGIN = 0, 2
_CONNECT = 1
_IPV4, _IPV6 = 1, 4

# RFC 1928 section 6.
_REPLIES = {
    1: "general failure",
    2: "not allowed by its ruleset",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}


class Socks5Asking:
    """One conversation: greeting, login if there is one, request."""

    def __init__(self, proxy: str, login: Login | None, destination: Endpoint | None) -> None:
        """Prepare.

        Args:    proxy: its name, for errors; login: None: none is offered; each part has 1..255
                 octets; destination: None: it is over after the login, to see whether we may.
        """
        self.is_done = False
        self._proxy = proxy
        self._login = login
        self._destination = destination
        self._unread = b""
        self._step: Callable[[], bytes | None] = self._method

    @property
    def rest(self) -> bytes:
        """Asking API."""
        return self._unread

    def begin(self) -> bytes:
        """Asking API: offer one method, so that a login is never left out."""
        return bytes((_VERSION, 1, _NO_LOGIN if self._login is None else _LOGIN))

    def receive(self, data: bytes) -> bytes:
        """Asking API."""
        self._unread += data
        said = b""
        while not self.is_done:
            answer = self._step()
            if answer is None:
                break
            said += answer
        return said

    def _method(self) -> bytes | None:
        """Section 3: what the proxy chose."""
        if self._unread and self._unread[0] != _VERSION:
            raise CarryError(self._proxy, "the proxy does not speak SOCKS 5")
        if len(self._unread) < 2:
            return None
        method, self._unread = self._unread[1], self._unread[2:]
        if self._login is None:
            if method != _NO_LOGIN:
                raise CarryError(self._proxy, "the proxy wants a login, and there is none")
            return self._request()
        if method != _LOGIN:
            raise CarryError(self._proxy, "the proxy takes no user name and password")
        self._step = self._admission
        name, password = self._login.username, self._login.password
        return bytes((_LOGIN_VERSION, len(name))) + name + bytes((len(password),)) + password

    def _admission(self) -> bytes | None:
        """RFC 1929 section 2."""
        if self._unread and self._unread[0] != _LOGIN_VERSION:
            raise CarryError(self._proxy, "the proxy's answer to the login is none of RFC 1929")
        if len(self._unread) < 2:
            return None
        status, self._unread = self._unread[1], self._unread[2:]
        if status:
            raise CarryError(self._proxy, "the proxy refuses our user name or password")
        return self._request()

    def _request(self) -> bytes:
        """Section 4."""
        self._step = self._reply
        destination = self._destination
        if destination is None:
            self.is_done = True
            return b""
        kind = _IPV4 if len(destination.address) == 4 else _IPV6
        head = bytes((_VERSION, _CONNECT, 0, kind))
        return head + destination.address + destination.port.to_bytes(2)

    def _reply(self) -> bytes | None:
        """Section 6; the address in it is the proxy's own, and of no use."""
        if self._unread and self._unread[0] != _VERSION:
            raise CarryError(self._proxy, "the proxy's reply is none of SOCKS 5")
        if len(self._unread) < 2:
            return None
        code = self._unread[1]
        if code:
            says = _REPLIES.get(code, f"reply {code}")
            raise CarryError(self._proxy, f"the proxy refused: {says}")
        length = self._reply_length()
        if length is None or len(self._unread) < length:
            return None
        self._unread = self._unread[length:]
        self.is_done = True
        return b""

    def _reply_length(self) -> int | None:
        """Give the length of a reply; None: not known yet."""
        if len(self._unread) < 5:
            return None
        match self._unread[3]:
            case 1:
                return 4 + 4 + 2
            case 4:
                return 4 + 16 + 2
            case 3:
                return 5 + self._unread[4] + 2
            case kind:
                raise CarryError(self._proxy, f"the proxy's reply has an address of type {kind}")
