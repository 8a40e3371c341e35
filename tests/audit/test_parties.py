"""gateway.audit.parties: who is the client."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.audit.parties import Parties, is_local
from gateway.errors import AddressError
from gateway.model import Endpoint, pack
from tests.support.rows import rows

SYN, SYN_ACK = 2, 18


@rows(
    guess={
        "the private side sends": ("10.0.0.1:9", "192.0.2.1:9000", 0, True),
        "the private side receives": ("192.0.2.1:9000", "[fd00::1]:9", 0, False),
        "a SYN": ("192.0.2.1:80", "198.51.100.1:5000", SYN, True),
        "the answer to a SYN": ("192.0.2.1:5000", "198.51.100.1:80", SYN_ACK, False),
        "a system port receives": ("192.0.2.1:5000", "198.51.100.1:443", 0, True),
        "a system port sends": ("192.0.2.1:53", "198.51.100.1:5000", 0, False),
        "nothing tells: who sends first": ("192.0.2.1:5000", "198.51.100.1:5001", 0, True),
    }
)
class PartiesTests(SynchronousTestCase):
    """The client is found by what tells most."""

    def check_guess(self, sender: str, receiver: str, flags: int, expected: bool) -> None:
        """Who sent first is the client, or not."""
        ends = Endpoint.parse(sender), Endpoint.parse(receiver)
        self.assertIs(Parties().sender_is_client(*ends, flags), expected)

    def test_many(self) -> None:
        """Who talks with many is the client of the next one, who sends first."""
        parties, client = Parties(), Endpoint.parse("192.0.2.1:5000")
        for host in range(1, 9):
            parties.sender_is_client(client, Endpoint.of(f"198.51.100.{host}", 4001))
        edge = Endpoint.of("203.0.113.1", 4001)
        self.assertIs(parties.sender_is_client(edge, client), False)

    def test_named(self) -> None:
        """Named clients decide, an IPv4-mapped spelling or a single address too."""
        parties = Parties(["192.0.2.0/24", "2001:db8::1"])
        one, other = Endpoint.parse("192.0.2.9:1"), Endpoint.parse("10.0.0.1:1")
        self.assertIs(parties.sender_is_client(one, other), True)
        self.assertIs(parties.sender_is_client(other, one), False)
        self.assertIsNone(parties.sender_is_client(other, other))
        error = self.assertRaises(AddressError, Parties, ["192.0.2.0/40"])
        self.assertIn("192.0.2.0/40", str(error))

    def test_local(self) -> None:
        """Multicast, broadcast and link-local go nowhere."""
        for host in ("224.0.0.251", "ff02::fb", "255.255.255.255", "169.254.1.1", "fe80::1"):
            self.assertTrue(is_local(pack(host)), host)
        for host in ("10.0.0.1", "192.0.2.1", "2001:db8::1"):
            self.assertFalse(is_local(pack(host)), host)
