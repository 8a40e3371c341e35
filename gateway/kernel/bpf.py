"""Programs for the kernel's own machine.  Owns: Code: instructions with labels → octets.
Knows: RFC 9669 (the BPF instruction set).  Never: what a program is for, system calls."""

from __future__ import annotations

import struct
import sys
from typing import Literal

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, STACK = range(11)
"""RFC 9669 section 2: R0 is what a function gives back, R1..R5 its arguments, which it destroys;
R6..R9 are kept; STACK (R10) is the end of the frame, which holds 512 octets."""

# Section 3: instruction classes; section 4.1: arithmetic; 4.3: jumps; 5: loads and stores.
_LDX, _ST, _STX, _ALU, _JMP, _JMP32, _ALU64 = 1, 2, 3, 4, 5, 6, 7
_LD_IMM64 = 0x18
_MEM = 0x60
_SIZES = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
_REGISTER = 0x08
_ADD, _SUB, _AND, _MOVE = 0x00, 0x10, 0x50, 0xB0
_ALWAYS, _CALL, _EXIT = 0x00, 0x80, 0x90
_COMPARISONS = {"==": 0x10, ">": 0x20, ">=": 0x30, "!=": 0x50, "<": 0xA0, "<=": 0xB0}
_TO_BIG_ENDIAN = 0xDC  # section 4.2
# Section 5.4: what a 64-bit constant stands for.
_MAP, _MAP_VALUE = 1, 2

_LEN = 8
_MAX_CODE = 4096


def constant(octets: bytes) -> int:
    """Give the number that a load of these 1, 2 or 4 octets gives on this machine."""
    return int.from_bytes(octets, sys.byteorder)


class Code:
    """A program being written: each method appends one instruction.  A jump goes forward, to a
    label that is set later, once or never; comparisons are of unsigned numbers."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._octets = bytearray()
        self._awaited: dict[str, list[int]] = {}
        """The places of jumps, by their label."""

    def load(self, to: int, base: int, offset: int, size: int) -> None:
        """Set a register to 1, 2, 4 or 8 octets of memory at a register's address and an offset."""
        self._add(_LDX | _MEM | _SIZES[size], to, base, offset, 0)

    def store(self, base: int, offset: int, register: int, size: int) -> None:
        """Write a register's lowest 1, 2, 4 or 8 octets to memory."""
        self._add(_STX | _MEM | _SIZES[size], base, register, offset, 0)

    def store_number(self, base: int, offset: int, number: int, size: int) -> None:
        """Write a number to memory."""
        self._add(_ST | _MEM | _SIZES[size], base, 0, offset, number)

    def copy(self, to: int, register: int) -> None:
        """Set a register to another."""
        self._add(_ALU64 | _MOVE | _REGISTER, to, register, 0, 0)

    def set(self, to: int, number: int) -> None:
        """Set a register to a number of 32 bits, its sign extended."""
        self._add(_ALU64 | _MOVE, to, 0, 0, number)

    def add(self, to: int, number: int) -> None:
        """Add a number."""
        self._add(_ALU64 | _ADD, to, 0, 0, number)

    def subtract(self, to: int, register: int) -> None:
        """Subtract a register."""
        self._add(_ALU64 | _SUB | _REGISTER, to, register, 0, 0)

    def keep(self, to: int, mask: int) -> None:
        """Keep the bits of a mask of 32, and clear all others."""
        assert 0 <= mask < 1 << 32, mask
        self._add(_ALU | _AND, to, 0, 0, mask)

    def from_network(self, to: int, bits: Literal[16, 32]) -> None:
        """Turn a register that was loaded in network byte order into a number."""
        self._add(_TO_BIG_ENDIAN, to, 0, 0, bits)

    def jump(self, label: str) -> None:
        """Go on at a label."""
        self._jump(_JMP | _ALWAYS, 0, 0, 0, label)

    def when(self, register: int, comparison: str, number: int, label: str) -> None:
        """Go on at a label if the lowest 32 bits compare so with a number."""
        self._jump(_JMP32 | _COMPARISONS[comparison], register, 0, number, label)

    def when_none(self, register: int, label: str) -> None:
        """Go on at a label if a register holds no address, as the kernel wants it asked."""
        self._jump(_JMP | _COMPARISONS["=="], register, 0, 0, label)

    def when_register(self, register: int, comparison: str, other: int, label: str) -> None:
        """Go on at a label if all 64 bits compare so with another register."""
        code = _JMP | _COMPARISONS[comparison] | _REGISTER
        self._jump(code, register, other, 0, label)

    def call(self, function: int) -> None:
        """Call one of the kernel's functions."""
        self._add(_JMP | _CALL, 0, 0, 0, function)

    def leave(self) -> None:
        """End the program; R0 is its answer."""
        self._add(_JMP | _EXIT, 0, 0, 0, 0)

    def map(self, to: int, descriptor: int) -> None:
        """Set a register to a map."""
        self._add(_LD_IMM64, to, _MAP, 0, descriptor)
        self._add(0, 0, 0, 0, 0)

    def map_value(self, to: int, descriptor: int) -> None:
        """Set a register to the address of the one value of an array."""
        self._add(_LD_IMM64, to, _MAP_VALUE, 0, descriptor)
        self._add(0, 0, 0, 0, 0)

    def label(self, name: str) -> None:
        """Have every jump to this label go to the next instruction."""
        here = len(self._octets) // _LEN
        for place in self._awaited.pop(name, ()):
            struct.pack_into("=h", self._octets, place * _LEN + 2, here - place - 1)

    def octets(self) -> bytes:
        """Give the program as the kernel takes it."""
        assert not self._awaited, f"labels that were never set: {sorted(self._awaited)}"
        assert len(self._octets) <= _LEN * _MAX_CODE
        return bytes(self._octets)

    def _jump(self, code: int, to: int, source: int, number: int, label: str) -> None:
        self._awaited.setdefault(label, []).append(len(self._octets) // _LEN)
        self._add(code, to, source, 0, number)

    def _add(self, code: int, to: int, source: int, offset: int, number: int) -> None:
        registers = to | source << 4 if sys.byteorder == "little" else to << 4 | source
        number &= 0xFFFFFFFF
        self._octets += struct.pack("=BBhI", code, registers, offset, number)
