"""Pseudonyms.  Owns: clients and identifiers → keyed digests that mean nothing without the key.
Knows: BLAKE2b (RFC 7693).  Never: what is logged, or where the key comes from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

KEY_LEN = 32
"""Octets of the key."""


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Names things by digest: the same thing, the same name, under one key."""

    key: bytes

    def client(self, address: bytes) -> str:
        """Name a client: 5 octets, so that 10,000 clients share a name with chance 5e-5."""
        return "c-" + self._digest(address, b"client", 5)

    def identifier(self, octets: bytes) -> str:
        """Name an identifier's value."""
        return self._digest(octets, b"identifier", 8)

    def name(self, name: str) -> str:
        """Name a host name: its last two labels as they are, what is left of them as a digest.

        "u287454020.ap.example.org" can name a person; "4f0c….example.org" says whose host it is.
        """
        labels = name.split(".")
        if len(labels) <= 2:
            return name
        left = ".".join(labels[:-2]).encode("utf-8", "surrogateescape")
        return ".".join((self._digest(left, b"name", 5), *labels[-2:]))

    def _digest(self, octets: bytes, person: bytes, size: int) -> str:
        return hashlib.blake2b(octets, key=self.key, person=person, digest_size=size).hexdigest()
