"""A small certificate authority for one operator's gateways and exits.  Owns: making keys and
certificates, writing them.  Knows: RFC 5280, ECDSA P-256.  Never: the time, TLS, sockets."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.errors import AddressError, InputError, Problem
from gateway.model import pack

# Clocks of gateway and exit may differ by this much on the day of issue.
_CLOCK_SKEW = timedelta(hours=1)


class Role(Enum):
    """What a certificate is good for: an exit serves, a gateway asks; neither does the other."""

    EXIT = ExtendedKeyUsageOID.SERVER_AUTH
    GATEWAY = ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes
    """PKCS #8, not encrypted."""

    def write(self, directory: Path, stem: str, *, overwrite: bool = False) -> tuple[Path, Path]:
        """Write STEM.pem and STEM.key, the key readable by its owner only.

        Returns: the two paths.
        Raises:  InputError: one of them is there and `overwrite` is not said, or cannot be written.
        """
        paths = directory / f"{stem}.pem", directory / f"{stem}.key"
        there = [path for path in paths if path.exists()]
        if there and not overwrite:
            sentence = "is there already; it is not overwritten"
            raise InputError(Problem(str(path), 0, 0, sentence) for path in there)
        _write(paths[0], self.certificate, 0o644)
        _write(paths[1], self.key, 0o600)
        return paths


@dataclass(frozen=True, slots=True)
class Authority:
    """Issues certificates for exits and gateways."""

    identity: Identity

    @classmethod
    def create(cls, name: str, *, now: datetime, lifetime: timedelta) -> Authority:
        """Make a new authority with its own key; `now` is aware of its zone."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        unsigned = (
            _unsigned(subject, subject, key.public_key(), now, lifetime)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(is_authority=True), critical=True)
        )
        return cls(_identity(unsigned.sign(key, hashes.SHA256()), key))

    def issue(
        self, role: Role, names: Sequence[str], *, now: datetime, lifetime: timedelta
    ) -> Identity:
        """Make a certificate with a key of its own.

        Args:    names: DNS names and IP addresses that it is for, the main one first, at least one.
        """
        authority = x509.load_pem_x509_certificate(self.identity.certificate)
        signer = serialization.load_pem_private_key(self.identity.key, None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey), "create() made another kind of key"
        key = ec.generate_private_key(ec.SECP256R1())
        unsigned = (
            _unsigned(_name(names[0]), authority.subject, key.public_key(), now, lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(is_authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([role.value]), critical=False)
            .add_extension(x509.SubjectAlternativeName([_alternative(n) for n in names]), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False
            )
        )
        return _identity(unsigned.sign(signer, hashes.SHA256()), key)


def _unsigned(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(pack(name)))
    except AddressError:
        return x509.DNSName(name)


def _identity(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Identity:
    return Identity(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def _write(path: Path, octets: bytes, mode: int) -> None:
    try:
        # The mode is set at creation: a key is at no time readable by others.
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(octets)
    except OSError as exc:
        raise InputError([Problem(str(path), 0, 0, f"cannot be written: {exc.strerror}")]) from exc
