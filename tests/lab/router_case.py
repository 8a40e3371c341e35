"""Test cases of router mode.  Owns: a lab with an internet, an exit and a gateway that is the
clients' router, and what a client does there.  Knows: Deployment.  Never: what is tested."""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from gateway.model import Endpoint
from tests.lab import namespaces
from tests.lab.answers import Answers
from tests.lab.case import LabCase
from tests.lab.deployment import Deployment
from tests.lab.internet import Internet
from tests.lab.topology import Space
from tests.lab.wire import Wire

_PATIENCE_S = 30.0


class RouterCase(LabCase):
    """A lab whose gateway runs in router mode."""

    POLICY: ClassVar[str | None] = None
    """A policy's text; None: the default policy."""
    MORE: ClassVar[str] = ""
    """More of gateway.yaml."""
    EDITS: ClassVar[tuple[tuple[str, str], ...]] = ()
    """What stands once in gateway.yaml, and what shall stand there instead."""
    ANSWERS: ClassVar[Answers | None] = None
    """What the internet says; None: an echo."""

    internet_: Internet
    deployment: Deployment
    uplink: Wire

    def setUp(self) -> None:
        """Start the internet, exit and gateway, and watch the gateway's uplink."""
        super().setUp()
        self._overflowed = namespaces.overflowed()
        self.internet_ = self.internet(self.answers())
        # Not trial's folder: a gateway without root must be able to enter it.
        folder = Path(tempfile.mkdtemp(prefix="gateway-lab-"))
        # A gateway that is being killed may still be writing there.
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        policy = None
        if self.POLICY is not None:
            policy = folder / "lab-policy.yaml"
            policy.write_text(self.POLICY)
        self.policy = policy or folder / "policy.yaml"
        self.deployment = Deployment(self.lab, folder, policy, router=self.MORE)
        for old, new in self.EDITS:
            self.deployment.edit(old, new)
        self.uplink = self.wire(Space.GATEWAY, "uplink")
        self.begin()

    def answers(self) -> Answers | None:
        """Give what the internet says."""
        return self.ANSWERS

    def begin(self) -> None:
        """Start exit and gateway."""
        self.deployment.start()

    def begin_alone(self) -> None:
        """Start the gateway without its exit, which is seconds sooner."""
        self.deployment.gateway = self.deployment.spawn_gateway()
        self.deployment.gateway.wait_for("router mode: ready")

    def client(self, to: str, kind: int = socket.SOCK_DGRAM, *, port: int = 0) -> socket.socket:
        """Give a client's socket of the family of an endpoint, bound."""
        six = to.startswith("[")
        opened = self.lab.socket(Space.CLIENT, socket.AF_INET6 if six else socket.AF_INET, kind)
        self.addCleanup(opened.close)
        opened.settimeout(_PATIENCE_S)
        opened.bind((self.lab.CLIENT[six], port))
        return opened

    def send(self, client: socket.socket, to: str, payload: bytes) -> None:
        """Send one datagram."""
        endpoint = Endpoint.parse(to)
        client.sendto(payload, (endpoint.host, endpoint.port))

    def ask(self, client: socket.socket, to: str, payload: bytes) -> tuple[bytes, Endpoint]:
        """Send one datagram, and give its answer and whom it is from.

        Raises:  TimeoutError: there is none.
        """
        self.send(client, to, payload)
        octets, source = client.recvfrom(65_536)
        return octets, Endpoint.of(*source[:2])

    def connect(self, to: str) -> socket.socket:
        """Open a client's connection; raises OSError."""
        stream = self.client(to, socket.SOCK_STREAM)
        endpoint = Endpoint.parse(to)
        stream.connect((endpoint.host, endpoint.port))
        return stream

    def hear(self, stream: socket.socket, length: int) -> bytes:
        """Read so many octets of a stream.

        Raises:  OSError: it ends before, in time or by a reset.
        """
        octets = b""
        while len(octets) < length:
            more = stream.recv(length - len(octets))
            if not more:
                raise OSError(f"the stream ended after {len(octets)} of {length} octets")
            octets += more
        return octets

    def converse(self, to: str, payload: bytes) -> bytes:
        """Open a stream, say something, and give as many octets of the answer."""
        with self.connect(to) as stream:
            stream.sendall(payload)
            return self.hear(stream, len(payload))

    def host(self, to: str) -> str:
        """Give an endpoint's address."""
        return Endpoint.parse(to).host

    def echo(self, to: str, wait_s: float = _PATIENCE_S) -> bool:
        """Send an ICMP echo request to an endpoint's address; say whether a reply came (RFC 792,
        RFC 4443)."""
        six = to.startswith("[")
        family, protocol = ((socket.AF_INET, 1), (socket.AF_INET6, 58))[six]
        asked, answered = ((8, 0), (128, 129))[six]
        with self.lab.socket(Space.CLIENT, family, socket.SOCK_RAW, protocol) as client:
            octets = struct.pack("!BBHHH", asked, 0, 0, 7, 1)
            if not six:
                octets = struct.pack("!BBHHH", asked, 0, 0xFFFF - (asked << 8) - 7 - 1, 7, 1)
            client.connect((self.host(to), 0))
            client.send(octets)
            end_s = time.monotonic() + wait_s
            while (left_s := end_s - time.monotonic()) > 0:
                client.settimeout(left_s)
                try:
                    got = client.recv(2048)
                except TimeoutError:
                    return False
                if got[0 if six else (got[0] & 15) * 4] == answered:
                    return True
        return False

    def arrived(self, to: str) -> list[bytes]:
        """Give what arrived at an endpoint."""
        return [one.payload for one in self.internet_.arrived_at(Endpoint.parse(to))]

    def count(self, to: str) -> int:
        """Give how much arrived at an endpoint."""
        return self.internet_.count(Endpoint.parse(to))

    def sources(self, to: str) -> set[str]:
        """Give from which addresses something arrived at an endpoint."""
        return {one.source.host for one in self.internet_.arrived_at(Endpoint.parse(to))}

    def lost_elsewhere(self) -> int:
        """Give how many packets, at most, were lost since the test began where no gateway has a
        say: counted by the kernel between interfaces, and by the internet."""
        return namespaces.overflowed() - self._overflowed + self.internet_.missed

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds; fails if it does not in time."""
        if not self.wait(holds):
            self.fail(f"{what}\n{self.deployment.gateway.log}")

    def wait(self, holds: Callable[[], bool]) -> bool:
        """Wait until something holds, and say whether it did in time."""
        end_s = time.monotonic() + _PATIENCE_S
        while not (held := holds()) and time.monotonic() < end_s:
            time.sleep(0.01)
        return held

    def reload(self, policy: str) -> None:
        """Put another policy into force."""
        said = self.deployment.gateway.log.count("gateway.core: epoch")
        self.policy.write_text(policy)
        self.deployment.reload()
        self.until(
            lambda: self.deployment.gateway.log.count("gateway.core: epoch") > said,
            "the new policy never came into force",
        )

    def flood(self, client: socket.socket, to: list[str], payload: bytes) -> Flood:
        """Send datagrams without end, in turn to each of these, until it is stopped."""
        flood = Flood(client, [Endpoint.parse(one) for one in to], payload)
        self.addCleanup(flood.stop)
        flood.start()
        return flood


class Flood:
    """Numbered datagrams from one socket, some thousand a second, until it is stopped."""

    _PAUSE_S = 0.0002

    def __init__(self, client: socket.socket, to: list[Endpoint], payload: bytes) -> None:
        self._client = client
        self._to = [(one.host, one.port) for one in to]
        self._payload = payload
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent = 0
        """Rounds; each has sent one datagram to every destination, whose last four octets are the
        round's number."""

    def __enter__(self) -> Flood:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; may be called again."""
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ends.wait(self._PAUSE_S):
            number = self.sent.to_bytes(4, "big")
            for to in self._to:
                with contextlib.suppress(OSError):  # an ICMP error's, of the datagram before
                    self._client.sendto(self._payload[:-4] + number, to)
            self.sent += 1
