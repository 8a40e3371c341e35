"""What an observer between gateway and exit sees of how long datagrams are."""

from __future__ import annotations

from gateway.tunnel.padding import SIZES
from tests.tunnel.world import Forwarder, UdpEcho, World, ignore, until


class PaddingTests(World):
    """Both directions, whatever is carried, show the stated sizes and no other."""

    async def test_sizes(self) -> None:
        """Datagrams of any length, their answers, acknowledgements and the goodbye: after the
        handshake everything has one of four sizes."""
        _, at = self.exit()
        target = self.udp(UdpEcho())
        watch = Forwarder(at)
        tunnel, _ = self.tunnel(self.udp(watch))
        await until(lambda: tunnel.up, "up")
        got: list[bytes] = []
        flow = tunnel.open_udp(target, got.append, ignore)
        lengths = range(1, 1150, 7)
        for count, length in enumerate(lengths, 1):
            self.assertTrue(flow.send(bytes(length)))
            await until(lambda count=count: len(got) == count, "the echo")  # type: ignore[misc]
        await tunnel.stop()
        short = [len(packet) for packet in watch.packets if not packet[0] & 0x80]
        self.assertEqual(set(short), set(SIZES))
        self.assertGreater(len(short), 2 * len(lengths))

    async def test_alike(self) -> None:
        """Pings of the vendor's lengths cannot be told apart from each other by theirs."""
        _, at = self.exit()
        target = self.udp(UdpEcho())
        watch = Forwarder(at)
        tunnel, _ = self.tunnel(self.udp(watch))
        await until(lambda: tunnel.up, "up")
        flow = tunnel.open_udp(target, ignore, ignore)
        sizes = []
        for length in (56, 60, 78, 109, 150, 190):
            seen = len(watch.packets)
            flow.send(bytes(length))
            await until(lambda seen=seen: len(watch.packets) >= seen + 2, "it")  # type: ignore[misc]
            sizes.append({len(one) for one in watch.packets[seen:]} - {SIZES[0]})
        self.assertEqual(sizes, [{SIZES[1]}] * 6)
