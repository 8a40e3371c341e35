"""A console in memory.  Owns: a core that judges, its attendance, and asking it over HTTP.
Knows: Twisted's MemoryReactorClock.  Never: a listening socket, the real time."""

from __future__ import annotations

import functools
import hashlib
import http.client
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock, StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase

from gateway import config
from gateway.console.attendance import Attendance
from gateway.console.recent import Seen
from gateway.console.status import Door, Process
from gateway.core import Core
from gateway.geo import bundle, loading
from gateway.model import FlowKey
from tests.support.bundled import world

SECRET = "correct horse"
DIGEST = hashlib.sha256(SECRET.encode()).hexdigest()
GATEWAY = """\
policy: policy.yaml
watch: false
listeners: [{kind: socks5, address: "127.0.0.1:0"}]
geo: {overrides: [{network: 192.0.2.0/24, location: US, reason: a test}]}
console:
  address: "127.0.0.1:8470"
"""
TOKENS = f"""\
  tokens: [{{name: reader, sha256: {DIGEST}}}]
"""
POLICY = """\
policy: promise
jurisdictions: {us: {location: [US]}}
rules:
- {id: watched, when: {to: us}, action: block, mode: shadow}
- {id: pings, when: {traffic: ping, to: us}, action: allow, reason: "<b>bold</b>"}
- {id: never, when: {port: 9}, action: block}
"""
TO_US = FlowKey.parse("udp 10.1.0.2:5000 > 192.0.2.1:4001")
TO_NOBODY = FlowKey.parse("udp 10.1.0.2:5000 > 10.9.9.9:4001")


# A third of a second, which each test would wait for.
_decode = functools.cache(bundle.decode)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    code: int
    header: Mapping[str, str]
    body: bytes

    @property
    def said(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body)


class Transport(StringTransportWithDisconnection):
    """Remembers what was written, and who wants to know when it is too much."""

    def __init__(self) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "127.0.0.1", 40000))

    def abortConnection(self) -> None:
        """ITCPTransport API."""
        self.loseConnection()

    def setTcpNoDelay(self, enabled: bool) -> None:
        """ITCPTransport API."""


class ConsoleCase(SynchronousTestCase):
    """A console that nobody else can reach."""

    TOKENS = ""

    def setUp(self) -> None:
        self.patch(loading, "decode", _decode)
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "gateway.yaml").write_text(GATEWAY + self.TOKENS)
        (folder / "policy.yaml").write_text(POLICY)
        self.folder = folder
        self.reactor = MemoryReactorClock()
        seen = Seen.begin(world().now)
        self.core = Core(self.reactor, config.load(folder / "gateway.yaml"), world(), seen)
        self.addCleanup(self.core.stop)
        process = Process(self.core, (Door("socks5", "127.0.0.1:1080", {}),), {}, None)
        self.attendance = Attendance(self.reactor, self.core, lambda: process, seen)
        self.attendance.start()
        self.addCleanup(self.attendance.stop)
        self.site = self.reactor.tcpServers[0][1]

    def connect(self) -> Transport:
        """Open a connection."""
        transport = Transport()
        protocol = self.site.buildProtocol(transport.getPeer())
        assert protocol is not None, "so many connections are allowed"
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return transport

    def send(self, method: str, path: str, body: bytes = b"", /, **fields: str) -> Transport:
        """Send a request; "_" in a field's name stands for "-"."""
        fields = {"host": "127.0.0.1:8470", "content_length": str(len(body)), **fields}
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        text = "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""])
        transport = self.connect()
        cast(Any, transport.protocol).dataReceived(text.encode() + body)
        self.reactor.advance(0)
        return transport

    def ask(self, method: str, path: str, body: bytes = b"", /, **fields: str) -> Answer:
        """Send a request, and read the answer."""
        return answer(self.send(method, path, body, **fields).value(), method)

    def explain(self, question: object, **fields: str) -> Answer:
        """Ask what would happen."""
        body = json.dumps(question).encode()
        return self.ask("POST", "/api/explain", body, content_type="application/json", **fields)


class _Bytes:
    """A socket whose other side has said all it has to say."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def makefile(self, mode: str) -> io.BytesIO:
        """Socket API."""
        return io.BytesIO(self._octets)


def answer(octets: bytes, method: str = "GET") -> Answer:
    """Read an answer."""
    response = http.client.HTTPResponse(cast(Any, _Bytes(octets)), method=method)
    response.begin()
    header = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, header, response.read())
