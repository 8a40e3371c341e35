"""What an audit costs: a large capture read whole, beside other tools.

The capture is made of the project's two agora captures, again and again with other clients'
addresses, so that there are thousands of clients and flows; it lies in a temporary folder.  Each
tool reads it in rounds, in a process of its own; printed are medians of the processor's time (the
machine may be shared), the ratio to the audit, and the most memory that a process had.

    scripts/bench audit [--megabytes 200] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gateway.evidence.capture import read_frames
from gateway.evidence.frame import Frame

DATA = Path(__file__).parents[2] / "tests" / "data"
# The audit is measured on a part too: memory that is the same for both is flat.
PART = 4
# Where an Ethernet frame has its IPv4 addresses; the capture's client is in 10.0.0.0/8.
_ADDRESSES, _PRIVATE = (26, 30), 10


def make(path: Path, octets: int) -> int:
    """Write the capture; returns how many frames it has."""
    frames = [frame for one in sorted(DATA.glob("*.pcap")) for frame in read_frames(one)]
    written = count = which = 0
    with path.open("wb") as file:
        link_type = frames[0].link_type
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link_type))
        while written < octets:
            which += 1
            for frame in frames:
                written += file.write(_record(frame, which))
            count += len(frames)
    return count


def _record(frame: Frame, which: int) -> bytes:
    octets = bytearray(frame.octets)
    if octets[12:14] == b"\x08\x00":
        for at in _ADDRESSES:
            if octets[at] == _PRIVATE:
                octets[at + 1 : at + 3] = which.to_bytes(2, "big")
    time_s = frame.time_s + which / 100
    return struct.pack(
        "<IIII", int(time_s), int(time_s % 1 * 1e6), len(octets), len(octets)
    ) + bytes(octets)


def tools() -> dict[str, Callable[[Path], list[str]]]:
    """Give the tools that are there, and the command line of each."""
    gateway = [sys.executable, "-m", "gateway", "audit"]
    found: dict[str, Callable[[Path], list[str]]] = {
        "gateway audit": lambda path: [*gateway, str(path)],
        "gateway audit --json": lambda path: [*gateway, "--json", str(path)],
    }
    if shutil.which("tshark"):
        found["tshark -q -z conv,udp"] = lambda path: [
            "tshark", "-q", "-z", "conv,udp", "-r", str(path)
        ]  # fmt: skip
    if shutil.which("ndpiReader"):
        found["ndpiReader"] = lambda path: ["ndpiReader", "-q", "-i", str(path)]
    return found


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command; returns its processor's time in s, and the most memory it had in MiB."""
    with open(os.devnull, "wb") as nothing:
        process = subprocess.Popen(command, stdout=nothing, stderr=nothing)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    with tempfile.TemporaryDirectory() as folder:
        whole, part = Path(folder, "whole.pcap"), Path(folder, "part.pcap")
        frames = make(whole, wanted.megabytes * 1_000_000)
        make(part, wanted.megabytes * 1_000_000 // PART)
        console.print(f"{frames:,} frames, {whole.stat().st_size / 1e6:.0f} MB")
        table = Table("", "s", "µs a frame", "ratio", "MiB", "MiB, a quarter of it")
        reference = 0.0
        for name, command in tools().items():
            runs = [measure(command(whole)) for _ in range(wanted.rounds)]
            seconds = statistics.median(run[0] for run in runs)
            reference = reference or seconds
            memory, less = max(run[1] for run in runs), measure(command(part))[1]
            cells = [seconds, 1e6 * seconds / frames, seconds / reference, memory, less]
            table.add_row(name, *(f"{cell:.{digits}f}" for cell, digits in zip(
                cells, (1, 2, 2, 0, 0), strict=True)))  # fmt: skip
        console.print(table)
    for name in ("tshark", "ndpiReader"):
        if not shutil.which(name):
            console.print(f"{name} is not installed: not measured")


if __name__ == "__main__":
    main()
