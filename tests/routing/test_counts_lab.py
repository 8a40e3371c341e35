"""Router mode's accounts: what a checkpoint says of packets adds up, and agrees with the kernel."""

from __future__ import annotations

import os
import signal

from gateway.evidence.checkpoints import read
from gateway.evidence.notes import PublicKey
from gateway.reporting.accounts import balances
from tests.lab.router_case import RouterCase
from tests.support.epochs import PING, STUN

_EDGES = ("203.0.113.7:4001", "[2001:db8:a::7]:4001")
_CHINESE = ("118.190.148.38:8000", "[2408:8000::38]:8000")


class CountsTests(RouterCase):
    """The last checkpoint of a gateway that stopped."""

    MORE = "canaries: {sent: false}\n"  # whose packets would be counted, too

    def test_conserved(self) -> None:
        """Every packet that was asked about went somewhere, once; those that Python carried too;
        and the kernel counted what its rules dropped."""
        for six in (0, 1):
            client = self.client(_EDGES[six])
            for payload in (STUN, PING, STUN, PING):
                self.ask(client, _EDGES[six], payload)
            for _ in range(4):
                self.send(client, _CHINESE[six], STUN)
            self.ask(client, _EDGES[six], STUN)
        counts = self.counts()
        held = [one for one in balances(counts) if one["holds"]]
        self.assertEqual(balances(counts), held)
        self.assertEqual(len(held), 5, held)
        self.assertEqual(counts["packets: wrapped"], 4)
        self.assertEqual(counts["queue: packets: handed over"], 4)
        self.assertGreaterEqual(counts["queue: packets: allowed"], 2)
        dropped = sum(n for name, n in counts.items() if name.startswith("kernel: dropped in "))
        self.assertGreaterEqual(dropped, 2 * 4)

    def counts(self) -> dict[str, int]:
        """Stop the gateway, and give what it signed last."""
        os.kill(self.deployment.gateway.pid, signal.SIGTERM)
        self.until(lambda: not self.deployment.gateway.is_running, "it does not stop")
        folder = self.deployment.folder / "evidence"
        key = PublicKey.parse((folder / "log.pub").read_text(), "log.pub")
        path = folder / "decisions.checkpoints"
        *_, last = read(path.read_bytes(), str(path))
        return dict(last.checkpoint(key, str(path)).counts)
