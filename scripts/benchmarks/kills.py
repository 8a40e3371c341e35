"""kill -9 of a whole gateway under load, again and again: is the log whole, and does it agree with
packets that somebody else counted?

Usage: scripts/bench kills [COUNT] [--router]    COUNT: 15 if omitted; --router: as root, in a lab.

Each round starts `gateway run` (evidence required, signed every five seconds), has new flows come
to it, allowed ones and blocked ones, a datagram each, and kills it after 0 to 7.5 seconds of that.
The next start recovers the log.  Held against the datagrams that arrived at the far end:
  - verify finds nothing;
  - each allowed datagram that arrived has a decision of its own in the log, and no blocked one
    arrived;
  - in each checkpoint of the process that was killed, all balances hold (docs/evidence.md, Counts),
    and it says of no more packets that they were allowed than arrived, and of no more that they
    came than were sent.
At last one gateway is stopped as it should be: it counted just what arrived.
Status 1 and a line for each if anything does not hold."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol

from gateway.evidence.checkpoints import Checkpoint, read
from gateway.evidence.files import LogFiles
from gateway.evidence.notes import PublicKey
from gateway.evidence.verifying import Asked, verify
from gateway.reporting.accounts import balances

_PATIENCE_S = 120.0
# The log is signed every five seconds at most: every third process or so has counted for it.
_LOAD_S = 7.5
_SETTLES_S = 2.0
_PAUSE_S = 0.001
# Half of them are allowed, and a listener has places for 1,024 clients.
_MAX_NUMBERS = 1_800
_BLOCKED = "203.0.113.66"
_EVIDENCE = """\
evidence: {path: evidence/, required: true, checkpoint_s: 1, max_segment_bytes: 1073741824}
canaries: {flows: []}
"""
_POLICY = """\
policy: killed
jurisdictions: {{near: {{networks: [{near}]}}}}
rules: [{{id: near, when: {{to: near}}, action: allow}}]
"""


class Place(Protocol):
    """Where a gateway runs, with somebody before and somebody behind it."""

    folder: Path
    allowed: str
    """The checkpoints' count of allowed packets."""
    came: tuple[str, ...]
    """And those of packets that came."""

    def start(self) -> None: ...
    def send(self, number: int, is_allowed: bool) -> None: ...
    def arrived(self) -> list[int]: ...
    def pid(self) -> int: ...
    def ended(self) -> None: ...


class Loopback:
    """Two UDP forwards on loopback: one leads to us, one to nobody."""

    def __init__(self, closing: ExitStack) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kills-"))
        closing.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._far = _socket(socket.AF_INET, ("127.0.0.1", 0))
        closing.callback(self._far.close)
        to = self._far.getsockname()[1]
        self._doors = [_free_port() for _ in range(2)]
        forward = "  - {{kind: forward, transport: udp, address: '127.0.0.1:{}', to: '{}'}}\n"
        doors = forward.format(self._doors[0], f"127.0.0.1:{to}")
        doors += forward.format(self._doors[1], f"{_BLOCKED}:4001")
        (self.folder / "policy.yaml").write_text(_POLICY.format(near="127.0.0.0/8"))
        limits = "limits: {max_flows: 65536, max_flows_per_client: 65536}\n"
        text = f"policy: policy.yaml\nlisteners:\n{doors}{_EVIDENCE}{limits}"
        (self.folder / "gateway.yaml").write_text(text)
        names = [f"forward 127.0.0.1:{port}: packets: " for port in self._doors]
        self.allowed = f"{names[0]}allowed"
        self.came = tuple(f"{name}in" for name in names)
        self._process: subprocess.Popen[str]
        closing.callback(lambda: self._process.kill())

    def start(self) -> None:
        """Place API."""
        argv = [sys.executable, "-m", "gateway", "run", "--config", "gateway.yaml"]
        self._process = subprocess.Popen(
            argv, cwd=self.folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        ready, pipe = 0, self._process.stderr
        assert pipe is not None, "piped above"
        for line in pipe:
            ready += "forward on" in line
            if ready == len(self._doors):
                threading.Thread(target=pipe.read, daemon=True).start()
                return
        raise SystemExit("the gateway does not start")

    def send(self, number: int, is_allowed: bool) -> None:
        """Place API: each from a socket, and an address, of its own."""
        host = f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255 or 1}"
        with _socket(socket.AF_INET, (host, 0)) as client:
            client.sendto(number.to_bytes(8), ("127.0.0.1", self._doors[not is_allowed]))

    def arrived(self) -> list[int]:
        """Place API."""
        return list(_waiting(self._far))

    def pid(self) -> int:
        """Place API."""
        return self._process.pid

    def ended(self) -> None:
        """Place API."""
        self._process.wait(_PATIENCE_S)


class Router:
    """A lab in which the gateway is the client's router."""

    allowed = "queue: packets: allowed"
    came = ("queue: packets: in",)

    def __init__(self, closing: ExitStack) -> None:
        from tests.lab.deployment import Deployment
        from tests.lab.internet import Internet
        from tests.lab.topology import Lab, Space

        self._space = Space.CLIENT
        self._lab = closing.enter_context(Lab.create())
        self._internet = Internet(self._lab, None)
        self._internet.start()
        closing.callback(self._internet.stop)
        folder = Path(tempfile.mkdtemp(prefix="kills-"))
        closing.callback(shutil.rmtree, folder, ignore_errors=True)
        policy = folder / "killed.yaml"
        policy.write_text(_POLICY.format(near="203.0.113.7"))
        self._deployment = Deployment(
            self._lab, folder, policy, router="limits: {max_flows_per_client: 65536}\n"
        )
        text = (folder / "gateway.yaml").read_text()
        if "evidence:" in text:
            kept = [one for one in text.splitlines() if not one.startswith("evidence:")]
            text = "\n".join(kept) + "\n"
        (folder / "gateway.yaml").write_text(text + _EVIDENCE)
        self.folder = folder
        self._seen = 0
        self._client = self._lab.socket(self._space, socket.AF_INET, socket.SOCK_DGRAM)
        closing.callback(self._client.close)

    def start(self) -> None:
        """Place API."""
        self._deployment.gateway = self._deployment.spawn_gateway()
        self._deployment.gateway.wait_for("router mode: ready", _PATIENCE_S)

    def send(self, number: int, is_allowed: bool) -> None:
        """Place API: each to a port of its own is a flow of its own."""
        host = "203.0.113.7" if is_allowed else _BLOCKED
        with suppress(OSError):  # an ICMP error's, of a datagram before
            self._client.sendto(number.to_bytes(8), (host, 1024 + number % 60_000))

    def arrived(self) -> list[int]:
        """Place API."""
        self._internet.wait_quiet()
        seen, all_ = self._seen, self._internet.arrived()
        self._seen = len(all_)
        return [int.from_bytes(one.payload) for one in all_[seen:] if len(one.payload) == 8]

    def pid(self) -> int:
        """Place API."""
        return self._deployment.gateway.pid

    def ended(self) -> None:
        """Place API."""
        end_s = time.monotonic() + _PATIENCE_S
        while self._deployment.gateway.is_running and time.monotonic() < end_s:
            time.sleep(0.01)


class Load(threading.Thread):
    """Sends allowed and blocked flows in turn, until it is stopped."""

    def __init__(self, place: Place, first: int) -> None:
        super().__init__(daemon=True)
        self._place, self._ends = place, threading.Event()
        self.first = self.next = first + first % 2
        self.sent = 0

    def run(self) -> None:
        """Thread API: allowed ones are the even numbers, of which a listener keeps places."""
        while not self._ends.wait(_PAUSE_S):
            number, self.next = self.next, self.next + 1
            if number % 2 or number - self.first < _MAX_NUMBERS:
                self._place.send(number, not number % 2)
                self.sent += 1

    def stop(self) -> int:
        """End; give how many datagrams were sent."""
        self._ends.set()
        self.join()
        return self.sent


def main(count: int, is_router: bool) -> int:
    """Kill, and say what holds."""
    chance, faults, total = random.Random(2021), list[str](), Counter[str]()
    with ExitStack() as closing:
        place: Place = Router(closing) if is_router else Loopback(closing)
        number = known = at = 0
        for turn in range(count + 1):
            place.start()
            faults += _verified(place, turn)
            load = Load(place, number)
            load.start()
            time.sleep(chance.uniform(0, _LOAD_S))
            is_last = turn == count
            if is_last:
                load.stop()
                time.sleep(_SETTLES_S)
            os.kill(place.pid(), signal.SIGTERM if is_last else signal.SIGKILL)
            place.ended()
            sent, number = load.stop(), load.next
            arrived = place.arrived()
            said, known = _said(place, known)
            of_round, at = _decided(place, at)
            faults += _shown(turn, _compare(place, arrived, sent, said, of_round))
            if is_last:
                faults += _shown(turn, _at_last(place, said, len(arrived)))
                faults += _verified(place, turn + 1)
            total.update(
                sent=sent, arrived=len(arrived), checkpoints=len(said), decided=of_round.total()
            )
            _print(f"{turn + 1} of {count + 1}")
    _print("")
    print(f"{count} kills: {total}; {len(faults)} faults")
    return 1 if faults else 0


def _print(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:40}", end="", file=sys.stderr, flush=True)


def _said(place: Place, known: int) -> tuple[list[Checkpoint], int]:
    """Give the checkpoints of the process that has just ended: the file is one log's, of all."""
    path = place.folder / "evidence" / "decisions.checkpoints"
    key = PublicKey.parse((place.folder / "evidence" / "log.pub").read_text(), "log.pub")
    whole = path.read_bytes() if path.exists() else b""
    entries = list(read(whole[: whole.rfind(b"\n") + 1], str(path)))
    return [one.checkpoint(key, str(path)) for one in entries[known:]], len(entries)


def _shown(turn: int, found: Iterable[str]) -> list[str]:
    faults = [f"round {turn}: {one}" for one in found]
    for one in faults:
        print(one, flush=True)
    return faults


def _verified(place: Place, turn: int) -> list[str]:
    """Verify what the process before left, as the one that runs now has recovered it, which may
    still be writing its first checkpoint."""
    folder = place.folder / "evidence"
    key = PublicKey.parse((folder / "log.pub").read_text(), "log.pub")
    end_s = time.monotonic() + _PATIENCE_S
    while (report := verify(LogFiles(folder, "decisions"), key, Asked())).findings:
        if time.monotonic() > end_s:
            break
        time.sleep(0.1)
    return _shown(turn, (f"verify: {one}" for one in report.findings))


def _compare(
    place: Place, arrived: list[int], sent: int, said: list[Checkpoint], decided: Counter[str]
) -> Iterator[str]:
    if len(set(arrived)) != len(arrived):
        yield "a datagram arrived twice"
    if any(one % 2 for one in arrived):
        yield "a blocked one arrived"
    if not len(arrived) <= decided["allow"] or decided.total() > sent:
        yield f"{len(arrived)} arrived, {decided} decided, {sent} sent"
    for one in said:
        counts = dict(one.counts)
        yield from (f"balance: {kept}" for kept in balances(counts) if not kept["holds"])
        came = sum(counts.get(name, 0) for name in place.came)
        if counts.get(place.allowed, 0) > len(arrived) or came > sent:
            yield f"counted {counts}, {len(arrived)} arrived, {sent} sent"


def _at_last(place: Place, said: list[Checkpoint], arrived: int) -> Iterator[str]:
    counts = dict(said[-1].counts) if said else {}
    if counts.get(place.allowed) != arrived:
        yield f"at last: counted {counts}, and {arrived} arrived"


def _decided(place: Place, at: int) -> tuple[Counter[str], int]:
    """Count the log's decisions since an octet, by action, and give the octet where they end: what
    a kill left of a last record is none, and the next start cuts it off."""
    decided = Counter[str]()
    with (place.folder / "evidence" / "decisions.jsonl").open("rb") as file:
        file.seek(at)
        for line in file:
            if line.endswith(b"\n"):
                record, at = json.loads(line), at + len(line)
                if "verdict" in record and "not_carried" not in record:
                    decided[record["verdict"]["action"]] += 1
    return decided, at


def _socket(family: int, at: tuple[str, int]) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_DGRAM)
    with suppress(PermissionError):
        opened.setsockopt(socket.SOL_SOCKET, 33, 1 << 25)  # SO_RCVBUFFORCE
    opened.bind(at)
    opened.setblocking(False)
    return opened


def _waiting(far: socket.socket) -> Iterator[int]:
    with suppress(BlockingIOError):
        while True:
            yield int.from_bytes(far.recv(64))


def _free_port() -> int:
    with _socket(socket.AF_INET, ("127.0.0.1", 0)) as opened:
        return int(opened.getsockname()[1])


if __name__ == "__main__":
    words = sys.argv[1:]
    counts = [int(word) for word in words if word.isdigit()]
    sys.exit(main(counts[0] if counts else 15, "--router" in words))
