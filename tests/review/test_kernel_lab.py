"""The kernel's own sets, asked by `nft get element`, against the judge."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

from gateway.flow.denied import denied
from gateway.flow.epoch import Epoch
from gateway.kernel import nft
from gateway.kernel.asking import Denial, denials
from gateway.kernel.router import Router
from gateway.model import Action, Endpoint, FlowKey, Transport, pack, unpack
from gateway.sources import load_policy
from tests.kernel.test_ruleset import ROUTER
from tests.kernel.toy_case import HostCase
from tests.lab.topology import Space
from tests.support.bundled import DAY, ROOT, atlas
from tests.support.epochs import PING, STUN

_ADDRESSES = 200
_OUTSIDE = 4
"""Of those that no set has; each takes nft a second."""
_CLIENT = Endpoint.of("10.98.7.2", 5000)


def _family(address: bytes) -> int:
    return 4 if len(address) == 4 else 6


def _holds(denial: Denial, address: bytes) -> bool:
    number = int.from_bytes(address)
    within = (first <= number <= last for first, last in denial.ranges)
    return denial.family == _family(address) and any(within)


class SetTests(HostCase):
    """What the default policy denies in the kernel is what it blocks."""

    def test_elements(self) -> None:
        """Of 200 addresses the kernel denies those, and only those, to which nothing is let."""
        epoch = Epoch.of(7, load_policy(ROOT / "policies" / "default.yaml", DAY), atlas())
        router = self._installed(epoch)
        inside: dict[Denial, list[bytes]] = {denial: [] for denial in self._denials(router)}
        outside: list[bytes] = []
        for address in self._addresses():
            denial = next((one for one in inside if _holds(one, address)), None)
            if denial is not None:
                inside[denial].append(address)
                self._blocked(epoch, address)
            else:
                outside.append(address)
                self._opened(epoch, address)
        self.assertTrue(all(len(held) > 10 for held in inside.values()) and len(outside) > 10)
        # nft reads a whole set for each command: what is in is asked for at once.
        for denial, held in inside.items():
            self.assertTrue(self._has(denial, held))
        for address in outside[:_OUTSIDE]:
            for denial in inside:
                if denial.family == _family(address):
                    self.assertFalse(self._has(denial, [address]))

    def _installed(self, epoch: Epoch) -> Router:
        found = denied(epoch)
        router = replace(
            ROUTER,
            has_nft_queue=self.inside(nft.has_queue),
            denied4=found.silent4,
            denied6=found.silent6,
            refused4=found.refused4,
            refused6=found.refused6,
        )
        self.inside(partial(nft.Nft().apply, router))
        return router

    def _denials(self, router: Router) -> list[Denial]:
        return [denial for family in (4, 6) for denial in denials(router, family)]

    def _addresses(self) -> list[bytes]:
        draw = random.Random(4)
        four = [draw.randbytes(4) for _ in range(_ADDRESSES // 2)]
        # Where there are addresses: most of 128 random bits is nobody's.
        six = [b"\x24" + draw.randbytes(15) for _ in range(_ADDRESSES // 2)]
        return [pack("118.190.148.38"), pack("50.17.126.121"), *four, *six]

    def _has(self, denial: Denial, addresses: list[bytes]) -> bool:
        """Ask the kernel whether a set has all of these."""
        words = ("nft", "get", "element", "inet", "gateway", denial.name)
        listed = ", ".join(map(unpack, addresses))
        done = self.lab.run(Space.GATEWAY, (*words, f"{{ {listed} }}"))
        if done.returncode:
            self.assertIn("No such file or directory", done.stderr)
        return not done.returncode

    def _blocked(self, epoch: Epoch, address: bytes) -> None:
        for transport in (Transport.UDP, Transport.TCP):
            for payload in (None, PING, STUN):
                key = FlowKey(transport, _CLIENT, Endpoint(address, 8000))
                verdict = epoch.judge(epoch.seen(key, payload))
                self.assertEqual(verdict.action, Action.BLOCK, unpack(address))
                self.assertTrue(verdict.settled)

    def _opened(self, epoch: Epoch, address: bytes) -> None:
        """What is not denied is let through for some payload, or may be elsewhere than its spelled
        addresses: the sets of this policy leave nothing out."""
        key = FlowKey(Transport.UDP, _CLIENT, Endpoint(address, 8000))
        actions = {epoch.judge(epoch.seen(key, payload)).action for payload in (PING, STUN)}
        if not epoch.atlas.embedded(address):
            self.assertNotEqual(actions, {Action.BLOCK}, unpack(address))
