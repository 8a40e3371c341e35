"""The protection of QUIC's Initials, which everybody can take off.  Owns: one packet → its frames.
Knows: RFC 9001 section 5 (keys from the client's first destination id, header protection,
AES-128-GCM), 9369 section 3.3 (version 2), the drafts' and Google's salts.
Never: frames, the keys of a connection: nobody but its two ends has them."""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.wire.quic_header import DRAFT, VERSION_1, VERSION_2, LongHeader

_SALTS = {
    VERSION_1: bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"),
    VERSION_2: bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"),
    b"Q050": bytes.fromhex("504574efd066fe2f9d945cfcdbd3a7f0d3b56b45"),
    b"T050": bytes.fromhex("7ff579e5acd072915580304c43a2367c60488310"),
    b"T051": bytes.fromhex("7a4edef4e7ccee5fa4506c19124fc8ccda6e033d"),
}
# By the first draft that has it, the last one first.
_DRAFT_SALTS = (
    (33, _SALTS[VERSION_1]),
    (29, bytes.fromhex("afbfec289993d24c9e9786f19c6111e04390a899")),
    (23, bytes.fromhex("c3eef712c72ebb5a11a7d2432bb46365bef9f502")),
)
_HASH_LEN = 32
_KEY_LEN, _IV_LEN, _SAMPLE_LEN, _TAG_LEN = 16, 12, 16, 16
_MAX_NUMBER_LEN = 4


class Keys(NamedTuple):
    """What takes the protection off a client's Initials."""

    key: bytes
    iv: bytes
    mask: bytes
    """Of the header."""


def client_keys(version: bytes, first_id: bytes) -> Keys | None:
    """Derive the keys of a client's Initials; None in versions without (RFC 9001 section 5.2).

    Args:    first_id: the destination id of the client's first Initial.
    """
    salt = _salt(version)
    if salt is None:
        return None
    secret = hmac.digest(salt, first_id, "sha256")
    secret = _expand(secret, b"client in", _HASH_LEN)
    prefix = b"quicv2 " if version == VERSION_2 else b"quic "
    lengths = {b"key": _KEY_LEN, b"iv": _IV_LEN, b"hp": _KEY_LEN}
    return Keys(*(_expand(secret, prefix + label, length) for label, length in lengths.items()))


def opened(payload: bytes, packet: LongHeader, keys: Keys) -> bytes | None:
    """Give the frames of one Initial; None if it was not protected by these keys, or altered."""
    sample_at = packet.number_at + _MAX_NUMBER_LEN
    if packet.end - sample_at < _SAMPLE_LEN:
        return None
    # RFC 9001 section 5.4.3: one block of AES; ECB of one block is that.
    block = Cipher(algorithms.AES(keys.mask), modes.ECB()).encryptor()
    mask = block.update(payload[sample_at : sample_at + _SAMPLE_LEN])
    first = payload[packet.start] ^ mask[0] & 0x0F
    number_len = (first & 3) + 1
    body_at = packet.number_at + number_len
    number = bytes(
        octet ^ hidden
        for octet, hidden in zip(payload[packet.number_at : body_at], mask[1:], strict=False)
    )
    header = bytes((first,)) + payload[packet.start + 1 : packet.number_at] + number
    nonce = int.from_bytes(keys.iv, "big") ^ int.from_bytes(number, "big")
    try:
        return AESGCM(keys.key).decrypt(
            nonce.to_bytes(_IV_LEN, "big"), payload[body_at : packet.end], header
        )
    except InvalidTag:
        return None


def _salt(version: bytes) -> bytes | None:
    if version[:3] == DRAFT:
        return next((salt for first, salt in _DRAFT_SALTS if version[3] >= first), None)
    return _SALTS.get(version)


def _expand(secret: bytes, label: bytes, length: int) -> bytes:
    """HKDF-Expand-Label without context, of at most one block (RFC 8446 section 7.1)."""
    label = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes((len(label),)) + label + b"\0"
    return hmac.digest(secret, info + b"\x01", hashlib.sha256)[:length]
