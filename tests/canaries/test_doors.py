"""gateway.canaries.doors: canaries as real clients of a real gateway's listeners, on loopback."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet import reactor as real_reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from gateway import config
from gateway.canaries import BLOCKED, FAILED, HELD, JUDGED, THROUGH
from gateway.errors import CarryError
from gateway.listeners.stream_relay import StreamRelay
from gateway.listeners.udp_session import UdpSession
from gateway.model import Action, Endpoint, FlowKey, Transport, Verdict
from gateway.service import Gateway
from tests.support.bundled import world
from tests.support.epochs import PING, STUN

reactor: Any = real_reactor

CHINA, AMERICA = "198.51.100.1", "192.0.2.1"
GATEWAY = f"""\
policy: policy.yaml
listeners:
- {{kind: socks5, address: "127.0.0.1:0", users: {{me: secret}}}}
- {{kind: http-connect, address: "127.0.0.1:0"}}
- {{kind: forward, transport: udp, address: "127.0.0.1:0", to: "{CHINA}:4001"}}
- {{kind: forward, transport: tcp, address: "127.0.0.1:0", to: "{CHINA}:443"}}
geo:
  overrides:
  - {{network: 192.0.2.0/24, location: US, registration: US, operator: US, reason: a test}}
  - {{network: 198.51.100.0/24, location: CN, registration: CN, operator: CN, reason: a test}}
"""
JOIN = b"GET /join?uid=778899 HTTP/1.1\r\nHost: example.org\r\n\r\n"
POLICY = f"""\
policy: promise
jurisdictions: {{china: {{location: [CN], registration: [CN], operator: [CN]}}}}
rules:
- {{id: never, when: {{to: china}}, action: block}}
- {{id: nobody, when: {{from: 10.1.0.2, port: 9}}, action: block}}
- {{id: plain, when: {{plaintext: any, to: {{not: china}}}}, action: {{wrap: nearest}}}}
- {{id: rest, when: {{plaintext: {{not: any}}, to: {{not: china}}}}, action: allow}}
cases:
- {{note: ping, flow: "udp 10.1.0.2:5000 > {CHINA}:4001", payload: {{hex: "{PING.hex()}"}}, expect: {{action: block}}}}
- {{note: named, flow: "udp 10.1.0.2:5000 > {AMERICA}:4001", payload: {{hex: "{PING.hex()}"}}, expect: {{action: wrap}}}}
- {{note: stream, flow: "tcp 10.1.0.2:5000 > {CHINA}:443", expect: {{action: block}}}}
- {{note: join, flow: "tcp 10.1.0.2:5000 > {AMERICA}:80", payload: {{hex: "{JOIN.hex()}"}}, expect: {{action: wrap}}}}
- {{note: mine, flow: "udp 10.1.0.2:5000 > {AMERICA}:9", payload: {{hex: "{STUN.hex()}"}}, expect: {{action: block}}}}
"""  # noqa: E501  # a case a line


class Shut:
    """A reach that lets nobody out, and counts who asked."""

    def __init__(self) -> None:
        self.asked: list[Endpoint] = []

    def address(self, destination: Endpoint) -> Endpoint:
        """Reach API."""
        self.asked.append(destination)
        raise CarryError("reach", "shut")


class DoorsTests(TestCase):
    """Canaries by SOCKS 5 with a password, HTTP CONNECT and forwards."""

    timeout = 60

    async def begin(self) -> None:
        """Start a gateway."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "policy.yaml").write_text(POLICY)
        (folder / "gateway.yaml").write_text(GATEWAY)
        self.reach = Shut()
        around = replace(world(), reach=self.reach)
        self.gateway = Gateway(reactor, config.load(folder / "gateway.yaml"), around)
        self.gateway.start()
        self.addCleanup(self.gateway.stop)

    async def round(self) -> dict[tuple[str, str], str]:
        """Send all once; give outcomes by note and path."""
        canaries = self.gateway.canaries
        canaries.judge()
        while canaries._sending is not None:
            await deferLater(reactor, 0.01)
        kinds = {path.name: kind for path, kind in zip(canaries.paths, _KINDS, strict=True)}
        return {(one.note, kinds.get(path, path)): how for (one, how, path) in canaries.last}

    async def test_held(self) -> None:
        """Each is held at every listener that can take it, again and again; nothing leaves, and
        they are nobody's decisions, flows or contacts."""
        await self.begin()
        expected = {
            **{(note, JUDGED): HELD for note in ("ping", "named", "stream", "join", "mine")},
            **{(note, "socks5"): HELD for note in ("ping", "named", "stream", "join")},
            **{(note, "http-connect"): HELD for note in ("stream", "join")},
            ("ping", "forward udp"): HELD,
            ("stream", "forward tcp"): HELD,
        }
        for _ in range(2):
            self.assertEqual(await self.round(), expected)
        self.assertEqual(self.reach.asked, [])
        log = self.gateway.core.witness.log
        assert log is not None
        decided = {name for name in log._counted() if name.startswith("decided")}
        self.assertEqual(decided, {"decided: canary", "decided: epoch"})
        self.assertEqual(self.gateway.core.witness.refusals, {})

    async def test_hole(self) -> None:
        """A listener that lets out what was blocked is found, and it is the listener that is named;
        what it lets out leads nowhere."""
        await self.begin()
        allowed = Verdict(Action.ALLOW, "hole", "a test")

        def leaky(session: Any, to: Any, payload: bytes, names: tuple[str, ...] = ()) -> None:
            key = FlowKey(Transport.UDP, session._client, to[0])
            session.carry(key, payload, allowed, names)

        self.patch(UdpSession, "send", leaky)
        self.patch(StreamRelay, "start", lambda relay, first: relay._connect())
        self.patch(StreamRelay, "_judge", lambda relay: relay._connect())
        outcomes = await self.round()
        self.assertEqual(outcomes["ping", "socks5"], THROUGH)
        self.assertEqual(outcomes["ping", "forward udp"], THROUGH)
        self.assertEqual(outcomes["named", "socks5"], THROUGH)
        self.assertEqual(self.reach.asked, [])
        self.flushLoggedErrors()

    async def test_blocked(self) -> None:
        """A listener that blocks what was to be wrapped leaks nothing, and is told apart."""
        await self.begin()

        def closed(session: Any, to: Any, payload: bytes, names: tuple[str, ...] = ()) -> None:
            session._door.gate.judge(FlowKey(Transport.UDP, session._client, to[0]), payload, names)

        self.patch(UdpSession, "send", closed)
        outcomes = await self.round()
        self.assertEqual(outcomes["named", "socks5"], BLOCKED)
        self.assertEqual(outcomes["ping", "socks5"], HELD)

    async def test_gone(self) -> None:
        """A listener that nobody reaches is an alarm, and the others are tried all the same."""
        await self.begin()
        socks = self.gateway.listeners[0]
        await socks.stop()
        outcomes = await self.round()
        self.assertEqual(outcomes["ping", "socks5"], FAILED)
        self.assertEqual(outcomes["stream", "socks5"], FAILED)
        self.assertEqual(outcomes["stream", "http-connect"], HELD)
        self.assertEqual(outcomes["ping", "forward udp"], HELD)


_KINDS = ("socks5", "http-connect", "forward udp", "forward tcp")
