"""Measures the leak finders: CPU time a packet, and the ratio to recognising the same packets.
Owns: the runs.  Knows: the captures of the tests.  Never: a figure of another run.

Usage: scripts/bench leaks [CAPTURE...]; without one: a captured call of the tests."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gateway.evidence.capture import read_packets
from gateway.evidence.frame import Packet
from gateway.leaks import (
    Finder,
    Given,
    GivenFinder,
    SweepFinder,
    Traces,
    UnnamedFinder,
    compile_values,
)
from gateway.model import IdentifierKind, Transport
from gateway.wire import recognise

_CALL = Path(__file__).parents[2] / "tests" / "data" / "agora312-GLOB-session-speaker-audio.pcap"
_ROUNDS = 15
_VALUES = (1, 1_000, 10_000)


def _each(finder: Finder | Traces, packets: list[Packet]) -> None:
    for one in packets:
        finder.seen(one.source.address, one.destination, one.time_s, one.payload, True, None)


def _recognised(packets: list[Packet]) -> None:
    for one in packets:
        recognise(Transport.UDP, one.payload, one.destination.port)


def _given(many: int) -> Callable[[], Finder]:
    texts = [str(287454020 + 7919 * number) for number in range(many)]
    values = compile_values([Given(IdentifierKind.USER_ID, text) for text in texts])
    return lambda: GivenFinder(values)


def main() -> None:
    """Run every finder in turn, round by round, so that the machine's mood meets all alike."""
    paths = sys.argv[1:] or [str(_CALL)]
    packets = [
        one
        for path in paths
        for one in read_packets(path)
        if one.payload and one.transport is Transport.UDP
    ]
    runs: dict[str, Callable[[], object]] = {"wire.recognise": lambda: _recognised(packets)}
    for many in _VALUES:
        make = _given(many)
        runs[f"given, {many} values"] = lambda make=make: _each(make(), packets)
    runs["unnamed"] = lambda: _each(UnnamedFinder(), packets)
    runs["sweeps"] = lambda: _each(SweepFinder(), packets)
    runs["traces"] = lambda: _each(Traces(by_client=True), packets)
    took: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(_ROUNDS):
        for name, run in runs.items():
            begun = time.process_time()
            run()
            took[name].append((time.process_time() - begun) / len(packets) * 1e6)
    base = statistics.median(took["wire.recognise"])
    print(f"{len(packets)} datagrams, CPU time, median of {_ROUNDS} rounds")
    for name, times in took.items():
        median = statistics.median(times)
        print(f"{name:24} {median:7.2f} us a packet   {median / base:5.2f} x wire.recognise")


if __name__ == "__main__":
    main()
