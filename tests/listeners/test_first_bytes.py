"""A client's first bytes: how often they are looked at, what is kept of them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.listeners.first_bytes import FirstBytes

LIMIT = 16 * 1024


class FirstBytesTests(SynchronousTestCase):
    """Held, looked at, kept."""

    def setUp(self) -> None:
        """Hold nothing yet, and want more for ever."""
        self.looked: list[int] = []
        self.first = FirstBytes(LIMIT, self._wants_more)

    def _wants_more(self, first: bytes) -> bool:
        self.looked.append(len(first))
        return True

    def _say(self, pieces: int, length: int) -> int:
        """Hold so many pieces, looking where it is due; give how many were not looked at."""
        waits = 0
        for _ in range(pieces):
            self.first.hold(bytes(length))
            if self.first.may_be_looked_at:
                self.first.are_enough()
            else:
                waits += 1
        return waits

    def test_small_head_octet_by_octet(self) -> None:
        """A head of 350 octets is looked at with every octet."""
        self.assertEqual(self._say(350, 1), 0)

    def test_long_head_in_packets(self) -> None:
        """A head of any length is looked at with every packet of Ethernet's size."""
        self.assertEqual(self._say(12, 1300), 0)

    def test_bounded(self) -> None:
        """Of 16 KiB, octet by octet, twelve times as many are looked at, not 8192 times."""
        self._say(LIMIT - 1, 1)
        self.assertLess(sum(self.looked), 12 * LIMIT + 1)

    def test_waits_double(self) -> None:
        """Looks that are not due wait twice as long each time: seven of them in ten seconds."""
        self.assertEqual([self.first.wait_s() for _ in range(4)], [0.1, 0.2, 0.4, 0.8])

    def test_limit(self) -> None:
        """As many as the limit are enough, unlooked at."""
        self.first.hold(bytes(LIMIT))
        self.assertTrue(self.first.may_be_looked_at and self.first.are_enough())
        self.assertEqual(self.looked, [])

    def test_judged(self) -> None:
        """What a stream is judged by stays the same once it is sent on."""
        first = FirstBytes(4, self._wants_more)
        first.hold(b"hello")
        self.assertEqual(first.judged, b"hell")
        first.keep(first.release())
        first.keep(b" world")
        self.assertEqual((first.judged, len(first)), (b"hell", 0))
