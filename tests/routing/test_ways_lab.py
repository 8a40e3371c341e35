"""Router mode, way by way: relays, interfaces, the gateway's own address, refusals, shadow, what
clients may ask the gateway itself; in IPv4 and IPv6 alike."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterable

from tests.lab import namespaces
from tests.lab.router_case import RouterCase
from tests.lab.topology import Lab, Space
from tests.lab.wire import Wire
from tests.support.epochs import PING, STUN

_FAMILIES = (0, 1)
"""IPv4 and IPv6, as indices of the pairs below."""
_EDGES = ("203.0.113.7:4001", "[2001:db8:a::7]:4001")
"""Allowed by every policy here, unless what is said names somebody."""
_MOVED = ("198.51.100.7:4001", "[2001:db8:a:b::7]:4001")
"""Carried elsewhere by address."""
_CROSSED = ("198.51.100.200:4001", "[2001:db8:a:c::7]:4001")
"""Carried to a relay that is of the other family."""
_RELAYS = ("192.0.2.99:7000", "[2001:db8:a:d::99]:7000")
_WEB = b"GET /speed HTTP/1.1\r\nHost: edge.example\r\n\r\n"
_NAMING = b"GET /join?uid=778899 HTTP/1.1\r\nHost: edge.example\r\n\r\n"

_JURISDICTIONS = """\
jurisdictions:
  moved4: {networks: [198.51.100.0/25]}
  moved6: {networks: ["2001:db8:a:b::/64"]}
  crossed4: {networks: [198.51.100.128/25]}
  crossed6: {networks: ["2001:db8:a:c::/64"]}
  v6: {networks: ["2000::/3"]}
"""
_REST = "- {id: rest, when: {plaintext: {not: any}}, action: allow}\n"


class WaysCase(RouterCase):
    """A gateway with a policy of a few lines, and no tunnel."""

    def begin(self) -> None:
        """RouterCase API: without the exit."""
        self.begin_alone()

    def assert_none(self, endpoints: Iterable[str]) -> None:
        """Check that nothing at all has passed the uplink to or from these addresses."""
        self.internet_.wait_quiet()
        self.assertEqual(self.uplink.missed, 0)
        self.assertEqual(self.uplink.between(*map(self.host, endpoints)), [])

    def web(self, to: str) -> str:
        """Give an endpoint of the same address to which HTTP is spoken."""
        return to.replace(":4001", ":80")

    def decided(self, to: str) -> list[dict[str, object]]:
        """Give the verdicts on an endpoint, as they were written down."""
        decisions = self.deployment.decisions()
        return [one["verdict"] for one in decisions if one["flow"].endswith(f"> {to}")]

    def ends(self, to: str) -> set[tuple[str, int]]:
        """Give from where something arrived at an endpoint."""
        return {
            (one.source.host, one.source.port)
            for one in self.internet_.arrived()
            if str(one.destination) == to
        }


class RelayTests(WaysCase):
    """`reroute` to a relay: the relay gets it, and the client sees whom it asked."""

    MORE = f"""\
relays:
  - {{name: four, address: "{_RELAYS[0]}"}}
  - {{name: six, address: "{_RELAYS[1]}"}}
"""
    POLICY = f"""\
policy: relays
{_JURISDICTIONS}
rules:
- {{id: moved4, when: {{to: moved4}}, action: {{reroute: four}}}}
- {{id: moved6, when: {{to: moved6}}, action: {{reroute: six}}}}
- {{id: crossed4, when: {{to: crossed4}}, action: {{reroute: six}}}}
- {{id: crossed6, when: {{to: crossed6}}, action: {{reroute: four}}}}
- {{id: named6, when: {{plaintext: any, to: v6}}, action: {{reroute: six}}}}
- {{id: named4, when: {{plaintext: any}}, action: {{reroute: four}}}}
{_REST}"""

    def test_datagrams(self) -> None:
        """UDP, from the client's own port, beside a flow of the same socket that goes straight;
        what has no ports is no relay's."""
        for six in _FAMILIES:
            client = self.client(_MOVED[six], port=5555)
            for to in (_MOVED[six], _EDGES[six], _MOVED[six]):
                octets, source = self.ask(client, to, STUN)
                self.assertEqual((octets, str(source)), (STUN, to))
            self.assertEqual(self.arrived(_RELAYS[six]), [STUN, STUN])
            self.assertEqual(self.ends(_RELAYS[six]), {(Lab.CLIENT[six], 5555)})
            self.assertEqual(self.ends(_EDGES[six]), {(Lab.CLIENT[six], 5555)})
            self.assertFalse(self.echo(_MOVED[six], wait_s=0.3))
        self.assert_none(_MOVED)

    def test_streams(self) -> None:
        """TCP: by the kernel where the address decides, by the local proxy where the content
        does."""
        for six in _FAMILIES:
            self.assertEqual(self.converse(self.web(_MOVED[six]), _WEB), _WEB)
            self.assertEqual(self.sources(_RELAYS[six]), {Lab.CLIENT[six]})
            self.assertEqual(self.converse(self.web(_EDGES[six]), _NAMING), _NAMING)
            self.assertEqual(self.sources(_RELAYS[six]), {Lab.CLIENT[six], Lab.UPLINK[six]})
            self.assertEqual(self.arrived(_RELAYS[six]), [_WEB, _NAMING])
        self.assert_none((*_MOVED, *_EDGES))

    def test_other_family(self) -> None:
        """What a relay of the other family should get is blocked."""
        for six in _FAMILIES:
            client = self.client(_CROSSED[six])
            self.send(client, _CROSSED[six], STUN)
            stream = self.client(_CROSSED[six], socket.SOCK_STREAM)
            stream.settimeout(0.3)
            self.assertRaises(OSError, stream.connect, (self.host(_CROSSED[six]), 80))
            self.assertEqual(self.ask(client, _EDGES[six], STUN)[0], STUN)
            rules = {one["rule"] for one in self.decided(_CROSSED[six])}
            self.assertEqual(rules, {("crossed4", "crossed6")[six]})
        self.assert_none((*_CROSSED, *_RELAYS))


class InterfaceTests(WaysCase):
    """`reroute` and `wrap` to an exit that is an interface."""

    OWN = ("10.9.0.1", "2001:db8:9::1")
    EDITS = (("exits:\n", "exits:\n  - {name: eu, kind: interface, interface: wg0}\n"),)
    POLICY = f"""\
policy: interfaces
{_JURISDICTIONS}
rules:
- {{id: moved, when: {{to: [moved4, moved6]}}, action: {{reroute: eu}}}}
- {{id: wrapped, when: {{to: [crossed4, crossed6]}}, action: {{wrap: eu}}}}
- {{id: named, when: {{plaintext: any}}, action: {{wrap: eu}}}}
{_REST}"""

    def begin(self) -> None:
        """RouterCase API: with a link that asks for no neighbours, as a WireGuard's."""
        near, far = self.lab.name(Space.GATEWAY), self.lab.name(Space.INTERNET)
        # Without neighbours frames bear the sender's own link address, so both ends have one.
        address = "address 02:00:00:00:00:41"
        link = f"link add wg0 index 41 {address} netns {near} type veth peer eu index 40 {address}"
        namespaces.command(["ip", "-batch", "-"], text=f"{link} netns {far}")
        for space, name, last in ((Space.INTERNET, "eu", "2"), (Space.GATEWAY, "wg0", "1")):
            self.ip(
                space,
                f"address add 10.9.0.{last}/24 dev {name}",
                f"address add 2001:db8:9::{last}/64 dev {name}",
                f"link set {name} arp off up",
            )
        self.lab.call(Space.GATEWAY, lambda: namespaces.wait_running("wg0"))
        super().begin()

    def ip(self, space: Space, *lines: str) -> None:
        """Run lines of `ip` in a namespace."""
        argv = ["ip", "-netns", self.lab.name(space), "-batch", "-"]
        namespaces.command(argv, text="\n".join(lines))

    def test_by_address(self) -> None:
        """UDP, TCP and ICMP leave by the interface, from its own address, and by no other; answers
        come back as from whom was asked.  The kernel carries them: they keep the client's port."""
        for six in _FAMILIES:
            for port, to in ((5555, _MOVED[six]), (5556, _CROSSED[six])):
                octets, source = self.ask(self.client(to, port=port), to, STUN)
                self.assertEqual((octets, str(source)), (STUN, to))
                self.assertTrue(self.echo(to))
                stream = self.client(to, socket.SOCK_STREAM, port=port)
                stream.connect((self.host(to), 80))
                stream.sendall(_WEB)
                self.assertEqual(self.hear(stream, len(_WEB)), _WEB)
                for at in (to, self.web(to)):
                    self.assertEqual(self.ends(at), {(self.OWN[six], port)})
            client = self.client(_EDGES[six])
            self.assertEqual(self.ask(client, _EDGES[six], STUN)[0], STUN)
            self.assertEqual(self.sources(_EDGES[six]), {Lab.CLIENT[six]})
        self.assert_none((*_MOVED, *_CROSSED))

    def test_by_content(self) -> None:
        """What names somebody leaves by the interface, though the rest of the flow, or of what is
        said to the same place, goes straight: a datagram in the middle of a flow, and a stream by
        the local proxy's bound socket."""
        for six in _FAMILIES:
            client = self.client(_EDGES[six])
            for payload in (STUN, PING, STUN, PING):
                octets, source = self.ask(client, _EDGES[six], payload)
                self.assertEqual((octets, str(source)), (payload, _EDGES[six]))
            self.assertEqual(self.converse(self.web(_EDGES[six]), _NAMING), _NAMING)
            self.assertEqual(self.converse(self.web(_EDGES[six]), _WEB), _WEB)
            arrived = {
                (one.source.host, one.payload)
                for one in self.internet_.arrived()
                if one.destination.host == self.host(_EDGES[six])
            }
            self.assertEqual(
                arrived,
                {
                    (Lab.CLIENT[six], STUN),
                    (self.OWN[six], PING),
                    (self.OWN[six], _NAMING),
                    (Lab.UPLINK[six], _WEB),
                },
            )
        shown = [one for one in self.uplink.frames() if PING in one.octets or b"uid=" in one.octets]
        self.assertEqual(shown, [])

    def test_gone(self) -> None:
        """When the interface is down, or gone, nothing that should leave by it leaves by another,
        neither of flows that were up nor of new ones; when it is up again they go on."""
        clients = [self.client(_MOVED[six]) for six in _FAMILIES]
        streams = [self.connect(self.web(_MOVED[six])) for six in _FAMILIES]
        for six in _FAMILIES:
            self.ask(clients[six], _MOVED[six], STUN)
            self.ask(clients[six], _EDGES[six], PING)
        self.ip(Space.GATEWAY, "link set wg0 down")
        self.tries(clients, streams)
        # An interface that comes up again has lost its IPv6 addresses.
        self.ip(Space.GATEWAY, "link set wg0 up", f"address replace {self.OWN[1]}/64 dev wg0")
        self.until(
            lambda: all(self.is_answered(clients[six], _MOVED[six]) for six in _FAMILIES),
            "the interface is up again and carries nothing",
        )
        self.ip(Space.GATEWAY, "link delete wg0")
        self.tries(clients, streams)

    def tries(self, clients: list[socket.socket], streams: list[socket.socket]) -> None:
        """Send by flows that were up and by new ones, and see that nothing leaves."""
        for six in _FAMILIES:
            newcomer = self.client(_CROSSED[six])
            for client in (clients[six], newcomer):
                self.send(client, _MOVED[six], STUN)
                self.send(client, _CROSSED[six], STUN)
                self.send(client, _EDGES[six], PING)
            streams[six].sendall(_WEB)
            stream = self.client(_MOVED[six], socket.SOCK_STREAM)
            stream.settimeout(0.3)
            self.assertRaises(OSError, stream.connect, (self.host(_MOVED[six]), 80))
            with self.assertRaises(OSError):
                self.converse(self.web(_EDGES[six]), _NAMING)
            self.assertFalse(self.echo(_MOVED[six], wait_s=0.3))
            self.assertEqual(self.ask(self.client(_EDGES[six]), _EDGES[six], STUN)[0], STUN)
        self.assert_none((*_MOVED, *_CROSSED))
        shown = [one for one in self.uplink.frames() if PING in one.octets or b"uid=" in one.octets]
        self.assertEqual(shown, [])

    def is_answered(self, client: socket.socket, to: str) -> bool:
        """Say whether an answer from an endpoint comes soon."""
        client.settimeout(0.2)
        try:
            return str(self.ask(client, to, STUN)[1]) == to
        except TimeoutError:
            return False


class OwnAddressTests(WaysCase):
    """`snat: true`."""

    EDITS = (("interface: clients}", "interface: clients, snat: true}"),)
    POLICY = f"policy: own\n{_JURISDICTIONS}\nrules:\n- {{id: all, when: {{}}, action: allow}}\n"

    def test_own_address(self) -> None:
        """What is allowed leaves by the gateway's own address, and answers come back."""
        for six in _FAMILIES:
            client = self.client(_EDGES[six])
            octets, source = self.ask(client, _EDGES[six], STUN)
            self.assertEqual((octets, str(source)), (STUN, _EDGES[six]))
            self.assertEqual(self.converse(self.web(_EDGES[six]), _WEB), _WEB)
            self.assertTrue(self.echo(_EDGES[six]))
            for to in (_EDGES[six], self.web(_EDGES[six])):
                self.assertEqual(self.sources(to), {Lab.UPLINK[six]})
        self.assertGreater(len(self.uplink.between(*Lab.UPLINK)), 0)
        self.assert_none([f"{Lab.CLIENT[0]}:0", f"[{Lab.CLIENT[1]}]:0"])


class RefusalTests(WaysCase):
    """`{block: refuse}`: clients are told at once."""

    POLICY = f"""\
policy: refusals
{_JURISDICTIONS}
rules:
- {{id: places, when: {{to: [moved4, moved6]}}, action: {{block: refuse}}}}
- {{id: ports, when: {{to: [crossed4, crossed6], port: [80, 4001]}}, action: {{block: refuse}}}}
{_REST}"""

    def test_refusals(self) -> None:
        """TCP by a reset, UDP by an ICMP error that says it is prohibited, whether the kernel
        refuses by itself, for its sets have the address, or Python decides; and again when tried
        again."""
        inside = self.wire(Space.GATEWAY, "clients")
        for six in _FAMILIES:
            for to in (_MOVED[six], _CROSSED[six]):
                for _ in range(2):
                    self.assert_reset(to)
                self.assert_prohibited(to)
            self.assertEqual(self.decided(_MOVED[six]), [])
            self.assertEqual(
                {(one["rule"], one["target"]) for one in self.decided(_CROSSED[six])},
                {("ports", "refuse")},
            )
            # What was refused is the port, not the place.
            other = _CROSSED[six].replace(":4001", ":4002")
            self.assertEqual(self.ask(self.client(other), other, STUN)[0], STUN)
        self.internet_.wait_quiet()
        self.uplink.stop()
        inside.stop()
        for six in _FAMILIES:
            for to in (_MOVED[six], _CROSSED[six]):
                self.assertEqual(self.codes(inside, six, to), {((3, 13), (1, 1))[six]})
        ports = {(one.source.port, one.destination.port) for one in self.uplink.packets()}
        self.assertFalse({80, 4001} & {port for pair in ports for port in pair})
        self.assert_none(_MOVED)

    def assert_reset(self, to: str) -> None:
        """Check that a connection is refused at once; a busy host gets a second try."""

        def took_s() -> float:
            began_s = time.monotonic()
            self.assertRaises(ConnectionRefusedError, self.connect, self.web(to))
            return time.monotonic() - began_s

        # A second SYN would follow after 1 s.
        self.assertTrue(any(took_s() < 0.9 for _ in range(5)), "no first SYN is answered")

    def assert_prohibited(self, to: str) -> None:
        """Check that the client of a datagram is told, and of the next one too.  Not of many: the
        kernel sends one client six ICMP errors at once, and then one a second (icmp_ratelimit)."""
        client = self.client(to)
        client.connect((self.host(to), 4001))
        for _ in range(2):
            client.send(STUN)
            error = self.assertRaises(OSError, client.recv, 100)
            # As Linux spells "administratively prohibited".
            told = errno.EACCES if to.startswith("[") else errno.EHOSTUNREACH
            self.assertEqual(error.errno, told)

    def codes(self, inside: Wire, six: int, to: str) -> set[tuple[int, int]]:
        """Give type and code of the ICMP errors on the clients' side about an address."""
        at, protocol, number = ((14 + 9, 1, 34), (14 + 6, 58, 54))[six]
        about = socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, self.host(to))
        return {
            (octets[number], octets[number + 1])
            for octets in (frame.octets for frame in inside.frames())
            if octets[12:14] == (b"\x08\x00", b"\x86\xdd")[six]
            and octets[at] == protocol
            and about in octets[number + 8 :]
        }


class ShadowTests(WaysCase):
    """`mode: shadow`."""

    POLICY = f"""\
policy: watching
mode: shadow
{_JURISDICTIONS}
rules:
- {{id: never, when: {{to: [moved4, moved6]}}, action: block}}
- {{id: told, when: {{to: [crossed4, crossed6]}}, action: {{block: refuse}}}}
- {{id: named, when: {{plaintext: any}}, action: {{wrap: nearest}}}}
{_REST}"""

    def test_shadow(self) -> None:
        """Everything passes, from the client itself, and what would have become of it is written
        down."""
        for six in _FAMILIES:
            client = self.client(_EDGES[six])
            for to, payload, would in (
                (_MOVED[six], STUN, ("block", "never")),
                (_CROSSED[six], STUN, ("block", "told")),
                (_EDGES[six], PING, ("wrap", "named")),
            ):
                octets, source = self.ask(client, to, payload)
                self.assertEqual((octets, str(source)), (payload, to))
                self.assertEqual(self.sources(to), {Lab.CLIENT[six]})
                self.assertEqual(self.converse(self.web(to), _WEB), _WEB)
                self.assertTrue(self.echo(to))
                (verdict,) = self.decided(to)
                self.assertEqual(verdict["action"], "allow")
                self.assertEqual(self.would(verdict), would)

    def would(self, verdict: dict[str, object]) -> tuple[object, object]:
        """Give action and rule of what would have been."""
        would = verdict["would"]
        assert isinstance(would, dict), verdict
        return would["action"], would["rule"]


class AdmittedTests(WaysCase):
    """What clients may ask the gateway itself."""

    MORE = "router: {admits: [tcp/22, udp/53]}\n"
    POLICY = f"policy: own\n{_JURISDICTIONS}\nrules:\n- {{id: all, when: {{}}, action: allow}}\n"

    def test_admitted(self) -> None:
        """What is listed reaches a listener on the gateway, at every address of its; nothing else
        does, though the policy allows everything; the other listeners' ports are listed anyhow."""
        for six in _FAMILIES:
            for host in (Lab.GATEWAY[six], Lab.UPLINK[six]):
                heard = {port: self.listener(host, socket.SOCK_DGRAM, port) for port in (53, 54)}
                client = self.client(_EDGES[six])
                for port in (54, 53):
                    client.sendto(b"question", (host, port))
                self.assertEqual(heard[53].recv(100), b"question")
                heard[54].settimeout(0.1)
                self.assertRaises(TimeoutError, heard[54].recv, 100)
                for port, is_admitted in ((22, True), (23, False)):
                    listener = self.listener(host, socket.SOCK_STREAM, port)
                    self.assertEqual(self.reaches(host, port), is_admitted)
                    listener.close()
        self.assertTrue(self.reaches(Lab.GATEWAY[0], self.deployment.SOCKS5.port))

    def listener(self, host: str, kind: int, port: int) -> socket.socket:
        """Listen on the gateway."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        opened = self.lab.socket(Space.GATEWAY, family, kind)
        self.addCleanup(opened.close)
        opened.settimeout(5.0)
        opened.bind((host, port))
        if kind == socket.SOCK_STREAM:
            opened.listen()
        return opened

    def reaches(self, host: str, port: int) -> bool:
        """Say whether a client's connection is accepted."""
        client = self.client("[" if ":" in host else "", socket.SOCK_STREAM)
        client.settimeout(0.5)
        try:
            client.connect((host, port))
        except TimeoutError:
            return False
        return True
