"""An HTTP proxy, asked for a TCP stream.  Owns: our side of the conversation.
Knows: RFC 9110 sections 9.3.6 (CONNECT) and 11.7 (Proxy-Authorization), RFC 7617; h11.
Never: sockets, TLS, names: only addresses are asked for."""

from __future__ import annotations

import base64

import h11

from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.tunnel.asking import Login

# Octets of the proxy's whole answer; what nginx and Apache send is a tenth of it.
_MAX_HEAD_LEN = 16 * 1024
# Characters of the proxy's own words that are passed on: they end in logs.
_MAX_WORDS_LEN = 100


class ConnectAsking:
    """One request, one answer."""

    def __init__(self, proxy: str, login: Login | None, destination: Endpoint) -> None:
        """Prepare.

        Args:    proxy: its name, for errors.
        """
        self.is_done = False
        self.rest = b""
        self._proxy = proxy
        self._login = login
        self._destination = destination
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_LEN)
        self._interim = 0

    def begin(self) -> bytes:
        """Asking API."""
        authority = str(self._destination).encode()
        headers = [(b"Host", authority)]
        if self._login is not None:
            pair = self._login.username + b":" + self._login.password
            headers.append((b"Proxy-Authorization", b"Basic " + base64.b64encode(pair)))
        request = h11.Request(method=b"CONNECT", target=authority, headers=headers)
        return (self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b"")

    def receive(self, data: bytes) -> bytes:
        """Asking API."""
        try:
            self._http.receive_data(data)
            while not self.is_done and self._read(self._http.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            says = str(error)[:_MAX_WORDS_LEN]
            raise CarryError(self._proxy, f"the proxy's answer is no HTTP/1.1: {says}") from error
        return b""

    def _read(self, event: object) -> bool:
        """Read one event; False: more octets are needed."""
        match event:
            case h11.InformationalResponse():
                self._interim += 1
                if self._interim > 8:  # a proxy that says "wait" for ever
                    raise CarryError(self._proxy, "the proxy does not come to its answer")
                return True
            case h11.Response(status_code=status, reason=reason):
                if not 200 <= status < 300:
                    words = reason.decode("ascii", "replace")[:_MAX_WORDS_LEN]
                    says = f"{status} {words}".rstrip()
                    raise CarryError(self._proxy, f"the proxy refused with {says}")
                self.rest, _ = self._http.trailing_data
                self.is_done = True
                return True
            case _:
                return False
