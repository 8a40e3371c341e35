"""Capture files.  Owns: pcap and pcapng files, gzipped or not → blocks → frames → packets.
Knows: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.  Never: what a payload means."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

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

Row = tuple[float, int, int, int, int]
"""A frame in a block: its time in seconds, link type, start and end, octets that it had on the
wire."""


class Block(NamedTuple):
    """Frames that stand in one run of octets."""

    first: int
    """The number of the first of them."""
    octets: bytes
    rows: Sequence[Row]

    @classmethod
    def of(cls, frames: Iterable[Frame]) -> Block:
        """Make a block of frames that are there one by one, numbered from 1."""
        parts, rows, at = list[bytes](), list[Row](), 0
        for _, time_s, link_type, octets, original_len in frames:
            rows.append((time_s, link_type, at, at + len(octets), original_len))
            parts.append(octets)
            at += len(octets)
        return cls(1, b"".join(parts), rows)

    def frame(self, which: int) -> Frame:
        """Give one of the frames."""
        time_s, link_type, start, end, original_len = self.rows[which]
        return Frame(self.first + which, time_s, link_type, self.octets[start:end], original_len)

    def frames(self) -> Iterator[Frame]:
        """Give all frames."""
        return map(self.frame, range(len(self.rows)))


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

    Raises:  DataError: as `read_blocks`.
    """
    for block in read_blocks(path, progress):
        yield from block.frames()


def read_blocks(path: str | Path, progress: Progress | None = None) -> Iterator[Block]:
    """Give the frames of a pcap or pcapng file some thousand at a time, in order.

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
                    yield from _blocks(_Octets(str(path), unpacked, file, progress))
            else:
                yield from _blocks(_Octets(str(path), file, file, progress))
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


def _blocks(source: _Octets) -> Iterator[Block]:
    source.more(0, 24)
    magic = source.octets[:4]
    if magic in _PCAP:
        return _pcap(source, *_PCAP[magic])
    if magic == _PCAPNG:
        return _pcapng(source)
    raise DataError(source.path, f"begins with {magic.hex() or 'nothing'}", "a capture")


def _pcap(source: _Octets, order: str, ticks: int) -> Iterator[Block]:
    if len(source.octets) < 24:
        raise source.fault(len(source.octets), "cut off in the header", "24 octets")
    # The top bits tell the length of a frame check sequence.
    link_type = struct.unpack_from(order + "I", source.octets, 20)[0] & 0x0FFFFFFF
    unpack = struct.Struct(order + "IIII").unpack_from
    at, number, tick_s = 24, 1, 1 / ticks
    while True:
        octets, rows, length = source.octets, list[Row](), 0
        size = len(octets)
        while size - at >= 16:
            seconds, fraction, length, original_len = unpack(octets, at)
            end = at + 16 + length
            if end > size or length > _MAX_FRAME_LEN:
                break
            rows.append((seconds + fraction * tick_s, link_type, at + 16, end, original_len))
            at = end
        if rows:
            yield Block(number, octets, rows)
            number += len(rows)
        if size - at >= 16:
            if length > _MAX_FRAME_LEN:
                raise source.fault(at, f"frame {number} claims {length} octets", "at most 262144")
            if not source.more(at, 16 + length):
                raise source.fault(0, f"cut off in frame {number}", f"{length} octets")
        elif not source.more(at, 16):
            if not source.octets:
                return
            raise source.fault(0, f"cut off in frame {number}", "a record header")
        at = 0


def _pcapng(source: _Octets) -> Iterator[Block]:
    section, at, number = _Section("<"), 0, 1
    while True:
        octets, rows, length, fault = source.octets, list[Row](), 0, None
        size = len(octets)
        while size - at >= 12:
            if octets[at : at + 4] == _PCAPNG:
                order = _ORDERS.get(octets[at + 8 : at + 12])
                if order is None:
                    fault = source.fault(at, "malformed section header", "a byte-order magic")
                    break
                section = _Section(order)
            kind, length = section.head(octets, at)
            if not 12 <= length <= _MAX_BLOCK_LEN or length % 4:
                wanted = "12..16777216, a multiple of 4"
                fault = source.fault(at, f"a block of {length} octets", wanted)
                break
            if at + length > size:
                break
            try:
                row = section.read(kind, octets, at, at + length)
            except (struct.error, IndexError, ValueError):
                what = f"the block before frame {number + len(rows)} is malformed"
                fault = source.fault(at, what, "a block as it is announced")
                break
            if row is not None:
                rows.append(row)
            at += length
        if rows:
            yield Block(number, octets, rows)
            number += len(rows)
        if fault is not None:
            raise fault
        if size - at >= 12:
            if not source.more(at, length):
                raise source.fault(0, "cut off in a block", f"{length} octets")
        elif not source.more(at, 12):
            if not source.octets:
                return
            raise source.fault(0, "cut off between blocks", "a block header of 8 octets")
        at = 0


class _Section:
    """A section of a pcapng file: its byte order and interfaces."""

    def __init__(self, order: str) -> None:
        self.head = struct.Struct(order + "II").unpack_from
        self._length = struct.Struct(order + "I").unpack_from
        self._order = order
        self._packet = struct.Struct(order + "IIIII").unpack_from
        self._interfaces: list[tuple[int, int, float, int]] = []
        """Link type, most octets of a frame (0: all), seconds a tick, seconds to add."""

    def read(self, kind: int, octets: bytes, start: int, end: int) -> Row | None:
        """Read a block; None if it holds no frame.

        Raises:  struct.error, IndexError, ValueError: malformed.
        """
        if self._length(octets, end - 4)[0] != end - start:
            raise ValueError
        body_at, end = start + 8, end - 4
        if kind == _ENHANCED:
            which, high, low, length, original_len = self._packet(octets, body_at)
        elif kind == _SIMPLE:
            return self._simple(octets[body_at:end], body_at)
        elif kind == _OLD_PACKET:
            which, _, high, low, length, original_len = struct.unpack_from(
                self._order + "HHIIII", octets, body_at
            )
        else:
            if kind == _INTERFACE:
                self._describe(octets[body_at:end])
            return None
        link_type, _, tick_s, offset_s = self._interfaces[which]
        at = body_at + 20
        if length > end - at:
            raise ValueError
        time_s = ((high << 32) | low) * tick_s + offset_s
        return time_s, link_type, at, at + length, original_len

    def _simple(self, body: bytes, at: int) -> Row:
        original_len = self._length(body)[0]
        link_type, most, _, _ = self._interfaces[0]
        length = min(original_len, most or original_len, len(body) - 4)
        return 0.0, link_type, at + 4, at + 4 + length, original_len

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
