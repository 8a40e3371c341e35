"""Signed notes.  Owns: the log's key pair, text ⇄ signed note.
Knows: C2SP signed-note v1, Ed25519 (RFC 8032).  Never: what a note says, files."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from gateway.errors import DataError

SEED_LEN = 32
"""Octets of a private key (RFC 8032 section 5.1.5)."""

# C2SP signed-note: the signature type of Ed25519.
_ED25519 = b"\x01"
_KEY_ID_LEN = 4
_SIGNATURE_LEN = 64
# A note of ours has 1 to 4 kB; witnesses may have added signatures.
MAX_NOTE_LEN = 64 * 1024


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Who may have signed: the text form is NAME+ID+KEY, as other tools of notes have it."""

    name: str
    octets: bytes
    """32 octets (RFC 8032 section 5.1.5)."""

    @property
    def id(self) -> bytes:
        """The first octets of the digest of name, type and key."""
        named = self.name.encode() + b"\n" + _ED25519 + self.octets
        return hashlib.sha256(named).digest()[:_KEY_ID_LEN]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{to_base64(_ED25519 + self.octets)}"

    @classmethod
    def parse(cls, text: str, where: str) -> PublicKey:
        """Read the text form.

        Raises:  DataError: not of that form; `where` is the file it is from.
        """
        name, _, rest = text.strip().partition("+")
        key_id, _, key = rest.partition("+")
        octets = from_base64(key)
        if octets is not None and len(octets) == 33 and octets[:1] == _ED25519 and name:
            made = cls(name, octets[1:])
            if made.id.hex() == key_id:
                return made
        raise DataError(where, "is no public key of a log", "one line NAME+ID+KEY (signed-note)")

    def text_of(self, note: bytes, where: str) -> str:
        """Give the text of a note that this key signed.

        Raises:  DataError: no note, or none that this key signed.
        """
        if len(note) > MAX_NOTE_LEN:
            raise DataError(where, "is too long for a note", f"{MAX_NOTE_LEN} octets at most")
        text, blank, lines = note.rpartition(b"\n\n")
        if not blank or not lines.endswith(b"\n"):
            raise DataError(where, "is no signed note", "text, an empty line, signatures")
        for line in lines.splitlines():
            words = line.split(b" ")
            if len(words) != 3 or words[0] != "—".encode() or words[1] != self.name.encode():
                continue
            octets = from_base64(words[2].decode("ascii", "replace"))
            if octets is None or octets[:_KEY_ID_LEN] != self.id:
                continue
            self._check(octets[_KEY_ID_LEN:], text + b"\n", where)
            return (text + b"\n").decode("utf-8", "replace")
        raise DataError(where, "bears no signature of this key", f"one of {self.name}")

    def _check(self, signature: bytes, text: bytes, where: str) -> None:
        try:
            Ed25519PublicKey.from_public_bytes(self.octets).verify(signature, text)
        except (InvalidSignature, ValueError):
            raise DataError(where, "was not signed like this", "the text that was signed") from None


class Signer:
    """Signs notes."""

    def __init__(self, seed: bytes) -> None:
        """Take the private key: 32 octets.  It is named by its public key's digest."""
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        octets = self._private.public_key().public_bytes_raw()
        self.public = PublicKey(f"rtc-gateway/{hashlib.sha256(octets).hexdigest()[:16]}", octets)

    def note(self, text: str) -> bytes:
        """Sign a text, which ends with a line end."""
        octets = text.encode()
        signature = to_base64(self.public.id + self._private.sign(octets))
        return octets + f"\n— {self.public.name} {signature}\n".encode()


def to_base64(octets: bytes) -> str:
    """Spell octets (RFC 4648 section 4)."""
    return base64.b64encode(octets).decode("ascii")


def from_base64(text: str) -> bytes | None:
    """Read octets; None: not the one spelling of any."""
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return octets if to_base64(octets) == text else None
