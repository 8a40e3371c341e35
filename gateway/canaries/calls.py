"""One client's connection to a listener.  Owns: its socket, waiting for what becomes of it.
Knows: Twisted's reactor.  Never: which canary, what is concluded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure

from gateway.canaries.dialogue import Dialogue, Turn
from gateway.errors import CarryError
from gateway.model import Endpoint

# A stream's first bytes are judged after ten seconds at the latest.
PATIENCE_S = 15.0


class Waiting:
    """Fires once, when enough was seen, or nothing more is to be."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._fired: Deferred[None] = Deferred()

    def end(self) -> None:
        """Fire; nothing, if it has fired."""
        if not self._fired.called:
            self._fired.callback(None)

    def end_soon(self) -> None:
        """Fire in the reactor's next turn: what carries a flow does so right after its verdict."""
        self._reactor.callLater(0, self.end)

    async def within(self, timeout_s: float) -> None:
        """Wait for it, so long at most."""
        late = self._reactor.callLater(timeout_s, self.end)
        try:
            await self._fired
        finally:
            if late.active():
                late.cancel()


class Call(ClientFactory):
    """One connection, by a socket whose address is known before it is open."""

    noisy = False

    def __init__(self, reactor: Any, to: Endpoint) -> None:
        """Begin to connect, from the address that is called.

        Raises:  CarryError: this host has no such address, or no more sockets.
        """
        self._reactor = reactor
        self._heard: Deferred[bytes] = Deferred()
        self.is_reached = True
        """False: nobody takes connections there."""
        self.over = Waiting(reactor)
        """Ends with the connection."""
        self._turns: Sequence[Turn] = ()
        self._dialogue: Dialogue | None = None
        self._connector = reactor.connectTCP(
            to.host, to.port, self, timeout=PATIENCE_S, bindAddress=(to.host, 0)
        )
        opened = getattr(self._connector.transport, "socket", None)
        if opened is None:  # Twisted tells of it later, by clientConnectionFailed
            self._heard.addErrback(lambda why: b"")
            raise CarryError("canary", f"no socket from {to.host}")
        self.client = Endpoint.of(*opened.getsockname()[:2])

    async def hear(self, turns: Sequence[Turn]) -> bytes:
        """Say all of it, as soon as it is connected; give the last answer.

        Raises:  CarryError: it was refused, or closed, or nothing was answered.
        """
        self._turns = turns
        late = self._reactor.callLater(PATIENCE_S, self._ended, "it does not answer")
        try:
            return await self._heard
        finally:
            if late.active():
                late.cancel()

    def buildProtocol(self, addr: object) -> Dialogue:
        """IProtocolFactory API."""
        self._dialogue = Dialogue(self._turns, self._through, self._ended)
        return self._dialogue

    def _through(self, answer: bytes) -> None:
        if not self._heard.called:
            self._heard.callback(answer)

    def _ended(self, why: str) -> None:
        if not self._heard.called:
            self._heard.errback(CarryError("listener", why))
        self.over.end()

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        """IClientConnectionFactory API."""
        self.is_reached = False
        self._ended(f"cannot be reached: {reason.getErrorMessage()}")

    def say_last(self, payload: bytes) -> None:
        """Say the client's first bytes, and that there are no more."""
        if self._dialogue is not None:
            self._dialogue.say_last(payload)

    def end(self) -> None:
        """Close it; may be called again."""
        self._heard.addErrback(lambda why: b"")  # said, if anybody waited for it
        self._connector.disconnect()
