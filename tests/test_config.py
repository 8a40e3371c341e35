"""gateway.config: gateway.yaml is taken whole or refused with every fault."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway import config
from gateway.document import parse
from gateway.errors import InputError
from tests.support.rows import rows

SOUND = """\
policy: policies/default.yaml
listeners:
  - {kind: socks5, address: "127.0.0.1:1080", users: {alice: secret}}
  - {kind: http-connect, address: "[::1]:3128"}
  - {kind: forward, transport: udp, address: "127.0.0.1:4001", to: "198.51.100.7:4001"}
relays:
  - {name: us-edge, address: "198.51.100.9:4001", jurisdiction: US}
exits:
  - {name: us-east, kind: masque, url: "https://exit.example/{target_host}/{target_port}/", ca: c, \
certificate: gw.pem, key: gw.key, jurisdiction: US}
geo:
  sources: [bundled, {mmdb: own.mmdb, axis: location}]
  max_age_days: 90
  overrides:
    - {network: 203.0.113.0/24, location: US, operator: US, reason: x, expires: 2027-06-30}
identifiers: {patterns: []}
evidence: {path: evidence/, required: true}
console: {address: "127.0.0.1:8470"}
"""
EXIT = SOUND.split("exits:\n")[1].splitlines()[0].strip()


def one(key: str, entry: str) -> str:
    """Write a configuration with one entry, on line 2."""
    return f"policy: p.yaml\n{key}: [{entry}]\n"


@rows(
    fault={
        "an unknown key": ("policy: p\nlisteners: []\nexit_s: []", 3, "did you mean"),
        "no policy": ("listeners: []", 1, 'key "policy" is missing'),
        "an unknown kind of listener": (
            one("listeners", '{kind: sock5, address: "127.0.0.1:1"}'),
            2,
            "socks5",
        ),
        "an interface that cannot be": (
            one("listeners", "{kind: transparent, interface: 'eth 1'}"),
            2,
            "a network interface's name",
        ),
        "clients behind an exit": (
            one("listeners", "{kind: transparent, interface: wg0}")
            + "\nexits: [{name: e, kind: interface, interface: wg0}]",
            4,
            'the interface "wg0" stands twice',
        ),
        "transparent listeners that differ": (
            "policy: p\nlisteners: [{kind: transparent, interface: a, snat: true}, "
            "{kind: transparent, interface: b}]",
            2,
            "differ in snat",
        ),
        "a port of no transport": ("policy: p\nrouter: {admits: [icmp/1]}", 2, "such as tcp/22"),
        "a port that cannot be": ("policy: p\nrouter: {admits: [tcp/0]}", 2, "a port is 1..65535"),
        "an address without a port": (
            one("listeners", "{kind: socks5, address: 127.0.0.1}"),
            2,
            "endpoint such as",
        ),
        "a forward to nowhere": (
            one("listeners", '{kind: forward, transport: udp, address: "127.0.0.1:1"}'),
            2,
            '"to" is missing',
        ),
        "a relay by name": (
            one("relays", '{name: r, address: "edge.example:1"}'),
            2,
            "not an IPv4 or IPv6 address",
        ),
        "an exit url without a template": (
            one(
                "exits",
                "{name: e, kind: masque, url: 'https://e:1/', ca: a, certificate: b, key: c}",
            ),
            2,
            "RFC 9298",
        ),
        "a proxy by name": (
            one("exits", '{name: e, kind: socks5, address: "proxy.example:1080"}'),
            2,
            "not an IPv4 or IPv6 address",
        ),
        "a proxy without a port": (
            one("exits", '{name: e, kind: socks5, address: "192.0.2.1:0"}'),
            2,
            "must have a port",
        ),
        "a plaintext proxy by name": (
            one("exits", '{name: e, kind: http-connect, url: "http://proxy.example:3128"}'),
            2,
            "not an IPv4 or IPv6 address",
        ),
        "a proxy with a path": (
            one("exits", '{name: e, kind: http-connect, url: "https://192.0.2.1/x"}'),
            2,
            "and no more",
        ),
        "a proxy with a login in its url": (
            one("exits", '{name: e, kind: http-connect, url: "https://a:b@192.0.2.1"}'),
            2,
            "and no more",
        ),
        "a proxy at an impossible port": (
            one("exits", '{name: e, kind: http-connect, url: "https://192.0.2.1:70000"}'),
            2,
            "and no more",
        ),
        "an authority for plaintext": (
            one("exits", '{name: e, kind: http-connect, url: "http://192.0.2.1:1", ca: c}'),
            2,
            "has no certificate",
        ),
        "half a login": (
            one("exits", '{name: e, kind: socks5, address: "192.0.2.1:1", username: alice}'),
            2,
            "both or neither",
        ),
        "a user name that cannot be": (
            one(
                "exits",
                '{name: e, kind: socks5, address: "192.0.2.1:1", username: "a:", password_file: p}',
            ),
            2,
            "no colon",
        ),
        "an exit of a kind that nobody knows": (
            one("exits", "{name: e, kind: wire, interface: wg0}"),
            2,
            "'interface'",
        ),
        "an exit called nearest": (
            one("exits", EXIT[2:].replace("us-east", "nearest")),
            2,
            "a word of the policy language",
        ),
        "a source that nobody knows": (
            "policy: p\ngeo: {sources: [geolite]}",
            2,
            "bundled",
        ),
        "no source": ("policy: p\ngeo: {sources: []}", 2, '"sources" is empty'),
        "an override that says nothing": (
            "policy: p\ngeo: {overrides: [{network: 203.0.113.0/24, reason: x}]}",
            2,
            "needs location",
        ),
        "an override without a reason": (
            "policy: p\ngeo: {overrides: [{network: 203.0.113.0/24, location: US}]}",
            2,
            '"reason" is missing',
        ),
        "an override of an unknown country": (
            "policy: p\ngeo: {overrides: [{network: 203.0.113.0/24, location: XX, reason: x}]}",
            2,
            "no ISO 3166-1",
        ),
        "an unknown kind of identifier": (
            "policy: p\nidentifiers: {user: {values: [x]}}",
            2,
            "user",
        ),
        "a console for strangers": (
            'policy: p\nconsole: {address: "192.0.2.1:8470"}',
            2,
            "needs tokens",
        ),
        "a token in the clear": (
            'policy: p\nconsole: {address: "127.0.0.1:1", tokens: [{name: a, sha256: secret}]}',
            2,
            "SHA-256",
        ),
        "a limit of nought": ("policy: p\nlimits: {max_flows: 0}", 2, "greater than or equal to 1"),
    }
)
class ConfigTests(SynchronousTestCase):
    """A configuration is sound, or each of its faults is named at its line."""

    def load(self, text: str) -> config.Config:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "gateway.yaml").write_text(text)
        return config.load(folder / "gateway.yaml")

    def check_fault(self, text: str, line: int, words: str) -> None:
        """A fault is named at its line."""
        error = self.assertRaises(InputError, self.load, text)
        self.assertIn(words, str(error))
        self.assertEqual({problem.line for problem in error.problems}, {line}, str(error))

    def test_sound(self) -> None:
        """The design's own example is read, with its paths beside the file."""
        loaded = self.load(SOUND)
        self.assertEqual(
            [one.kind for one in loaded.listeners], ["socks5", "http-connect", "forward"]
        )
        self.assertEqual(loaded.exits[0].name, "us-east")
        self.assertEqual(loaded.path(loaded.tunnels[0].key).name, "gw.key")
        self.assertTrue(loaded.path("x").parent.samefile(loaded.path("y").parent))
        self.assertTrue(loaded.evidence.required)

    def test_router_mode(self) -> None:
        """Transparent listeners and interface exits are told from those with an address."""
        text = "listeners: [{kind: transparent, interface: eth1, snat: true}, {kind: socks5, "
        text += 'address: "10.0.0.1:1080"}]\nrouter: {admits: [tcp/22, udp/53], workers: 2}\n'
        text += "exits: [{name: e, kind: interface, interface: wg0}]"
        loaded = self.load(f"policy: p\n{text}")
        self.assertEqual([one.interface for one in loaded.transparent], ["eth1"])
        self.assertEqual([one.address for one in loaded.doors], ["10.0.0.1:1080"])
        self.assertEqual([one.interface for one in loaded.interface_exits], ["wg0"])
        self.assertEqual(loaded.tunnels, ())
        admitted = [(str(transport), port) for transport, port in loaded.router.admits]
        self.assertEqual(admitted, [("tcp", 22), ("udp", 53)])

    def test_proxies(self) -> None:
        """A proxy's host and port are read from its section, and whether it can be read."""
        text = "exits: [{name: a, kind: socks5, address: '[2001:db8::1]:1080'}, "
        text += "{name: b, kind: http-connect, url: 'http://192.0.2.1'}, "
        text += "{name: c, kind: http-connect, url: 'https://[2001:db8::1]/', ca: c.pem}, "
        text += "{name: d, kind: http-connect, url: 'https://proxy.example:8443'}]"
        loaded = self.load(f"policy: p\n{text}")
        self.assertEqual(
            [(one.at, one.is_plaintext) for one in loaded.proxies],
            [
                (("2001:db8::1", 1080), True),
                (("192.0.2.1", 80), True),
                (("2001:db8::1", 443), False),
                (("proxy.example", 8443), False),
            ],
        )

    def test_defaults(self) -> None:
        """What is left out has the documented defaults."""
        loaded = self.load("policy: p.yaml")
        self.assertEqual(loaded.geo.sources, ("bundled",))
        self.assertEqual(loaded.geo.max_age_days, 120)
        self.assertEqual(loaded.evidence.path, "evidence/")
        self.assertFalse(loaded.evidence.required)

    def test_positions(self) -> None:
        """Exits and the gateway itself have positions where they claim them; one that is not on
        earth is refused, and so is an exit that would be taken for the gateway."""
        here = f"position: [40.7, -74]\n{SOUND}"
        claimed = EXIT.replace("kind: masque", "kind: masque, position: [50.1, 8.7]")
        loaded = self.load(here.replace(EXIT, claimed))
        self.assertEqual(loaded.positions, {"us-east": (50.1, 8.7), "gateway": (40.7, -74.0)})
        self.assertEqual(self.load(SOUND).positions, {})
        for wrong in ("[91, 0]", "[0, 181]", "[0]", "north"):
            text = here.replace("[40.7, -74]", wrong)
            self.assertRaises(InputError, self.load, text)
        named = here.replace(EXIT, claimed.replace("name: us-east", "name: gateway"))
        error = self.assertRaises(InputError, self.load, named)
        self.assertIn("the gateway's own name", str(error))

    def test_names_twice(self) -> None:
        """Two exits of one name are refused, and so is an exit with a relay's name."""
        twice = SOUND.replace(f"  {EXIT}", f"  {EXIT}\n  {EXIT}")
        error = self.assertRaises(InputError, self.load, twice)
        self.assertIn('"us-east" stands twice', str(error))
        error = self.assertRaises(
            InputError, self.load, SOUND.replace("name: us-edge", "name: us-east")
        )
        self.assertIn("is a relay's name already", str(error))

    def test_built_in(self) -> None:
        """Without a file there is a loopback SOCKS5 and HTTP CONNECT gateway."""
        loaded = config.built_in(Path("/p.yaml"))
        self.assertEqual([one.kind for one in loaded.listeners], ["socks5", "http-connect"])
        self.assertTrue(all(one.address.startswith("127.0.0.1:") for one in loaded.doors))


@rows(
    refused={
        "a value too short": ("user-id: {values: [ab]}", ":3:22: too short"),
        "a pattern that is none": (
            'patterns: [{kind: room-id, regex: "("}]',
            ":3:30: not a pattern of RE2",
        ),
        "a file that is not there": ("token: {values_file: none.txt}", "none.txt: cannot be read"),
        "a line of a file": ("account: {values_file: ids.txt}", "ids.txt:2: not hexadecimal"),
        "no value": ("user-id: {values: []}", ":3:3: "),
        "a key that is short": ("given: {values: [abc]}\n  key_file: key", "16 are the least"),
        "a digest without a key": (
            f"given: {{values: ['hmac-sha256:{'ab' * 32}']}}",
            "no key was given",
        ),
    }
)
class IdentifierTests(SynchronousTestCase):
    """Identifiers are taken whole, or refused with their places and without their values."""

    def load(self, text: str) -> config.Config:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "ids.txt").write_text("abc\nhex:secret\n")
        (folder / "key").write_text("short")
        (folder / "gateway.yaml").write_text(f"policy: p\nidentifiers:\n  {text}\n")
        return config.load(folder / "gateway.yaml")

    def check_refused(self, text: str, says: str) -> None:
        """A fault is told with its place."""
        error = self.assertRaises(InputError, self.load(text).values)
        self.assertIn(says, str(error))
        self.assertNotIn("secret", str(error))

    def test_taken(self) -> None:
        """Numbers may be written as numbers; the same is not compiled twice."""
        loaded = self.load("user-id: {values: [287454020]}")
        values = loaded.values()
        assert values is not None
        self.assertTrue(values.find(b"\x44\x33\x22\x11"))
        self.assertIs(loaded.values(values), values)
        self.assertTrue(loaded.learns)

    def test_none(self) -> None:
        """Nothing named is nothing searched for, and nothing learned."""
        loaded = config.from_document(parse("policy: p", "gateway.yaml"))
        self.assertIsNone(loaded.values())
        self.assertFalse(loaded.learns)
