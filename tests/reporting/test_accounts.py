"""gateway.reporting.accounts: whether what was counted adds up."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.evidence.checkpoints import Checkpoint
from gateway.reporting.accounts import balances, last_of_processes

SOUND = {
    "decided: allow": 3,
    "decided: canary": 1,
    "records: written": 2,
    "records: lost": 1,
    "records: in hand": 1,
    "socks5 127.0.0.1:1080: packets: in": 9,
    "socks5 127.0.0.1:1080: packets: allowed": 4,
    "socks5 127.0.0.1:1080: packets: blocked": 5,
    "http-connect 127.0.0.1:3128: streams: in": 5,
    "http-connect 127.0.0.1:3128: streams: wrapped": 3,
    "http-connect 127.0.0.1:3128: streams: held": 2,
    "http-connect 127.0.0.1:3128: octets: in": 50,
    "http-connect 127.0.0.1:3128: octets: sent on": 50,
    "packets: in": 2,
    "packets: wrapped": 2,
    "queue: packets: in": 12,
    "queue: packets: allowed": 7,
    "queue: packets: handed over": 2,
    "queue: packets: held": 3,
    "kernel: queued": 20,
    "kernel: waiting": 8,
    "kernel: dropped, not delivered": 3,
}


class BalancesTests(SynchronousTestCase):
    """Equations over a checkpoint's counts."""

    def test_sound(self) -> None:
        """All that can be held against each other is, and holds; what is not counted is not."""
        found = balances(SOUND)
        self.assertEqual([one["holds"] for one in found], [True] * 8)
        self.assertEqual(balances({}), [])

    def test_missing(self) -> None:
        """One more or less anywhere does not hold; of the kernel's queue three, since it is read
        while packets come."""
        for name in SOUND:
            is_kernel_s = name.startswith("kernel")
            for change in (-3, 3) if is_kernel_s else (-1, 1):
                changed = balances({**SOUND, name: SOUND[name] + change})
                self.assertFalse(all(one["holds"] for one in changed), name)
        near = balances({**SOUND, "kernel: queued": 21})
        self.assertTrue(all(one["holds"] for one in near))

    def test_processes(self) -> None:
        """The last checkpoint of each process counts: of those behind its `begin`."""
        sizes = (1, 5, 9, 10, 14)
        checkpoints = [
            Checkpoint(origin="o", size=size, root=b"", time="", first=0) for size in sizes
        ]
        last = [one.size for one in last_of_processes(checkpoints, [0, 9])]
        self.assertEqual(last, [9, 14])
        self.assertEqual(list(last_of_processes([], [0])), [])
