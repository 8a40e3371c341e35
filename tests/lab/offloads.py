"""What interfaces leave to the next.  Owns: turning it on and off.  Knows: ethtool's ioctl.
Never: why a test wants it."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct

# linux/sockios.h; linux/ethtool.h: ETHTOOL_STXCSUM, ETHTOOL_SSG, ETHTOOL_SGSO.
_SIOCETHTOOL = 0x8946
CHECKSUMS = 0x17
SEGMENTS = (CHECKSUMS, 0x19, 0x24)
"""Several datagrams in one piece are handed over so, and cut late."""


def offload(interface: str, *what: int, on: bool = True) -> None:
    """Have an interface of this namespace leave work to the next, or do it; raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        for number in what:
            value = ctypes.create_string_buffer(struct.pack("=II", number, on), 8)
            request = struct.pack("16sP", interface.encode(), ctypes.addressof(value))
            fcntl.ioctl(door, _SIOCETHTOOL, request)
