"""What the kernel does with programs and maps of ours.  Owns: the system call bpf(2): maps,
loading, attaching, trial runs.  Knows: linux/bpf.h's layouts; TCX links (Linux 6.6), which end with
the process that holds them.  Never: what a program does."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass

from gateway.errors import CarryError

# enum bpf_cmd.
_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _PROG_LOAD, _PROG_TEST_RUN, _LINK_CREATE = 0, 1, 2, 5, 10, 28
# enum bpf_map_type, bpf_prog_type.
ARRAY, PER_PROCESSOR_ARRAY, LRU_HASH = 2, 6, 9
_SCHED_CLS = 3
MAPPABLE = 1 << 10
"""BPF_F_MMAPABLE: an array can be written as memory."""
INGRESS, EGRESS = 46, 47
"""enum bpf_attach_type, BPF_TCX_INGRESS and BPF_TCX_EGRESS: where an interface's packets come in,
and where they go out."""
# __NR_bpf of machines with addresses of 64 bits.
_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_LOG_LEN = 1 << 16
_MARK = 8  # of struct __sk_buff
_LICENCE = b"Dual MIT/GPL\0"
# What the verifier says of a program of ours is for its author: its end has the reason.
_SAID_LEN = 400


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trial run gave."""

    answer: int
    octets: bytes
    mark: int = 0
    """What the program left in the context."""


def create_map(kind: int, key_len: int, value_len: int, entries: int, flags: int = 0) -> int:
    """Make a map; give its descriptor, which is the caller's to close.

    Raises:  CarryError: the kernel refuses.
    """
    asked = struct.pack("=IIIII", kind, key_len, value_len, entries, flags)
    return _call(_MAP_CREATE, asked, "map")


def update(descriptor: int, key: bytes, value: bytes) -> None:
    """Write one value of a map.

    Raises:  CarryError: the kernel refuses.
    """
    held = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value)
    _call(_MAP_UPDATE, _element(descriptor, held[0], held[1]), "map")


def lookup(descriptor: int, key: bytes, length: int) -> bytes | None:
    """Read one value of a map; None: it has none.

    Args:    length: of the value; of an array with a value a processor: of all of them.
    Raises:  CarryError: the kernel refuses.
    """
    asked = ctypes.create_string_buffer(key, len(key))
    found = ctypes.create_string_buffer(length)
    try:
        _call(_MAP_LOOKUP, _element(descriptor, asked, found), "map")
    except CarryError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ENOENT:
            return None
        raise
    return found.raw


def load(octets: bytes, name: str, attach: int) -> int:
    """Have the kernel verify and take a program for an interface's packets; give its descriptor.

    Args:    attach: INGRESS or EGRESS.
    Raises:  CarryError: the kernel refuses it, and says why.
    """
    code = ctypes.create_string_buffer(octets, len(octets))
    licence = ctypes.create_string_buffer(_LICENCE)
    log = ctypes.create_string_buffer(_LOG_LEN)
    asked = struct.pack(
        "=IIQQIIQII16sII",
        *(_SCHED_CLS, len(octets) // 8, ctypes.addressof(code), ctypes.addressof(licence)),
        *(1, _LOG_LEN, ctypes.addressof(log), 0, 0, name.encode()[:15], 0, attach),
    )
    try:
        return _call(_PROG_LOAD, asked, "program")
    except CarryError as error:
        said = log.value.decode(errors="replace").strip()[-_SAID_LEN:]
        raise CarryError("program", f"{error.what}: {said}" if said else error.what) from error


def attach(program: int, interface: int, where: int) -> int:
    """Have an interface's packets pass a program; give the link, which ends when it is closed.

    Args:    interface: its number; where: INGRESS or EGRESS.
    Raises:  CarryError: the kernel refuses.
    """
    asked = struct.pack("=IIIIIIQ", program, interface, where, 0, 0, 0, 0)
    return _call(_LINK_CREATE, asked, f"interface {interface}")


def trial(program: int, frame: bytes, context: bytes = b"") -> Trial:
    """Run a program on one frame.

    Args:    context: struct __sk_buff as the program shall see it, from its beginning.
    Raises:  CarryError: the kernel refuses.
    """
    data = ctypes.create_string_buffer(frame, len(frame))
    out = ctypes.create_string_buffer(len(frame))
    seen = ctypes.create_string_buffer(context, max(1, len(context)))
    asked = struct.pack(
        "=IIIIQQIIIIQQIII",
        *(program, 0, len(frame), len(frame), ctypes.addressof(data), ctypes.addressof(out)),
        *(1, 0, len(context), len(context), *(2 * (ctypes.addressof(seen) if context else 0,))),
        *(0, 0, 0),
    )
    held = ctypes.create_string_buffer(asked, len(asked))
    _system(_PROG_TEST_RUN, held, "program")
    answer, length = struct.unpack_from("=I4xI", held.raw, 4)
    mark = struct.unpack_from("=I", seen.raw, _MARK)[0] if context else 0
    return Trial(answer, out.raw[:length], mark)


def _element(
    descriptor: int, key: ctypes.Array[ctypes.c_char], value: ctypes.Array[ctypes.c_char]
) -> bytes:
    return struct.pack("=I4xQQQ", descriptor, ctypes.addressof(key), ctypes.addressof(value), 0)


def _call(command: int, asked: bytes, what: str) -> int:
    return _system(command, ctypes.create_string_buffer(asked, len(asked)), what)


def _system(command: int, asked: ctypes.Array[ctypes.c_char], what: str) -> int:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    number = _NUMBERS.get(platform.machine()) if ctypes.sizeof(ctypes.c_void_p) == 8 else None
    if number is None:
        raise CarryError(what, f"bpf: its number is not known on {platform.machine()}")
    got = int(call(ctypes.c_long(number), ctypes.c_int(command), asked,
                   ctypes.c_uint(len(asked))))  # fmt: skip
    if got >= 0:
        return got
    cause = OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    raise CarryError(what, f"bpf: {cause.strerror}") from cause
