"""What a decision costs: from a flow's first datagram to its verdict, and its parts.

Every payload of the demo's capture that a client sent is classified, located and decided by
policies/default.yaml over the bundled data (the capture's own edges stand in the United States, as
in the demo), in rounds; printed are medians over the rounds, in µs of the thread's time,
per kind of message, and the ratio of parts to the whole.

"log" is what writing the decision down costs the thread that decides, in batches as
the kernel's queue has them: for destinations that the log knows, and for public addresses that it
meets for the first time.  Another process makes the log of it, as it does for `gateway run`.
"at once" is the first of these where the same thread links, hashes and writes, as the demo does.
"""

from __future__ import annotations

import datetime
import os
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gateway import geo, policy
from gateway.core import World
from gateway.demo.run import CAPTURE
from gateway.evidence.capture import read_packets
from gateway.evidence.decisions import DecisionLog
from gateway.evidence.journal import Proving
from gateway.evidence.keys import load_signer
from gateway.evidence.pseudonyms import KEY_LEN, Pseudonyms
from gateway.flow.epoch import Epoch
from gateway.flow.flows import Nobody
from gateway.flow.table import FlowLimits, FlowTable, Judged
from gateway.model import Endpoint, FlowKey, Transport

ROUNDS = 15
CALLS = 200
BATCH = 64
DAY = datetime.date(2026, 11, 23)
POLICY = Path(__file__).parents[2] / "policies" / "default.yaml"

Sample = tuple[FlowKey, bytes]
Decided = tuple[Judged, bytes]


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
    begin = time.thread_time()
    for call in calls:
        call()
    return (time.thread_time() - begin) / len(calls) * 1e6


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


def decided(epoch: Epoch, group: list[Sample]) -> list[Decided]:
    """Decide datagrams, to write that down."""
    made = []
    for key, payload in group:
        facts = epoch.facts(key, epoch.content(key, payload))
        made.append((Judged(facts, epoch.judge(facts)), payload))
    return made


def elsewhere(group: list[Sample], chance: random.Random) -> list[Sample]:
    """Send datagrams to public IPv4 addresses, each to another."""
    return [
        (key._replace(destination=Endpoint(bytes([octet]) + chance.randbytes(3), 4001)), payload)
        for key, payload in group
        for octet in [chance.choice([*range(1, 10), *range(11, 127), *range(128, 224)])]
    ]


def write_us(log: DecisionLog, epoch: Epoch, decisions: list[Decided]) -> float:
    """Time writing decisions down; µs of this thread a decision."""
    begin = time.thread_time()
    for at in range(0, len(decisions), BATCH):
        log.begin_batch()
        for judged, payload in decisions[at : at + BATCH]:
            log.write(epoch, judged, payload)
        log.end_batch()
    return (time.thread_time() - begin) / len(decisions) * 1e6


def measure(
    epoch: Epoch, log: DecisionLog, at_once: DecisionLog
) -> dict[tuple[str, str], list[float]]:
    """Measure every part of every kind of message, round after round."""
    groups = {
        name: (group * (CALLS // len(group) + 1))[:CALLS] for name, group in samples().items()
    }
    work = {name: parts(epoch, group) for name, group in groups.items()}
    known = {name: decided(epoch, group) for name, group in groups.items()}
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    chance = random.Random(1)
    for _ in range(ROUNDS):  # interleaved: a slow moment of the machine meets every part
        for name, kinds in work.items():
            for part, calls in kinds.items():
                times[name, part].append(per_call_us(calls))
            new = decided(epoch, elsewhere(groups[name], chance))
            times[name, "log known"].append(write_us(log, epoch, known[name]))
            times[name, "at once"].append(write_us(at_once, epoch, known[name]))
            times[name, "log new"].append(write_us(log, epoch, new))
    return times


def opened(folder: Path, *, spools: bool) -> DecisionLog:
    """Open a log of its own."""
    folder.mkdir()
    proving = Proving(signer=load_signer(folder, os.urandom), random=os.urandom)
    now = World.of_host().now
    return DecisionLog(folder, Pseudonyms(bytes(KEY_LEN)), now, proving, spools=spools)


def main() -> None:
    """Measure and print."""
    begin = time.thread_time()
    epoch = load()
    loaded_s = time.thread_time() - begin
    with tempfile.TemporaryDirectory() as folder:
        log, at_once = (
            opened(Path(folder) / name, spools=spools)
            for name, spools in (("spooled", True), ("at once", False))
        )
        times = measure(epoch, log, at_once)
        at_once.close()
        log.close()
    medians = {key: statistics.median(values) for key, values in times.items()}
    columns = (
        "classify",
        "locate",
        "decide",
        "first datagram",
        "known flow",
        "at once",
        "log known",
        "log new",
    )
    table = Table(title=f"µs, medians of {ROUNDS} rounds; loading policy and data {loaded_s:.2f} s")
    table.add_column("message")
    for column in columns:
        table.add_column(column, justify="right")
    table.add_column("locate / first", justify="right")
    table.add_column("log / first", justify="right")
    names = {name for name, _ in times}
    for name in sorted(names, key=lambda name: -medians[name, "first datagram"]):
        first = medians[name, "first datagram"]
        ratios = [medians[name, part] / first for part in ("locate", "log known")]
        figures = [*(medians[name, column] for column in columns), *ratios]
        table.add_row(name, *(f"{figure:.2f}" for figure in figures))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
