"""The proxies that can be an exit.  Owns: making each kind, its login and TLS from files.
Knows: pyOpenSSL through Twisted, X.509 PEM.  Never: dialling, the configuration's form."""

from __future__ import annotations

from pathlib import Path

from cryptography.x509 import load_pem_x509_certificates
from OpenSSL.crypto import X509
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    TLSVersion,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)

from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.tunnel.asking import Asking, Login
from gateway.tunnel.http_connect import ConnectAsking
from gateway.tunnel.proxy import Proxy
from gateway.tunnel.socks5 import Socks5Asking

# RFC 1929 section 2: a length of one octet.
_MAX_PASSWORD_LEN = 255


def socks5(name: str, host: str, port: int, login: Login | None) -> Proxy:
    """Make a SOCKS 5 proxy."""

    def ask(destination: Endpoint | None) -> Asking:
        return Socks5Asking(name, login, destination)

    return Proxy(name=name, host=host, port=port, kind="SOCKS 5", ask=ask)


def http_connect(
    name: str,
    host: str,
    port: int,
    login: Login | None,
    tls: IOpenSSLClientConnectionCreator | None,
) -> Proxy:
    """Make an HTTP proxy."""

    def ask(destination: Endpoint | None) -> Asking | None:
        return None if destination is None else ConnectAsking(name, login, destination)

    return Proxy(name=name, host=host, port=port, kind="HTTP CONNECT", ask=ask, tls=tls)


def read_login(username: str, path: Path) -> Login:
    """Read a password, the first line of a file.

    Raises:  CarryError: there is none, or it cannot be one.
    """
    try:
        with path.open("rb") as file:
            password = file.readline(_MAX_PASSWORD_LEN + 3).rstrip(b"\r\n")
    except OSError as error:
        raise CarryError("credentials", f"{path}: {error.strerror}") from error
    if not 0 < len(password) <= _MAX_PASSWORD_LEN or min(password) < 0x20 or 0x7F in password:
        says = f"{path}: the first line must be a password of 1..{_MAX_PASSWORD_LEN} octets"
        raise CarryError("credentials", says)
    return Login(username.encode(), password)


def tls_to(host: str, ca: Path | None) -> IOpenSSLClientConnectionCreator:
    """Say whom to believe that it is the proxy.

    Only TLS 1.3: before it certificates are plaintext, and no direction of a stream ends alone.

    Args:    host: the name or address that its certificate must have; ca: PEM file of authorities;
             None: those that the host trusts.
    Raises:  CarryError: the file is missing or holds no certificate.
    """
    return optionsForClientTLS(
        host,
        platformTrust() if ca is None else trustRootFromCertificates(_authorities(ca)),
        extraCertificateOptions={"raiseMinimumTo": TLSVersion.TLSv1_3},
    )


def _authorities(ca: Path) -> list[Certificate]:
    try:
        found = load_pem_x509_certificates(ca.read_bytes())
    except OSError as error:
        raise CarryError("credentials", f"{ca}: {error.strerror}") from error
    except ValueError as error:
        raise CarryError("credentials", f"{ca}: is not a certificate in PEM") from error
    return [Certificate(X509.from_cryptography(one)) for one in found]
