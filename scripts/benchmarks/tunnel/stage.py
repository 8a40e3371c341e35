"""The programs that a run measures.  Owns: their files, starting, ending, the time that they take.
Knows: `gateway run` and `gateway exit`, /proc/PID/task/*/schedstat.  Never: what they are sent.

Two chains end at one echo: client, relay, relay; and client, gateway, exit.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.model import Endpoint
from gateway.tunnel.authority import Authority, Role
from gateway.tunnel.masque import WELL_KNOWN

_HOST = "127.0.0.1"
_RELAY = str(Path(__file__).with_name("relay.py"))

_GATEWAY = """\
policy: wrap.yaml
listeners: [{{kind: forward, transport: udp, address: "127.0.0.1:{listen}", to: "127.0.0.1:{to}"}}]
exits:
  - name: there
    kind: masque
    url: "https://127.0.0.1:{exit}{path}"
    ca: ca.pem
    certificate: gateway.pem
    key: gateway.key
geo: {{sources: [bundled], max_age_days: 36500}}
evidence: {{path: gateway-evidence/, required: false}}
state: {{path: gateway-state/}}
canaries: {{flows: []}}
"""

_EXIT = """\
policy: allow.yaml
exit: {{address: "127.0.0.1:{exit}", certificate: exit.pem, key: exit.key, ca: ca.pem}}
geo: {{sources: [bundled], max_age_days: 36500}}
evidence: {{path: exit-evidence/, required: false}}
state: {{path: exit-state/}}
"""

_POLICY = """\
policy: bench
default: block
rules:
  - {{id: all, when: {{transport: udp}}, action: {action}, reason: it is measured, owner: bench}}
"""


@dataclass(frozen=True, slots=True)
class Program:
    """One that runs."""

    name: str
    pid: int

    def cpu_s(self) -> float:
        """Give the processor time that all its threads have taken, user and system."""
        total_ns = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            total_ns += int((task / "schedstat").read_text().split()[0])
        return total_ns / 1e9


@dataclass(frozen=True, slots=True)
class Chain:
    """A way to the echo."""

    name: str
    entrance: Endpoint
    near: Program
    far: Program


@contextmanager
def chains(folder: Path) -> Iterator[tuple[Chain, Chain]]:
    """Start everything; give the plain chain and the tunnel's; end everything.

    Args:    folder: for keys, files and logs.
    """
    names = ("echo", "relay", "far relay", "gateway", "exit")
    ports = dict(zip(names, _free_ports(len(names)), strict=True))
    _write(folder, ports)
    with ExitStack() as running:

        def start(name: str, *arguments: object) -> Program:
            return running.enter_context(_running(name, folder, [*map(str, arguments)]))

        start("echo", _RELAY, ports["echo"])
        far_relay = start("far relay", _RELAY, ports["far relay"], ports["echo"])
        relay = start("relay", _RELAY, ports["relay"], ports["far relay"])
        exit_ = start("exit", "-m", "gateway", "exit", "--config", "exit.yaml")
        gateway = start("gateway", "-m", "gateway", "run", "--config", "gateway.yaml")
        yield (
            Chain("plain", Endpoint.of(_HOST, ports["relay"]), relay, far_relay),
            Chain("tunnel", Endpoint.of(_HOST, ports["gateway"]), gateway, exit_),
        )


@contextmanager
def _running(name: str, folder: Path, arguments: list[str]) -> Iterator[Program]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, stdout=log, stderr=log, env={**os.environ}
        )
    try:
        yield Program(name, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _write(folder: Path, ports: dict[str, int]) -> None:
    now, day = datetime.now(UTC), timedelta(days=1)
    authority = Authority.create("bench", now=now, lifetime=day)
    authority.identity.write(folder, "ca")
    authority.issue(Role.EXIT, [_HOST], now=now, lifetime=day).write(folder, "exit")
    authority.issue(Role.GATEWAY, ["gateway-1"], now=now, lifetime=day).write(folder, "gateway")
    gateway = _GATEWAY.format(
        listen=ports["gateway"], to=ports["echo"], exit=ports["exit"], path=WELL_KNOWN
    )
    (folder / "gateway.yaml").write_text(gateway)
    (folder / "exit.yaml").write_text(_EXIT.format(exit=ports["exit"]))
    (folder / "wrap.yaml").write_text(_POLICY.format(action="{wrap: there}"))
    (folder / "allow.yaml").write_text(_POLICY.format(action="allow"))


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        ports = []
        for _ in range(count):
            one = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            one.bind((_HOST, 0))
            ports.append(one.getsockname()[1])
        return ports
