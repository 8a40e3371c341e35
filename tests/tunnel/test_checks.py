"""gateway.tunnel.checks: credentials are found wanting before they are used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import CarryError
from gateway.tunnel.authority import Authority, Role
from gateway.tunnel.checks import check_credentials
from gateway.tunnel.credentials import Credentials

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class CheckTests(SynchronousTestCase):
    """What is wrong with a file is said with its name."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        authority = Authority.create("a", now=NOW, lifetime=timedelta(days=9))
        authority.identity.write(self.folder, "ca")
        for stem in ("one", "two"):
            issued = authority.issue(Role.EXIT, [stem], now=NOW, lifetime=timedelta(days=9))
            issued.write(self.folder, stem)

    def fault(self, ca: str = "ca.pem", certificate: str = "one.pem", key: str = "one.key") -> str:
        files = (self.folder / name for name in (ca, certificate, key))
        return str(self.assertRaises(CarryError, check_credentials, Credentials(*files)))

    def test_sound(self) -> None:
        """A certificate with its key is fine."""
        files = (self.folder / name for name in ("ca.pem", "one.pem", "one.key"))
        check_credentials(Credentials(*files))

    def test_missing(self) -> None:
        """A file that is not there is named."""
        self.assertIn("nonesuch.pem: No such file", self.fault(certificate="nonesuch.pem"))

    def test_another_key(self) -> None:
        """A key of another certificate is not taken."""
        self.assertIn("two.key: is not the key of", self.fault(key="two.key"))

    def test_garbage(self) -> None:
        """A file that is something else is named."""
        (self.folder / "x").write_text("hello")
        self.assertIn("x: is not a certificate in PEM", self.fault(ca="x"))
        self.assertIn("x: is not an unencrypted key in PEM", self.fault(key="x"))
        self.assertIn("one.pem: is not an unencrypted key", self.fault(key="one.pem"))
