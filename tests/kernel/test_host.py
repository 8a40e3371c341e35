"""What a host lacks is said in sentences that tell how to get it."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.kernel import host


class HostTests(SynchronousTestCase):
    """missing and has_capability."""

    def sysctl(self, **values: str) -> Path:
        """Make a folder of settings."""
        folder = Path(self.mktemp())
        settings = {
            "net/ipv4/ip_forward": "1",
            "net/ipv6/conf/all/forwarding": "1",
            "net/ipv4/conf/all/rp_filter": "0",
            "net/ipv4/conf/eth1/rp_filter": "1",
            "net/ipv4/conf/wg0/rp_filter": "0",
            **values,
        }
        for name, value in settings.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(value + "\n")
        return folder

    def settings(self, **values: str) -> list[str]:
        """Give what is said of settings, and not of this very host."""
        said = host.missing(["eth1"], ["wg0"], sysctl=self.sysctl(**values))
        return [one for one in said if "net." in one or "interface" in one]

    def test_good(self) -> None:
        """Of settings that are right nothing is said."""
        self.assertEqual(self.settings(), [])

    def test_forwarding(self) -> None:
        """Forwarding that is off is said, with the command that turns it on."""
        said = self.settings(**{"net/ipv4/ip_forward": "0", "net/ipv6/conf/all/forwarding": "0"})
        self.assertEqual(
            said,
            [
                "forwarding is off: sysctl -w net.ipv4.ip_forward=1",
                "forwarding is off: sysctl -w net.ipv6.conf.all.forwarding=1",
            ],
        )

    def test_reverse_path(self) -> None:
        """A strict filter before an exit is said; it takes the stricter of two settings."""
        for values in ({"net/ipv4/conf/all/rp_filter": "1"}, {"net/ipv4/conf/wg0/rp_filter": "1"}):
            (sentence,) = self.settings(**values)
            self.assertIn("sysctl -w net.ipv4.conf.wg0.rp_filter=2", sentence)

    def test_interface(self) -> None:
        """An interface that is not there is named."""
        said = host.missing(["eth9"], [], sysctl=self.sysctl())
        self.assertIn("there is no interface eth9", said)

    def test_capability(self) -> None:
        """Capabilities are read from the kernel's own words."""
        status = Path(self.mktemp())
        for octets, has in (("0000000000001000", True), ("0000000000002000", False)):
            status.write_text(f"Name:\tx\nCapEff:\t{octets}\n")
            self.assertEqual(host.has_capability(12, status), has)
        status.write_text("Name:\tx\n")
        self.assertFalse(host.has_capability(12, status))
