"""The fast path from start to end.  Owns: FastPath: its maps, its programs, where they are
attached, when they may repeat.  Knows: bpf(2).  Never: what the programs do with a frame, nft."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import time
from collections.abc import Iterable
from pathlib import Path

from gateway.errors import CarryError
from gateway.kernel import bpf_calls, marks, signatures
from gateway.kernel.bpf_calls import (
    ARRAY,
    EGRESS,
    INGRESS,
    LRU_HASH,
    MAPPABLE,
    PER_PROCESSOR_ARRAY,
)
from gateway.kernel.fast_path_code import (
    DRAWN,
    KEY_LEN,
    VALID_NS,
    VALUE_LEN,
    Maps,
    learn,
    repeat,
)
from gateway.wire import SIGNATURES, Signature

_MAX_FLOWS = 65_536
"""Both ways of 32,768 flows; the least recently used makes room."""
_KEY = bytes(4)
_U64_LEN = 8
_QUIET_NS = 5 * VALID_NS
"""Long enough that a new verdict is in the kernel, also where it must be written down first."""
_POSSIBLE = Path("/sys/devices/system/cpu/possible")
_OFFSETS = Path("/proc/self/timens_offsets")


class Since:
    """What Python may tell the fast path in any process: that a flow's verdict has changed."""

    def __init__(self, descriptor: int) -> None:
        """Take the descriptor of the map `since`; it stays the caller's.

        Raises:  CarryError: the kernel does not let us write it.
        """
        self.descriptor = descriptor
        try:
            self._mapped = mmap.mmap(descriptor, _U64_LEN)
        except OSError as error:
            raise CarryError("fast path", error.strerror or "no memory") from error
        self._number = memoryview(self._mapped).cast("Q")

    def now(self) -> None:
        """Have nothing repeated that was learned until now, and for some seconds from now on: what
        is between the rules and the wire at this moment does not know that a verdict has changed.
        It cannot fail."""
        first_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + _QUIET_NS
        self._number[0] = first_ns  # in one store: nobody sees half of it, or nought

    def close(self) -> None:
        """End; may be called twice."""
        self._number.release()
        self._mapped.close()


class FastPath:
    """Has the kernel repeat for a second what the rules did with media of a flow.

    It ends with the process that holds it: then every packet meets the rules again.
    """

    def __init__(
        self, signatures_: Iterable[Signature] = SIGNATURES, *, spot_check: int = 1000
    ) -> None:
        """Make maps and programs; nothing passes them yet.

        Args:    spot_check: as Router has it.
        Raises:  CarryError: the kernel refuses, or spot checks are so many that nothing is left to
                 repeat.
        """
        if 0 < spot_check <= DRAWN:
            says = f"spot_check is {spot_check}: expected over {DRAWN}, or 0"
            raise CarryError("fast path", says)
        self._links: dict[int, tuple[int, ...]] = {}
        self._held: list[int] = []
        self._since: Since | None = None
        _same_clock()
        self._processors = _possible()
        media = signatures.media(signatures_)
        try:
            flows = self._hold(bpf_calls.create_map(LRU_HASH, KEY_LEN, VALUE_LEN, _MAX_FLOWS))
            epoch = self._hold(bpf_calls.create_map(ARRAY, 4, 4, 1))
            since = self._hold(bpf_calls.create_map(ARRAY, 4, 8, 1, MAPPABLE))
            counts = self._hold(bpf_calls.create_map(PER_PROCESSOR_ARRAY, 4, 8, 1))
            self.maps = Maps(flows, epoch, since, counts)
            self._since = Since(since)
            draws = spot_check > 0
            self.repeat = self._hold(
                bpf_calls.load(repeat(media, self.maps, draws=draws), "repeat", INGRESS)
            )
            self.learn = self._hold(bpf_calls.load(learn(media, self.maps), "learn", EGRESS))
        except CarryError:
            self.close()
            raise

    @property
    def since(self) -> Since:
        """What ends the repeating of all that was learned until now."""
        assert self._since is not None, "it is open"
        return self._since

    def _hold(self, descriptor: int) -> int:
        self._held.append(descriptor)
        return descriptor

    def follow(self, interfaces: Iterable[int]) -> None:
        """Be attached to these interfaces, by their numbers, and to no others; nothing that was
        learned before is repeated, for an interface may be another one, or have another MTU.

        Raises:  CarryError: the kernel refuses one; the others are attached.
        """
        if self._links:
            self.since.now()
        for number in tuple(self._links):
            self._detach(number)
        refused = None
        for number in sorted(set(interfaces)):
            try:
                self._attach(number)
            except CarryError as error:
                refused = error
        if refused is not None:
            raise refused

    def _attach(self, number: int) -> None:
        learns = bpf_calls.attach(self.learn, number, EGRESS)
        try:
            repeats = bpf_calls.attach(self.repeat, number, INGRESS)
        except CarryError:
            os.close(learns)
            raise
        self._links[number] = learns, repeats

    def _detach(self, number: int) -> None:
        for link in self._links.pop(number):
            os.close(link)

    def begin(self, epoch: int) -> None:
        """Repeat what the rules of an epoch (1..255) let go directly, from now on.

        Raises:  CarryError: the kernel refuses; then nothing is repeated, or what was is.
        """
        self._epoch(marks.mark(epoch))

    def pause(self) -> None:
        """Repeat nothing, and learn nothing: while the rules change.  Nor is anything repeated
        afterwards that was learned before.

        Raises:  CarryError: the kernel refuses.
        """
        self.since.now()
        self._epoch(0)

    def _epoch(self, mark: int) -> None:
        bpf_calls.update(self.maps.epoch, _KEY, struct.pack("=I", mark))

    @property
    def packets(self) -> int:
        """How many packets were repeated so far."""
        found = bpf_calls.lookup(self.maps.counts, _KEY, 8 * self._processors)
        return sum(struct.unpack(f"={self._processors}Q", found or bytes(8 * self._processors)))

    def close(self) -> None:
        """End; may be called twice."""
        for number in tuple(self._links):
            self._detach(number)
        if self._since is not None:
            self._since.close()
            self._since = None
        while self._held:
            os.close(self._held.pop())


def _possible() -> int:
    """Give how many processors the kernel may ever have: as many numbers has a map's value."""
    try:
        last = _POSSIBLE.read_text().strip().rsplit(",", 1)[-1].rsplit("-", 1)[-1]
        return int(last) + 1
    except (OSError, ValueError) as error:
        raise CarryError("fast path", f"{_POSSIBLE} does not say how many processors") from error


def _same_clock() -> None:
    """Refuse a time namespace: its clock is not the programs' (time_namespaces(7))."""
    with contextlib.suppress(OSError):  # a kernel without them
        for line in _OFFSETS.read_text().splitlines():
            name, *offsets = line.split()
            if name in ("monotonic", "1") and any(int(one) for one in offsets):
                raise CarryError("fast path", "this is a time namespace with a clock of its own")
