"""What one trial measures when something happens in the middle of it.  Owns: reload, kill.
Knows: the generators.  Never: how often, in which order, what becomes of the figures."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from scripts.benchmarks.router.generators import Probes, Stream, client_hello
from scripts.benchmarks.router.measures import Bench, Figures
from scripts.benchmarks.router.places import denied_networks
from scripts.benchmarks.router.stage import FORWARDED, Receiving

# What flows meanwhile: class, and datagrams a second.
_MEDIA, _FLOOD, _NEW, _NEW_DENIED, _OLD_DENIED = range(5)
_PPS = {_MEDIA: 2000.0, _FLOOD: 20_000.0, _NEW: 200.0, _NEW_DENIED: 200.0, _OLD_DENIED: 500.0}
_BEFORE_S, _AFTER_S = 1.0, 1.0


def reload(bench: Bench, ranges: int) -> Figures:
    """Deny one address more, among so many ranges, in mid-flood.

    `in_effect_s` is until the last new flow that still came through, `done_s` until the peer said
    that it is done; what comes after that has leaked, of new flows or of those that were up.
    """
    deny(bench, ranges, is_after=False)
    times: list[float] = []

    def act() -> None:
        after = denied_networks(bench.peer.places.family, ranges, is_after=True)
        reloaded = bench.peer.reload(after)
        bench.denied = (ranges, True)
        times.extend((reloaded.asked_s, reloaded.done_s))

    begin_s, sent, came = _during(bench, act)
    bench.stage.forget_flows()
    asked_s, done_s = (one - begin_s for one in times)
    return {
        "done_s": done_s - asked_s,
        "in_effect_s": max(came[_NEW_DENIED].last_s - asked_s, 0.0),
        "leaked_denied": came[_FLOOD].count,
        "leaked_new": came[_NEW_DENIED].since(done_s),
        "leaked_established": came[_OLD_DENIED].since(done_s),
        "lost_before": _lost(sent, came, _MEDIA) - _lost(sent, came, _MEDIA, asked_s),
        "lost": _lost(sent, came, _MEDIA, asked_s),
        "lost_new": _lost(sent, came, _NEW, asked_s),
    }


def kill(bench: Bench, ranges: int) -> Figures:
    """End every process of the peer by SIGKILL in mid-flood, and start it again afterwards.

    Shares are of what was sent after the kill.
    """
    deny(bench, ranges, is_after=False)
    server = bench.generators.start_tcp(FORWARDED)
    times: list[float] = []

    def act() -> None:
        bench.peer.kill()
        times.append(time.time())

    try:
        with _stream(bench) as stream:
            begin_s, sent, came = _during(bench, act)
            goes_on = _answers(stream)
    finally:
        server.stop()
        bench.peer.stop()
        bench.stage.forget_flows()
        bench.peer.start(denied_networks(bench.peer.places.family, ranges))
    # The bins around the kill belong to both sides of it.
    killed_s = times[0] - begin_s + 0.05
    return {
        "leaked": came[_FLOOD].count,
        "goes_on_share": came[_MEDIA].since(killed_s) / max(sent[_MEDIA].since(killed_s), 1),
        "tcp_goes_on": float(goes_on),
        "new_share": came[_NEW].since(killed_s) / max(sent[_NEW].since(killed_s), 1),
    }


def deny(bench: Bench, ranges: int, *, is_after: bool) -> None:
    """Bring a peer to where a trial begins, if it is not there."""
    if bench.denied != (ranges, is_after):
        bench.peer.reload(denied_networks(bench.peer.places.family, ranges, is_after=is_after))
        bench.denied = (ranges, is_after)


def _during(bench: Bench, act: Callable[[], None]) -> tuple[float, Probes, Probes]:
    """Do something in mid-flood; give when all began, what was sent, and what came."""
    places = bench.peer.places
    streams = [
        bench.media(_PPS[_MEDIA]),
        Stream(_FLOOD, bench.to(places.denied), 0, _PPS[_FLOOD]),
        Stream(_NEW, bench.to(places.allowed), 0, _PPS[_NEW]),
        Stream(_NEW_DENIED, bench.to(places.newly_denied), 0, _PPS[_NEW_DENIED]),
        Stream(_OLD_DENIED, bench.to(places.newly_denied), 20, _PPS[_OLD_DENIED]),
    ]
    bench.stage.receive(Receiving.TAKE)
    begin_ns = time.time_ns()
    sink = bench.generators.start_sink(begin_ns=begin_ns)
    load = bench.generators.start_streams(streams, begin_ns, warm_ms=60)
    time.sleep(_BEFORE_S)
    act()
    time.sleep(_AFTER_S)
    sent = bench.generators.ended(load)
    time.sleep(0.1)
    came = bench.generators.ended(sink)
    if came.missed:
        raise ValueError(f"the sink missed {came.missed} packets, so nothing can be said of any")
    return begin_ns / 1e9, sent, came


def _lost(sent: Probes, came: Probes, number: int, after_s: float | None = None) -> int:
    if after_s is None:
        return sent[number].count - came[number].count
    return sent[number].since(after_s) - came[number].since(after_s)


def _stream(bench: Bench) -> socket.socket:
    """Open a stream through the peer that has been judged: it has said something."""
    address = bench.to(bench.peer.places.allowed).partition(",")[0]
    stream = bench.stage.connect(address, FORWARDED.echo, 2.0)
    stream.settimeout(2.0)
    if not _answers(stream):
        raise RuntimeError(f"{bench.peer.name} lets no stream through")
    return stream


def _answers(stream: socket.socket) -> bool:
    """Say something, and say whether all of it comes back."""
    said = client_hello()
    left = len(said)
    try:
        stream.sendall(said)
        while left:
            got = len(stream.recv(left))
            if not got:
                return False
            left -= got
    except OSError:
        return False
    return True
