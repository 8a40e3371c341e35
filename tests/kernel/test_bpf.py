"""Programs for the kernel's machine, octet by octet."""

from __future__ import annotations

import sys
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from gateway.kernel.bpf import R0, R1, R2, STACK, Code, constant
from tests.support.rows import rows

# RFC 9669 section 3.1: opcode, destination (low) and source (high) register, offset, number.  As a
# little-endian machine has them.
_ROWS: dict[str, tuple[Callable[[Code], None], str]] = {
    "load": (lambda code: code.load(R2, R1, 8, 4), "61 12 0800 00000000"),
    "load of an octet": (lambda code: code.load(R0, R2, -1, 1), "71 20 ffff 00000000"),
    "store": (lambda code: code.store(STACK, -8, R1, 8), "7b 1a f8ff 00000000"),
    "store of a number": (lambda code: code.store_number(STACK, -4, 7, 4), "62 0a fcff 07000000"),
    "copy": (lambda code: code.copy(R2, R1), "bf 12 0000 00000000"),
    "set": (lambda code: code.set(R0, -1), "b7 00 0000 ffffffff"),
    "add": (lambda code: code.add(R2, -48), "07 02 0000 d0ffffff"),
    "subtract": (lambda code: code.subtract(R0, R2), "1f 20 0000 00000000"),
    "keep": (lambda code: code.keep(R2, 0xFFFF00F7), "54 02 0000 f700ffff"),
    "from network": (lambda code: code.from_network(R2, 16), "dc 02 0000 10000000"),
    "call": (lambda code: code.call(23), "85 00 0000 17000000"),
    "leave": (lambda code: code.leave(), "95 00 0000 00000000"),
    "map": (lambda code: code.map(R1, 3), "18 11 0000 03000000 00 00 0000 00000000"),
    "map's value": (lambda code: code.map_value(R1, 3), "18 21 0000 03000000 00 00 0000 00000000"),
}


@rows(instruction=_ROWS)
class InstructionTests(SynchronousTestCase):
    """Each instruction is as RFC 9669 has it."""

    def check_instruction(self, write: Callable[[Code], None], expected: str) -> None:
        """Check one."""
        if sys.byteorder != "little":
            self.skipTest("the table is a little-endian machine's")
        code = Code()
        write(code)
        self.assertEqual(code.octets().hex(), expected.replace(" ", ""))


class CodeTests(SynchronousTestCase):
    """A program as a whole."""

    def test_jumps(self) -> None:
        """A jump's offset counts the instructions between it and its label, a map's as two."""
        code = Code()
        code.when(R2, "!=", 5, "end")
        code.map(R1, 3)
        code.jump("end")
        code.label("end")
        code.leave()
        octets = code.octets()
        offsets = [
            int.from_bytes(octets[at + 2 : at + 4], sys.byteorder)
            for at in range(0, len(octets), 8)
        ]
        self.assertEqual(offsets, [3, 0, 0, 0, 0])

    def test_unset_label(self) -> None:
        """A jump to nowhere is no program."""
        code = Code()
        code.jump("nowhere")
        self.assertRaises(AssertionError, code.octets)

    def test_constant(self) -> None:
        """Octets compare as what a load of them gives."""
        self.assertEqual(constant(b"\x08\x00"), 8 if sys.byteorder == "little" else 0x0800)
