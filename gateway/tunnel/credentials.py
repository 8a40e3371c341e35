"""Who we are and whom we trust.  Owns: credentials, TLS configuration, judging a gateway's
certificate.  Knows: RFC 5280 through cryptography's verifier, RFC 8446 alerts.
Never: sockets, HTTP, policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aioquic.quic.configuration import QuicConfiguration
from aioquic.tls import AlertDescription
from cryptography.x509 import Certificate, DNSName, load_pem_x509_certificates
from cryptography.x509.verification import ClientVerifier, PolicyBuilder, Store, VerificationError

from gateway.errors import CarryError
from gateway.tunnel.windows import STREAM_WINDOW


@dataclass(frozen=True, slots=True)
class Credentials:
    """Three PEM files."""

    ca: Path
    """Certificates of the authorities that the other side's certificate must come from."""
    certificate: Path
    """Our certificate, and those between it and the authority, if any."""
    key: Path
    """Our private key, unencrypted."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """What both roles tell QUIC."""

    idle_timeout_s: float = 15.0
    """Silence after which a connection is over; a gateway pings three times in it."""
    max_datagram_size: int = 1200
    """Octets of one UDP datagram on the wire.  1200 fits every path that QUIC can use (RFC 9000
    section 14) and carries 1149 of payload; more only where the path is known."""


def configuration(
    credentials: Credentials, transfer: Transfer, server_name: str | None = None
) -> QuicConfiguration:
    """Build the TLS and transport configuration of one connection, or of all of an exit.

    Args:    server_name: the name or address that an exit's certificate must have; None: we are
             the exit.
    Raises:  CarryError: a file is missing or is not what it should be.
    """
    built = QuicConfiguration(
        is_client=server_name is not None,
        alpn_protocols=["h3"],
        server_name=server_name,
        idle_timeout=transfer.idle_timeout_s,
        max_datagram_size=transfer.max_datagram_size,
        max_datagram_frame_size=65536,
        max_stream_data=STREAM_WINDOW,
    )
    try:
        built.load_cert_chain(credentials.certificate, credentials.key)
        built.load_verify_locations(cadata=credentials.ca.read_bytes())
        load_pem_x509_certificates(built.cadata or b"")
    except (OSError, ValueError, TypeError, IndexError) as exc:
        names = ", ".join(map(str, (credentials.ca, credentials.certificate, credentials.key)))
        raise CarryError("credentials", f"cannot use {names}: {exc}") from exc
    return built


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a certificate was not accepted."""

    alert: AlertDescription
    sentence: str


class GatewayVerifier:
    """Judges the certificate of a gateway: authority, validity, name."""

    def __init__(self, ca: Path, names: Sequence[str]) -> None:
        """Read the authorities.

        Args:    names: DNS names, one of which must be in the certificate; empty: any.
        Raises:  CarryError: the file is missing or holds no certificate.
        """
        try:
            self._store = Store(load_pem_x509_certificates(ca.read_bytes()))
        except (OSError, ValueError) as exc:
            raise CarryError("credentials", f"cannot use {ca}: {exc}") from exc
        self._names = frozenset(name.lower() for name in names)

    def reject(self, certificates: Sequence[Certificate], now: float) -> Rejection | None:
        """Give the reason against a gateway's certificate, or None if it is good.

        Args:    certificates: the gateway's own first; now: seconds since the epoch.
        """
        if not certificates:
            return Rejection(AlertDescription.certificate_required, "no client certificate")
        leaf, *others = certificates
        moment = datetime.fromtimestamp(now, UTC)
        if not leaf.not_valid_before_utc <= moment <= leaf.not_valid_after_utc:
            return Rejection(
                AlertDescription.certificate_expired,
                f"client certificate is valid from {leaf.not_valid_before_utc:%Y-%m-%d} "
                f"to {leaf.not_valid_after_utc:%Y-%m-%d} only",
            )
        try:
            subjects = self._verifier(moment).verify(leaf, others).subjects
        except VerificationError as exc:
            return Rejection(
                AlertDescription.unknown_ca,
                f"client certificate is not of the exit's authority ({exc})",
            )
        given = {name.value.lower() for name in subjects or () if isinstance(name, DNSName)}
        if self._names and not self._names & given:
            return Rejection(
                AlertDescription.access_denied,
                f"client certificate is of {', '.join(sorted(given)) or 'nobody'}, "
                "which this exit does not serve",
            )
        return None

    def _verifier(self, moment: datetime) -> ClientVerifier:
        return PolicyBuilder().store(self._store).time(moment).build_client_verifier()
