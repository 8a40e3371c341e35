"""The address of an exit.  Owns: looking its name up.  Knows: IHostnameResolver.
Never: destinations of clients: those are addresses already, or they are refused."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IHostResolution, IResolutionReceiver

# zope ships no types; its marker says what the class is.
from zope.interface import implementer

from gateway.errors import AddressError
from gateway.model import Endpoint
from gateway.tunnel.reactor import Reactor


@implementer(IResolutionReceiver)
class _First:
    """Fires with the first address; fails with DNSLookupError if there is none."""

    def __init__(self, host: str, port: int) -> None:
        self.found: Deferred[Endpoint] = Deferred()
        self._host = host
        self._port = port

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """IResolutionReceiver API."""

    def addressResolved(self, address: object) -> None:
        """IResolutionReceiver API."""
        host = getattr(address, "host", None)
        if host is not None and not self.found.called:
            self.found.callback(Endpoint.of(host, self._port))

    def resolutionComplete(self) -> None:
        """IResolutionReceiver API."""
        if not self.found.called:
            self.found.errback(DNSLookupError(f"{self._host} has no address"))


def resolve(reactor: Reactor, host: str, port: int) -> Deferred[Endpoint]:
    """Find where an exit is.

    Args:    host: an address, which is not looked up, or a name.
    Returns: the first address; fails with DNSLookupError if the name has none.
    """
    try:
        return succeed(Endpoint.of(host, port))
    except AddressError:
        first = _First(host, port)
        reactor.nameResolver.resolveHostName(first, host, port)
        return first.found
