"""Router mode's life: start, reload, death, return, lock, unlock; nothing leaks in any of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.lab.router_case import RouterCase
from tests.lab.topology import Lab, Space
from tests.support.epochs import PING, STUN
from tests.wire.examples import client_hello

_FAMILIES = (0, 1)
"""IPv4 and IPv6, as indices of the pairs below."""
_GOOD = ("203.0.113.7:4001", "[2001:db8:a::7]:4001")
_DOUBTED = ("203.0.113.9:4001", "[2001:db8:a::9]:4001")
"""Allowed by the first policy, forbidden by the second."""
_BAD = ("118.190.148.38:8000", "[2408:8000::38]:8000")

_MEDIA = bytes.fromhex("80600001000000a011223344") + bytes(160)
"""RTP: once its flow is judged the kernel carries it without asking."""

_POLICY = """\
policy: first
jurisdictions:
  mainland-china: {networks: [118.190.0.0/16, "2408::/16"]}
  doubted: {networks: [203.0.113.9, "2001:db8:a::9"]}
rules:
- {id: never, when: {to: mainland-china}, action: block}
- {id: named, when: {plaintext: any}, action: {wrap: nearest}}
- {id: rest, when: {to: {not: mainland-china}, plaintext: {not: any}}, action: allow}
"""
_STRICTER = _POLICY.replace("first", "second").replace(
    "rules:\n", "rules:\n- {id: no-more, when: {to: doubted}, action: block}\n"
)
_OPENER = _POLICY.replace("first", "third").replace("- {id: never", "- {id: other")


class LifeCase(RouterCase):
    """A gateway with a policy of a few lines, floods, and what may not arrive."""

    POLICY = _POLICY

    def numbers(self, to: str) -> list[int]:
        """Give the numbers of a flood's datagrams that arrived at an endpoint, sorted: one that is
        judged once more is overtaken."""
        media = [octets for octets in self.arrived(to) if len(octets) == len(_MEDIA)]
        return sorted(int.from_bytes(octets[-4:], "big") for octets in media)

    def assert_whole(self, to: str, sent: int) -> None:
        """Check that every datagram of a flood has arrived, but for what a host with more to do
        than processors dropped, and counted, before any rule met it."""
        lost = set(range(sent)).difference(self.numbers(to))
        self.assertLessEqual(len(lost), self.lost_elsewhere(), f"of {sent}: {sorted(lost)}")

    def assert_none(self, endpoints: Iterable[str]) -> None:
        """Check that nothing at all passed the uplink to or from these addresses."""
        self.assertEqual(self.uplink.missed, 0)
        self.assertEqual(self.uplink.between(*map(self.host, endpoints)), [])

    def grows(self, to: str, by: int = 100) -> None:
        """Wait until so many more datagrams of a flood have arrived."""
        before = len(self.arrived(to))
        self.until(lambda: len(self.arrived(to)) >= before + by, f"too little arrives at {to}")


class ReloadTests(LifeCase):
    """A change of the policy, in mid-flood."""

    def test_stricter(self) -> None:
        """A flow that the new policy forbids stops within one packet of its coming into force; one
        that it allows loses nothing."""
        for six in _FAMILIES:
            client = self.client(_GOOD[six])
            with self.flood(client, [_GOOD[six], _DOUBTED[six], _BAD[six]], _MEDIA) as flood:
                self.grows(_DOUBTED[six])
                self.reload(_STRICTER)
                # Every round from here on is sent after the policy came into force.
                last = flood.sent + 1
                self.grows(_GOOD[six], 300)
            self.internet_.wait_quiet()
            self.assertLessEqual(max(self.numbers(_DOUBTED[six])), last)
            self.assert_whole(_GOOD[six], flood.sent)
            self.reload(_POLICY)
        self.assert_none(_BAD)

    def test_many(self) -> None:
        """Twenty reloads in mid-flood lose no datagram of a flow whose verdict stays."""
        client = self.client(_GOOD[0])
        with self.flood(client, [_GOOD[0], _BAD[0]], _MEDIA) as flood:
            for turn in range(20):
                self.reload((_STRICTER, _POLICY)[turn % 2])
        self.internet_.wait_quiet()
        self.assert_whole(_GOOD[0], flood.sent)
        self.assert_none(_BAD)

    def test_streams(self) -> None:
        """A stream that is forbidden now is reset; others go on, those too that were judged by
        what they said first."""
        hello = client_hello("voice.example")
        for six in _FAMILIES:
            streams = [
                self.connect(to[six].replace(":4001", port))
                for to in (_GOOD, _DOUBTED)
                for port in (":443", ":80")
            ]
            for stream in streams:
                stream.sendall(hello)
                self.assertEqual(self.hear(stream, len(hello)), hello)
            self.reload(_STRICTER)
            for stream in streams[:2]:
                stream.sendall(b"again")
                self.assertEqual(self.hear(stream, 5), b"again")
            for stream in streams[2:]:
                with self.assertRaises(ConnectionError):
                    stream.sendall(b"again")
                    self.hear(stream, 5)
            self.reload(_POLICY)

    def test_refused(self) -> None:
        """A policy that is refused changes nothing, and the log says why."""
        client = self.client(_GOOD[0])
        with self.flood(client, [_GOOD[0], _BAD[0]], _MEDIA) as flood:
            self.grows(_GOOD[0])
            self.policy.write_text(_OPENER.replace("action: allow", "action: perhaps"))
            self.deployment.reload()
            said = self.deployment.gateway.wait_for("reload refused")
            self.assertIn("perhaps", self.deployment.gateway.log[-2000:] + said)
            self.grows(_GOOD[0])
        self.internet_.wait_quiet()
        self.assert_whole(_GOOD[0], flood.sent)
        self.assert_none(_BAD)


class DeathTests(LifeCase):
    """The gateway dies, and comes back."""

    def test_killed(self) -> None:
        """When it is killed in mid-flood accepted flows go on, denied ones stay denied and no new
        one passes; when it is back, all is as before, and no accepted flow has noticed."""
        hello = client_hello("voice.example")
        stream = self.connect(_GOOD[0].replace(":4001", ":443"))
        stream.sendall(hello)
        self.hear(stream, len(hello))
        floods = []
        for six in _FAMILIES:
            client = self.client(_GOOD[six])
            floods.append(self.flood(client, [_GOOD[six], _BAD[six]], _MEDIA))
            self.grows(_GOOD[six])
        os.kill(self.deployment.gateway.pid, signal.SIGKILL)
        self.deployment.gateway.kill()
        newcomer = self.client(_DOUBTED[0])
        for to in (_DOUBTED, _BAD):
            self.send(newcomer, to[0], STUN)
            self.send(newcomer, to[0], PING)
        for six in _FAMILIES:
            self.grows(_GOOD[six], 300)
        self.assert_none((*_BAD, *_DOUBTED))
        self.deployment.start_gateway()
        self.assertIn("accepted flows go on", self.deployment.gateway.log)
        self.assertEqual(self.ask(newcomer, _DOUBTED[0], STUN)[0], STUN)
        stream.sendall(b"again")
        self.assertEqual(self.hear(stream, 5), b"again")
        for flood in floods:
            flood.stop()
        self.internet_.wait_quiet()
        for six in _FAMILIES:
            # What was in the queue then (a spot check, one in a thousand) is lost with it.
            lost = set(range(floods[six].sent)).difference(self.numbers(_GOOD[six]))
            self.assertLessEqual(len(lost), self.lost_elsewhere() + 2)
        self.assert_none(_BAD)

    def test_another_policy(self) -> None:
        """When it comes back with another policy every flow is judged anew."""
        client = self.client(_GOOD[0])
        for to in (_GOOD, _DOUBTED):
            self.assertEqual(self.ask(client, to[0], STUN)[0], STUN)
        self.deployment.gateway.kill()
        self.policy.write_text(_STRICTER)
        self.deployment.start_gateway()
        before = len(self.uplink.between(self.host(_DOUBTED[0])))
        self.send(client, _DOUBTED[0], STUN)
        self.assertEqual(self.ask(client, _GOOD[0], STUN)[0], STUN)
        self.assertEqual(len(self.uplink.between(self.host(_DOUBTED[0]))), before)

    def test_flushed(self) -> None:
        """When somebody flushes netfilter's rules nothing passes unjudged, and they are put up
        again."""
        clients = [self.client(_GOOD[six]) for six in _FAMILIES]
        for six in _FAMILIES:
            self.ask(clients[six], _GOOD[six], STUN)
        self.assertEqual(self.lab.run(Space.GATEWAY, ["nft", "flush", "ruleset"]).returncode, 0)
        for six in _FAMILIES:
            self.send(clients[six], _BAD[six], STUN)
        self.deployment.gateway.wait_for("they were put up again")
        for six in _FAMILIES:
            self.send(clients[six], _BAD[six], STUN)
            self.assertEqual(self.ask(clients[six], _GOOD[six], STUN)[0], STUN)
        self.assert_none(_BAD)

    def test_emptied(self) -> None:
        """When somebody empties our table it is put up again: it is not taken for theirs."""
        self.lab.run(Space.GATEWAY, ["nft", "flush", "table", "inet", "gateway"])
        self.deployment.gateway.wait_for("they were put up again")
        for six in _FAMILIES:
            client = self.client(_GOOD[six])
            self.send(client, _BAD[six], STUN)
            self.assertEqual(self.ask(client, _GOOD[six], STUN)[0], STUN)
        self.assert_none(_BAD)

    def test_second(self) -> None:
        """A second gateway does not fight over the table: it says so, and ends."""
        second = self.deployment.spawn_gateway()
        second.wait_for("another gateway keeps the table")
        self.until(lambda: not second.is_running, "the second gateway goes on")
        self.assertEqual(self.ask(self.client(_GOOD[0]), _GOOD[0], STUN)[0], STUN)

    def test_exit_gone(self) -> None:
        """When the exit is gone nothing that was wrapped is sent in the open."""
        client = self.client(_GOOD[0])
        self.assertEqual(self.ask(client, _GOOD[0], PING)[0], PING)
        self.deployment.exit.kill()
        with self.flood(client, [_GOOD[0]], PING):
            self.deployment.gateway.wait_for("exit exit-1: silent", 30.0)
            self.assertEqual(self.ask(self.client(_GOOD[0]), _GOOD[0], STUN)[0], STUN)
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
        clients = [self.client(_GOOD[six]) for six in _FAMILIES]
        for six in _FAMILIES:
            for to in (_GOOD, _BAD):
                self.send(clients[six], to[six], STUN)
        self.assertTrue(self.echo(f"{Lab.GATEWAY[0]}:0"))
        self.assertNotIn("epoch 2", self.deployment.gateway.log)
        self.assert_none((*_GOOD, *_BAD))
        self.deployment.gateway.wait_for("epoch 2")
        for six in _FAMILIES:
            self.assertEqual(self.ask(clients[six], _GOOD[six], STUN)[0], STUN)
        self.assert_none(_BAD)

    def test_renamed(self) -> None:
        """What comes by the clients' interface when it has another name goes nowhere, at once and
        for good, whether the gateway runs or not; when it has its name again all is as before."""
        clients = [self.client(_GOOD[six]) for six in _FAMILIES]
        # Allowed, and asked by nobody before: what waits for its neighbour may go on afterwards.
        new = (_DOUBTED, ("203.0.113.10:4001", "[2001:db8:a::10]:4001"))
        for name, to, is_dead in (("lan0", new[0], False), ("lan1", new[1], True)):
            self.rename("clients", name)
            for six in _FAMILIES:
                self.send(clients[six], _BAD[six], STUN)
                self.send(clients[six], to[six], STUN)
            if not is_dead:
                self.deployment.gateway.wait_for("there is no interface clients")
            for six in _FAMILIES:
                self.send(clients[six], _BAD[six], STUN)
                self.send(clients[six], to[six], STUN)
            self.assert_none(to)
            self.rename(name, "clients")
            if not is_dead:
                for six in _FAMILIES:
                    self.assertEqual(self.ask(clients[six], _GOOD[six], STUN)[0], STUN)
                os.kill(self.deployment.gateway.pid, signal.SIGKILL)
        self.assert_none(_BAD)

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
        everything = (*_GOOD, *_BAD)
        before = self.state()
        config = str(self.deployment.folder / "gateway.yaml")
        self.assertIn("locked", self.gateway("lock", "--config", config))
        floods = [
            self.flood(self.client(_GOOD[six]), [_GOOD[six], _BAD[six]], _MEDIA)
            for six in _FAMILIES
        ]
        for address in Lab.GATEWAY:
            self.assertTrue(self.echo(f"[{address}]:0" if ":" in address else f"{address}:0"))
        self.assert_none(everything)
        self.deployment.start_gateway()
        for six in _FAMILIES:
            self.grows(_GOOD[six])
        self.assertIn("another gateway keeps the table", self.refused("unlock"))
        self.assertEqual(self.deployment.gateway.stop(), 0)
        self.assert_none(_BAD)
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
        for six in _FAMILIES:
            self.send(self.client(_GOOD[six]), _GOOD[six], STUN)
        self.assertTrue(self.echo(f"{Lab.GATEWAY[0]}:0"))
        self.assert_none(_GOOD)

    def test_bad_policy(self) -> None:
        """A gateway whose policy is refused does not start, and leaves the lock in place."""
        self.gateway("lock", "--interface", "clients")
        self.policy.write_text("policy: broken\nrules: [{id: x}]")
        gateway = self.deployment.spawn_gateway()
        self.until(lambda: not gateway.is_running, "it goes on")
        for six in _FAMILIES:
            self.send(self.client(_GOOD[six]), _GOOD[six], STUN)
        self.assertTrue(self.echo(f"{Lab.GATEWAY[0]}:0"))
        self.assert_none(_GOOD)

    def test_least_privilege(self) -> None:
        """Without root, CAP_NET_ADMIN and CAP_NET_BIND_SERVICE are enough."""
        reason = self.deployment.unprivileged_skip_reason()
        if reason is not None:
            raise SkipTest(reason)
        self.deployment.start_gateway(unprivileged=True)
        for six in _FAMILIES:
            client = self.client(_GOOD[six])
            for payload in (STUN, PING):
                self.assertEqual(self.ask(client, _GOOD[six], payload)[0], payload)
            self.send(client, _BAD[six], STUN)
            web = _GOOD[six].replace(":4001", ":80")
            said = b"GET /join?uid=778899 HTTP/1.1\r\n\r\n"
            self.assertEqual(self.converse(web, said), said)
        self.assert_none(_BAD)


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
        self.assertEqual(len([count for count in counts.values() if count > 10]), 3, counts)
        with self.flood(client, [*edges[:5], _DOUBTED[0], _BAD[0]], _MEDIA) as flood:
            self.grows(_DOUBTED[0], 20)
            self.reload(_STRICTER)
            last = flood.sent + 1
            self.grows(edges[0], 50)
        self.internet_.wait_quiet()
        self.assertLessEqual(max(self.numbers(_DOUBTED[0])), last)
        for to in edges[:5]:
            self.assert_whole(to, flood.sent)
        self.assert_none(_BAD)

    def test_broken_policy(self) -> None:
        """When the gateway is killed and comes back, and the policy's file is broken meanwhile, all
        workers judge by the last good one."""
        self.policy.write_text("policy: broken\nrules: [{id: x}]")
        self.deployment.gateway.kill()
        before = self.deployment.decision_counts()
        self.deployment.start_gateway()
        self.all_judge()
        self.assertIn("the last good one stands in for it", self.deployment.gateway.log)
        client = self.client(_GOOD[0])
        for to in [f"203.0.113.{n}:4002" for n in range(10, 50)]:
            self.assertEqual(self.ask(client, to, STUN)[0], STUN)
        self.send(client, _BAD[0], STUN)
        after = self.deployment.decision_counts()
        self.assertEqual(len(after), 3)
        for name, count in after.items():
            self.assertGreater(count, before.get(name, 0), after)
        self.assert_none(_BAD)
