"""What a new UDP flow costs the judging process, in processor time, and where it goes.

A gateway's core with the default policy and the bundled data, as `gateway run` builds it, reads
packets from a queue that is none: messages as the kernel writes them, each of a new flow of one of
65,536 clients with a datagram of media, in batches of 64.  No system call but the log's is made, so
this is Python's part; scripts/bench router measures the whole.

"in turn" is the same again with one part after another left out, each beside the whole:
what is saved is that part's.  Printed are medians over the rounds, in µs a flow.
"""

from __future__ import annotations

import gc
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from unittest import mock

from rich.console import Console
from rich.table import Table
from twisted.internet.task import Clock

from gateway import config
from gateway.console.recent import Seen
from gateway.core import Core, World
from gateway.kernel.judge import Hands, Judge
from gateway.kernel.netlink import attribute, message
from gateway.kernel.nfqueue import QueueSocket
from gateway.witness import Witness

ROUNDS = 9
FLOWS = 8_192
BATCH = 64
POLICY = Path(__file__).parents[2] / "policies" / "default.yaml"
CLIENTS = 65_536

_CONFIGURATION = """\
policy: {policy}
listeners: [{{kind: transparent, interface: eth1}}]
geo:
  max_age_days: 36500
  overrides: [{{network: 192.0.2.0/24, location: US, operator: US, reason: bench}}]
"""
_RTP = bytes.fromhex("806000010000a0001122334400") + bytes(187)
_ACKNOWLEDGED = message(2, 0, 0, struct.pack("=i", 0) + bytes(16))


def packet(number: int) -> bytes:
    """Write the IPv4 packet of the first datagram of a flow, another one for each number."""
    client = bytes((10, 64, number >> 8 & 255, number & 255))
    port = 10_000 + (number >> 16) % 50_000
    udp = struct.pack("!HHHH", port, 5300, 8 + len(_RTP), 0) + _RTP
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0)
    return head + client + bytes((192, 0, 2, 7)) + udp


def queued(number: int) -> bytes:
    """Write the queue's message as the kernel does."""
    attributes = (
        attribute(1, struct.pack("!IHB", number, 0x0800, 1))
        + attribute(4, struct.pack("!I", 2))
        + attribute(3, struct.pack("!I", 1))
        + attribute(9, struct.pack("!HH8s", 6, 0, bytes(8)))
        + attribute(10, packet(number))
    )
    return message(3 << 8, 0, 0, struct.pack("!BBH", 2, 0, 8700) + attributes)


class Door:
    """A netlink socket that is none."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []

    def recv_into(self, buffer: bytearray) -> int:
        """As socket.socket; a request is acknowledged where nothing waits before the start."""
        if not self.waiting:
            raise BlockingIOError
        octets = self.waiting.pop()
        buffer[: len(octets)] = octets
        return len(octets)

    def send(self, octets: bytes) -> int:
        """As socket.socket."""
        return len(octets)

    def close(self) -> None:
        """As socket.socket."""

    setblocking = settimeout = mock.Mock()


class Bench:
    """One gateway's judging, without the kernel."""

    def __init__(self, folder: Path) -> None:
        (folder / "gateway.yaml").write_text(_CONFIGURATION.format(policy=POLICY))
        seen = Seen.begin(World.of_host().now)
        loaded = config.load(folder / "gateway.yaml")
        self.core = Core(cast(Any, Clock()), loaded, World.of_host(), seen)
        nothing: Any = lambda *_: None  # noqa: E731
        judge = Judge(
            self.core.table,
            Hands(carry=nothing, forget=nothing, answer=nothing),
            time.monotonic,
            epoch=1,
            targets={},
            proxy=3,
        )
        self.door = Door()
        self.door.waiting = [_ACKNOWLEDGED] * 4
        with mock.patch.object(QueueSocket, "_open", lambda _self: self.door):
            self.queue = QueueSocket([8700], judge.judge, batch=self)
        self._next = 0

    def begin(self) -> None:
        """Batch API."""
        self.core.witness.begin_batch()

    def end(self) -> bool:
        """Batch API."""
        return self.core.end_batch()

    def flows_us(self) -> float:
        """Judge new flows; give the processor's time for one, in µs."""
        batches = []
        for _ in range(0, FLOWS, BATCH):
            batches.append([queued(self._next + at) for at in range(BATCH)])
            self._next += BATCH
        begin = time.process_time()
        for batch in batches:
            self.door.waiting = batch
            self.queue.doRead()
        return (time.process_time() - begin) / FLOWS * 1e6


def left_out(bench: Bench) -> dict[str, Callable[[], Any]]:
    """Give what makes each part cost nothing, as contexts."""
    core = bench.core
    table = core.table
    known = next(table.flows())
    facts, verdict = known.first.facts, known.first.verdict

    def decided(_epoch: object, _judged: object, _payload: object) -> bool:
        return True

    def patch(what: object, name: str, value: object) -> Callable[[], Any]:
        return lambda: mock.patch.object(what, name, value)

    epoch = type(table.epoch)
    return {
        "recognise": patch(epoch, "recognised", lambda *_: facts.content),
        "locate": patch(type(table.epoch.atlas), "place", lambda *_: facts.place),
        "decide": patch(epoch, "judge", lambda *_: verdict),
        "write down, count": patch(Witness, "decided", lambda *_: True),
        "write down": patch(core.witness, "log", None),
        "flow table": patch(table, "judge", lambda *_: verdict),
    }


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        gc.collect()
        gc.freeze()
        gc.set_threshold(700, 10, 1_000_000)  # as gateway run does
        for _ in range(CLIENTS // FLOWS + 1):  # until the flow table is full
            bench.flows_us()
        parts = left_out(bench)
        times: dict[str, list[float]] = {"whole": []} | {part: [] for part in parts}
        for _ in range(ROUNDS):  # interleaved: a slow moment of the machine meets every part
            times["whole"].append(bench.flows_us())
            for part, without in parts.items():
                with without():
                    times[part].append(bench.flows_us())
        bench.core.stop()
    table = Table(title=f"µs of processor time a new UDP flow, medians of {ROUNDS} rounds")
    for column in ("left out", "what remains", "its part"):
        table.add_column(column, justify="left" if column == "left out" else "right")
    medians = {part: statistics.median(found) for part, found in times.items()}
    for part, median in medians.items():
        saved = "" if part == "whole" else f"{medians['whole'] - median:.2f}"
        table.add_row("nothing" if part == "whole" else part, f"{median:.2f}", saved)
    Console(width=100).print(table)


if __name__ == "__main__":
    sys.exit(main())
