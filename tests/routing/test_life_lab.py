"""Router mode's life: start, reload, death, return, lock, unlock; nothing leaks in any of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.lab.topology import Lab, Space
from tests.routing.life_case import (
    BAD,
    DOUBTED,
    FAMILIES,
    GOOD,
    MEDIA,
    POLICY,
    STRICTER,
    LifeCase,
)
from tests.support.epochs import PING, STUN
from tests.wire.examples import client_hello

OPENER = POLICY.replace("first", "third").replace("- {id: never", "- {id: other")


class ReloadTests(LifeCase):
    """A change of the policy, in mid-flood."""

    def test_stricter(self) -> None:
        """A flow that the new policy forbids stops within one packet of its coming into force; one
        that it allows loses nothing."""
        for six in FAMILIES:
            client = self.client(GOOD[six])
            with self.flood(client, [GOOD[six], DOUBTED[six], BAD[six]], MEDIA) as flood:
                self.grows(DOUBTED[six])
                self.reload(STRICTER)
                # Every round from here on is sent after the policy came into force.
                last = flood.sent + 1
                self.grows(GOOD[six], 300)
            self.internet_.wait_quiet()
            self.assertLessEqual(max(self.numbers(DOUBTED[six])), last)
            self.assert_whole(GOOD[six], flood.sent)
            self.reload(POLICY)
        self.assert_none(BAD)

    def test_many(self) -> None:
        """Twenty reloads in mid-flood lose no datagram of a flow whose verdict stays."""
        client = self.client(GOOD[0])
        with self.flood(client, [GOOD[0], BAD[0]], MEDIA) as flood:
            for turn in range(20):
                self.reload((STRICTER, POLICY)[turn % 2])
        self.internet_.wait_quiet()
        self.assert_whole(GOOD[0], flood.sent)
        self.assert_none(BAD)

    def test_streams(self) -> None:
        """A stream that is forbidden now is reset; others go on, those too that were judged by
        what they said first."""
        hello = client_hello("voice.example")
        for six in FAMILIES:
            streams = [
                self.connect(to[six].replace(":4001", port))
                for to in (GOOD, DOUBTED)
                for port in (":443", ":80")
            ]
            for stream in streams:
                stream.sendall(hello)
                self.assertEqual(self.hear(stream, len(hello)), hello)
            self.reload(STRICTER)
            for stream in streams[:2]:
                stream.sendall(b"again")
                self.assertEqual(self.hear(stream, 5), b"again")
            for stream in streams[2:]:
                with self.assertRaises(ConnectionError):
                    stream.sendall(b"again")
                    self.hear(stream, 5)
            self.reload(POLICY)

    def test_refused(self) -> None:
        """A policy that is refused changes nothing, and the log says why."""
        client = self.client(GOOD[0])
        with self.flood(client, [GOOD[0], BAD[0]], MEDIA) as flood:
            self.grows(GOOD[0])
            self.policy.write_text(OPENER.replace("action: allow", "action: perhaps"))
            self.deployment.reload()
            said = self.deployment.gateway.wait_for("reload refused")
            self.assertIn("perhaps", self.deployment.gateway.log[-2000:] + said)
            self.grows(GOOD[0])
        self.internet_.wait_quiet()
        self.assert_whole(GOOD[0], flood.sent)
        self.assert_none(BAD)


class DeathTests(LifeCase):
    """The gateway dies, and comes back."""

    def test_killed(self) -> None:
        """When it is killed in mid-flood accepted flows go on, denied ones stay denied and no new
        one passes; when it is back, all is as before, and no accepted flow has noticed."""
        hello = client_hello("voice.example")
        stream = self.connect(GOOD[0].replace(":4001", ":443"))
        stream.sendall(hello)
        self.hear(stream, len(hello))
        floods = []
        for six in FAMILIES:
            client = self.client(GOOD[six])
            floods.append(self.flood(client, [GOOD[six], BAD[six]], MEDIA))
            self.grows(GOOD[six])
        os.kill(self.deployment.gateway.pid, signal.SIGKILL)
        self.deployment.gateway.kill()
        newcomer = self.client(DOUBTED[0])
        for to in (DOUBTED, BAD):
            self.send(newcomer, to[0], STUN)
            self.send(newcomer, to[0], PING)
        for six in FAMILIES:
            self.grows(GOOD[six], 300)
        self.assert_none((*BAD, *DOUBTED))
        self.deployment.start_gateway()
        self.assertIn("accepted flows go on", self.deployment.gateway.log)
        self.assertEqual(self.ask(newcomer, DOUBTED[0], STUN)[0], STUN)
        stream.sendall(b"again")
        self.assertEqual(self.hear(stream, 5), b"again")
        for flood in floods:
            flood.stop()
        self.internet_.wait_quiet()
        for six in FAMILIES:
            # What was in the queue then (a spot check, one in a thousand) is lost with it.
            self.assert_whole(GOOD[six], floods[six].sent, but=2)
        self.assert_none(BAD)

    def test_another_policy(self) -> None:
        """When it comes back with another policy every flow is judged anew."""
        client = self.client(GOOD[0])
        for to in (GOOD, DOUBTED):
            self.assertEqual(self.ask(client, to[0], STUN)[0], STUN)
        self.deployment.gateway.kill()
        self.policy.write_text(STRICTER)
        self.deployment.start_gateway()
        before = len(self.uplink.between(self.host(DOUBTED[0])))
        self.send(client, DOUBTED[0], STUN)
        self.assertEqual(self.ask(client, GOOD[0], STUN)[0], STUN)
        self.assertEqual(len(self.uplink.between(self.host(DOUBTED[0]))), before)

    def test_flushed(self) -> None:
        """When somebody flushes netfilter's rules nothing passes unjudged, and they are put up
        again."""
        clients = [self.client(GOOD[six]) for six in FAMILIES]
        for six in FAMILIES:
            self.ask(clients[six], GOOD[six], STUN)
        self.assertEqual(self.lab.run(Space.GATEWAY, ["nft", "flush", "ruleset"]).returncode, 0)
        for six in FAMILIES:
            self.send(clients[six], BAD[six], STUN)
        self.deployment.gateway.wait_for("they were put up again")
        for six in FAMILIES:
            self.send(clients[six], BAD[six], STUN)
            self.assertEqual(self.ask(clients[six], GOOD[six], STUN)[0], STUN)
        self.assert_none(BAD)

    def test_emptied(self) -> None:
        """When somebody empties our table it is put up again: it is not taken for theirs."""
        self.lab.run(Space.GATEWAY, ["nft", "flush", "table", "inet", "gateway"])
        self.deployment.gateway.wait_for("they were put up again")
        for six in FAMILIES:
            client = self.client(GOOD[six])
            self.send(client, BAD[six], STUN)
            self.assertEqual(self.ask(client, GOOD[six], STUN)[0], STUN)
        self.assert_none(BAD)

    def test_second(self) -> None:
        """A second gateway does not fight over the table: it says so, and ends."""
        second = self.deployment.spawn_gateway()
        second.wait_for("another gateway keeps the table")
        self.until(lambda: not second.is_running, "the second gateway goes on")
        self.assertEqual(self.ask(self.client(GOOD[0]), GOOD[0], STUN)[0], STUN)

    def test_exit_gone(self) -> None:
        """When the exit is gone nothing that was wrapped is sent in the open."""
        client = self.client(GOOD[0])
        self.assertEqual(self.ask(client, GOOD[0], PING)[0], PING)
        self.deployment.exit.kill()
        with self.flood(client, [GOOD[0]], PING):
            self.deployment.gateway.wait_for("exit exit-1: silent", 30.0)
            self.assertEqual(self.ask(self.client(GOOD[0]), GOOD[0], STUN)[0], STUN)
        uid = PING[10:14]
        self.assertEqual([one for one in self.uplink.frames() if uid in one.octets], [])


def _slow(policy: str) -> str:
    """Write a policy that says the same, and takes seconds to read."""
    many = "".join(f'      - "10.{at >> 8 & 255}.{at & 255}.{at >> 16}"\n' for at in range(100_000))
    start = "\njurisdictions:\n"
    assert policy.count(start) == 1, policy
    return policy.replace(start, f"{start}  many:\n    networks:\n{many}")


def _busy_s(pid: int) -> float:
    """Give how long a process has used the processor (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class UnfencedTests(LifeCase):
    """What holds without the fence in routing."""

    MORE = "router: {fence: false}\n"

    def test_flushed_meanwhile(self) -> None:
        """When somebody flushes netfilter's rules while a policy is being loaded, which may take
        seconds, nothing passes a moment later; and all is as it should be when it is loaded."""
        pid = self.deployment.gateway.pid
        before_s = _busy_s(pid)
        self.policy.write_text(_slow(self.policy.read_text()))
        self.deployment.reload()
        self.until(lambda: _busy_s(pid) - before_s > 0.3, "it reads no policy")
        self.lab.run(Space.GATEWAY, ["nft", "flush", "ruleset"])
        self.deployment.gateway.wait_for("nothing passes for now")
        clients = [self.client(GOOD[six]) for six in FAMILIES]
        for six in FAMILIES:
            for to in (GOOD, BAD):
                self.send(clients[six], to[six], STUN)
        self.assertTrue(self.echo(f"{Lab.GATEWAY[0]}:0"))
        self.assertNotIn("epoch 2", self.deployment.gateway.log)
        self.assert_none((*GOOD, *BAD))
        self.deployment.gateway.wait_for("epoch 2")
        for six in FAMILIES:
            self.assertEqual(self.ask(clients[six], GOOD[six], STUN)[0], STUN)
        self.assert_none(BAD)

    def test_renamed(self) -> None:
        """What comes by the clients' interface when it has another name goes nowhere, at once and
        for good, whether the gateway runs or not; when it has its name again all is as before."""
        clients = [self.client(GOOD[six]) for six in FAMILIES]
        # Allowed, and asked by nobody before: what waits for its neighbour may go on afterwards.
        new = (DOUBTED, ("203.0.113.10:4001", "[2001:db8:a::10]:4001"))
        for name, to, is_dead in (("lan0", new[0], False), ("lan1", new[1], True)):
            self.rename("clients", name)
            for six in FAMILIES:
                self.send(clients[six], BAD[six], STUN)
                self.send(clients[six], to[six], STUN)
            if not is_dead:
                self.deployment.gateway.wait_for("there is no interface clients")
            for six in FAMILIES:
                self.send(clients[six], BAD[six], STUN)
                self.send(clients[six], to[six], STUN)
            self.assert_none(to)
            self.rename(name, "clients")
            if not is_dead:
                for six in FAMILIES:
                    self.assertEqual(self.ask(clients[six], GOOD[six], STUN)[0], STUN)
                os.kill(self.deployment.gateway.pid, signal.SIGKILL)
        self.assert_none(BAD)

    def rename(self, old: str, new: str) -> None:
        """Give an interface of the gateway another name."""
        done = self.lab.run(Space.GATEWAY, ["ip", "link", "set", old, "name", new])
        self.assertEqual(done.returncode, 0, done.stderr)


class BootTests(LifeCase):
    """Before the gateway, and after it."""

    def begin(self) -> None:
        """RouterCase API: only the exit."""
        self.deployment.start_exit()

    def gateway(self, *words: str) -> str:
        """Run a command of the gateway's in its namespace, and give what it says."""
        done = self.lab.run(Space.GATEWAY, [str(self.deployment.COMMAND), *words])
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_boot(self) -> None:
        """Locked, nothing passes; when the gateway starts in mid-flood nothing passes unjudged;
        when it has ended and is unlocked, everything is as it was before."""
        everything = (*GOOD, *BAD)
        before = self.state()
        config = str(self.deployment.folder / "gateway.yaml")
        self.assertIn("locked", self.gateway("lock", "--config", config))
        floods = [
            self.flood(self.client(GOOD[six]), [GOOD[six], BAD[six]], MEDIA) for six in FAMILIES
        ]
        for address in Lab.GATEWAY:
            self.assertTrue(self.echo(f"[{address}]:0" if ":" in address else f"{address}:0"))
        self.assert_none(everything)
        self.deployment.start_gateway()
        for six in FAMILIES:
            self.grows(GOOD[six])
        self.assertIn("another gateway keeps the table", self.refused("unlock"))
        self.assertEqual(self.deployment.gateway.stop(), 0)
        self.assert_none(BAD)
        for flood in floods:
            flood.stop()
        self.assertIn("nft table", self.gateway("unlock"))
        self.assertEqual(self.state(), before)
        self.assertIn("nothing to remove", self.gateway("unlock"))

    def refused(self, *words: str) -> str:
        """Run a command that is refused, and give what it says."""
        done = self.lab.run(Space.GATEWAY, [str(self.deployment.COMMAND), *words])
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        return done.stderr

    def state(self) -> list[str]:
        """Give rules, routes and netfilter's tables of the gateway."""
        commands = ("nft list ruleset", "ip rule", "ip -6 rule", "ip route show table all",
                    "ip -6 route show table all")  # fmt: skip
        return [self.lab.run(Space.GATEWAY, command.split()).stdout for command in commands]

    def test_refused_configuration(self) -> None:
        """A configuration that is refused locks all forwarding, and says so."""
        broken = Path(self.mktemp())
        broken.write_text("listeners: [{kind: transparent}]")
        done = self.lab.run(
            Space.GATEWAY, [str(self.deployment.COMMAND), "lock", "--config", str(broken)]
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn('key "interface" is missing', done.stderr)
        for six in FAMILIES:
            self.send(self.client(GOOD[six]), GOOD[six], STUN)
        self.assertTrue(self.echo(f"{Lab.GATEWAY[0]}:0"))
        self.assert_none(GOOD)

    def test_bad_policy(self) -> None:
        """A gateway whose policy is refused does not start, and leaves the lock in place."""
        self.gateway("lock", "--interface", "clients")
        self.policy.write_text("policy: broken\nrules: [{id: x}]")
        gateway = self.deployment.spawn_gateway()
        self.until(lambda: not gateway.is_running, "it goes on")
        for six in FAMILIES:
            self.send(self.client(GOOD[six]), GOOD[six], STUN)
        self.assertTrue(self.echo(f"{Lab.GATEWAY[0]}:0"))
        self.assert_none(GOOD)

    def test_least_privilege(self) -> None:
        """Without root, CAP_NET_ADMIN and CAP_NET_BIND_SERVICE are enough."""
        reason = self.deployment.unprivileged_skip_reason()
        if reason is not None:
            raise SkipTest(reason)
        self.deployment.start_gateway(unprivileged=True)
        for six in FAMILIES:
            client = self.client(GOOD[six])
            for payload in (STUN, PING):
                self.assertEqual(self.ask(client, GOOD[six], payload)[0], payload)
            self.send(client, BAD[six], STUN)
            web = GOOD[six].replace(":4001", ":80")
            said = b"GET /join?uid=778899 HTTP/1.1\r\n\r\n"
            self.assertEqual(self.converse(web, said), said)
        self.assert_none(BAD)


class WorkersTests(LifeCase):
    """More than one process judges."""

    MORE = "router: {workers: 3}\n"

    def begin(self) -> None:
        """RouterCase API: with all workers."""
        super().begin()
        self.all_judge()

    def all_judge(self) -> None:
        """Wait until every worker judges, and has its tunnel."""
        for queue in (8701, 8702):
            self.deployment.gateway.wait_for(f"the worker of queue {queue} judges")
        self.until(
            lambda: self.deployment.gateway.log.count("exit exit-1: up") == 3,
            "not every worker has its tunnel",
        )

    def test_spread(self) -> None:
        """Flows are spread over the workers, and all are judged by one policy, before a reload and
        after it."""
        edges = [f"203.0.113.{n}:4001" for n in range(10, 50)]
        client = self.client(edges[0])
        for to in edges:
            self.assertEqual(self.ask(client, to, STUN)[0], STUN)
            self.assertEqual(self.ask(client, to, PING)[0], PING)
        counts = self.deployment.decision_counts()
        self.assertEqual(len([count for count in counts.values() if count > 2]), 3, counts)
        with self.flood(client, [*edges[:5], DOUBTED[0], BAD[0]], MEDIA) as flood:
            self.grows(DOUBTED[0], 20)
            self.reload(STRICTER)
            last = flood.sent + 1
            self.grows(edges[0], 50)
        self.internet_.wait_quiet()
        self.assertLessEqual(max(self.numbers(DOUBTED[0])), last)
        for to in edges[:5]:
            self.assert_whole(to, flood.sent)
        self.assert_none(BAD)

    def test_broken_policy(self) -> None:
        """When the gateway is killed and comes back, and the policy's file is broken meanwhile, all
        workers judge by the last good one."""
        self.policy.write_text("policy: broken\nrules: [{id: x}]")
        self.deployment.gateway.kill()
        before = self.deployment.decision_counts()
        self.deployment.start_gateway()
        self.all_judge()
        self.assertIn("the last good one stands in for it", self.deployment.gateway.log)
        client = self.client(GOOD[0])
        for to in [f"203.0.113.{n}:4002" for n in range(10, 50)]:
            self.assertEqual(self.ask(client, to, STUN)[0], STUN)
        self.send(client, BAD[0], STUN)
        after = self.deployment.decision_counts()
        self.assertEqual(len(after), 3)
        for name, count in after.items():
            self.assertGreater(count, before.get(name, 0), after)
        self.assert_none(BAD)
