"""Capture files.  Owns: pcap and pcapng files, gzipped or not → frames → packets, one at a time.
Knows: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.  Never: what a payload means."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from gateway.errors import DataError, WireError
from gateway.evidence.frame import Frame, Packet, packet_of
from gateway.regular import open_regular

# pcap magic → byte order and ticks of the fraction in a second.
_PCAP = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000),
}
_PCAPNG = b"\x0a\x0d\x0d\x0a"
_GZIP = b"\x1f\x8b"
_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
# Wireshark refuses larger frames too (WTAP_MAX_PACKET_SIZE_STANDARD); a lying length stops here.
_MAX_FRAME_LEN = 262_144
_MAX_BLOCK_LEN = 16 * 1024 * 1024
# A capture of one machine has a handful; a crafted one could have one in every block.
_MAX_INTERFACES = 4_096
# Octets read at once: one call for some thousand frames.
_CHUNK_LEN = 1024 * 1024
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6

Progress = Callable[[int], None]
"""Told now and then how many octets of the file, as it lies on the disk, were read."""


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


def read_frames(path: str | Path, progress: Progress | None = None) -> Iterator[Frame]:
    """Give the frames of a pcap or pcapng file, in order; memory does not grow with the file.

    What is before a fault is given first.
    Raises:  DataError: not a capture file, unreadable, cut off, malformed; says at which octet (of
             what is packed, in a .gz).
    """
    try:
        with open_regular(path) as file:
            is_packed = file.read(2) == _GZIP
            file.seek(0)
            if is_packed:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield from _frames(_Octets(str(path), unpacked, file, progress))
            else:
                yield from _frames(_Octets(str(path), file, file, progress))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(str(path), f"the gzip data is broken ({error})", "a whole file") from error
    except OSError as error:
        raise DataError(str(path), error.strerror or str(error), "a readable file") from error


class _Octets:
    """A window that moves over a file."""

    def __init__(
        self,
        path: str,
        file: IO[bytes] | gzip.GzipFile,
        disk: IO[bytes],
        progress: Progress | None,
    ) -> None:
        self.path = path
        self.octets = b""
        self.start = 0
        """Where in the file the window begins."""
        self._file, self._disk, self._progress = file, disk, progress

    def more(self, at: int, length: int) -> bool:
        """Move the window so that it begins at `at`, and read until `length` octets are in it.

        Returns: False if the file ends before.
        """
        parts, have = [self.octets[at:]], len(self.octets) - at
        self.start += at
        while have < length:
            part = self._file.read(max(_CHUNK_LEN, length - have))
            if not part:
                break
            parts.append(part)
            have += len(part)
        self.octets = b"".join(parts)
        if self._progress is not None:
            self._progress(self._disk.tell())
        return have >= length

    def fault(self, at: int, what: str, expected: str) -> DataError:
        """Make an error that says where."""
        return DataError(self.path, f"{what} at octet {self.start + at}", expected)


def _frames(source: _Octets) -> Iterator[Frame]:
    source.more(0, 24)
    magic = source.octets[:4]
    if magic in _PCAP:
        return _pcap(source, *_PCAP[magic])
    if magic == _PCAPNG:
        return _pcapng(source)
    raise DataError(source.path, f"begins with {magic.hex() or 'nothing'}", "a capture")


def _pcap(source: _Octets, order: str, ticks: int) -> Iterator[Frame]:
    if len(source.octets) < 24:
        raise source.fault(len(source.octets), "cut off in the header", "24 octets")
    # The top bits tell the length of a frame check sequence.
    link_type = struct.unpack_from(order + "I", source.octets, 20)[0] & 0x0FFFFFFF
    unpack = struct.Struct(order + "IIII").unpack_from
    octets, at, number = source.octets, 24, 0
    size, tick_s = len(octets), 1 / ticks
    while True:
        if size - at < 16:
            if not source.more(at, 16) and not source.octets:
                return
            octets, at = source.octets, 0
            size = len(octets)
            if size < 16:
                raise source.fault(0, f"cut off in frame {number + 1}", "a record header")
        seconds, fraction, length, original_len = unpack(octets, at)
        if length > _MAX_FRAME_LEN:
            raise source.fault(at, f"frame {number + 1} claims {length} octets", "at most 262144")
        number += 1
        end = at + 16 + length
        if end > size:
            if not source.more(at, 16 + length):
                raise source.fault(0, f"cut off in frame {number}", f"{length} octets")
            octets, at, end = source.octets, 0, 16 + length
            size = len(octets)
        yield Frame(
            number, seconds + fraction * tick_s, link_type, octets[at + 16 : end], original_len
        )
        at = end


def _pcapng(source: _Octets) -> Iterator[Frame]:
    section, at, number = _Section("<"), 0, 0
    while True:
        if len(source.octets) - at < 12:
            if not source.more(at, 12) and not source.octets:
                return
            at = 0
            if len(source.octets) < 12:
                raise source.fault(0, "cut off between blocks", "a block header of 8 octets")
        if source.octets[at : at + 4] == _PCAPNG:
            order = _ORDERS.get(source.octets[at + 8 : at + 12])
            if order is None:
                raise source.fault(at, "malformed section header", "a byte-order magic")
            section = _Section(order)
        kind, length = section.head.unpack_from(source.octets, at)
        if not 12 <= length <= _MAX_BLOCK_LEN or length % 4:
            wanted = "12..16777216, a multiple of 4"
            raise source.fault(at, f"a block of {length} octets", wanted)
        if at + length > len(source.octets):
            if not source.more(at, length):
                raise source.fault(0, "cut off in a block", f"{length} octets")
            at = 0
        body = source.octets[at + 8 : at + length - 4]
        try:
            if section.length.unpack_from(source.octets, at + length - 4)[0] != length:
                raise ValueError
            frame = section.read(kind, body, number + 1)
        except (struct.error, IndexError, ValueError):
            what = f"the block before frame {number + 1} is malformed"
            raise source.fault(at, what, "a block as it is announced") from None
        if frame is not None:
            number += 1
            yield frame
        at += length


class _Section:
    """A section of a pcapng file: its byte order and interfaces."""

    def __init__(self, order: str) -> None:
        self.head = struct.Struct(order + "II")
        self.length = struct.Struct(order + "I")
        self._order = order
        self._packet = struct.Struct(order + "IIIII")
        self._interfaces: list[tuple[int, int, float, int]] = []
        """Link type, most octets of a frame (0: all), seconds a tick, seconds to add."""

    def read(self, kind: int, body: bytes, number: int) -> Frame | None:
        """Read a block; None if it holds no frame.

        Raises:  struct.error, IndexError, ValueError: malformed.
        """
        if kind == _ENHANCED:
            which, high, low, length, original_len = self._packet.unpack_from(body)
        elif kind == _SIMPLE:
            return self._simple(body, number)
        elif kind == _OLD_PACKET:
            which, _, high, low, length, original_len = struct.unpack_from(
                self._order + "HHIIII", body
            )
        else:
            if kind == _INTERFACE:
                self._describe(body)
            return None
        link_type, _, tick_s, offset_s = self._interfaces[which]
        if length > len(body) - 20:
            raise ValueError
        time_s = ((high << 32) | low) * tick_s + offset_s
        return Frame(number, time_s, link_type, body[20 : 20 + length], original_len)

    def _simple(self, body: bytes, number: int) -> Frame:
        original_len = self.length.unpack_from(body)[0]
        link_type, most, _, _ = self._interfaces[0]
        octets = body[4 : 4 + min(original_len, most or original_len)]
        return Frame(number, 0.0, link_type, octets, original_len)

    def _describe(self, body: bytes) -> None:
        """Read an interface description block: if_tsresol (9), if_tsoffset (14)."""
        link_type, _, most = struct.unpack_from(self._order + "HHI", body)
        tick_s, offset_s, at = 1e-6, 0, 8
        while at + 4 <= len(body):
            code, length = struct.unpack_from(self._order + "HH", body, at)
            if code == 0:
                break
            if code == 9 and length == 1:
                exponent = body[at + 4]
                tick_s = 2.0 ** -(exponent & 127) if exponent & 128 else 10.0**-exponent
            elif code == 14 and length == 8:
                offset_s = struct.unpack_from(self._order + "q", body, at + 4)[0]
            at += 4 + (length + 3) // 4 * 4
        if len(self._interfaces) == _MAX_INTERFACES:
            raise ValueError
        self._interfaces.append((link_type, most, tick_s, offset_s))
