"""A real call, from the client's own addresses and ports, through a gateway that is its router."""

from __future__ import annotations

from collections import Counter

from gateway.demo.conversation import Conversation, conversations
from gateway.demo.run import CAPTURE
from gateway.evidence.capture import read_packets
from gateway.model import FlowKey, Transport
from tests.lab.answers import Answers, Captured
from tests.lab.identifiers import Identifiers
from tests.lab.replay import replay
from tests.lab.router_case import RouterCase
from tests.lab.topology import Lab, Space

_CHINA = "118.190.148.38"


class PromiseTests(RouterCase):
    """The promise is kept for clients that know nothing of a gateway."""

    talks: list[Conversation]

    def answers(self) -> Answers:
        """RouterCase API: what the captured servers said."""
        self.talks = conversations(read_packets(CAPTURE))
        return Captured(self.talks)

    def test_promise(self) -> None:
        """No packet goes to mainland China, and the uplink shows no identifier; all else arrives
        whole, wrapped from the exit and direct from the client itself, and is answered as from
        the address that was asked."""
        identifiers = Identifiers(self.talks)
        inside = self.wire(Space.GATEWAY, "clients")
        replayed = replay(self.lab, self.talks)
        self.internet_.wait_quiet()
        inside.stop()
        self.uplink.stop()
        self.assertEqual((self.uplink.missed, self.internet_.missed), (0, 0))
        self.assertEqual(self.uplink.between(_CHINA), [])
        tunnel = self.uplink.between(*Lab.EXIT)
        leaked = identifiers.leaked(self.uplink.frames(), tunnel)
        self.assertEqual([frame.octets for frame in leaked], [])
        # What is looked for is there to be found: the clients do say it.
        self.assertGreater(len(identifiers.shown(inside.frames())), 1_000)
        self.assertGreater(len(inside.between(_CHINA)), 0)
        self.assert_arrived()
        self.assert_answered(replayed.answers)

    def passing(self) -> list[Conversation]:
        """Give the UDP conversations that the policy lets pass."""
        return [
            talk
            for talk in self.talks
            if talk.key.transport is Transport.UDP and talk.key.destination.host != _CHINA
        ]

    def assert_arrived(self) -> None:
        """Check that every datagram arrived but those to China, and what was lost elsewhere."""
        said = Counter(
            (talk.key.destination, word.payload)
            for talk in self.passing()
            for word in talk.of_client()
        )
        arrived = [one for one in self.internet_.arrived() if one.transport is Transport.UDP]
        came = Counter((one.destination, one.payload) for one in arrived)
        self.assertLessEqual((said - came).total(), self.lost_elsewhere())
        self.assertEqual(came - said, Counter())
        sources = {one.source.host for one in arrived}
        clients = {talk.key.client.host for talk in self.talks}
        self.assertEqual(sources, {Lab.EXIT[0], *clients})
        direct = {
            FlowKey(Transport.UDP, one.source, one.destination)
            for one in arrived
            if one.source.host in clients
        }
        self.assertLessEqual(direct, {talk.key for talk in self.talks})

    def assert_answered(self, answers: Counter[FlowKey]) -> None:
        """Check that each UDP client got its answers."""
        expected = {talk.key: len(talk.said) - len(talk.of_client()) for talk in self.passing()}
        got = {key: count for key, count in answers.items() if key.transport is Transport.UDP}
        self.assertLessEqual((Counter(expected) - Counter(got)).total(), self.lost_elsewhere())
        self.assertEqual(Counter(got) - Counter(expected), Counter())
