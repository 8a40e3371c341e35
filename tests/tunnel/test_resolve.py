"""Finding an exit by its name."""

from __future__ import annotations

from typing import cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import DNSLookupError
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import Endpoint
from gateway.tunnel.reactor import Reactor
from gateway.tunnel.resolve import resolve


class _Receiver:
    """The part of IResolutionReceiver that a resolver calls."""

    def addressResolved(self, address: object) -> None: ...
    def resolutionComplete(self) -> None: ...


class _Names:
    """A reactor with one name, and its resolver."""

    def __init__(self, *addresses: object) -> None:
        self.nameResolver = self
        self._addresses = addresses

    def resolveHostName(self, receiver: _Receiver, name: str, port: int = 0) -> None:
        for address in self._addresses:
            receiver.addressResolved(address)
        receiver.resolutionComplete()


class ResolveTests(SynchronousTestCase):
    """A name becomes its first address; an address is not looked up."""

    def test_a_name(self) -> None:
        """The first of a name's addresses is the exit's."""
        names = _Names(IPv6Address("UDP", "2001:db8::9", 443), IPv4Address("UDP", "192.0.2.9", 443))
        found = resolve(cast(Reactor, names), "exit.example", 4433)
        self.assertEqual(self.successResultOf(found), Endpoint.of("2001:db8::9", 4433))

    def test_a_name_without_address(self) -> None:
        """A name that has no address is an error that names it."""
        found = resolve(cast(Reactor, _Names()), "exit.example", 4433)
        error = self.failureResultOf(found, DNSLookupError).value
        self.assertIn("exit.example has no address", str(error))

    def test_an_address(self) -> None:
        """An address is itself."""
        found = resolve(cast(Reactor, None), "192.0.2.9", 4433)
        self.assertEqual(self.successResultOf(found), Endpoint.of("192.0.2.9", 4433))
