"""A whole run.  Owns: a stage for each peer, all at once; rounds, retries, the time there is.
Knows: the measures and which peer can take which.  Never: what the figures mean."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from scripts.benchmarks.router import breaking, measures
from scripts.benchmarks.router.figures import Results, Trial
from scripts.benchmarks.router.gateway import FastGateway, Gateway, Toy, Unlogged
from scripts.benchmarks.router.generators import Generators
from scripts.benchmarks.router.measures import Bench, Figures
from scripts.benchmarks.router.noise import Noise
from scripts.benchmarks.router.peers import Nft, Peer, Unavailable
from scripts.benchmarks.router.places import Places, denied_networks
from scripts.benchmarks.router.proxies import Envoy, HaProxy, Nginx, SingBox
from scripts.benchmarks.router.stage import Space, Stage

OURS: tuple[type[Peer], ...] = (Peer, Nft, Gateway, FastGateway)
OTHERS: tuple[type[Peer], ...] = (SingBox, Envoy, Nginx, HaProxy)
_ALL: tuple[type[Peer], ...] = (*OURS, Toy, Unlogged, *OTHERS)
PEERS = {one.name: one for one in _ALL}
MEASURES = ("steady", "newflow", "tcp", "relay", "flood", "flood-max", "reload", "kill")

# The others are slower by far, and stay so: fewer of their trials are enough.
_ROUNDS_OF_OTHERS = 2
_FEW_RANGES = 10_000
_FAULTS = (RuntimeError, ValueError, OSError, TimeoutError, subprocess.SubprocessError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run shall do."""

    family: int
    peers: tuple[str, ...]
    measures: tuple[str, ...]
    ranges: int
    rounds: int
    reloads: int
    """Rounds of each reload, and of kill."""
    end_s: float
    """When the last round may begin (time.monotonic())."""


@dataclass(slots=True)
class Run:
    """Stages with peers, and what their trials have given."""

    plan: Plan
    programs: Path
    scratch: Path
    say: Callable[[str], None]
    results: Results = field(default_factory=Results)
    remarks: list[str] = field(default_factory=list)
    """What a reader must know: peers that are missing, trials that failed, rounds left out."""
    benches: dict[str, Bench] = field(default_factory=dict)

    def run(self) -> None:
        """Do all of it; the stages are removed, whatever happens."""
        try:
            for name in self.plan.peers:
                self._set_up(PEERS[name])
            self._rounds()
            self._breaking()
        finally:
            for bench in self.benches.values():
                bench.stage.remove()

    def _set_up(self, kind: type[Peer]) -> None:
        self.say(f"starting {kind.name}")
        folder = self.scratch / kind.name
        folder.mkdir()
        stage = Stage.create()
        try:
            places = Places.of(self.plan.family)
            peer = kind(stage, places, folder)
            peer.start(denied_networks(self.plan.family, self.plan.ranges))
        except (Unavailable, *_FAULTS) as fault:
            stage.remove()
            self.remarks.append(f"{kind.name} is left out: {_short(fault)}")
            return
        except BaseException:
            stage.remove()
            raise
        generators = Generators(self.programs, stage, self.plan.family, folder, peer.first_octet)
        self.benches[kind.name] = Bench(peer, stage, generators, denied=(self.plan.ranges, False))

    def _rounds(self) -> None:
        steady = [one for one in self.plan.measures if one not in ("reload", "kill")]
        for number in range(self.plan.rounds if steady else 0):
            if time.monotonic() > self.plan.end_s:
                self.remarks.append(f"time was up after {number} of {self.plan.rounds} rounds")
                return
            self.say(f"round {number + 1} of {self.plan.rounds}")
            for measure in steady:
                for bench in self._in_turn(measure, number):
                    self._try(bench, measure, partial(self._measure, measure, bench))

    def _in_turn(self, measure: str, number: int) -> Iterator[Bench]:
        """Give whom a measure suits, in another order each round: who comes first is no merit."""
        chosen = [
            bench
            for bench in self.benches.values()
            if _suits(bench.peer, measure)
            and (number < _ROUNDS_OF_OTHERS or not isinstance(bench.peer, OTHERS))
        ]
        random.Random(number).shuffle(chosen)
        yield from chosen

    def _measure(self, measure: str, bench: Bench) -> Figures:
        match measure:
            case "steady":
                return measures.steady(bench)
            case "newflow":
                return measures.newflow(bench, self.benches.get("plain", bench))
            case "tcp":
                return measures.tcp(bench)
            case "relay":
                return measures.relay(bench)
            case _:
                return measures.flood(bench, 50_000 if measure == "flood" else 0)

    def _breaking(self) -> None:
        few = min(_FEW_RANGES, self.plan.ranges)
        for ranges in sorted({self.plan.ranges, few}, reverse=True):
            for bench in self._that_deny("reload") * self.plan.reloads:
                act = partial(breaking.reload, bench, ranges)
                self._try(bench, f"reload-{ranges}", act)
        for bench in self._that_deny("kill") * self.plan.reloads:
            if bench.peer.process is not None:
                self._try(bench, "kill", partial(breaking.kill, bench, few))

    def _that_deny(self, measure: str) -> list[Bench]:
        wanted = measure in self.plan.measures
        return [one for one in self.benches.values() if wanted and one.peer.denies]

    def _try(self, bench: Bench, measure: str, act: Callable[[], Figures]) -> None:
        """Measure once, and once more if the machine was noisy."""
        self.say(f"{measure}: {bench.peer.name}")
        for _ in range(2):
            noise, at_s = Noise(partial(self._pids, bench)), time.monotonic()
            try:
                figures = act()
            except _FAULTS as fault:
                self.remarks.append(f"{measure} of {bench.peer.name} failed: {_short(fault)}")
                self._restart(bench)
                return
            trial = Trial(bench.peer.name, measure, at_s, figures, noise.cores())
            self.results.trials.append(trial)
            if bench.peer.max_flows is not None and measure not in ("tcp", "relay", "steady"):
                self._restart(bench)  # its descriptors are used up
            if trial.is_quiet or measure.startswith(("reload", "kill")):
                return

    def _restart(self, bench: Bench) -> None:
        ranges = bench.denied[0]
        try:
            bench.peer.stop()
            bench.stage.forget_flows()
            bench.peer.start(denied_networks(self.plan.family, ranges))
            bench.denied = (ranges, False)
        except _FAULTS as fault:
            self.remarks.append(f"{bench.peer.name} did not start again: {_short(fault)}")
            bench.stage.remove()
            self.benches.pop(bench.peer.name, None)

    def _pids(self, bench: Bench) -> Sequence[int]:
        return bench.stage.pids(Space.GATEWAY)


def _suits(peer: Peer, measure: str) -> bool:
    match measure:
        case "steady" | "newflow":
            return peer.carries_udp
        case "tcp":
            return not peer.relays_tcp
        case "relay":
            return peer.carries_tcp and not isinstance(peer, Nft | Toy)
        case _:  # floods: who listens on an address of its own is told of no destination
            return peer.carries_udp and not peer.listens


def chosen_peers(text: str | None, *, is_quick: bool) -> tuple[str, ...]:
    """Read a list of peers; None: those that are always there, and the others if there is time.

    Raises:  ValueError: one is not known.
    """
    if text is None:
        return tuple(one.name for one in (OURS if is_quick else (*OURS, *OTHERS)))
    return _known(text, tuple(PEERS))


def chosen_measures(text: str | None) -> tuple[str, ...]:
    """Read a list of measures; None: all.

    Raises:  ValueError: one is not known.
    """
    return MEASURES if text is None else _known(text, MEASURES)


def _known(text: str, names: tuple[str, ...]) -> tuple[str, ...]:
    chosen = [one.strip() for one in text.split(",")]
    if unknown := [one for one in chosen if one not in names]:
        raise ValueError(f'"{unknown[0]}" is none of {", ".join(names)}')
    return tuple(one for one in names if one in chosen)


def _short(fault: BaseException) -> str:
    return " ".join(str(fault).split())[-400:] or type(fault).__name__
