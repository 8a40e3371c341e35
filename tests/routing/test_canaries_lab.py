"""Canaries as a client's packets and connections: they meet the kernel's rules and the listeners,
and a hole in either is found by them and by nothing that leaves."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from typing import Any, ClassVar

from gateway.evidence.checkpoints import read
from gateway.evidence.notes import PublicKey
from gateway.reporting.accounts import balances
from tests.lab.router_case import RouterCase
from tests.lab.topology import Space
from tests.support.epochs import PING, STUN
from tests.support.written import wait_written

_BAD = ("118.190.148.38:8000", "[2408:8000::38]:8000")
_GOOD = ("203.0.113.7:4001", "[2001:db8:a::7]:4001")
_POLICY = f"""\
policy: first
jurisdictions:
  mainland-china: {{networks: [118.190.0.0/16, "2408::/16"]}}
rules:
- {{id: never, when: {{traffic: ping, to: mainland-china}}, action: block}}
- {{id: nothing, when: {{to: mainland-china, port: [80, 8000]}}, action: block}}
- {{id: named, when: {{plaintext: any}}, action: {{wrap: nearest}}}}
- {{id: rest, when: {{plaintext: {{not: any}}}}, action: allow}}
cases:
- {{note: four, flow: "udp 10.1.0.2:5000 > {_BAD[0]}", payload: {{hex: "{PING.hex()}"}}, expect: {{action: block}}}}
- {{note: six, flow: "udp [2001:db8:1::2]:5000 > {_BAD[1]}", payload: {{hex: "{PING.hex()}"}}, expect: {{action: block}}}}
- {{note: wrap4, flow: "udp 10.1.0.2:5000 > {_GOOD[0]}", payload: {{hex: "{PING.hex()}"}}, expect: {{action: wrap}}}}
- {{note: wrap6, flow: "udp [2001:db8:1::2]:5000 > {_GOOD[1]}", payload: {{hex: "{PING.hex()}"}}, expect: {{action: wrap}}}}
- {{note: syn, flow: "tcp 10.1.0.2:5000 > 118.190.148.38:80", expect: {{action: block}}}}
"""  # noqa: E501  # a case a line


class CanariesTests(RouterCase):
    """A gateway in router mode with a SOCKS 5 and an HTTP CONNECT listener, and its canaries."""

    POLICY = _POLICY
    MORE: ClassVar[str] = "canaries: {every_s: 2}\n"

    def begin(self) -> None:
        """RouterCase API: no exit is needed, for nothing of a canary is sent to one; nor root, if
        this checkout can be read without."""
        as_nobody = self.deployment.unprivileged_skip_reason() is None
        self.deployment.gateway = self.deployment.spawn_gateway(unprivileged=as_nobody)
        self.deployment.gateway.wait_for("router mode: ready")

    def told(self) -> list[dict[str, Any]]:
        """Give what the log says of canaries so far."""
        lines = wait_written(self.deployment.decision_log).splitlines()
        records = (json.loads(line) for line in lines)
        return [record["canary"] for record in records if "canary" in record]

    def of(self, note: str, through: str) -> list[str]:
        """Give the outcomes of one canary by one path."""
        return [
            one["outcome"]
            for one in self.told()
            if one["note"] == note and one["through"].startswith(through)
        ]

    def test_through(self) -> None:
        """Each is held on every path that it can take; nothing of any leaves, and none is anybody's
        decision.  A client with a canary's address gets nowhere.  Other software that sets marks
        behind the gateway's rules, so that what is blocked would pass, is found by the next round,
        in both families; the packets do not leave all the same.  Net and interface are put up again
        where somebody takes them away."""
        self.until(lambda: bool(self.of("syn", "router")), "no round was sent")
        self.held()
        self.taken_away()
        self.nobody_else()
        self.broken()
        self.assertEqual(self.uplink.between("192.0.0.8", "100::8"), [])
        self.assertEqual(self.uplink.missed, 0)
        self.conserved()

    def conserved(self) -> None:
        """Check that the accounts of packets add up, with the canaries' among them."""
        os.kill(self.deployment.gateway.pid, signal.SIGTERM)
        self.until(lambda: not self.deployment.gateway.is_running, "it does not stop")
        folder = self.deployment.folder / "evidence"
        key = PublicKey.parse((folder / "log.pub").read_text(), "log.pub")
        *_, last = read((folder / "decisions.checkpoints").read_bytes(), "checkpoints")
        counts = last.checkpoint(key, "checkpoints").counts
        self.assertEqual([one for one in balances(counts) if not one["holds"]], [])

    def held(self) -> None:
        """Check a round over whole rules."""
        for note in ("four", "six", "wrap4", "wrap6", "syn"):
            self.assertEqual(self.of(note, "router")[:1], ["held"], self.told())
            self.assertEqual(self.of(note, "socks5")[:1], ["held"], self.told())
        self.assertEqual(self.of("syn", "http-connect")[:1], ["held"])
        self.assertEqual({one["outcome"] for one in self.told()}, {"held"})
        self.assertEqual(self.uplink.between(*(self.host(to) for to in (*_BAD, *_GOOD))), [])
        self.assertEqual(self.deployment.decisions(), [])

    def taken_away(self) -> None:
        """Take the canaries' interface and their net away."""
        for argv in ("nft delete table inet gateway-canaries", "ip link delete rtc-canary"):
            done = self.lab.run(Space.GATEWAY, argv.split())
            self.assertEqual(done.returncode, 0, done.stderr)
        self.until(lambda: "failed" in self.of("six", "router"), "nobody says that it is gone")
        self.until(lambda: self.of("six", "router")[-1] == "held", "it is not put up again")
        done = self.lab.run(Space.GATEWAY, ["nft", "list", "table", "inet", "gateway-canaries"])
        self.assertEqual(done.returncode, 0, done.stderr)

    def nobody_else(self) -> None:
        """Check that nobody has a canary's liberties: what it does is not written down."""
        self.lab.run(Space.CLIENT, ["ip", "address", "add", "192.0.0.8/32", "dev", "gateway"])
        with self.lab.socket(Space.CLIENT, 2, 2) as client:
            client.bind(("192.0.0.8", 0))
            for payload in (STUN, PING):
                self.send(client, _GOOD[0], payload)
        for to in _GOOD:  # and clients' own flows pass as ever
            self.assertEqual(self.ask(self.client(to), to, STUN)[0], STUN)
        self.assertEqual(self.uplink.between("192.0.0.8"), [])

    def broken(self) -> None:
        """Break the rules by hand, in a way that the gateway's watch over its own does not see."""
        said = self.lab.run(
            Space.GATEWAY, ["nft", "list", "chain", "inet", "gateway", "state"]
        ).stdout
        epoch = int(said.partition("epoch=")[2].split()[0]) << 24
        table = (
            "add table inet other\n"
            "add chain inet other c { type filter hook prerouting priority -120; }\n"
            f"add rule inet other c iifname != uplink meta mark set {epoch:#x}\n"
        )
        done = self.lab.run(Space.GATEWAY, ["nft", "-f", "-"], text=table)
        self.assertEqual(done.returncode, 0, done.stderr)
        for note in ("four", "six", "syn"):
            self.until(partial(self.is_through, note), f"{note} is held")
        log = self.deployment.gateway.log
        self.assertIn("canary udp 192.0.0.8:", log)
        self.assertIn("out by uplink", log)
        self.assertEqual(set(self.of("four", "socks5")), {"held"})

    def is_through(self, note: str) -> bool:
        """Say whether the kernel's rules let one through."""
        return "through" in self.of(note, "router")
