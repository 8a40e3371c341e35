"""Places that clients share."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.listeners.limits import Limits
from gateway.listeners.shares import Shares
from gateway.listeners.tally import Drop
from gateway.model import Endpoint

FULL = Drop.SESSIONS_FULL
SHARE = Drop.CLIENT_SHARE_FULL


def at(host: str, port: int = 1) -> Endpoint:
    """Make a client."""
    return Endpoint.of(host, port)


class SharesTests(SynchronousTestCase):
    """So many at once, so many for one."""

    def test_limit(self) -> None:
        """So many at once, no more; what is given back can be taken again."""
        shares = Shares(2, 2, FULL)
        clients = [at("192.0.2.1"), at("192.0.2.2"), at("192.0.2.3")]
        self.assertEqual([shares.take(client) for client in clients], [None, None, FULL])
        shares.give(clients[0])
        self.assertEqual([shares.take(client) for client in clients[1:]], [None, FULL])

    def test_share(self) -> None:
        """A client gets its share from all its ports together, and leaves the rest to others."""
        shares = Shares(4, 2, FULL)
        taken = [shares.take(at("192.0.2.1", port)) for port in (1, 2, 3)]
        self.assertEqual(taken, [None, None, SHARE])
        self.assertIsNone(shares.take(at("192.0.2.2")))
        shares.give(at("192.0.2.1", 1))
        self.assertIsNone(shares.take(at("192.0.2.1", 4)))

    def test_ipv6(self) -> None:
        """All addresses of one /64 are one client: it picks them as it likes."""
        shares = Shares(4, 1, FULL)
        self.assertIsNone(shares.take(at("2001:db8::1")))
        self.assertEqual(shares.take(at("2001:db8::2")), SHARE)
        self.assertIsNone(shares.take(at("2001:db8:0:1::1")))

    def test_a_quarter(self) -> None:
        """By default three clients cannot take all there is."""
        limits = Limits()
        self.assertLess(3 * limits.connections_per_client, limits.connections)
        self.assertLess(3 * limits.udp_sessions_per_client, limits.udp_sessions)
        self.assertLess(3 * limits.udp_destinations_per_client, limits.udp_destinations)
