"""The generators as functions.  Owns: their arguments, and their JSON → figures.
Knows: the options of src/*.c.  Never: peers, rounds."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.benchmarks.router.stage import LOAD_CORE, PROBE_PORT, Space, Stage, StreamPorts
from tests.lab.process import Process

BIN_S = 0.01
"""What is counted by time is counted in bins of so many seconds."""
_CLIENTS = ("10.64.0.0", "2001:db8:40::")
_PROBE_LEN = 200


@dataclass(frozen=True, slots=True)
class Latency:
    """Of all samples of a trial, in µs; NaN: there were none."""

    p50_us: float
    p99_us: float

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Latency:
        """Read a generator's object."""
        nan = float("nan")
        return cls(float(found.get("p50_us", nan)), float(found.get("p99_us", nan)))


@dataclass(frozen=True, slots=True)
class Counted:
    """Probes of one class, as client or server has counted them."""

    count: int
    answered: int
    latency: Latency
    bins: tuple[int, ...]
    """By the time of sending."""

    def since(self, after_s: float) -> int:
        """Count what was sent later than so long after the beginning, to the bin."""
        return sum(self.bins[int(after_s / BIN_S + 1) :])

    @property
    def last_s(self) -> float:
        """When the last one was sent; 0 if none was."""
        return len(self.bins) * BIN_S


_NONE = Counted(0, 0, Latency(float("nan"), float("nan")), ())


@dataclass(frozen=True, slots=True)
class Probes:
    """All classes of a trial."""

    seconds: float
    missed: int
    """Packets that the counting program itself missed: a trial with some says nothing."""
    next_flow: int
    classes: Mapping[int, Counted]

    def __getitem__(self, number: int) -> Counted:
        return self.classes.get(number, _NONE)

    @classmethod
    def parse(cls, text: str) -> Probes:
        """Read the line that load or server prints.

        Raises:  ValueError: it is not such a line.
        """
        found = _object(text)
        bins = {int(number): tuple(counts) for number, counts in found.get("bins", {}).items()}
        classes = {
            int(number): Counted(
                int(one.get("sent", one.get("received", 0))),
                int(one.get("answered", 0)),
                Latency.of(one.get("round_trip", one.get("one_way", {}))),
                bins.get(int(number), ()),
            )
            for number, one in found["classes"].items()
        }
        missed, next_flow = int(found["missed"]), int(found.get("next_flow", 0))
        return cls(float(found.get("seconds", 0.0)), missed, next_flow, classes)


@dataclass(frozen=True, slots=True)
class Rate:
    """What was begun and finished, flow by flow."""

    per_s: float
    failed: int
    latency: Latency
    next_flow: int

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Read the line of `load first` or `tcp connections`.

        Raises:  ValueError: it is not such a line.
        """
        found = _object(text)
        return cls(
            float(found["done"]) / float(found["seconds"]),
            int(found.get("lost", found.get("failed", 0))),
            Latency.of(found.get("round_trip", found.get("time", {}))),
            int(found.get("next_flow", 0)),
        )


def _object(text: str) -> dict[str, Any]:
    lines = text.strip().splitlines()
    try:
        found = json.loads(lines[-1] if lines else "")
    except json.JSONDecodeError as error:
        raise ValueError(f"a generator said no JSON: {text[-400:]!r}") from error
    if not isinstance(found, dict):
        raise ValueError(f"a generator said no object: {text[-400:]!r}")
    return found


@dataclass(frozen=True, slots=True)
class Stream:
    """Probes that go one way."""

    number: int
    """Its class, 0..7."""
    to: str
    flows: int
    """0: every probe is a new flow."""
    pps: float
    """0: as fast as possible."""

    def __str__(self) -> str:
        """Write it as load's option."""
        return f"{self.number}/{self.to}/{self.flows}/{self.pps:.0f}/{_PROBE_LEN}"


class Generators:
    """The generators on one stage, for one family."""

    def __init__(
        self, programs: Path, stage: Stage, family: int, scratch: Path, first_octet: int
    ) -> None:
        """Prepare; nothing runs yet.

        Args:    programs: where the compiled ones are; scratch: a folder of ours;
                 first_octet: what probes begin with.
        """
        self._programs, self._stage, self._family = programs, stage, family
        self._first_octet = first_octet
        self._run = 0
        self._next_flow = 0
        self._hello = scratch / "hello"
        self._hello.write_bytes(client_hello())

    def first(self, to: str, ms: int, most: int | None = None) -> Rate:
        """Begin as many flows as are answered, 64 at a time."""
        options = ["--to", to, "--ms", str(ms), "--window", "64"]
        if most is not None:
            options += ["--most", str(most)]
        found = Rate.parse(self._stage.command(Space.CLIENT, self._load("first", options)))
        self._keep(found.next_flow)
        return found

    def streams(
        self, streams: Sequence[Stream], ms: int, *, warm_ms: int = 0, has_echo: bool = False
    ) -> Probes:
        """Send streams for a time."""
        options = [*_options(streams), "--ms", str(ms), "--warm-ms", str(warm_ms)]
        argv = self._load("streams", [*options, "--echo", str(int(has_echo))])
        found = Probes.parse(self._stage.command(Space.CLIENT, argv))
        self._keep(found.next_flow)
        return found

    def start_streams(self, streams: Sequence[Stream], begin_ns: int, warm_ms: int) -> Process:
        """Send streams until `ended` is called for the process."""
        options = [*_options(streams), "--begin-ns", str(begin_ns), "--warm-ms", str(warm_ms)]
        return self._stage.spawn(Space.CLIENT, self._load("streams", options))

    def start_sink(self, last_class: int = 7, begin_ns: int = 0) -> Process:
        """Count what arrives from now on, of the next run of streams."""
        self._run += 1
        argv = [str(self._programs / "server"), "sink", "--family", str(self._family)]
        argv += ["--run", str(self._run), "--last-class", str(last_class)]
        return self._ready([*argv, "--begin-ns", str(begin_ns), "--cpu", str(LOAD_CORE)])

    def ended(self, process: Process) -> Probes:
        """Stop a counting or sending process, and give what it counted."""
        process.stop()
        found = Probes.parse(process.log)
        self._keep(found.next_flow)
        return found

    def start_echo(self) -> Process:
        """Answer probes from now on."""
        self._run += 1
        argv = [str(self._programs / "server"), "echo", "--family", str(self._family)]
        return self._ready([*argv, "--port", str(PROBE_PORT), "--cpu", str(LOAD_CORE)])

    def start_tcp(self, ports: StreamPorts) -> Process:
        """Answer streams from now on."""
        argv = [str(self._programs / "server"), "tcp", "--family", str(self._family)]
        return self._ready([*argv, "--ports", ",".join(map(str, ports)), "--cpu", str(LOAD_CORE)])

    def connections(self, to: str, ms: int) -> Rate:
        """Open and close as many streams as go, 32 at a time."""
        return Rate.parse(self._stage.command(Space.CLIENT, self._tcp("connections", to, ms)))

    def start_bulk(self, to: str, ms: int) -> Process:
        """Push one stream; `bulk_of` gives its throughput when it has ended."""
        return self._stage.spawn(Space.CLIENT, self._tcp("bulk", to, ms))

    def bulk_of(self, process: Process, timeout_s: float) -> float:
        """Give a stream's throughput in Gbit/s, as its receiver counts.

        Raises:  ValueError: it broke off, or not all of it has come.
        """
        end_s = time.monotonic() + timeout_s
        while process.is_running and time.monotonic() < end_s:
            time.sleep(0.02)
        process.stop()
        found = _object(process.log)
        if not found["whole"]:
            raise ValueError("a stream was cut short")
        return float(found["gbit_s"])

    def _ready(self, argv: list[str]) -> Process:
        process = self._stage.spawn(Space.SERVER, argv)
        process.wait_for("ready")
        return process

    def _load(self, what: str, options: Sequence[str]) -> list[str]:
        argv = [str(self._programs / "load"), what, "--gateway-mac", Stage.GATEWAY_MAC]
        argv += ["--clients", _CLIENTS[self._family == 6], "--cpu", str(LOAD_CORE)]
        argv += ["--first-octet", str(self._first_octet)]
        return [*argv, "--run", str(self._run), "--first-flow", str(self._next_flow), *options]

    def _tcp(self, what: str, to: str, ms: int) -> list[str]:
        argv = [str(self._programs / "tcp"), what, "--to", to, "--ms", str(ms)]
        return [*argv, "--hello", str(self._hello), "--cpu", str(LOAD_CORE)]

    def _keep(self, next_flow: int) -> None:
        """No flow of one trial may be one of another: it would not be new."""
        self._next_flow = max(self._next_flow, next_flow) % (1 << 31)


def _options(streams: Sequence[Stream]) -> list[str]:
    return [word for one in streams for word in ("--stream", str(one))]


def client_hello() -> bytes:
    """Give the first octets of a TLS client (RFC 8446), so that a gateway that reads what a stream
    begins with sees what is usual."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(
        ssl.MemoryBIO(), outgoing, server_hostname="bench.example"
    )
    with contextlib.suppress(ssl.SSLWantReadError):  # it waits for a server that nobody is
        client.do_handshake()
    return outgoing.read()
