"""The demo run.  Owns: gateway, exit, stand-in and player in one process, start to finish.
Knows: service, Twisted's inlineCallbacks.  Never: a host outside loopback."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks
from twisted.internet.task import deferLater

from gateway import config, starter
from gateway.core import World
from gateway.demo.conversation import Conversation, conversations
from gateway.demo.player import Player
from gateway.demo.report import Result, rows_of
from gateway.demo.stand_in import StandIn
from gateway.demo.tap import Tap, found_in
from gateway.errors import CarryError, DataError
from gateway.evidence.capture import read_packets
from gateway.flow.epoch import Epoch
from gateway.flow.flows import Nobody
from gateway.flow.table import Judged
from gateway.model import Action, Endpoint
from gateway.service import ExitServer, Gateway
from gateway.wire import recognise

CAPTURE = Path(__file__).parent / "speaker.pcap"
"""A real call of the vendor's client 3.1.2, area code GLOBAL, speaking."""

_LOOPBACK = "127.0.0.1"
# Gateway and exit are on loopback; a handshake that takes longer than this has failed.
_TUNNEL_UP_S = 10.0
# What is on its way when the last word is said arrives within this; loopback needs far less.
_QUIET_S = 0.5
_MOST_S = 10.0

# The demo shows a call of 2026 by data of 2026; a gateway that protects people must not do this.
_ANY_AGE_DAYS = 36_500

# The capture's own edges and resolver are in documentation and private ranges, which are nobody's
# jurisdiction: for the demo they stand in the United States.
_OVERRIDES = """\
  overrides:
    - {network: 198.51.100.0/24, location: US, operator: US, reason: a stand-in access point}
    - {network: 203.0.113.0/24, location: US, operator: US, reason: a stand-in edge}
    - {network: 10.98.7.0/24, location: US, operator: US, reason: the capture's own resolver}
"""


class _Decisions(Nobody):
    """Gathers every decision of the gateway."""

    def __init__(self) -> None:
        self.judged: list[Judged] = []

    def decided(self, epoch: Epoch, judged: Judged, payload: bytes | None) -> bool:
        """Observer API."""
        self.judged.append(judged)
        return True

    def final(self) -> list[Judged]:
        """Give the decisions that were carried out: not those that waited for a first octet."""
        return [one for one in self.judged if one.verdict.settled]


@inlineCallbacks
def run_demo(
    reactor: Any,
    world: World,
    capture: Path,
    *,
    fast: bool,
    begin: Callable[[int], None],
    progress: Callable[[int], None],
) -> Generator[Deferred[Any], Any, Result]:
    """Play a capture's client side through a gateway and an exit, all on loopback.

    Args:    begin: told how many datagrams and streams will be played; progress: how many were.
    Raises:  DataError: no capture, or one without a client's UDP or TCP; CarryError: the tunnel
             does not come up; InputError: as Gateway.
    """
    talks = conversations(read_packets(capture))
    if not talks:
        raise DataError(str(capture), "holds no UDP or TCP payload", "a client's traffic")
    with tempfile.TemporaryDirectory(prefix="gateway-demo-") as folder:
        stage = _Stage(reactor, world, talks, Path(folder))
        try:
            stage.open()
            yield stage.tunnel_up()
            player = stage.player(fast, progress)
            begin(player.steps)
            yield player.play()
            yield stage.quiet()
            player.stop()
        finally:
            yield stage.close()
        return stage.result(capture.name, player)


class _Stage:
    """Everything that a demo run opens and closes."""

    def __init__(self, reactor: Any, world: World, talks: list[Conversation], folder: Path) -> None:
        self._reactor = reactor
        self._talks = talks
        self._folder = folder
        self._direct, self._beyond = StandIn(talks), StandIn(talks)
        self._gateway_world = dataclasses.replace(world, reach=self._direct, spools=False)
        self._exit_world = dataclasses.replace(world, reach=self._beyond, spools=False)
        self._decisions = _Decisions()
        self._closing: list[Callable[[], Deferred[Any]]] = []
        self._steps = 0

    def open(self) -> None:
        """Start stand-ins, exit, tap and gateway, in this order."""
        for stand_in in (self._direct, self._beyond):
            self._closing.append(stand_in.stop)
            stand_in.listen(self._reactor)
        any_port = f"{_LOOPBACK}:0"
        plan = starter.Plan(
            exit_host=_LOOPBACK,
            exit_port=0,
            exit_listen=_LOOPBACK,
            socks5=any_port,
            http=any_port,
            max_age_days=_ANY_AGE_DAYS,
            overrides=_OVERRIDES,
        )
        starter.write(self._folder, plan, self._gateway_world.now())
        server = ExitServer(
            self._reactor, config.load(self._folder / "exit.yaml"), self._exit_world
        )
        server.start()
        self._closing.append(server.stop)
        assert server.bound is not None, "start() binds it"
        self._tap = Tap(self._reactor, server.bound)
        tapped = self._tap.listen()
        self._closing.append(self._tap.stop)
        path = self._folder / "gateway.yaml"
        path.write_text(path.read_text().replace(f"{_LOOPBACK}:0/", f"{tapped}/"))
        self._gateway = Gateway(
            self._reactor, config.load(path), self._gateway_world, [self._decisions]
        )
        self._gateway.start()
        self._closing.append(self._gateway.stop)

    @inlineCallbacks
    def tunnel_up(self) -> Generator[Deferred[Any], Any, None]:
        """Wait for the tunnel.

        Raises:  CarryError: it does not come up.
        """
        (tunnel,) = self._gateway.outward.tunnels.values()
        end_s = self._reactor.seconds() + _TUNNEL_UP_S
        while not tunnel.up:
            if self._reactor.seconds() > end_s:
                raise CarryError("exit-1", f"the tunnel did not come up: {tunnel.sentence}")
            yield deferLater(self._reactor, 0.02)

    def player(self, fast: bool, progress: Callable[[int], None]) -> Player:
        """Make the player for the gateway's SOCKS5 listener."""
        socks5 = self._gateway.bound[0]
        player = Player(self._reactor, socks5, self._talks, fast=fast, progress=progress)
        self._steps = player.steps
        return player

    @inlineCallbacks
    def quiet(self) -> Generator[Deferred[Any], Any, None]:
        """Wait until nothing has moved for a while."""
        end_s = self._reactor.seconds() + _MOST_S
        before = -1
        moved = self._moved()
        while moved != before and self._reactor.seconds() < end_s:
            yield deferLater(self._reactor, _QUIET_S)
            before, moved = moved, self._moved()

    def _moved(self) -> int:
        arrived = self._direct.arrived().total() + self._beyond.arrived().total()
        return arrived + len(self._decisions.judged)

    @inlineCallbacks
    def close(self) -> Generator[Deferred[Any], Any, None]:
        """Close everything, what was opened last first."""
        while self._closing:
            yield DeferredList([self._closing.pop()()], consumeErrors=True)

    def result(self, name: str, player: Player) -> Result:
        """Add up what happened."""
        judged = self._decisions.final()
        identifiers = _identifiers(self._talks)
        direct, beyond = self._direct.arrived(), self._beyond.arrived()
        carried = sum(one.packets for one in judged if one.verdict.action is not Action.BLOCK)
        passed: set[Endpoint] = {
            one.facts.key.destination for one in judged if one.verdict.action is not Action.BLOCK
        }
        stopped = {
            one.facts.key.destination for one in judged if one.verdict.action is Action.BLOCK
        }
        leaked = sum((direct + beyond)[destination] for destination in stopped - passed)
        return Result(
            capture=name,
            rows=rows_of(judged, self._gateway.core.table.epoch.policy),
            sent=self._steps,
            delivered={"direct": direct.total(), "exit": beyond.total()},
            blocked_arrived=leaked,
            answers=player.answers.total(),
            identifiers=len(identifiers),
            tunnel_datagrams=len(self._tap.datagrams),
            tunnel_octets=sum(map(len, self._tap.datagrams)),
            tunnel_found=found_in(identifiers, self._tap.datagrams),
            direct_found=found_in(identifiers, self._direct.octets()),
            other_ports=player.other_ports,
            lost=carried - direct.total() - beyond.total(),
        )


def _identifiers(talks: list[Conversation]) -> set[bytes]:
    """Give the values of all identifiers that the clients sent in plaintext."""
    found: set[bytes] = set()
    for talk in talks:
        port = talk.key.destination.port
        for said in talk.of_client():
            content = recognise(talk.key.transport, said.payload, port)
            for one in content.plaintext or ():
                found.add(said.payload[one.offset : one.offset + one.length])
    return found
