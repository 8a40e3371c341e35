"""gateway.flow.apart: who is a canary, and who is told what of it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.flow.apart import Apart
from gateway.model import Action, Endpoint, FlowKey, Verdict, pack

KEY = FlowKey.parse("udp 127.0.0.1:5000 > 192.0.2.1:4001")
OWN = FlowKey.parse("udp 192.0.0.8:5000 > 192.0.2.1:4001")
BLOCK = Verdict(Action.BLOCK, "rule", "reason")


class ApartTests(SynchronousTestCase):
    """Apart."""

    def setUp(self) -> None:
        self.apart = Apart([pack("192.0.0.8")])
        self.strays: list[tuple[FlowKey, str]] = []
        self.apart.on_stray = lambda key, way: self.strays.append((key, way))

    def test_who(self) -> None:
        """A canary is who has such an address, or is watched, at its very port; for as long as it
        is."""
        self.assertIn(OWN.client, self.apart)
        self.assertNotIn(KEY.client, self.apart)
        self.apart.watch(KEY.client)
        self.assertIn(KEY.client, self.apart)
        self.assertNotIn(Endpoint.of("127.0.0.1", 5001), self.apart)
        self.apart.leave(KEY.client)
        self.apart.leave(KEY.client)
        self.assertNotIn(KEY.client, self.apart)

    def test_watched(self) -> None:
        """Who watches is told of verdicts and ways; the way that tells most is any but a wrap."""
        watch, seen = self.apart.watch(KEY.client), []
        watch.on_seen = lambda: seen.append(watch.way)
        self.apart.judged(KEY, BLOCK)
        for way in ("wrap", "allow", "wrap"):
            self.apart.took(KEY, way)
        self.assertEqual(seen, [None, "wrap", "allow", "allow"])
        self.assertEqual((watch.keys, watch.verdict), ([KEY], BLOCK))
        self.assertEqual(self.strays, [])

    def test_stray(self) -> None:
        """One that nobody watches and that was about to leave is told of, but not of a wrap."""
        self.apart.judged(OWN, BLOCK)
        self.apart.took(OWN, "wrap")
        self.assertEqual(self.strays, [])
        self.apart.took(OWN, "allow")
        self.assertEqual(self.strays, [(OWN, "allow")])
