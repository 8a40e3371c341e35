"""The small certificate authority."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import InputError
from gateway.tunnel.authority import Authority, Identity, Role

_NOW = datetime(2026, 11, 23, tzinfo=UTC)
_YEAR = timedelta(days=365)


class AuthorityTests(SynchronousTestCase):
    """Certificates that verify, and files that nobody else reads."""

    def setUp(self) -> None:
        self.authority = Authority.create("operator", now=_NOW, lifetime=10 * _YEAR)
        store = Store([x509.load_pem_x509_certificate(self.authority.identity.certificate)])
        self.policy = PolicyBuilder().store(store)

    def issue(self, role: Role, *names: str) -> x509.Certificate:
        identity = self.authority.issue(role, names, now=_NOW, lifetime=_YEAR)
        return x509.load_pem_x509_certificate(identity.certificate)

    def test_an_exit_certificate_serves_its_names_and_addresses(self) -> None:
        """It verifies as a server's for its name, and carries its address."""
        leaf = self.issue(Role.EXIT, "exit.example", "192.0.2.9", "2001:db8::9")
        verifier = self.policy.time(_NOW).build_server_verifier(x509.DNSName("exit.example"))
        self.assertEqual(verifier.verify(leaf, [])[0], leaf)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses = [str(a) for a in names.get_values_for_type(x509.IPAddress)]
        self.assertEqual(addresses, ["192.0.2.9", "2001:db8::9"])

    def test_a_gateway_certificate_is_a_clients(self) -> None:
        """It verifies as a client's; an exit's does not."""
        verifier = self.policy.time(_NOW).build_client_verifier()
        verifier.verify(self.issue(Role.GATEWAY, "gateway-1.test"), [])
        with self.assertRaises(VerificationError):
            verifier.verify(self.issue(Role.EXIT, "exit.example"), [])

    def test_the_lifetime_is_as_asked(self) -> None:
        """A certificate is good from now to the end of its lifetime, and not a day longer."""
        leaf = self.issue(Role.GATEWAY, "gateway-1.test")
        for day, is_good in ((0, True), (365, True), (366, False), (-1, False)):
            verifier = self.policy.time(_NOW + timedelta(days=day)).build_client_verifier()
            if is_good:
                verifier.verify(leaf, [])
            else:
                with self.assertRaises(VerificationError):
                    verifier.verify(leaf, [])

    def test_a_key_is_readable_by_its_owner_only(self) -> None:
        """The key's file has mode 0600."""
        directory = Path(self.mktemp())
        directory.mkdir()
        certificate, key = self.authority.identity.write(directory, "ca")
        self.assertEqual(key.stat().st_mode & 0o777, 0o600)
        self.assertEqual(certificate.read_bytes(), self.authority.identity.certificate)
        again = Authority(Identity(certificate.read_bytes(), key.read_bytes()))
        again.issue(Role.EXIT, ["exit.example"], now=_NOW, lifetime=_YEAR)

    def test_nothing_is_overwritten_without_being_told(self) -> None:
        """A file that is there stays as it is, and so does its partner; told to, both are new."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "ca.key").write_bytes(b"precious")
        with self.assertRaises(InputError) as raised:
            self.authority.identity.write(directory, "ca")
        self.assertIn("ca.key: is there already; it is not overwritten", str(raised.exception))
        self.assertEqual((directory / "ca.key").read_bytes(), b"precious")
        self.assertFalse((directory / "ca.pem").exists())
        self.authority.identity.write(directory, "ca", overwrite=True)
        self.assertEqual((directory / "ca.key").read_bytes(), self.authority.identity.key)

    def test_a_directory_that_is_not_there(self) -> None:
        """What cannot be written is an InputError that names the file."""
        with self.assertRaises(InputError) as raised:
            self.authority.identity.write(Path(self.mktemp()), "ca")
        self.assertIn("ca.pem: cannot be written", str(raised.exception))
