"""Capture files.  Owns: pcap and pcapng files → frames → packets, one at a time.
Knows: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.  Never: what a payload means."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gateway.errors import DataError, WireError
from gateway.evidence.frame import Frame, Packet, packet_of

# pcap magic → byte order and ticks of the fraction in a second.
_PCAP = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000),
}
_PCAPNG = b"\x0a\x0d\x0d\x0a"
# Wireshark refuses larger frames too (WTAP_MAX_PACKET_SIZE_STANDARD); a lying length stops here.
_MAX_FRAME_LEN = 262_144
_MAX_BLOCK_LEN = 16 * 1024 * 1024


def read_packets(path: str | Path) -> Iterator[Packet]:
    """Give the UDP datagrams and TCP segments of a capture file, in the file's order.

    Frames of other protocols and frames cut short are passed over.
    Raises:  DataError: not a capture file, unreadable, cut off, or of an unknown link type.
    """
    for frame in read_frames(path):
        try:
            packet = packet_of(frame)
        except WireError as error:
            if error.what.startswith("link type"):
                raise DataError(str(path), error.what, error.expected) from error
            continue
        if packet is not None:
            yield packet


def read_frames(path: str | Path) -> Iterator[Frame]:
    """Give the frames of a pcap or pcapng file, in order; memory does not grow with the file.

    Raises:  DataError: not a capture file, unreadable, or cut off.
    """
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
            if magic in _PCAP:
                yield from _pcap(str(path), file, *_PCAP[magic])
            elif magic == _PCAPNG:
                yield from _pcapng(str(path), file)
            else:
                raise DataError(str(path), f"begins with {magic.hex() or 'nothing'}", "a capture")
    except OSError as error:
        raise DataError(str(path), error.strerror or str(error), "a readable file") from error


def _exactly(path: str, file: BinaryIO, length: int, what: str) -> bytes:
    octets = file.read(length)
    if len(octets) != length:
        raise DataError(path, f"cut off in {what} at octet {file.tell()}", f"{length} octets")
    return octets


def _pcap(path: str, file: BinaryIO, order: str, ticks: int) -> Iterator[Frame]:
    header = struct.Struct(order + "HHiIII").unpack(_exactly(path, file, 20, "the header"))
    link_type = header[5] & 0x0FFFFFFF  # the top bits tell the length of a frame check sequence
    record = struct.Struct(order + "IIII")
    number = 0
    while head := file.read(16):
        number += 1
        if len(head) != 16:
            raise DataError(path, f"cut off in frame {number}", "a record header of 16 octets")
        seconds, fraction, captured_len, _ = record.unpack(head)
        if captured_len > _MAX_FRAME_LEN:
            raise DataError(path, f"frame {number} claims {captured_len} octets", "at most 262144")
        octets = _exactly(path, file, captured_len, f"frame {number}")
        yield Frame(number, seconds + fraction / ticks, link_type, octets)


def _pcapng(path: str, file: BinaryIO) -> Iterator[Frame]:
    order, number = "<", 0
    interfaces: list[tuple[int, float]] = []  # link type, seconds a tick
    file.seek(0)
    while head := file.read(8):
        if len(head) != 8:
            raise DataError(path, "cut off between blocks", "a block header of 8 octets")
        if head[:4] == _PCAPNG:
            mark = _exactly(path, file, 4, "the section header")
            order, interfaces = ("<" if mark == b"\x4d\x3c\x2b\x1a" else ">"), []
            file.seek(-4, 1)
        kind, block_len = struct.unpack(order + "II", head)
        if not 12 <= block_len <= _MAX_BLOCK_LEN or block_len % 4:
            raise DataError(path, f"a block of {block_len} octets", "12..16777216, a multiple of 4")
        body = _exactly(path, file, block_len - 8, "a block")[:-4]
        try:
            if kind == 1:
                interfaces.append(_interface(body, order))
            elif kind == 6:
                number += 1
                yield _enhanced(body, order, number, interfaces)
            elif kind == 3:
                number += 1
                length = struct.unpack_from(order + "I", body)[0]
                yield Frame(number, 0.0, interfaces[0][0], body[4 : 4 + length])
        except (struct.error, IndexError):
            raise DataError(path, f"block before frame {number + 1} is malformed", "a block") from (
                None
            )


def _interface(body: bytes, order: str) -> tuple[int, float]:
    """Read an interface description block; option 9 (if_tsresol) is the clock's resolution."""
    link_type = struct.unpack_from(order + "H", body)[0]
    tick_s, at = 1e-6, 8
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        if code == 0:
            break
        if code == 9 and length == 1:
            exponent = body[at + 4]
            tick_s = 2.0 ** -(exponent & 127) if exponent & 128 else 10.0**-exponent
        at += 4 + (length + 3) // 4 * 4
    return link_type, tick_s


def _enhanced(body: bytes, order: str, number: int, interfaces: list[tuple[int, float]]) -> Frame:
    which, high, low, captured_len, _ = struct.unpack_from(order + "IIIII", body)
    link_type, tick_s = interfaces[which]
    return Frame(number, ((high << 32) | low) * tick_s, link_type, body[20 : 20 + captured_len])
