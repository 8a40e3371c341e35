"""What a new flow costs the process that judges it, in processor time, and where that goes.

A gateway's core with the default policy and the bundled data, as `gateway run` builds it, reads
packets from a queue that is none: messages as the kernel writes them, in batches of 64, each flow
of another of 65,536 clients.  UDP flows begin with media; streams with a SYN, and a TLS hello of
517 octets behind it.  No system call but the log's is made, so this is Python's part alone;
scripts/bench router measures the whole.

One part after another is left out, beside the whole: what that saves is the part's.  "memory of
verdicts" is put out of use instead: what that costs is what it saves.  Printed are medians over the
rounds, in µs a flow.
"""

from __future__ import annotations

import gc
import statistics
import struct
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast
from unittest import mock

from rich.console import Console
from rich.table import Table
from twisted.internet.task import Clock

from gateway import config
from gateway.console.recent import Seen
from gateway.core import Core, World
from gateway.flow import table as flow_table
from gateway.flow.flows import Judged
from gateway.kernel.judge import Hands, Judge
from gateway.kernel.marks import JUDGE, PROVISIONAL
from gateway.kernel.netlink import attribute, message
from gateway.kernel.nfqueue import QueueSocket
from scripts.benchmarks.router.generators import client_hello

ROUNDS = 9
FLOWS = {"UDP": 8_192, "TCP": 2_048}
BATCH = 64
CLIENTS = 65_536
POLICY = Path(__file__).parents[2] / "policies" / "default.yaml"

_CONFIGURATION = """\
policy: {policy}
listeners: [{{kind: transparent, interface: eth1}}]
geo:
  max_age_days: 36500
  overrides: [{{network: 192.0.2.0/24, location: US, operator: US, reason: bench}}]
"""
_RTP = bytes.fromhex("806000010000a0001122334400") + bytes(187)
_HELLO = client_hello()
_SYN, _PUSH_ACK = 0x02, 0x18
_ACKNOWLEDGED = message(2, 0, 0, struct.pack("=i", 0) + bytes(16))

Parts = dict[str, Callable[[], AbstractContextManager[Any]]]


def _ipv4(number: int, protocol: int, carried: bytes) -> bytes:
    client = bytes((10, 64, number >> 8 & 255, number & 255))
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(carried), 1, 0, 64, protocol, 0)
    return head + client + bytes((192, 0, 2, 7)) + carried


def datagram(number: int) -> bytes:
    """Write the first datagram of a flow, another one for each number."""
    port = 10_000 + (number >> 16) % 50_000
    return _ipv4(number, 17, struct.pack("!HHHH", port, 5300, 8 + len(_RTP), 0) + _RTP)


def segment(number: int, flags: int, sequence: int, said: bytes) -> bytes:
    """Write a segment of a stream, another one for each number."""
    port = 10_000 + (number >> 16) % 50_000
    head = struct.pack("!HHIIBBHHH", port, 443, sequence, 0, 5 << 4, flags, 1000, 0, 0)
    return _ipv4(number, 6, head + said)


def queued(number: int, packet: bytes, mark: int = JUDGE) -> bytes:
    """Write the queue's message as the kernel does."""
    attributes = (
        attribute(1, struct.pack("!IHB", number, 0x0800, 1))
        + attribute(4, struct.pack("!I", 2))
        + attribute(3, struct.pack("!I", mark))
        + attribute(9, struct.pack("!HH8s", 6, 0, bytes(8)))
        + attribute(10, packet)
    )
    return message(3 << 8, 0, 0, struct.pack("!BBH", 2, 0, 8700) + attributes)


def batches_of(kind: str, first: int) -> list[list[bytes]]:
    """Write the messages of as many flows as are measured at once."""
    made = []
    for start in range(first, first + FLOWS[kind], BATCH):
        numbers = range(start, start + BATCH)
        if kind == "UDP":
            made.append([queued(one, datagram(one)) for one in numbers])
            continue
        made.append([queued(one, segment(one, _SYN, 0, b"")) for one in numbers])
        hellos = [(one, segment(one, _PUSH_ACK, 1, _HELLO)) for one in numbers]
        made.append([queued(*hello, JUDGE | PROVISIONAL) for hello in hellos])
    return made


class Door:
    """A netlink socket that is none."""

    def __init__(self) -> None:
        self.waiting = [_ACKNOWLEDGED] * 4  # what opens the queue is acknowledged

    def recv_into(self, buffer: bytearray) -> int:
        """As socket.socket."""
        if not self.waiting:
            raise BlockingIOError
        octets = self.waiting.pop()
        buffer[: len(octets)] = octets
        return len(octets)

    def send(self, octets: bytes) -> int:
        """As socket.socket."""
        return len(octets)

    setblocking = settimeout = close = mock.Mock()


class Bench:
    """One gateway's judging, without the kernel."""

    def __init__(self, folder: Path) -> None:
        (folder / "gateway.yaml").write_text(_CONFIGURATION.format(policy=POLICY))
        loaded, world = config.load(folder / "gateway.yaml"), World.of_host()
        self.core = Core(cast(Any, Clock()), loaded, world, Seen.begin(world.now))
        nothing = mock.Mock()
        hands = Hands(carry=nothing, forget=nothing, answer=nothing)
        judge = Judge(self.core.table, hands, time.monotonic, epoch=1, targets={}, proxy=3)
        self.door = Door()
        with mock.patch.object(QueueSocket, "_open", lambda _self: self.door):
            self.queue = QueueSocket([8700], judge.judge, batch=self)
        self._next = 0

    def begin(self) -> None:
        """Batch API."""
        self.core.witness.begin_batch()

    def end(self) -> bool:
        """Batch API."""
        return self.core.end_batch()

    def flows_us(self, kind: str) -> float:
        """Judge new flows; give the processor's time for one, in µs."""
        batches = batches_of(kind, self._next)
        self._next += FLOWS[kind]
        begin = time.process_time()
        for batch in batches:
            self.door.waiting = batch[::-1]
            self.queue.doRead()
        return (time.process_time() - begin) / FLOWS[kind] * 1e6

    def parts(self) -> Parts:
        """Give what leaves each part out."""
        table, witness, epoch = self.core.table, self.core.witness, self.core.table.epoch
        patch = mock.patch.object

        def anew(key: Any, content: Any, names: tuple[str, ...] = ()) -> Judged:
            facts = epoch.facts(key, content, names)
            return Judged(facts, epoch.judge(facts))

        known = next(table.flows()).first
        assert known.facts.content is not None, "it began with media"
        content, verdict = known.facts.content, known.verdict
        return {
            "nothing": nullcontext,
            "the log": lambda: patch(witness, "log", None),
            "counts for the console": lambda: patch(witness, "_observers", ()),
            "recognising": lambda: patch(flow_table, "recognise", lambda *_: content),
            "all but reading and answering": lambda: patch(table, "judge", lambda *_: verdict),
            "memory of verdicts": lambda: patch(table, "_verdicts", mock.Mock(judge=anew)),
        }


def measured(bench: Bench) -> dict[tuple[str, str], list[float]]:
    """Measure each part of each kind of flow, round after round."""
    for _ in range(CLIENTS // FLOWS["UDP"] + 1):  # until the flow table is full
        bench.flows_us("UDP")
    parts = bench.parts()
    times: dict[tuple[str, str], list[float]] = {
        (part, kind): [] for part in parts for kind in FLOWS
    }
    for _ in range(ROUNDS):  # interleaved: a slow moment of the machine meets every part
        for part, without in parts.items():
            for kind in FLOWS:
                with without():
                    times[part, kind].append(bench.flows_us(kind))
    return times


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        gc.collect()
        gc.freeze()
        gc.set_threshold(700, 10, 1_000_000)  # as gateway run does
        times = measured(bench)
        bench.core.stop()
    medians = {key: statistics.median(found) for key, found in times.items()}
    table = Table(title=f"µs of processor time a new flow, medians of {ROUNDS} rounds")
    table.add_column("left out")
    for kind in FLOWS:
        table.add_column(kind, justify="right")
        table.add_column("saved", justify="right")
    for part in dict.fromkeys(part for part, _ in medians):
        found = [(medians[part, kind], medians["nothing", kind]) for kind in FLOWS]
        texts = (text for one, all_ in found for text in (f"{one:.1f}", f"{all_ - one:.1f}"))
        table.add_row(part, *texts)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
