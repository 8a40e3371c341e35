"""QUIC's first datagrams.  Owns: hellos written by aioquic, and Initials of any frames.
Knows: RFC 9001 section 5, the way forth.  Never: the recognisers."""

from __future__ import annotations

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicProtocolVersion
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.wire.quic_protection import client_keys

VERSION_1, VERSION_2 = b"\0\0\0\1", bytes.fromhex("6b3343cf")
ID = bytes.fromhex("8394c8f03e515708")
# RFC 9001 appendix A.2: the ClientHello, in a CRYPTO frame.
RFC_CRYPTO = bytes.fromhex(
    "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868"
    "04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578"
    "616d706c652e636f6dff01000100000a00080006001d00170018001000070005"
    "04616c706e000500050100000000003300260024001d00209370b2c9caa47fba"
    "baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400"
    "0d0010000e0403050306030203080408050806002d00020101001c0002400100"
    "3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000"
    "75300901100f088394c8f03e51570806048000ffff"
)
# What the packet of that appendix begins with when it is protected, behind its header.
RFC_BEGIN = bytes.fromhex("c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11")
HANDSHAKE = RFC_CRYPTO[4:]


def of_aioquic(name: str | None, *, version: int = QuicProtocolVersion.VERSION_1) -> bytes:
    """Have aioquic write a client's first datagram, for HTTP/3."""
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=["h3"],
        server_name=name,
        original_version=version,
        supported_versions=[version],
    )
    connection = QuicConnection(configuration=configuration)
    connection.connect(("192.0.2.1", 443), now=0.0)
    return bytes(connection.datagrams_to_send(now=0.0)[0][0])


def crypto(offset: int, octets: bytes, *, kind: int = 6) -> bytes:
    """Build a CRYPTO frame (RFC 9000 section 19.6)."""
    return bytes((kind,)) + integer(offset) + integer(len(octets)) + octets


def integer(value: int) -> bytes:
    """Build a variable-length integer of four octets (RFC 9000 section 16)."""
    return (0x8000_0000 | value).to_bytes(4, "big")


def initial(
    frames: bytes,
    *,
    version: bytes = VERSION_1,
    id_: bytes = ID,
    first_id: bytes | None = None,
    pad_to: int = 1162,
) -> bytes:
    """Build a client's Initial, protected as RFC 9001 section 5 says.

    Args:    first_id: of the connection's first Initial, if it is another.
    """
    keys = client_keys(version, id_ if first_id is None else first_id)
    assert keys is not None
    frames += bytes(max(pad_to - len(frames), 0))
    first = 0xD3 if version == VERSION_2 else 0xC3
    length = (0x4000 | 4 + len(frames) + 16).to_bytes(2, "big")
    header = bytes((first,)) + version + bytes((len(id_),)) + id_ + b"\0\0" + length
    number = b"\0\0\0\2"
    nonce = int.from_bytes(keys.iv, "big") ^ 2
    body = AESGCM(keys.key).encrypt(nonce.to_bytes(12, "big"), frames, header + number)
    block = Cipher(algorithms.AES(keys.mask), modes.ECB()).encryptor()
    mask = block.update(body[:16])
    hidden = bytes(octet ^ bits for octet, bits in zip(number, mask[1:], strict=False))
    return bytes((first ^ mask[0] & 0x0F,)) + header[1:] + hidden + body
