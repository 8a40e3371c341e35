"""Promises of gateway.geo.atlas: whose an address is."""

from __future__ import annotations

import csv
import ipaddress
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import AddressError
from gateway.geo import Atlas, Override, of_overrides_only
from gateway.geo.special import table
from gateway.model import Axis, pack, unpack
from tests.geo import worlds
from tests.support.rows import rows

GOLDEN = Path(__file__).parent.parent / "data" / "agora_golden.csv"

# What the vendor itself labels as China ("CN", "domestic (CN) test").
VENDOR_SAYS_CHINA = (
    "150.138.153.78 140.210.77.68 125.88.159.163 106.3.140.194 106.3.140.195"
).split()
# What stands on networks of the mainland, by AS: Sinnet (AWS Beijing), Alibaba, Kingsoft Cloud.
ON_MAINLAND_NETWORKS = "52.80.192.229 47.96.234.219 120.92.118.34 120.92.18.162".split()
# What is run from the mainland wherever it stands: Capital Online, Alibaba Cloud international.
RUN_FROM_CHINA = (
    "148.153.66.218 164.52.87.25 164.52.53.77 164.52.53.78 148.153.53.105 148.153.53.106 "
    "47.74.211.17"
).split()
NOT_CHINA = (
    "23.236.115.138 52.52.84.170 128.1.87.146 128.1.77.34 128.1.78.146 128.1.78.94 "
    "69.28.51.142 107.155.14.132"
).split()

CHINESE = "114.114.114.114"
CLIENT = "8d8d:8d8d"  # 114.114.114.114 as Teredo writes it, inverted


def golden() -> list[dict[str, str]]:
    """Read the addresses that the vendor published."""
    with GOLDEN.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def says_china(address: bytes) -> bool:
    """Tell whether any axis says CN in the bundled data."""
    return any("CN" in said for said in worlds.bundled().place(address).values.values())


@rows(
    china={text: (text,) for text in (*VENDOR_SAYS_CHINA, *ON_MAINLAND_NETWORKS, *RUN_FROM_CHINA)},
    not_china={text: (text,) for text in NOT_CHINA},
    spelled={
        "6to4": ("2002:7272:7272::1",),
        "NAT64": (f"64:ff9b::{CHINESE}",),
        "IPv4-compatible": (f"::{CHINESE}",),
        "IPv4-translated": (f"::ffff:0:{CHINESE}",),
        "Teredo client behind an American server": (f"2001:0:808:808::{CLIENT}",),
        "Teredo server of an American client": ("2001:0:7272:7272::f7f7:f7f7",),
        "ISATAP in an American network": (f"2600::5efe:{CHINESE}",),
        "ISATAP, global, in an American network": (f"2600::200:5efe:{CHINESE}",),
    },
)
class GoldenTests(SynchronousTestCase):
    """The bundled data know the vendor's own addresses, in every spelling."""

    def check_china(self, text: str) -> None:
        """An edge in China, or run from there, has CN on some axis."""
        self.assertTrue(says_china(pack(text)), worlds.bundled().evidence(pack(text)))

    def check_not_china(self, text: str) -> None:
        """An edge elsewhere, run from elsewhere, has CN on no axis and evidence on all."""
        self.assertFalse(says_china(pack(text)))
        self.assertEqual(set(worlds.bundled().place(pack(text)).values), set(Axis))

    def check_spelled(self, text: str) -> None:
        """Another spelling of a Chinese address is no way round."""
        self.assertTrue(says_china(ipaddress.ip_address(text).packed))

    def test_mapped(self) -> None:
        """An IPv4-mapped address is its IPv4 address, also where nobody made it canonical."""
        atlas = worlds.bundled()
        mapped = bytes(10) + b"\xff\xff" + pack(CHINESE)
        self.assertIs(atlas.place(mapped), atlas.place(pack(CHINESE)))
        self.assertIs(atlas.place(pack(f"::ffff:{CHINESE}")), atlas.place(pack(CHINESE)))

    def test_every_row_is_judged(self) -> None:
        """The lists above hold every published address once, the vendor's labels right."""
        listed = [*VENDOR_SAYS_CHINA, *ON_MAINLAND_NETWORKS, *RUN_FROM_CHINA, *NOT_CHINA]
        self.assertEqual(sorted(listed), sorted(row["ip"] for row in golden()))
        labelled = [
            row["ip"]
            for row in golden()
            if row["vendor_stated_region"] == "CN" or "(CN)" in row["vendor_stated_region"]
        ]
        self.assertEqual(sorted(labelled), sorted(VENDOR_SAYS_CHINA))

    def test_announced_by(self) -> None:
        """The announcing networks are those that were looked up beside the golden file."""
        for row in golden():
            self.assertEqual(worlds.bundled().place(pack(row["ip"])).asns, (int(row["asn"]),))

    def test_dates_and_credits(self) -> None:
        """Each bundled source has a date and a licence, and DB-IP the credit that it asks for."""
        sources = worlds.bundled().sources
        self.assertEqual([source.name for source in sources[:2]], ["dbip-lite", "nro"])
        self.assertTrue(all(source.built and source.licence for source in sources))
        self.assertEqual(sources[0].credit, "IP Geolocation by DB-IP (https://db-ip.com)")

    def test_evidence(self) -> None:
        """Each source's word is shown with date and network; 114.114.114.114 is in China."""
        said = {
            (word.source, word.value): word for word in worlds.bundled().evidence(pack(CHINESE))
        }
        self.assertIn(("dbip-lite", "CN"), said)
        self.assertIn(("nro", "CN"), said)
        self.assertEqual(said["iptoasn", "AS21859"].prefix, "114.114.112.0/21")
        self.assertTrue(all(word.built and word.prefix for word in said.values()))


# A world of IPv4 and IPv6 with crowded edges, some inside one /64.
SAID: list[worlds.Said] = [
    ("", "", 0),
    ("US", "US", 64496),
    ("CN", "CN", 64497),
    ("SG", "HK", 64498),
    ("DE", "", 64499),
    ("", "AU", 0),
    ("SG", "SG", 64500),
]
V4 = [(at * 37 % 5 + at * 0x0800_0000, SAID[at % 7]) for at in range(32)]
V6 = [
    (0, SAID[0]),
    *((0x2400 << 112 | at << 64, SAID[at % 7]) for at in range(1, 9)),
    *((0x2400 << 112 | 9 << 64 | at * 3, SAID[at % 7]) for at in range(9)),
    (0x2600 << 112, SAID[1]),
]
OVERRIDES = (
    Override(network="192.0.2.0/24", reason="one", location="US"),
    Override(network="192.0.2.128/25", reason="two", operator="CN"),
    Override(network="2400:0:0:9::/64", reason="three", location="DE", registration="CN"),
)
EDGES = [
    edge + step
    for edge in (*(start for start, _ in V4), 0x0A000000, 0xC0000200, 0xC0000280, 0xC0000300)
    for step in (-1, 0, 1)
    if 0 <= edge + step < 1 << 32
]
EDGES6 = [start + step for start, _ in V6[1:] for step in (-1, 0, 1)]
ADDRESSES = (
    st.sampled_from(EDGES).map(lambda number: number.to_bytes(4))
    | st.sampled_from(EDGES6).map(lambda number: number.to_bytes(16))
    | st.binary(min_size=4, max_size=4)
    | st.binary(min_size=16, max_size=16)
    | st.binary(min_size=14, max_size=14).map(lambda tail: b"\x20\x02" + tail)
    | st.binary(min_size=12, max_size=12).map(lambda tail: b"\x20\x01\0\0" + tail)
    | st.binary(min_size=4, max_size=4).map(lambda tail: b"\0\x64\xff\x9b" + bytes(8) + tail)
)


def slow_values(atlas: Atlas, address: bytes) -> dict[Axis, set[str]]:
    """Work an address out by walking through everything: the reference."""
    inner = list(atlas.embedded(address))
    if inner:
        spelling = [entry.network for entry in table() if entry.is_spelling]
        ip = ipaddress.ip_address(address)
        outer = [] if any(ip in network for network in spelling) else [address]
        found: dict[Axis, set[str]] = {}
        for each in (*outer, *inner):
            for axis, said in slow_own(each).items():
                found.setdefault(axis, set()).update(said)
        return found
    return slow_own(address)


def slow_own(address: bytes) -> dict[Axis, set[str]]:
    """Work one address out, without those inside it."""
    ip = ipaddress.ip_address(address)
    words = [each for each in OVERRIDES if ip in ipaddress.ip_network(each.network)]
    if words:
        word = max(words, key=lambda each: ipaddress.ip_network(each.network).prefixlen)
        named = (word.location, word.registration, word.operator)
        said = zip(Axis, (value or word.location for value in named), strict=True)
        return {axis: {value} for axis, value in said if value}
    if any(ip in entry.network for entry in table()):
        return {}
    rows_ = V4 if ip.version == 4 else V6
    location, registration, asn = [said for start, said in rows_ if start <= int(ip)][-1]
    operators = next(each[1:] for each in worlds.NETWORKS if each[0] == asn)
    columns = ({location}, {registration}, set(operators))
    pairs = zip(Axis, (column - {""} for column in columns), strict=True)
    return {axis: column for axis, column in pairs if column}


def holds(prefix: str, text: str) -> bool:
    """Tell whether a CIDR or "first-last" holds an address."""
    if "/" in prefix:
        network = ipaddress.ip_network(prefix)
        first, last = network.network_address.packed, network.broadcast_address.packed
    else:
        first, last = (ipaddress.ip_address(end).packed for end in prefix.split("-"))
    return first <= ipaddress.ip_address(text).packed <= last


class AtlasTests(SynchronousTestCase):
    """Any address has a place, and the right one."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.atlas = worlds.atlas(folder, worlds.bundle(V4, V6), *OVERRIDES)

    @settings(deadline=None, max_examples=600)
    @given(address=ADDRESSES)
    def test_agrees_with_the_reference(self, address: bytes) -> None:
        """Every address has the values that a walk through all networks finds."""
        place = self.atlas.place(address)
        found = {axis: set(said) for axis, said in place.values.items()}
        self.assertEqual(found, slow_values(self.atlas, address), unpack(address))
        self.assertIs(self.atlas.place(address), place)

    @settings(deadline=None, max_examples=200)
    @given(address=ADDRESSES)
    def test_evidence_agrees_with_the_place(self, address: bytes) -> None:
        """What is shown is what counts, and each word's network holds the address it is about."""
        said = self.atlas.evidence(address)
        values = {(word.axis, word.value) for word in said if not word.value.startswith("AS")}
        place = self.atlas.place(address)
        self.assertEqual(values, {(axis, v) for axis, vs in place.values.items() for v in vs})
        self.assertEqual(
            {f"AS{asn}" for asn in place.asns},
            {w.value for w in said} - {value for _, value in values},
        )
        for word in said:
            _, _, about = word.source.partition(" for ")
            self.assertTrue(holds(word.prefix, about.split()[0] if about else unpack(address)))

    def test_every_edge(self) -> None:
        """The first and last address of every segment belong to it."""
        for number in EDGES:
            address = number.to_bytes(4)
            place = self.atlas.place(address)
            found = {axis: set(said) for axis, said in place.values.items()}
            self.assertEqual(found, slow_own(address), unpack(address))
        for number in EDGES6:
            address = number.to_bytes(16)
            place = self.atlas.place(address)
            found = {axis: set(said) for axis, said in place.values.items()}
            self.assertEqual(found, slow_own(address), unpack(address))

    def test_other_lengths(self) -> None:
        """What is no address is our error, never another."""
        for length in (0, 3, 5, 15, 17):
            self.assertRaises(AddressError, self.atlas.place, bytes(length))
            self.assertRaises(AddressError, self.atlas.evidence, bytes(length))

    def test_both_columns_of_the_operator(self) -> None:
        """The AS's own country and its owner's both count."""
        own = next(start for start, said in V4 if said == SAID[3])
        place = self.atlas.place(own.to_bytes(4))
        self.assertEqual(place.values[Axis.OPERATOR], ("HK", "CN"))
        self.assertEqual(place.asns, (64498,))

    def test_plainly_absent_is_no_doubt(self) -> None:
        """An axis without evidence is absent; that alone is no doubt about the others."""
        own = next(start for start, said in V4 if said == SAID[4])
        place = self.atlas.place(own.to_bytes(4))
        self.assertEqual((dict(place.values), place.doubts), ({Axis.LOCATION: ("DE",)}, ()))

    def test_gap_of_one_of_several_is_a_doubt(self) -> None:
        """Where one of the addresses in an address lacks an axis, the others do not hide it."""
        atlas = of_overrides_only(
            Override(network="198.51.100.0/24", reason="all", location="US"),
            Override(network="203.0.113.0/24", reason="one", operator="US"),
        )
        server, client = pack("198.51.100.1"), bytes(o ^ 255 for o in pack("203.0.113.1"))
        place = atlas.place(b"\x20\x01\0\0" + server + bytes(4) + client)
        self.assertEqual(place.values[Axis.LOCATION], ("US",))
        self.assertEqual(
            place.doubts,
            (
                "no evidence of location for all addresses in it",
                "no evidence of registration for all addresses in it",
            ),
        )

    def test_doubt_inside_is_a_doubt(self) -> None:
        """A 6to4 address of a private address has the private address's doubt."""
        (doubt,) = self.atlas.place(pack("2002:a00:1::1")).doubts
        self.assertIn("RFC 1918", doubt)

    def test_evidence_names_the_embedded_address(self) -> None:
        """A word on an embedded address says which, and in what form it was found."""
        sources = [word.source for word in self.atlas.evidence(pack("2002:c000:205::1"))]
        self.assertEqual(sources, ["override: one for 192.0.2.5 (6to4)"] * 3)

    def test_embedded(self) -> None:
        """The embedded addresses can be asked for, for rules about networks."""
        self.assertEqual(self.atlas.embedded(pack("2002:c000:205::1")), (pack("192.0.2.5"),))
        self.assertEqual(self.atlas.embedded(pack("192.0.2.5")), ())
