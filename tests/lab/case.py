"""Test cases in a lab.  Owns: a lab for each test, or a reason to skip it.
Knows: trial.  Never: what is tested."""

from __future__ import annotations

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from gateway.model import Endpoint
from tests.lab.answers import Answers
from tests.lab.internet import Internet
from tests.lab.topology import Lab, Space, skip_reason
from tests.lab.wire import Wire


class LabCase(SynchronousTestCase):
    """A test that has a lab of its own; nothing of it is left afterwards."""

    lab: Lab

    def setUp(self) -> None:
        """Make the lab."""
        reason = skip_reason()
        if reason is not None:
            raise SkipTest(reason)
        self.lab = Lab.create()
        self.addCleanup(self.lab.remove)

    def internet(self, answers: Answers | None = None) -> Internet:
        """Let the internet answer until the test ends."""
        internet = Internet(self.lab, answers)
        internet.start()
        self.addCleanup(internet.stop)
        return internet

    def wire(self, space: Space, interface: str) -> Wire:
        """Capture at an interface until the test ends."""
        wire = Wire(self.lab, space, interface)
        wire.start()
        self.addCleanup(wire.stop)
        return wire

    def say(self, kind: int, source: str, to: str, payload: bytes) -> tuple[bytes, Endpoint]:
        """Say something from an address of the client; give the answer, and whom it is from."""
        target = Endpoint.parse(to)
        family = 2 if len(target.address) == 4 else 10
        with self.lab.socket(Space.CLIENT, family, kind) as client:
            client.settimeout(5.0)
            client.bind((source, 0))
            client.connect((target.host, target.port))
            client.sendall(payload)
            answer = client.recv(65_536)
            return answer, Endpoint.of(*client.getpeername()[:2])
