"""What one trial measures while all goes well.  Owns: steady, newflow, tcp, flood.
Knows: the generators.  Never: how often, in which order, what becomes of the figures."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from scripts.benchmarks.router.figures import highest
from scripts.benchmarks.router.generators import Generators, Stream
from scripts.benchmarks.router.peers import Peer
from scripts.benchmarks.router.stage import (
    FORWARDED,
    PROBE_PORT,
    RELAYED,
    Receiving,
    Stage,
    StreamPorts,
)

_FLOWS = 200
_LOSS = 0.01
# 200 flows of a datagram every 20 ms, as audio has: what floods are measured beside.
_MEDIA_PPS = 10_000.0
# What the gateway has in its queues when a generator ends is in the counters soon after.
_SETTLE_S = 0.08
_FIRST_GUESS_PPS = 200_000.0

Figures = dict[str, float]


@dataclass(slots=True)
class Bench:
    """A peer on its stage, with generators."""

    peer: Peer
    stage: Stage
    generators: Generators
    guess_pps: float = _FIRST_GUESS_PPS
    """Where the search for the highest rate begins: where it ended before."""
    denied: tuple[int, bool] = (0, False)
    """What the peer denies now: so many ranges; with what the reload adds, or without."""

    def to(self, address: str, port: int = PROBE_PORT) -> str:
        """Give where clients send what is meant for an address."""
        return self.peer.to(address, port)

    def media(self, pps: float) -> Stream:
        """Give the flows that every measure asks after."""
        return Stream(0, self.to(self.peer.places.allowed), _FLOWS, pps)


def steady(bench: Bench) -> Figures:
    """What 200 judged flows get through: at 1 % loss at most, and when far too much is sent."""
    bench.stage.receive(Receiving.COUNT)
    held_up = 0

    def passes(pps: float) -> bool:
        nonlocal held_up
        failures = 0
        for _ in range(4):
            sent, offered_pps, came = _offered(bench, pps, 300)
            if came >= (1 - _LOSS) * sent and offered_pps >= 0.97 * pps:
                return True
            if offered_pps < 0.97 * pps:
                held_up += 1  # the generator's fault, which says nothing of the peer
            else:
                failures += 1
            if failures == 2:
                break
        return False

    rate = highest(passes, bench.guess_pps)
    bench.guess_pps = rate or _FIRST_GUESS_PPS / 4
    sent, offered_pps, came = _offered(bench, 0, 400)
    return {
        "rate_pps": rate,
        "overload_pps": came / sent * offered_pps,
        "offered_pps": offered_pps,
        "generator_held_up": held_up,
    }


def _offered(bench: Bench, pps: float, ms: int) -> tuple[int, float, int]:
    """Offer a rate: how much was sent, how much a second, and how much of it came."""
    before = bench.stage.counted()["probes"]
    found = bench.generators.streams([bench.media(pps)], ms, warm_ms=60)
    time.sleep(_SETTLE_S)
    # What warmed the flows up has been counted too.
    came = bench.stage.counted()["probes"] - before - _FLOWS
    return found[0].count, found[0].count / found.seconds, came


def newflow(bench: Bench, plain: Bench) -> Figures:
    """New UDP flows a second; and at half that load, how long a flow's first packet takes to the
    server's interface, and how much of this plain forwarding does not take at the same load."""
    bench.stage.receive(Receiving.ANSWER)
    echo = bench.generators.start_echo()
    found = bench.generators.first(bench.to(bench.peer.places.allowed), 700, bench.peer.max_flows)
    echo.stop()
    bench.stage.forget_flows()
    half = found.per_s / 2
    if half < 1 or bench.peer.max_flows is not None:  # its descriptors are gone: see Peer.max_flows
        return {"rate_per_s": found.per_s, "lost": found.failed}
    others = {} if bench is plain else _first_packets(plain, half, "plain_")
    mine = _first_packets(bench, half, "")
    added = {"added_p99_us": mine["p99_us"] - others["plain_p99_us"]} if others else {}
    return {"rate_per_s": found.per_s, "lost": found.failed, **mine, **others, **added}


def _first_packets(bench: Bench, pps: float, prefix: str) -> Figures:
    # One way, and by the kernel's own time stamp: an answer would wait for a turn on the
    # generators' core, and that is no gateway's doing.
    bench.stage.receive(Receiving.TAKE, is_on_gateway_core=True)
    sink = bench.generators.start_sink()
    stream = Stream(0, bench.to(bench.peer.places.allowed), 0, pps)
    sent = bench.generators.streams([stream], 500)[0].count
    time.sleep(_SETTLE_S)
    came = bench.generators.ended(sink)
    bench.stage.forget_flows()
    latency = came[0].latency
    return {
        f"{prefix}p50_us": latency.p50_us,
        f"{prefix}p99_us": latency.p99_us,
        f"{prefix}lost_share": math.nan if came.missed else 1 - came[0].count / max(sent, 1),
    }


def tcp(bench: Bench) -> Figures:
    """One stream's throughput and new streams a second, to ports that the kernel may forward."""
    return _streams(bench, FORWARDED)


def relay(bench: Bench) -> Figures:
    """The same to ports for which a gateway that reads what streams say has to relay them."""
    return _streams(bench, RELAYED)


def _streams(bench: Bench, ports: StreamPorts) -> Figures:
    address = bench.peer.places.allowed
    server = bench.generators.start_tcp(ports)
    try:
        pushing = bench.generators.start_bulk(bench.to(address, ports.bulk), 1000)
        time.sleep(0.5)
        is_relayed = bench.stage.has_streams(ports.bulk)
        bulk = bench.generators.bulk_of(pushing, 8.0)
        found = bench.generators.connections(bench.to(address, ports.asked), 1000)
    finally:
        server.stop()
    bench.stage.forget_flows()
    return {
        "bulk_gbit_s": bulk,
        "connections_per_s": found.per_s,
        "failed": found.failed,
        "p99_us": found.latency.p99_us,
        "is_relayed": float(is_relayed),
    }


def flood(bench: Bench, pps: float) -> Figures:
    """Datagrams to denied ranges, each a new flow, beside 200 allowed flows: what these lose.

    Args:    pps: the flood's; 0: as fast as possible.
    """
    # Plain forwarding carries the flood to the server, which would keep the generators' core busy.
    bench.stage.receive(Receiving.TAKE, is_on_gateway_core=True)
    sink = bench.generators.start_sink(last_class=0)
    before = bench.stage.counted()["denied"]
    streams = [bench.media(_MEDIA_PPS), Stream(1, bench.to(bench.peer.places.denied), 0, pps)]
    sent = bench.generators.streams(streams, 1000, warm_ms=200)
    time.sleep(_SETTLE_S)
    came = bench.generators.ended(sink)
    bench.stage.forget_flows()
    return {
        "lost_share": math.nan if came.missed else 1 - came[0].count / max(sent[0].count, 1),
        "p99_us": came[0].latency.p99_us,
        "flood_pps": sent[1].count / sent.seconds,
        "leaked": bench.stage.counted()["denied"] - before,
    }
