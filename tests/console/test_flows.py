"""gateway.console.flows, recent and telling: what flows, added up, and nobody named."""

from __future__ import annotations

import json
from collections.abc import Iterator

from gateway.console.recent import MOST
from gateway.evidence.keys import load_key
from gateway.evidence.pseudonyms import Pseudonyms
from gateway.flow.table import Flow
from gateway.model import Action, Endpoint, Verdict, pack
from tests.support.bundled import world
from tests.support.console import TO_NOBODY, TO_US, ConsoleCase
from tests.support.epochs import NOISE, PING


class FlowsTests(ConsoleCase):
    """The console's flows."""

    def test_sums(self) -> None:
        """Flows are added up by country, jurisdiction and traffic, each by verdict."""
        self.core.table.judge(TO_US, PING)
        self.core.table.judge(TO_NOBODY, PING)
        said = self.ask("GET", "/api/flows").said
        self.assertEqual(
            said["now"],
            {
                "total": 2,
                "countries": {"US": {"allow": 1}, "none": {"block": 1}},
                "jurisdictions": {"us": {"allow": 1}, "us?": {"block": 1}},
                "traffic": {"ping": {"allow": 1, "block": 1}},
            },
        )
        self.assertEqual(said["decided"]["traffic"], {"ping": {"allow": 1, "block": 1}})

    def test_now(self) -> None:
        """A flow that ended is no longer among those of now, and stays among the decisions."""
        self.core.table.judge(TO_US, PING)
        self.ask("GET", "/api/flows")
        self.core.table.forget(TO_US)
        self.reactor.advance(1)
        said = self.ask("GET", "/api/flows").said
        self.assertEqual(said["now"]["total"], 0)
        self.assertEqual(said["decided"]["countries"], {"US": {"allow": 1}})

    def test_one_walk(self) -> None:
        """However many ask in a second, the table is walked through once."""
        walks: list[object] = []
        flows = self.core.table.flows

        def counted() -> Iterator[Flow]:
            walks.append(1)
            return flows()

        self.patch(self.core.table, "flows", counted)
        for _ in range(20):
            self.ask("GET", "/api/flows")
        self.assertEqual(len(walks), 1)
        self.reactor.advance(1)
        self.ask("GET", "/api/flows")
        self.assertEqual(len(walks), 2)

    def test_many(self) -> None:
        """Ten thousand flows are a few sums: the answer does not grow with them."""
        few = len(self.ask("GET", "/api/flows").body)
        for number in range(3_000):
            client = Endpoint(bytes((10, 2, number >> 8, number & 255)), 5000)
            self.core.table.judge(TO_US._replace(client=client), PING)
        self.reactor.advance(1)
        got = self.ask("GET", "/api/flows")
        self.assertEqual(got.said["now"]["total"], 3_000)
        recent = len(json.dumps(got.said["recent"]))
        self.assertLess(len(got.body) - recent, few + 200)

    def test_new_policy(self) -> None:
        """Flows are told by the jurisdictions of the policy in force, and hits begin anew."""
        self.core.table.judge(TO_US, PING)
        self.ask("GET", "/api/flows")
        text = (self.folder / "policy.yaml").read_text().replace("us:", "states:")
        (self.folder / "policy.yaml").write_text(text.replace("to: us", "to: states"))
        self.assertTrue(self.successResultOf(self.core.reload()))
        self.reactor.advance(1)
        said = self.ask("GET", "/api/flows").said
        self.assertEqual(said["now"]["jurisdictions"], {"states": {"allow": 1}})
        rules = {one["id"]: one["hits"] for one in self.ask("GET", "/api/policy").said["rules"]}
        self.assertEqual(rules, {"watched": 0, "pings": 0, "never": 0})


class RecentTests(ConsoleCase):
    """The latest decisions."""

    def test_names_nobody(self) -> None:
        """A client is a pseudonym, that of the decision log; no address, name or payload is told,
        anywhere in what the console says of flows."""
        self.core.table.judge(TO_US, PING, ("u1234.private.example",))
        body = self.ask("GET", "/api/flows").body.decode()
        for secret in ("10.1.0.2", "192.0.2.1", "4001", "private.example", PING.hex()[:16]):
            self.assertNotIn(secret, body)
        key = load_key(self.folder / "evidence", world().random_octets)
        client = Pseudonyms(key).client(pack("10.1.0.2"))
        (told,) = json.loads(body)["recent"]
        self.assertEqual((told["client"], told["rule"]), (client, "pings"))
        self.assertIn(client, (self.folder / "evidence" / "decisions.jsonl").read_text())
        self.assertEqual(told["plaintext"], ["room-id", "user-id"])
        self.assertEqual((told["country"], told["would"]), ("US", "block"))

    def test_bounded(self) -> None:
        """The ring holds so many, the latest first."""
        for number in range(MOST + 10):
            client = TO_US.client._replace(port=6000 + number)
            self.core.table.judge(TO_US._replace(client=client), NOISE)
        recent = self.ask("GET", "/api/flows").said["recent"]
        self.assertEqual(len(recent), MOST)
        self.assertEqual([recent[0]["number"], recent[-1]["number"]], [MOST + 10, 11])

    def test_what_became_of_it(self) -> None:
        """A verdict that could not be carried out says so, and a name that was not resolved."""
        self.core.table.judge(TO_US, PING)
        self.core.table.not_carried(TO_US, "its exit is down")
        verdict = Verdict(Action.BLOCK, "never", "a test")
        self.core.witness.barred(TO_US.client, "private.example", verdict)
        barred, failed, _ = self.ask("GET", "/api/flows").said["recent"]
        self.assertEqual(failed["but"], "not carried: its exit is down")
        self.assertEqual((barred["but"], barred["transport"]), ("not resolved", None))


class DataTests(ConsoleCase):
    """What the evidence is made of."""

    def test_credits(self) -> None:
        """Each source tells its age and the sentence that its licence asks for."""
        sources = self.ask("GET", "/api/data").said["sources"]
        credits = {one["name"]: one["credit"] for one in sources}
        self.assertIn("https://db-ip.com", credits["dbip-lite"])
        loaded = self.core.table.epoch.atlas.sources
        self.assertEqual({one.name: one.credit for one in loaded}, credits)
        for one in sources:
            self.assertTrue(one["age_days"] is None or 0 <= one["age_days"] < 120, one)

    def test_policy(self) -> None:
        """Each rule tells its hits; one in shadow tells what it would have done."""
        self.core.table.judge(TO_US, PING)
        said = self.ask("GET", "/api/policy").said
        rules = {one["id"]: (one["hits"], one["would"]) for one in said["rules"]}
        self.assertEqual(rules, {"watched": (0, 1), "pings": (1, 0), "never": (0, 0)})
        self.assertEqual(said["default"], {"action": "block", "hits": 0})
