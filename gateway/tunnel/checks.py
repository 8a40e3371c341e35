"""Credentials before they are used.  Owns: saying what is wrong with three PEM files.
Knows: cryptography's X.509.  Never: the clock; the peer says whether a certificate is valid now."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.hazmat.primitives.serialization import load_pem_private_key as load_key
from cryptography.x509 import load_pem_x509_certificates as load_certificates

from gateway.errors import CarryError
from gateway.tunnel.credentials import Credentials

_FORM = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def check_credentials(credentials: Credentials) -> None:
    """Say what is wrong with credentials, before a peer does in fewer words.

    Raises:  CarryError: a file that is missing or is not what it should be, or a key that is not
             the certificate's.
    """
    name = str(credentials.ca)
    try:
        load_certificates(credentials.ca.read_bytes())
        name = str(credentials.certificate)
        leaf = load_certificates(credentials.certificate.read_bytes())[0]
        name = str(credentials.key)
        key = load_key(credentials.key.read_bytes(), None)
    except OSError as error:
        raise CarryError("credentials", f"{name}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        what = "an unencrypted key" if name == str(credentials.key) else "a certificate"
        raise CarryError("credentials", f"{name}: is not {what} in PEM") from error
    if key.public_key().public_bytes(*_FORM) != leaf.public_key().public_bytes(*_FORM):
        says = f"{credentials.key}: is not the key of {credentials.certificate}"
        raise CarryError("credentials", says)
