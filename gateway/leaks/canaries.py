"""Values that are known by their digest only, so that the list names nobody.  Owns: which pieces of
a payload could be a value; their digests.  Knows: FIPS 180-4 (SHA-256), RFC 2104 (HMAC), RFC 4648.
Never: values in clear."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gateway.model import IdentifierKind

# What an identifier in text is made of (an e-mail address too), at most 128 characters of it.
_WORD = re.compile(rb"[A-Za-z0-9_.@+%~=:-]{4,128}")
_WIDE = re.compile(rb"(?:[A-Za-z0-9_.@+-]\0){4,64}")
_PARTS = re.compile(rb"[^A-Za-z0-9]")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{6,128}={0,2}")
# A number of 4 or 8 octets may stand anywhere; each place costs four digests, so only the first
# octets are tried: headers, where ids are.
_NUMBERS_WITHIN = 64
_MAX_WORDS = 64
_MIN_PART_LEN = 4
_MAX_KNOWN = 65_536


class Digest(NamedTuple):
    """What a digest stands for."""

    kind: IdentifierKind
    which: int
    is_keyed: bool


class Digests:
    """Looks for values by their digests."""

    def __init__(self, digests: Mapping[bytes, Digest], key: bytes) -> None:
        self._digests = digests
        self._key = key
        self._is_plain = any(not one.is_keyed for one in digests.values())
        self._is_keyed = any(one.is_keyed for one in digests.values())
        # Words come again and again: what was looked up is not looked up twice.
        self._known: dict[bytes, Digest | None] = {}

    def __len__(self) -> int:
        return len(self._digests)

    def find(self, payload: bytes) -> list[tuple[int, int, str, Digest]]:
        """Give (offset, length, how it is written, whose digest) of each value found."""
        found = []
        for at, length, how, value in _candidates(payload):
            digest = self._look_up(value)
            if digest is not None:
                found.append((at, length, how, digest))
        return found

    def _look_up(self, value: bytes) -> Digest | None:
        known = self._known
        if value in known:
            return known[value]
        found = None
        if self._is_plain:
            found = self._digests.get(hashlib.sha256(value).digest())
        if found is None and self._is_keyed:
            found = self._digests.get(hmac.digest(self._key, value, "sha256"))
        if len(known) >= _MAX_KNOWN:
            known.clear()
        known[value] = found
        return found


def _candidates(payload: bytes) -> Iterator[tuple[int, int, str, bytes]]:
    for number, match in enumerate(_WORD.finditer(payload)):
        if number >= _MAX_WORDS:
            break
        yield from _of_word(match.start(), match[0])
    for number, match in enumerate(_WIDE.finditer(payload)):
        if number >= _MAX_WORDS:
            break
        yield match.start(), len(match[0]), "UTF-16", match[0][::2]
    for at in range(min(len(payload) - 3, _NUMBERS_WITHIN)):
        yield from _numbers(payload, at)


def _of_word(at: int, word: bytes) -> Iterator[tuple[int, int, str, bytes]]:
    """Give the word, what stands behind its last sign of a key ("user=", "id:"), and its parts."""
    whole = {word}
    for sign in (b"=", b":"):
        bare = word.rstrip(b"=")
        whole.add(word[bare.rfind(sign) + 1 :])
    for one in whole:
        start = at + len(word) - len(one)
        yield start, len(one), "text", one
        yield from _decoded(start, one)
    start = 0
    for cut in (*(match.span() for match in _PARTS.finditer(word)), (len(word), len(word))):
        part = word[start : cut[0]]
        if len(part) >= _MIN_PART_LEN and part not in whole:
            yield at + start, len(part), "text", part
        start = cut[1]


def _decoded(at: int, word: bytes) -> Iterator[tuple[int, int, str, bytes]]:
    if b"%" in word:
        yield at, len(word), "percent-encoding", urllib.parse.unquote_to_bytes(word)
    with contextlib.suppress(ValueError):
        yield at, len(word), "hex", bytes.fromhex(word.decode())
    if _BASE64.fullmatch(word):
        bare = word.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        try:
            yield at, len(word), "base64", base64.b64decode(bare + b"=" * (-len(bare) % 4))
        except binascii.Error:
            return


def _numbers(payload: bytes, at: int) -> Iterator[tuple[int, int, str, bytes]]:
    for width in (4, 8):
        octets = payload[at : at + width]
        if len(octets) < width:
            return
        little, big = int.from_bytes(octets, "little"), int.from_bytes(octets, "big")
        yield at, width, f"u{width * 8} little-endian", str(little).encode()
        yield at, width, f"u{width * 8} big-endian", str(big).encode()
