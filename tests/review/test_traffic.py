"""gateway.review.traffic: which recorded flows change their verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway import policy as language
from gateway.errors import DataError
from gateway.evidence.decisions import DecisionLog
from gateway.evidence.pseudonyms import KEY_LEN, Pseudonyms
from gateway.flow.epoch import Epoch
from gateway.flow.table import Judged
from gateway.model import Action, FlowKey
from gateway.review.change import Sort
from gateway.review.traffic import Replayed, replay
from tests.evidence.proving import proving
from tests.support.bundled import DAY, ROOT, atlas, world
from tests.support.epochs import PING, STUN
from tests.support.facts import policy
from tests.support.rows import rows

CAPTURE = ROOT / "tests" / "data" / "agora312-GLOB-session-speaker-audio.pcap"
_CLOSED = "policy: p\nrules: [{id: none, when: {}, action: block}]"
_OPEN = "policy: p\ndefault: allow"


def _promise() -> Epoch:
    return Epoch.of(1, language.load(ROOT / "policies" / "default.yaml", DAY), atlas())


def _epoch(text: str) -> Epoch:
    return Epoch.of(2, policy(text), atlas())


class CaptureTests(SynchronousTestCase):
    """What the clients of a capture sent is judged as by a gateway."""

    def test_opened(self) -> None:
        """Every flow to China is newly allowed by a policy that allows all, with examples."""
        found = replay(_promise(), _epoch(_OPEN), [CAPTURE])
        self.assertTrue(found.changes)
        self.assertEqual({one.sort for one in found.changes}, {Sort.ALLOWED})
        first = found.changes[0]
        self.assertIn(f"{CAPTURE}:", first.examples[0].place)
        self.assertTrue(all("10.98.7.2" in one.flow for one in first.examples))
        self.assertEqual([str(cause) for cause in first.causes], ["rules"])

    def test_same(self) -> None:
        """The same policy changes nothing, and every flow was judged."""
        found = replay(_promise(), _promise(), [CAPTURE])
        self.assertEqual((found.changes, found.flows), ((), 42))


class LogTests(SynchronousTestCase):
    """The facts of a decision log are judged again."""

    def log(self, old: Epoch, *flows: tuple[str, bytes | None]) -> Path:
        folder = Path(self.mktemp())
        log = DecisionLog(folder, Pseudonyms(bytes(KEY_LEN)), world().now, proving())
        for text, payload in flows:
            facts = old.seen(FlowKey.parse(text), payload)
            log.write(old, Judged(facts, old.judge(facts)), payload)
        log.close()
        return log.path

    def replayed(self, text: str, *flows: tuple[str, bytes | None]) -> Replayed:
        old = _promise()
        return replay(old, _epoch(text), [self.log(old, *flows)])

    def test_opened(self) -> None:
        """Records whose verdict changes are counted by what they were, and named by pseudonym."""
        china, america = "udp 10.1.0.2:5 > 118.190.148.38:8000", "udp 10.1.0.3:5 > 8.8.8.8:3478"
        found = self.replayed(_OPEN, (china, PING), (china, PING), (america, STUN))
        self.assertEqual((found.flows, found.decisions), (2, 3))
        (change,) = found.changes
        self.assertEqual((change.flows, change.decisions), (1, 2))
        self.assertEqual((change.old.action, change.new.action), (Action.BLOCK, Action.ALLOW))
        self.assertEqual((change.old_rule, change.new_rule), ("never-ping-china", "default"))
        self.assertIn("agora", change.what)
        flow = change.examples[0].flow
        self.assertTrue(flow.startswith("udp c-") and flow.endswith("> 118.190.148.38:8000"))

    def test_unseen(self) -> None:
        """A stream before its first bytes, and ICMP, are judged as they were."""
        found = self.replayed(
            _CLOSED, ("tcp 10.1.0.2:5 > 8.8.8.8:443", None), ("icmp 10.1.0.2 > 8.8.8.8", b"")
        )
        self.assertEqual(
            sorted((one.what, str(one.old), str(one.new)) for one in found.changes),
            [
                ("before its first bytes", "payload decides", "block"),
                ("icmp other", "allow", "block"),
            ],
        )

    def test_clients(self) -> None:
        """Where it depends on the client, whom the log does not tell, that is said."""
        new = (
            "policy: p\ndefault: allow\nrules: [{id: a, when: {from: 10.9.0.0/16}, action: block}]"
        )
        found = self.replayed(new, ("icmp 10.1.0.2 > 8.8.8.8", b""))
        (change,) = found.changes
        self.assertTrue(change.for_some_clients)


_RECORD: dict[str, Any] = {
    "flow": "udp c-0123456789 > 8.8.8.8:53",
    "facts": {
        "protocol": "dns",
        "message": None,
        "traffic": "dns",
        "plaintext": [],
        "names": [],
        "to": {},
    },
}


@rows(
    broken={
        "no JSON": ("{", "JSONDecodeError"),
        "a list": ("[]", "AttributeError"),
        "no flow": (json.dumps({**_RECORD, "flow": None}), "AttributeError"),
        "a flow to nowhere": (json.dumps({**_RECORD, "flow": "udp c-1 > x:53"}), "AddressError"),
        "an unknown protocol": (
            json.dumps({**_RECORD, "facts": {**_RECORD["facts"], "protocol": "telepathy"}}),
            "ValueError",
        ),
        "brackets without end": ("[" * 100_000, "RecursionError"),
    }
)
class BrokenTests(SynchronousTestCase):
    """What is no record is refused at its line."""

    def check_broken(self, line: str, fault: str) -> None:
        """A good line, then a bad one."""
        path = Path(self.mktemp()).with_suffix(".jsonl")
        path.write_text(f"{json.dumps(_RECORD)}\n{line}\n")
        error = self.assertRaises(DataError, replay, _promise(), _promise(), [path])
        self.assertIn(f"{path}:2", str(error))
        self.assertIn(fault, str(error))

    def test_others(self) -> None:
        """Records of other things, and a last line that a full disk cut, are passed over."""
        path = Path(self.mktemp()).with_suffix(".jsonl")
        barred = {"flow": "c-1 > x.example.org", "facts": {"names": ["x.example.org"]}}
        lines = [json.dumps(_RECORD), json.dumps(barred), json.dumps(_RECORD)[:40]]
        path.write_text("\n".join(lines))
        found = replay(_promise(), _promise(), [path])
        self.assertEqual(found.decisions, 1)

    def test_missing(self) -> None:
        """A file that is not there is named."""
        error = self.assertRaises(DataError, replay, _promise(), _promise(), [Path("/nonesuch")])
        self.assertIn("/nonesuch", str(error))
