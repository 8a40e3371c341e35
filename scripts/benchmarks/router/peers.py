"""What stands in the middle.  Owns: the Peer's shape; plain forwarding and nftables.
Knows: nftables.  Never: what is measured."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from scripts.benchmarks.router.places import Places
from scripts.benchmarks.router.stage import Space, Stage
from tests.lab.process import Process


@dataclass(frozen=True, slots=True)
class Reloaded:
    """When a peer was told anew, by time.time()."""

    asked_s: float
    done_s: float
    """From then on it holds, by what the peer says."""


class Unavailable(Exception):
    """A peer that this machine does not have; its text says what is missing."""


class Peer:
    """A gateway on a stage.  Plain forwarding, unless a subclass does more."""

    name: ClassVar[str] = "plain"
    carries_udp: ClassVar[bool] = True
    carries_tcp: ClassVar[bool] = True
    relays_tcp: ClassVar[bool] = False
    """It carries TCP by relaying it, and nothing else."""
    listens: ClassVar[bool] = False
    """Clients send to the peer's own address, and not to the server's."""
    max_flows: ClassVar[int | None] = None
    """How many UDP flows fit at a time (a descriptor or two each); None: any number."""
    first_octet: ClassVar[int] = 128
    """What probes begin with: 128 makes them media (RFC 3550)."""
    denies: ClassVar[bool] = False
    """It can be told what to deny, and told anew."""

    def __init__(self, stage: Stage, places: Places, scratch: Path) -> None:
        """Prepare; nothing runs yet.

        Args:    scratch: an empty folder of its own.
        Raises:  Unavailable.
        """
        self.stage, self.places, self.scratch = stage, places, scratch
        self.process: Process | None = None

    def start(self, denied: Iterable[str]) -> None:
        """Be ready to carry traffic when this returns."""

    def stop(self) -> None:
        """Forget every flow, so that `start` begins anew."""
        self.kill()
        if self.process is not None:
            self.process.kill()
            self.process = None

    def kill(self) -> int:
        """End every process of the peer by SIGKILL; give how many there were."""
        pids = self.stage.pids(Space.GATEWAY)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(pids)

    def reload(self, denied: Iterable[str]) -> Reloaded:
        """Deny something else from now on."""
        raise NotImplementedError(f"{self.name} denies nothing")

    def to(self, address: str, port: int) -> str:
        """Give where clients send what is meant for an address, as generators read it."""
        return f"{Stage.GATEWAY[self.places.family == 6] if self.listens else address},{port}"

    def wait_listening(self, port: int, *, is_udp: bool = False, timeout_s: float = 60.0) -> None:
        """Wait until a port is open in the gateway.

        Raises:  RuntimeError: it is not, or the process has ended.
        """
        end_s = time.monotonic() + timeout_s
        argv = ["ss", "-Hln", "-u" if is_udp else "-t", f"sport = :{port}"]
        while not self.stage.command(Space.GATEWAY, argv).strip():
            if time.monotonic() > end_s or (self.process and not self.process.is_running):
                said = self.process.log[-1000:] if self.process else ""
                raise RuntimeError(f"{self.name} does not listen on port {port}: {said}")
            time.sleep(0.05)


class Nft(Peer):
    """Connection tracking first, then the same ranges: what a person would write by hand.

    An accepted flow is not looked at again, whatever is denied later.
    """

    name = "nft"
    denies = True

    def start(self, denied: Iterable[str]) -> None:
        """Peer API."""
        kind, ip = ("ipv6_addr", "ip6") if self.places.family == 6 else ("ipv4_addr", "ip")
        self._apply(f"""table inet bench {{
            set denied {{ type {kind}; flags interval; elements = {{ {",".join(denied)} }}
            }}
            chain in {{ type filter hook prerouting priority mangle; policy accept;
                ct mark 2 accept
                iifname "clients" {ip} daddr @denied counter drop
                iifname "clients" ct mark set 2
            }}
        }}""")

    def stop(self) -> None:
        """Peer API."""
        self._apply("delete table inet bench")

    def reload(self, denied: Iterable[str]) -> Reloaded:
        """Peer API."""
        elements = f"add element inet bench denied {{ {','.join(denied)} }}"
        asked_s = time.time()
        self._apply(f"flush set inet bench denied\n{elements}")
        return Reloaded(asked_s, time.time())

    def _apply(self, text: str) -> None:
        self.stage.command(Space.GATEWAY, ["nft", "-f", "-"], text)
