"""What a host lacks is said in sentences that tell how to get it."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import CarryError
from gateway.kernel import bpf_calls, host


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

    def test_no_fast_path(self) -> None:
        """Why there is no fast path is said: the kernel, the capability, or who refuses it; and
        only to who wants one."""
        self.patch(host, "has_capability", lambda number: True)
        self.patch(bpf_calls, "create_map", self.refuse)
        for release, says in (
            ("6.1.0-18-amd64", "expected 6.6"),
            ("6.12.1", "Operation not permitted"),
        ):
            self.patch(os, "uname", lambda release=release: SimpleNamespace(release=release))
            self.assertIn(says, host.no_fast_path() or "")
        wanted = host.missing(["eth1"], [], ["eth1"], sysctl=self.sysctl())
        self.assertTrue([one for one in wanted if "no fast path" in one])
        self.patch(host, "has_capability", lambda number: number != 39)
        self.assertIn("CAP_BPF", host.no_fast_path() or "")
        said = host.missing(["eth1"], [], sysctl=self.sysctl())
        self.assertFalse([one for one in said if "no fast path" in one])

    def refuse(self, *_arguments: int) -> int:
        """Refuse, as the kernel does."""
        raise CarryError("map", "bpf: Operation not permitted")
