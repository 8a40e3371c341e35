"""gateway verify: what an auditor sees."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.evidence.checkpoints import read
from tests.evidence.log_case import LogCase
from tests.evidence.proving import OTHER_SIGNER, SIGNER


class VerifyTests(LogCase):
    """A log is verified with the public key alone."""

    def setUp(self) -> None:
        """Write a log and its key."""
        super().setUp()
        self.run_once(12, checkpoint_records=5)
        self.key = self.folder / "log.pub"
        self.key.write_text(f"{SIGNER.public}\n")

    def gateway(self, *arguments: str | Path) -> Result:
        return CliRunner().invoke(main, ["verify", *map(str, arguments)])

    def test_whole(self) -> None:
        """A log that is whole: status 0, what is proven, and what is not."""
        result = self.gateway(self.folder, "--key", self.key)
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertIn("14 of 14 records proven", result.output)
        self.assertIn("Not proven: that nothing was cut off", result.output)
        self.assertNotIn("whose log this is", result.output)

    def test_balances(self) -> None:
        """What the last checkpoint counted is held against itself."""
        self.assertIn("1 of 1 balances of its counts hold", self.gateway(self.folder).output)
        log = self.open(counting=lambda: {"forward 127.0.0.1:1: packets: in": 2})
        log.close()
        output = self.gateway(self.folder).output
        self.assertIn("1 of 2 balances of its counts hold", output)
        self.assertIn("forward 127.0.0.1:1: packets in = : 2 came, 0 went", output)
        (account,) = json.loads(self.gateway(self.folder, "--json").stdout)["logs"]
        self.assertEqual([one["holds"] for one in account["balances"]], [True, False])

    def test_one_file(self) -> None:
        """The log may be named by any of its files; without --key the key beside it is taken, and
        that is said to prove less."""
        for path in (self.files.current, self.files.checkpoints):
            result = self.gateway(path)
            self.assertEqual(result.exit_code, 0, result.output)
            self.assertIn("Not proven: whose log this is", result.output)

    def test_broken(self) -> None:
        """A changed record: status 1, and its file and line."""
        text = self.files.current.read_text()
        self.files.current.write_text(text.replace("reason 3", "reason X"))
        result = self.gateway(self.folder, "--key", self.key)
        self.assertEqual(result.exit_code, 1)
        self.assertIn(f"BROKEN {self.files.current}:5: record 4 was changed", result.output)

    def test_json(self) -> None:
        """The same as JSON."""
        result = self.gateway(self.folder, "--json")
        account = json.loads(result.stdout)
        self.assertEqual((account["ok"], account["findings"]), (True, []))
        (log,) = account["logs"]
        self.assertEqual((log["records"], log["proven"], log["checkpoints"]), (14, 14, 4))
        self.assertEqual(log["last_checkpoint"]["counts"]["decided: not carried"], 12)

    def test_proof(self) -> None:
        """A record's proof is printed alone, and checked with the key alone."""
        result = self.gateway(self.folder, "--key", self.key, "--record", '"reason 7"')
        self.assertEqual(result.exit_code, 0, result.output)
        proof = Path(self.mktemp())
        proof.write_text(result.stdout)
        checked = self.gateway("--proof", proof, "--key", self.key)
        self.assertEqual(checked.exit_code, 0, checked.output)
        self.assertIn('"not_carried":"reason 7"', checked.output)
        proof.write_text(result.stdout.replace("index 8", "index 9"))
        self.assertEqual(self.gateway("--proof", proof, "--key", self.key).exit_code, 1)
        self.assertEqual(self.gateway("--proof", proof).exit_code, 2)

    def test_no_proof(self) -> None:
        """A record that is not there has none: status 1."""
        result = self.gateway(self.folder, "--record", "99")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("record 99 is not there", result.output)

    def test_since(self) -> None:
        """A log is held against a checkpoint that was kept elsewhere."""
        note = Path(self.mktemp())
        octets = self.files.checkpoints.read_bytes()
        note.write_bytes(list(read(octets, "file"))[1].note)
        result = self.gateway(self.folder, "--since", note)
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertIn("Proven: the log goes on from the checkpoint of 6 records", result.output)
        self.files.current.unlink()
        self.files.checkpoints.unlink()
        self.run_once(3)
        self.files.checkpoints.unlink()
        self.assertEqual(self.gateway(self.folder, "--since", note).exit_code, 1)

    def test_stranger(self) -> None:
        """A checkpoint of a log that is not there is missed."""
        mine = self.folder
        note = Path(self.mktemp())
        octets = self.files.checkpoints.read_bytes().replace(b"/decisions/", b"/decisions-9/")
        text = octets.partition(b"\n\n")[0].decode() + "\n"
        note.write_bytes(SIGNER.note(text))
        result = self.gateway(mine, "--since", note)
        self.assertEqual(result.exit_code, 1)
        self.assertIn("no log here that can be trusted is", result.output)

    def test_other_key(self) -> None:
        """Under another key nothing is proven: status 1."""
        self.key.write_text(f"{OTHER_SIGNER.public}\n")
        result = self.gateway(self.folder)
        self.assertEqual(result.exit_code, 1)
        self.assertIn("nothing is proven", result.output)

    def test_usage(self) -> None:
        """What cannot be read, or is none, is a clear error: status 2."""
        for arguments in ((), (self.folder / "nonesuch",), (self.folder, "--key", "nonesuch")):
            self.assertEqual(self.gateway(*arguments).exit_code, 2, arguments)
        empty = Path(self.mktemp())
        empty.mkdir()
        self.assertIn("is no decision log", self.gateway(empty, "--key", self.key).output)
        result = self.gateway(self.folder, "--since", self.key)
        self.assertEqual(result.exit_code, 2)
        self.assertIn("is no signed note", result.output)
