"""Router mode's fast path: what the kernel repeats is what the rules let go, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import socket
from functools import partial

from twisted.trial.unittest import SkipTest

from gateway.kernel import host
from gateway.model import Endpoint
from tests.lab.offloads import CHECKSUMS, SEGMENTS, offload
from tests.lab.router_case import Flood
from tests.lab.topology import Lab, Space
from tests.routing.life_case import BAD, DOUBTED, FAMILIES, GOOD, STRICTER, LifeCase
from tests.support.epochs import PING, STUN

_MEDIA = bytes.fromhex("80604001000000a011223344") + bytes(160)
"""RTP, whose sequence number looks like nothing of the vendor's."""
_NAMED = _MEDIA[:20] + b"user-7788990011" + _MEDIA[35:]
_UDP_SEGMENT = 103  # linux/udp.h


class FastPathCase(LifeCase):
    """A gateway with a fast path."""

    MORE = "router: {fast_path: [uplink]}\n"

    def setUp(self) -> None:
        """Skip where there is none."""
        if (reason := host.no_fast_path()) is not None:
            raise SkipTest(reason)
        super().setUp()
        # As from a real network, packets come with their checksums, by which lots are drawn.
        self.lab.call(Space.CLIENT, lambda: offload("gateway", CHECKSUMS, on=False))
        self.lab.call(Space.INTERNET, lambda: offload("gateway", CHECKSUMS, on=False))

    def repeated(self) -> int:
        """Give how many packets the kernel has repeated so far."""
        config = str(self.deployment.folder / "gateway.yaml")
        argv = [str(self.deployment.COMMAND), "status", "--json", "--config", config]
        done = self.lab.run(Space.GATEWAY, argv)
        counters: dict[str, int] = json.loads(done.stdout)["router"]["counters"]
        return counters["fast path: packets"]

    def floods(self, *more: tuple[str, str]) -> list[Flood]:
        """Send media without end in both families, to what is allowed, to what is not, and to
        these, until much has arrived of it."""
        floods = []
        for six in FAMILIES:
            client = self.client(GOOD[six])
            to = [GOOD[six], BAD[six], *(one[six] for one in more)]
            floods.append(self.flood(client, to, _MEDIA))
        for six in FAMILIES:
            self.grows(GOOD[six], 300)
        return floods

    def assert_repeated(self, least: int = 200) -> None:
        """Wait until the kernel has repeated so many packets more; it rests for five seconds after
        each change."""
        before = self.repeated()
        self.until(lambda: self.repeated() >= before + least, "nothing is repeated")

    def assert_all(self, floods: list[Flood], but: int = 0) -> None:
        """End them, and check that all has arrived that may, and nothing else."""
        for six, flood in enumerate(floods):
            flood.stop()
            self.assert_whole(GOOD[six], flood.sent, but)
        self.assert_none(BAD)


class RepeatedTests(FastPathCase):
    """Media of accepted flows."""

    def test_media(self) -> None:
        """It is repeated both ways; all of it arrives, from the client's own address and with one
        hop less, and is answered; a plaintext ping in the middle of it goes by the exit."""
        floods = self.floods()
        for six in FAMILIES:
            to, client = GOOD[six], self.client(GOOD[six])
            with self.flood(client, [to], _MEDIA):
                self.grows(to)
                self.send(client, to, PING)
                self.until(partial(self.has_arrived, to, PING), "the ping is lost")
        self.assert_repeated()
        self.assert_all(floods)
        for six in FAMILIES:
            media = [one for one in self.internet_.arrived_at(Endpoint.parse(GOOD[six]))
                     if one.payload != PING]  # fmt: skip
            self.assertEqual({one.source.host for one in media}, {Lab.CLIENT[six]})
            self.assertIn(Lab.EXIT[six], self.sources(GOOD[six]))
        self.uplink.stop()
        shown = [one.octets for one in self.uplink.frames()]
        self.assertFalse([octets for octets in shown if PING[10:14] in octets])
        to_good = [octets for octets in shown if octets[30:34] == bytes((203, 0, 113, 7))]
        self.assertEqual({octets[22] for octets in to_good}, {63})

    def has_arrived(self, to: str, payload: bytes) -> bool:
        """Say whether a datagram has arrived."""
        return payload in self.arrived(to)

    def test_pieces(self) -> None:
        """A ping behind media in one piece that is no longer than the link carries is seen too."""
        self.lab.call(Space.CLIENT, lambda: offload("gateway", *SEGMENTS))
        for six in FAMILIES:
            client = self.client(GOOD[six])
            self.assertEqual(self.ask(client, GOOD[six], _MEDIA)[0], _MEDIA)
            client.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, len(_MEDIA))
            self.send(client, GOOD[six], _MEDIA + PING)
            said = {client.recvfrom(65_536)[0] for _ in range(2)}
            self.assertEqual(said, {_MEDIA, PING})
        shown = [one for one in self.uplink.frames() if PING[10:14] in one.octets]
        self.assertEqual((self.uplink.missed, shown), (0, []))


class ChangeTests(FastPathCase):
    """What is repeated ends when it must."""

    def test_stricter(self) -> None:
        """A flow that a new policy forbids stops within one packet of its coming into force; one
        that it allows loses nothing."""
        floods = self.floods(DOUBTED)
        self.assert_repeated()
        self.reload(STRICTER)
        last = [flood.sent + 1 for flood in floods]
        for six in FAMILIES:
            self.grows(GOOD[six], 300)
        self.assert_all(floods)
        for six in FAMILIES:
            self.assertLessEqual(max(self.numbers(DOUBTED[six])), last[six])

    def test_killed(self) -> None:
        """When the gateway is killed accepted flows go on by the rules, and nothing else passes;
        when it is back they are repeated again.  Nor does anything pass when somebody flushes
        netfilter's rules, until they are put up again."""
        newcomer = self.client(DOUBTED[0])
        floods = self.floods()
        os.kill(self.deployment.gateway.pid, signal.SIGKILL)
        self.deployment.gateway.kill()
        self.send(newcomer, DOUBTED[0], STUN)
        for six in FAMILIES:
            self.grows(GOOD[six], 300)
        self.assertEqual(self.arrived(DOUBTED[0]), [])
        self.deployment.start_gateway()
        for six in FAMILIES:
            self.grows(GOOD[six], 300)
        self.assert_repeated()
        # What was in the queue then (a spot check, one in a thousand) is lost with it.
        self.assert_all(floods, but=2)
        flood = self.flood(self.client(GOOD[0]), [GOOD[0], BAD[0]], _MEDIA)
        self.lab.run(Space.GATEWAY, ["nft", "flush", "ruleset"])
        self.deployment.gateway.wait_for("they were put up again")
        self.grows(GOOD[0])
        flood.stop()
        self.assert_none(BAD)


class TurnedTests(FastPathCase):
    """A flow whose verdict changes without a new policy."""

    MORE = (
        "router: {fast_path: [uplink], spot_check: 64}\n"
        "identifiers: {user-id: {values: [user-7788990011]}}\n"
    )

    def test_turned(self) -> None:
        """A flow that a spot check finds an identifier in is wrapped from then on: the kernel
        repeats none of it any more."""
        for six in FAMILIES:
            client = self.client(GOOD[six])
            with self.flood(client, [GOOD[six]], _MEDIA):
                self.assert_repeated()
            with self.flood(client, [GOOD[six]], _NAMED) as flood:
                self.until(partial(self.is_wrapped, six), "it is not wrapped")
                last = flood.sent + 1
                self.grows(GOOD[six], 300)
            self.internet_.wait_quiet()
            self.assertLess(max(self.direct(GOOD[six], Lab.CLIENT[six])), last)

    def is_wrapped(self, six: int) -> bool:
        """Say whether anything came by the exit."""
        return Lab.EXIT[six] in self.sources(GOOD[six])

    def direct(self, to: str, client: str) -> list[int]:
        """Give the numbers of named datagrams that arrived directly."""
        return [
            int.from_bytes(one.payload[-4:], "big")
            for one in self.internet_.arrived()
            if str(one.destination) == to
            and one.source.host == client
            and one.payload[20:35] == _NAMED[20:35]
        ]
