"""How quiet the machine was.  Owns: cores that others used during a trial.
Knows: proc(5).  Never: what was measured."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Callable, Iterable
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Noise:
    """Tells, from its making on, how many cores were used by nobody of ours.

    Counted are the time of others' processes and what the hypervisor took; what the kernel does
    for packets (softirq) is what is measured.
    """

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        """Begin.

        Args:    pids: our processes that go on running when a trial ends.
        """
        self._pids = pids
        self._begin = self._read()

    def cores(self) -> float:
        """Give the cores that others had, as a mean since the beginning."""
        (all_s, own_s, stolen_s, at_s), begin = self._read(), self._begin
        others_s = max(all_s - begin[0] - (own_s - begin[1]), 0.0)
        return (others_s + stolen_s - begin[2]) / max(at_s - begin[3], 1e-3)

    def _read(self) -> tuple[float, float, float, float]:
        # user, nice, system, idle, iowait, irq, softirq, steal (proc(5))
        fields = [int(one) for one in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        own_s = sum(one.ru_utime + one.ru_stime for one in map(resource.getrusage, who))
        own_s += sum(map(_used_s, self._pids()))
        return sum(fields[:3]) / _TICKS_PER_S, own_s, fields[7] / _TICKS_PER_S, time.monotonic()


def _used_s(pid: int) -> float:
    """Give a process's time; 0 if it has ended."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return 0.0
