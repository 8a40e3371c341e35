"""gateway.kernel.tun: an interface that cannot be had is said, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway import config
from gateway.errors import CarryError
from gateway.kernel import tun
from gateway.model import pack
from gateway.routing import rules

_GATEWAY = """\
policy: policy.yaml
listeners: [{{kind: transparent, interface: lo}}]
canaries: {{sent: {}}}
"""


class TunTests(SynchronousTestCase):
    """A host without /dev/net/tun."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.patch(tun, "DEVICE", self.folder / "tun")

    def test_none(self) -> None:
        """It cannot be made; it takes no packet, and may be closed all the same."""
        made = tun.Tun("rtc-canary")
        error = self.assertRaises(CarryError, made.open, [pack("192.0.0.8")])
        self.assertIn("rtc-canary: cannot be made: No such file or directory", str(error))
        self.assertRaises(CarryError, made.write, b"packet")
        made.close()
        made.close()

    def test_said(self) -> None:
        """`check --host` says what is missing for canaries, unless they shall not be sent."""
        path = self.folder / "gateway.yaml"
        for sent, count in (("true", 1), ("false", 0)):
            path.write_text(_GATEWAY.format(sent))
            said = [one for one in rules.look(config.load(path)) if "canaries" in one]
            self.assertEqual(len(said), count, said)
            self.assertTrue(all("tun cannot be opened" in one for one in said))
