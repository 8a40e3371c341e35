"""gateway report: what a log says, and the records behind each number."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from gateway.flow.guard import leak_of
from gateway.model import FlowKey, Identifier, IdentifierKind
from gateway.reporting.tables import TABLES
from tests.reporting.report_case import AMERICA, ReportCase
from tests.support.epochs import epoch


def told(account: dict[str, Any], table: str, *names: str) -> list[tuple[object, ...]]:
    """Give some columns of a table's rows."""
    return [tuple(row[name] for name in names) for row in account["tables"][table]["rows"]]


class ReportTests(ReportCase):
    """What is in the log is in the report, no more and no less."""

    def test_numbers(self) -> None:
        """Decisions are counted by action, place, rule and traffic."""
        account = self.account()
        self.assertEqual((account["decisions"], account["clients"]), (9, 1))
        self.assertEqual(
            sorted(told(account, "actions", "action", "records", "ping", "plaintext")),
            [("allow", 3, 2, 0), ("block", 4, 3, 3), ("wrap", 2, 2, 2)],
        )
        self.assertEqual(
            sorted(told(account, "countries", "country", "allow", "wrap", "block")),
            [("(none)", 0, 0, 1), ("CN", 0, 0, 3), ("US", 3, 2, 0)],
        )
        self.assertEqual(
            told(account, "barred", "rule", "records"),
            [("no-names", 1)],
        )
        self.assertEqual(
            told(account, "not-carried", "reason", "records"), [("us-east: the exit is down", 1)]
        )
        self.assertEqual(told(account, "canaries", "outcome", "records"), [("held", 1)])
        self.assertEqual(
            {one["row"]: one["records"] for one in account["findings"]},
            {"findings/not-carried": 1},
        )

    def test_verified_first(self) -> None:
        """What verifying says comes first, by the code of `gateway verify`; a broken log is
        reported on, and said to be broken, with status 1."""
        result = self.gateway()
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertIn("14 of 14 records proven", result.output.splitlines()[0])
        path = self.files.segments()[0].path
        path.write_text(path.read_text().replace('"action":"allow"', '"action":"block"', 1))
        result = self.gateway()
        self.assertEqual(result.exit_code, 1)
        self.assertIn("BROKEN", result.output)
        account = self.account()
        self.assertFalse(account["verification"]["ok"])
        self.assertEqual(account["decisions"], 9)

    def test_each_number_has_its_records(self) -> None:
        """Of every table, every row and every number of it: the records printed for it are as many
        as it says, and stand in the log as they are printed."""
        lines = frozenset(self.lines())
        account = self.account()
        asked = 0
        for table in TABLES:
            for row in account["tables"][table.name]["rows"]:
                names = {row["row"]: row["records"]}
                if row["row"].endswith("/1"):  # one row's: each costs a run
                    names |= {f"{row['row']}/{one}": row[one] for one in table.measures}
                for name, count in list(names.items())[:4]:
                    printed = self.gateway("--records", name).stdout.splitlines()
                    self.assertEqual(len(printed), count, name)
                    self.assertLessEqual(frozenset(printed), lines)
                    asked += count
        self.assertGreater(asked, 50)

    def test_period(self) -> None:
        """--from and --to are days, both included; records of others are not counted."""
        days = ("2026-11-24", "2026-11-24")
        account = self.account("--from", days[0], "--to", days[1])
        self.assertEqual(account["decisions"], 1)
        first = self.account("--to", "2026-11-23")
        self.assertEqual(first["decisions"], 8)
        printed = self.gateway("--to", "2026-11-23", "--records", "actions/1").stdout.splitlines()
        self.assertEqual({json.loads(line)["time"][:10] for line in printed}, {"2026-11-23"})
        result = self.gateway("--from", "2026-11-25", "--to", "2026-11-24")
        self.assertEqual(result.exit_code, 2)

    def test_epochs(self) -> None:
        """Policy and data are named by their hashes, with their first and last decision."""
        (row,) = self.account()["tables"]["epochs"]["rows"]
        record = next(one for one in map(json.loads, self.lines()) if "policy" in one)
        self.assertEqual((row["policy"], row["data"]), (record["policy"], record["data"]))
        self.assertEqual(
            (row["first"], row["last"]), ("2026-11-23T12:00:00.000Z", "2026-11-24T12:00:00.000Z")
        )

    def test_entered(self) -> None:
        """A policy under which nothing was decided is told of too, by the record that says so."""
        log = self.open()
        log.write_epoch(epoch(number=7))
        log.close()
        first, second = self.account()["tables"]["epochs"]["rows"]
        self.assertEqual((first["epoch"], first["entered"]), (1, 0))
        self.assertEqual((second["epoch"], second["entered"], second["allow"]), (7, 1, 0))
        (line,) = self.gateway("--records", "epochs/2/entered").stdout.splitlines()
        self.assertEqual(json.loads(line)["epoch"]["number"], 7)

    def test_leaks(self) -> None:
        """What the leak finder found is told of, and is a record that is known."""
        log = self.open()
        shown = (Identifier(IdentifierKind.GIVEN, 4, 9),)
        log.write_leak(FlowKey.parse(f"udp 10.1.0.2:5 > {AMERICA}"), leak_of(shown))
        log.close()
        account = self.account()
        (row,) = account["tables"]["leaks"]["rows"]
        self.assertEqual((row["found"], row["kinds"], row["records"]), ("given", "given", 1))
        self.assertNotIn("findings/unreadable", [one["row"] for one in account["findings"]])

    def test_gaps(self) -> None:
        """A process that did not stop as it should, and lines that are no record, are told of."""
        self.files.current.write_bytes(self.files.current.read_bytes().rsplit(b"\n", 2)[0] + b"\n")
        self.files.current.open("a").write("garbage\n")
        account = self.account()
        self.assertIn(("unreadable",), told(account, "gaps", "what"))
        self.assertFalse(account["verification"]["ok"])

    def test_killed(self) -> None:
        """A killed process is a gap with its time, and each process has its own account."""
        log = self.open()
        self.write(log, 2)
        killed = self.folder.with_name("killed")
        shutil.copytree(self.folder, killed)
        log.close()
        self.folder = killed
        later = self.open()
        self.write(later, 1)
        later.close()
        account = self.account()
        self.assertEqual(
            [one["records"] for one in account["findings"] if one["row"] == "findings/unclean"], [1]
        )
        balances = [one["balances"][0] for one in account["processes"]]
        self.assertTrue(all(one["holds"] for one in balances))
        self.assertEqual(balances[0]["in"], 12)
        self.assertEqual(balances[-1]["in"], 1)

    def test_canary(self) -> None:
        """A canary that got through is a finding, and status 1."""
        log = self.open()
        log.write_canary(
            {"flow": "f", "expected": "block", "action": "allow", "outcome": "through"}
        )
        log.close()
        result = self.gateway()
        self.assertEqual(result.exit_code, 1)
        self.assertIn("[findings/canary]", result.output)

    def test_page(self) -> None:
        """The page asks nobody for anything, and what a log says is text and not markup."""
        log = self.open()
        log.write_canary({"flow": "<script>alert(1)</script>", "outcome": "held"})
        log.close()
        path = Path(self.mktemp())
        self.assertEqual(self.gateway("--html", path).exit_code, 0)
        page = path.read_text()
        self.assertNotIn("<script", page)
        self.assertIn("&lt;script&gt;alert(1)", page)
        self.assertNotIn("http", page.replace('http-equiv="Content-Security-Policy"', ""))
        self.assertIn("China: 3 blocked", page)
        self.assertIn("United States: 3 allowed, 2 wrapped", page)

    def test_parquet(self) -> None:
        """--parquet keeps the export, its owner's only, and nothing is left beside the log."""
        path, before = Path(self.mktemp()), sorted(self.folder.iterdir())
        self.gateway("--parquet", path)
        self.assertEqual(path.read_bytes()[:4], b"PAR1")
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(sorted(self.folder.iterdir()), before)

    def test_no_such_row(self) -> None:
        """A row or number that is not there is said to be none."""
        for name in ("rules/99", "rules/1/nonsense", "nonsense", "findings/nonsense"):
            result = self.gateway("--records", name)
            self.assertEqual(result.exit_code, 2, name)
            self.assertIn(name, result.output)
