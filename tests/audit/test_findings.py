"""gateway audit finds what is in plaintext without knowing the protocol, and what was named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gateway.model import unpack
from tests.audit.packets import AMERICAN, CLIENT, pcap, udp
from tests.audit.test_command import POLICY, Case
from tests.audit.together import Part, together
from tests.leaks.clients import ALICE, BOB, another
from tests.support.epochs import NOISE
from tests.support.rows import rows
from tests.wire import captures

UP = (5000, 8000)
BOBS = another(bytes.fromhex("9a7b5c3d"))
ALONE = "--no-recognisers"


def two() -> bytes:
    """Write two clients in one room, of two captures."""
    parts = {
        ALICE: Part(captures.live(captures.SPEAKER)),
        BOB: Part(captures.live(captures.TOKEN), BOBS),
    }
    return together(parts)


class UnnamedTests(Case):
    """What the researchers found by hand."""

    def test_two_in_a_room(self) -> None:
        """Both user ids and the room are found, at the offsets that the protocol has, with the
        recognisers off."""
        _, summary = self.json(self.file(two()), ALONE)
        self.assertEqual(summary["plaintext"], [])
        users, rooms = (self.of(summary, kind) for kind in ("user", "room"))
        for one in (*users, *rooms):
            self.assertEqual(one["clients"], [unpack(ALICE), unpack(BOB)])
        self.assertIn((10, 4), {(s["offset"], s["length"]) for u in users for s in u["spans"]})
        self.assertIn((6, 4), {(s["offset"], s["length"]) for r in rooms for s in r["spans"]})
        self.assertNotIn("44332211", json.dumps(summary))

    def test_status(self) -> None:
        """Findings of persons are status 1 by themselves; notes are none; the search can be left
        out."""
        policy, room = self.file(POLICY.encode()), self.file(two())
        by = ("--policy", policy, ALONE)
        self.assertEqual(self.audit(*by, room).exit_code, 1)
        self.assertEqual(self.audit(*by, "--no-unnamed", room).exit_code, 0)
        alone = self.file(together({ALICE: Part(captures.live(captures.SPEAKER))}))
        said = self.audit(*by, alone)
        self.assertEqual(said.exit_code, 0)
        self.assertIn("a second client would tell", said.stdout)

    def test_text_and_page(self) -> None:
        """Text and page tell the findings, and credit the sources of the data."""
        page = self.mktemp()
        said = self.audit(self.file(two()), ALONE, "--html", page).stdout
        for text in (said, Path(page).read_text()):
            self.assertIn("user (likely): octets 10..13", text)
            self.assertIn("sweep (likely)", text)
            self.assertIn("IP Geolocation by DB-IP", text)
        _, summary = self.json(self.file(two()), ALONE)
        self.assertIn("IP Geolocation by DB-IP (https://db-ip.com)", summary["credits"])

    def test_encrypted(self) -> None:
        """Nothing of persons is found where everything is encrypted, recognisers on or off."""
        files = [str(captures.live(captures.ENCRYPTED))]
        names = ("dtls2.pcap", "quic-v2.pcapng", "quic_q46.pcap", "gquic.pcap", "wa_voice.pcap")
        files += [str(captures.foreign(name)) for name in names]
        for flags in ((), (ALONE,)):
            _, summary = self.json(*flags, *files)
            told = [one for one in summary["findings"] if one.get("finder")]
            self.assertEqual(told, [])

    def of(self, summary: Any, kind: str) -> list[Any]:
        found = [one for one in summary["findings"] if one["kind"] == kind]
        self.assertTrue(found, kind)
        return found


class SweepTests(Case):
    """Probes of protocols that nobody knows are pings."""

    def test_ping(self) -> None:
        """From the fourth address on their traffic is ping, and they are judged as such."""
        packets = [udp(NOISE, CLIENT, f"192.0.2.{host}", UP) for host in range(1, 7)]
        flows, summary = self.json(self.file(pcap(packets)))
        traffic = [flow["facts"]["traffic"] for flow in flows]
        self.assertEqual(traffic, [None] * 3 + ["ping"] * 3)
        self.assertEqual([one["kind"] for one in summary["notes"]], ["sweep", "untold"][:1])


@rows(
    found={
        "a value": ("user-id: {values: [canary-4711]}", 1),
        "a number": ("user-id: {values: [1634628450]}", 0),
        "a pattern": ('patterns: [{kind: room-id, regex: "canary-[0-9]+"}]', 1),
        "another value": ("account: {values: [canary-4712]}", 0),
    }
)
class GivenTests(Case):
    """What the operator named."""

    def check_found(self, text: str, status: int) -> None:
        """A value that left is a finding, and is judged as given; another is none."""
        payload = NOISE + b"user canary-4711 here"
        capture = self.file(pcap([udp(payload, CLIENT, AMERICAN, UP)] * 3))
        policy = self.file(POLICY.encode())
        identifiers = self.file(text.encode())
        arguments = (capture, "--policy", policy, "--identifiers", identifiers)
        self.assertEqual(self.audit(*arguments).exit_code, status)
        (flow,), summary = self.json(*arguments)
        given = [one for one in summary["findings"] if one["kind"] == "given"]
        self.assertEqual(len(given), status)
        self.assertEqual(flow["identifiers"].get("given", 0), 3 * status)
        self.assertNotIn("canary", json.dumps((flow, summary)))

    def test_by_config(self) -> None:
        """The configuration's identifiers count too, and a bad one is refused with its place."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "ids.txt").write_text("# canaries\ncanary-4711\nx\n")
        (folder / "policy.yaml").write_text(POLICY)
        config = folder / "gateway.yaml"
        config.write_text("policy: policy.yaml\nidentifiers: {user-id: {values_file: ids.txt}}\n")
        capture = self.file(pcap([udp(NOISE + b"canary-4711", CLIENT, AMERICAN, UP)]))
        refused = self.audit(capture, "--config", str(config))
        self.assertEqual(refused.exit_code, 2)
        self.assertIn("ids.txt:3: too short", refused.output)
        (folder / "ids.txt").write_text("canary-4711\n")
        self.assertEqual(self.audit(capture, "--config", str(config)).exit_code, 1)


class ObserverTests(Case):
    """The question of February 2021, asked of a capture beside the gateway."""

    def observer(self, *arguments: str) -> Any:
        result = self.audit("--observer", "--json", *arguments)
        return json.loads(result.stdout)["observer"], result.exit_code

    def test_plaintext(self) -> None:
        """Identifiers on the wire are the answer."""
        answer, status = self.observer(self.file(two()))
        self.assertTrue(answer["answer"].startswith("Yes: identifiers are in plaintext"))
        self.assertEqual(status, 1)

    def test_padded(self) -> None:
        """Datagrams of one size and steady rhythm tell nothing."""
        wire = [udp(bytes([n] * 200), "203.0.113.9", AMERICAN, (4433, 4433)) for n in range(250)]
        answer, status = self.observer(self.file(pcap(wire)))
        self.assertEqual(answer["sizes"]["distinct"], 1)
        self.assertEqual((answer["tells"], status), (False, 0))

    def test_both_sides(self) -> None:
        """With a capture of the clients' side, users are joined with what carries them."""
        front = [udp(bytes(64), f"10.1.0.{2 + n % 3}", AMERICAN, UP) for n in range(300) if n % 7]
        wire = [udp(bytes(200), "203.0.113.9", AMERICAN, (4433, 4433)) for _ in range(300)]
        answer, _ = self.observer(self.file(pcap(wire)), "--beside", self.file(pcap(front)))
        self.assertIn("3 users are taken to share the largest of 1 traces", answer["carriage"])
        self.assertEqual(len(answer["presence"]), 3)
        text = self.audit("--observer", self.file(pcap(wire)), "--beside", self.file(pcap(front)))
        self.assertIn("rhythm of 10.1.0.2", text.stdout)

    def test_usage(self) -> None:
        """Options that do not go together are refused."""
        capture = self.file(pcap([udp(NOISE, CLIENT, AMERICAN, UP)]))
        self.assertEqual(self.audit(capture, "--beside", capture).exit_code, 2)
        self.assertEqual(self.audit("--observer", capture, "--no-unnamed").exit_code, 2)
        self.assertEqual(self.audit("--observer", self.file(pcap([]))).exit_code, 2)
