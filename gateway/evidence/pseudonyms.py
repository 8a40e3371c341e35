"""Pseudonyms.  Owns: clients and identifiers → keyed digests that mean nothing without the key.
Knows: BLAKE2b (RFC 7693).  Never: what is logged, or where the key comes from."""

from __future__ import annotations

import hashlib

KEY_LEN = 32
"""Octets of the key."""


class Pseudonyms:
    """Names things by digest: the same thing, the same name, under one key."""

    def __init__(self, key: bytes) -> None:
        # The key is taken in once, and each digest goes on from there: that is half of its cost.
        self._client = hashlib.blake2b(key=key, person=b"client", digest_size=5)
        self._identifier = hashlib.blake2b(key=key, person=b"identifier", digest_size=8)
        self._name = hashlib.blake2b(key=key, person=b"name", digest_size=5)

    def client(self, address: bytes) -> str:
        """Name a client: 5 octets, so that 10,000 clients share a name with chance 5e-5."""
        return client_name(self.client_digest(address))

    def client_digest(self, address: bytes) -> bytes:
        """Give a client's name as octets."""
        digest = self._client.copy()
        digest.update(address)
        return digest.digest()

    def identifier(self, octets: bytes) -> str:
        """Name an identifier's value."""
        digest = self._identifier.copy()
        digest.update(octets)
        return digest.hexdigest()

    def name(self, name: str) -> str:
        """Name a host name: its last two labels as they are, what is left of them as a digest.

        "u287454020.ap.example.org" can name a person; "4f0c….example.org" says whose host it is.
        """
        labels = name.split(".")
        if len(labels) <= 2:
            return name
        digest = self._name.copy()
        digest.update(".".join(labels[:-2]).encode("utf-8", "surrogateescape"))
        return ".".join((digest.hexdigest(), *labels[-2:]))


def client_name(digest: bytes) -> str:
    """Spell a client's name."""
    return "c-" + digest.hex()
