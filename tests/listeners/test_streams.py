"""Where streams went: each that came in is somewhere, once, and so is each octet."""

from __future__ import annotations

from collections.abc import Mapping

from tests.listeners.fakes import ALLOW, BLOCK, REROUTE, WRAP, by_content
from tests.listeners.stream_case import StreamCase


class StreamsTests(StreamCase):
    """The TCP forward's account; every other test of streams asks whether it adds up."""

    def told(self) -> Mapping[str, int]:
        """Give what is not nought."""
        return {name: count for name, count in self.listener.packets.items() if count}

    async def test_allowed(self) -> None:
        """A stream is held until it is connected, and then it is where its verdict says."""
        self.gate.enough_len = 6
        client, edge = await self.begin(by_content(BLOCK, ALLOW))
        client.say(b"hel")
        await self.until(lambda: self.listener.packets.get("octets: held"))
        expected = {"streams: in": 1, "streams: held": 1, "octets: in": 3, "octets: held": 3}
        self.assertEqual(self.told(), expected)
        client.say(b"lo!")
        await self.heard(edge.peers, b"hello!")
        carried = {"streams: in": 1, "streams: allowed": 1, "octets: in": 6, "octets: sent on": 6}
        self.assertEqual(self.told(), carried)
        client.close()
        await self.until(lambda: edge.peers[0].is_lost)
        self.assertEqual(self.told(), carried)

    async def test_rerouted(self) -> None:
        """One that is rerouted is not one that is allowed."""
        relay = self.tcp_edge("192.0.2.9:1", BLOCK)
        self.routes.relays["us-edge"] = relay.at
        client, _ = await self.begin(REROUTE)
        client.say(b"media")
        await self.heard(relay.peers, b"media")
        self.assertEqual(self.listener.packets["streams: rerouted"], 1)

    async def test_blocked_by_content(self) -> None:
        """Of a stream that is blocked by what it says no octet is sent on."""
        client, _ = await self.begin(by_content(ALLOW, BLOCK))
        client.say(b"ping")
        await self.until(lambda: client.is_lost)
        await self.until(lambda: not self.listener.packets["streams: held"])
        expected = {"streams: in": 1, "streams: blocked": 1, "octets: in": 4, "octets: dropped": 4}
        self.assertEqual(self.told(), expected)

    async def test_not_carried(self) -> None:
        """One whose way is not there is blocked; one that leaves before it is judged is dropped."""
        self.gate.enough_len = 5
        client, _ = await self.begin(by_content(ALLOW, WRAP))
        client.say(b"media")
        await self.until(lambda: client.is_lost)
        other = await self.connect(self.at)
        other.say(b"m")
        await self.until(lambda: self.listener.packets["octets: held"])
        other.close()
        await self.until(lambda: self.listener.packets["streams: dropped"])
        expected = {
            "streams: in": 2,
            "streams: blocked": 1,
            "streams: dropped": 1,
            "octets: in": 6,
            "octets: dropped": 6,
        }
        self.assertEqual(self.told(), expected)
