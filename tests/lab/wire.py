"""Captures in the lab.  Owns: what passes an interface of a namespace, kept and written as pcap.
Knows: packet(7), draft-ietf-opsawg-pcap.  Never: what a payload means."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from gateway.errors import WireError
from gateway.evidence.frame import ETHERTYPE_IPV4, ETHERTYPE_IPV6, Frame, Packet, packet_of
from gateway.model import pack
from tests.lab.topology import Lab, Space

_ETHERNET = 1
_ETH_P_ALL = 3
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_TIME = struct.Struct("=qq")
# What the kernel keeps for us while Python is busy elsewhere.
_BUFFER_LEN = 64 * 1024 * 1024
_MAX_FRAME_LEN = 65_536


class Wire:
    """What passes one interface, both ways, from `start` to `stop`."""

    def __init__(
        self, lab: Lab, space: Space | str, interface: str, *, max_octets: int = 256 * 1024 * 1024
    ) -> None:
        """Prepare; nothing is captured before `start`.

        Args:    max_octets: frames beyond this are counted as missed.
        """
        self._lab, self._space, self._interface = lab, space, interface
        self._max_octets = max_octets
        self._octets = 0
        self._frames: list[Frame] = []
        self._missed = 0
        self._socket: socket.socket | None = None
        self._bell = -1
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Wire:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def missed(self) -> int:
        """Frames that passed and were not kept: of such a capture nothing can be concluded."""
        self._ask_for_drops()
        return self._missed

    def start(self) -> None:
        """Begin: what passes after this returns is captured."""
        assert self._socket is None, "it is running"
        self._socket = self._lab.call(self._space, self._open)
        self._bell = os.eventfd(0)
        self._reader = threading.Thread(target=self._read, args=[self._socket], daemon=True)
        self._reader.start()

    def stop(self) -> None:
        """End: what passed before this was called is captured; may be called again."""
        if self._socket is None or self._reader is None:
            return
        os.eventfd_write(self._bell, 1)
        self._reader.join()
        os.close(self._bell)
        self._ask_for_drops()
        self._socket.close()
        self._socket = self._reader = None

    def frames(self) -> list[Frame]:
        """Give every frame so far, in order."""
        return self._frames[:]

    def packets(self) -> list[Packet]:
        """Give the UDP datagrams and TCP segments so far, in order."""
        found = []
        for frame in self.frames():
            try:
                packet = packet_of(frame)
            except WireError:
                continue  # cut short by whoever sent it
            if packet is not None:
                found.append(packet)
        return found

    def between(self, *addresses: str) -> list[Frame]:
        """Give the frames of any protocol over IP from or to any of these addresses."""
        wanted = {pack(address) for address in addresses}
        return [frame for frame in self.frames() if wanted.intersection(_ends(frame.octets))]

    def write(self, path: Path) -> None:
        """Write a pcap file of what was captured so far."""
        write_pcap(path, self.frames())

    def _open(self) -> socket.socket:
        # Protocol 0 hears nothing before bind() names interface and protocol at once.
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_LEN)
        opened.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        opened.setblocking(False)
        opened.bind((self._interface, _ETH_P_ALL))
        return opened

    def _read(self, opened: socket.socket) -> None:
        poll = select.poll()
        poll.register(opened, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        rung = False
        while not rung:
            rung = any(descriptor == self._bell for descriptor, _ in poll.poll())
            for time_s, octets in _waiting(opened):
                self._keep(time_s, octets)

    def _keep(self, time_s: float, octets: bytes) -> None:
        if self._octets + len(octets) > self._max_octets:
            self._missed += 1
            return
        self._octets += len(octets)
        self._frames.append(Frame(len(self._frames) + 1, time_s, _ETHERNET, octets))

    def _ask_for_drops(self) -> None:
        """Add what the kernel dropped since it was last asked."""
        if self._socket is not None:
            told = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
            self._missed += int(struct.unpack("=II", told)[1])


def write_pcap(path: Path, frames: Iterable[Frame]) -> None:
    """Write Ethernet frames as a pcap file with nanoseconds."""
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, _MAX_FRAME_LEN, _ETHERNET))
        for frame in frames:
            seconds, fraction = divmod(round(frame.time_s * 1e9), 10**9)
            length = len(frame.octets)
            file.write(struct.pack("<IIII", seconds, fraction, length, length) + frame.octets)


def _waiting(opened: socket.socket) -> Iterator[tuple[float, bytes]]:
    """Take what waits in a socket, until nothing does."""
    while True:
        try:
            octets, told, _, _ = opened.recvmsg(_MAX_FRAME_LEN, socket.CMSG_SPACE(_TIME.size))
        except BlockingIOError:
            return
        seconds, nanoseconds = _TIME.unpack(told[0][2])
        yield seconds + nanoseconds / 1e9, octets


def _ends(octets: bytes) -> tuple[bytes, ...]:
    """Give source and destination address of an Ethernet frame's IP header; () if it has none."""
    kind = int.from_bytes(octets[12:14], "big")
    if kind == ETHERTYPE_IPV4:
        return octets[26:30], octets[30:34]
    if kind == ETHERTYPE_IPV6:
        return octets[22:38], octets[38:54]
    return ()
