"""What a decision costs: from a flow's first datagram to its verdict, and its parts.

Every payload of the demo's capture that a client sent is classified, located and decided by
policies/default.yaml over the bundled data (the capture's own edges stand in the United States, as
in the demo), in rounds; printed are medians over the rounds, in µs,
per kind of message, and the ratio of each part to the whole.
"""

from __future__ import annotations

import datetime
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gateway import geo, policy
from gateway.demo.run import CAPTURE
from gateway.evidence.capture import read_packets
from gateway.flow.epoch import Epoch
from gateway.flow.table import Flow, FlowLimits, FlowTable, Judged
from gateway.model import Endpoint, FlowKey, Transport, Verdict

ROUNDS = 15
DAY = datetime.date(2026, 11, 23)
POLICY = Path(__file__).parents[2] / "policies" / "default.yaml"

Sample = tuple[FlowKey, bytes]


class Nobody:
    """An observer that does nothing."""

    def decided(self, epoch: Epoch, judged: Judged, payload: bytes | None) -> bool:
        """Observer API."""
        return True

    def ended(self, flow: Flow) -> None:
        """Observer API."""

    def refused(self, key: FlowKey, reason: str) -> None:
        """Observer API."""

    def not_carried(self, key: FlowKey, verdict: Verdict, reason: str) -> None:
        """Observer API."""

    def barred(self, client: Endpoint, name: str, verdict: Verdict) -> None:
        """Observer API."""


def samples() -> dict[str, list[Sample]]:
    """Group the client's datagrams by message."""
    epoch = load()
    found: dict[str, list[Sample]] = defaultdict(list)
    for packet in read_packets(CAPTURE):
        if packet.transport is Transport.UDP and packet.source.host == "10.98.7.2":
            key = FlowKey(packet.transport, packet.source, packet.destination)
            content = epoch.content(key, packet.payload)
            found[content.message or str(content.protocol)].append((key, packet.payload))
    return found


def load() -> Epoch:
    """Load the default policy over the bundled data."""
    stand_ins = [
        geo.Override(network=network, location="US", operator="US", reason="as in the demo")
        for network in ("198.51.100.0/24", "203.0.113.0/24", "10.98.7.0/24")
    ]
    atlas = geo.load([geo.Bundled()], stand_ins, today=DAY, max_age_days=120)
    return Epoch.of(1, policy.load(POLICY, DAY), atlas)


def per_call_us(calls: list[Callable[[], object]]) -> float:
    """Time calls one after another; µs a call."""
    begin = time.perf_counter()
    for call in calls:
        call()
    return (time.perf_counter() - begin) / len(calls) * 1e6


def parts(epoch: Epoch, group: list[Sample]) -> dict[str, list[Callable[[], object]]]:
    """Give the calls of each part, on prepared arguments."""
    contents = [epoch.content(key, payload) for key, payload in group]
    facts = [epoch.facts(key, content) for (key, _), content in zip(group, contents, strict=True)]
    fresh = FlowTable(epoch, time.monotonic, FlowLimits(1 << 30, 1 << 30), Nobody())
    known = FlowTable(epoch, time.monotonic, FlowLimits(1 << 30, 1 << 30), Nobody())

    def first(key: FlowKey, payload: bytes) -> Callable[[], object]:
        def call() -> None:
            fresh.forget(key)
            fresh.judge(key, payload)

        return call

    for key, payload in group:
        known.judge(key, payload)
    return {
        "classify": [lambda k=k, p=p: epoch.content(k, p) for k, p in group],  # type: ignore[misc]
        "locate": [lambda k=k: epoch.atlas.place(k.destination.address) for k, _ in group],  # type: ignore[misc]
        "decide": [lambda f=f: epoch.judge(f) for f in facts],  # type: ignore[misc]
        "first datagram": [first(*sample) for sample in group],
        "known flow": [lambda k=k, p=p: known.judge(k, p) for k, p in group],  # type: ignore[misc]
    }


def main() -> None:
    """Measure and print."""
    begin = time.perf_counter()
    epoch = load()
    loaded_s = time.perf_counter() - begin
    work = {
        name: parts(epoch, (group * (200 // len(group) + 1))[:200])
        for name, group in samples().items()
    }
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(ROUNDS):  # interleaved: a slow moment of the machine meets every part
        for name, kinds in work.items():
            for part, calls in kinds.items():
                times[name, part].append(per_call_us(calls))
    columns = ("classify", "locate", "decide", "first datagram", "known flow")
    table = Table(title=f"µs, medians of {ROUNDS} rounds; loading policy and data {loaded_s:.2f} s")
    table.add_column("message")
    for column in columns:
        table.add_column(column, justify="right")
    table.add_column("locate / first", justify="right")
    for name in sorted(work, key=lambda name: -statistics.median(times[name, "first datagram"])):
        medians = [statistics.median(times[name, column]) for column in columns]
        ratio = medians[1] / medians[3]
        table.add_row(name, *(f"{value:.2f}" for value in medians), f"{ratio:.2f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
