"""gateway.review.flows: flows to ask about, from files and captures."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import DataError, InputError
from gateway.model import Axis, IdentifierKind, Protocol, Traffic, Transport
from gateway.review.flows import flows_of_capture, flows_of_file
from tests.support.bundled import ROOT

CAPTURE = ROOT / "tests" / "data" / "agora312-GLOBminusCN-session-token.pcap"
FLOW = "udp 10.1.0.2:5000 > 192.0.2.1:8000"


class FileTests(SynchronousTestCase):
    """One flow a line."""

    def file(self, text: str | bytes) -> Path:
        path = Path(self.mktemp())
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def test_forms(self) -> None:
        """Plain flows, YAML and JSON, in one file; comments and empty lines are none."""
        text = f"""# flows
{FLOW}

{{flow: "{FLOW}", traffic: ping, plaintext: user-id, names: [AP.example.cn.]}}
  {{"flow": "{FLOW}", "payload": {{"hex": "38 00"}}, "to": {{"location": ["CN"], "asn": 4134}}}}
"""
        plain, yaml, json = flows_of_file(self.file(text))
        self.assertEqual({str(one.key) for one in (plain, yaml, json)}, {FLOW})
        assert yaml.content is not None
        assert yaml.content.plaintext is not None
        self.assertEqual(yaml.content.traffic, Traffic.PING)
        self.assertEqual(yaml.content.protocol, Protocol.UNKNOWN)
        self.assertEqual([one.kind for one in yaml.content.plaintext], [IdentifierKind.USER_ID])
        self.assertEqual(yaml.names, ("ap.example.cn",))
        self.assertEqual((json.payload, json.content), (b"\x38\x00", None))
        assert json.place is not None
        self.assertEqual(json.place.values, {Axis.LOCATION: ("CN",)})
        self.assertEqual(json.place.asns, (4134,))
        self.assertIsNone(plain.place)

    def test_faults(self) -> None:
        """Every line that is no flow is named by its number, all at once."""
        bad = ("udp", "{flow: x}", "{foo", f"{{flow: '{FLOW}', traffic: pong}}", "{}")
        path = self.file("\n".join((FLOW, *bad)))
        error = self.assertRaises(InputError, flows_of_file, path)
        self.assertEqual([one.line for one in error.problems], [2, 3, 4, 5, 6])
        self.assertIn('did you mean "ping"', str(error))

    def test_unreadable(self) -> None:
        """What is not there, not text, or endless in a line is a sentence."""
        for path, words in (
            (Path("nonesuch"), "cannot be read"),
            (self.file(b"\xff\xfe"), "UTF-8"),
            (self.file("x" * 300_000), "longer than"),
        ):
            self.assertIn(words, str(self.assertRaises(InputError, flows_of_file, path)))

    def test_frame(self) -> None:
        """A capture's frame tells its flow."""
        (one,) = flows_of_file(self.file(f"{{payload: {{capture: '{CAPTURE}', frame: 12}}}}"))
        self.assertEqual(one.key.transport, Transport.UDP)
        self.assertTrue(one.payload)


class CaptureTests(SynchronousTestCase):
    """Each flow of a capture, from its client."""

    def test_call(self) -> None:
        """A flow is told once, in the client's direction, with its first payload."""
        flows = flows_of_capture(CAPTURE)
        keys = {one.key for one in flows}
        self.assertEqual(len(keys), len(flows))
        self.assertEqual({one.key.client.host for one in flows}, {flows[0].key.client.host})
        for one in keys:
            self.assertNotIn(one._replace(client=one.destination, destination=one.client), keys)
        self.assertTrue(all(one.payload for one in flows if one.key.transport is Transport.UDP))

    def test_no_capture(self) -> None:
        """What is none is a sentence."""
        self.assertRaises(DataError, flows_of_capture, __file__)
