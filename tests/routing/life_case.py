"""Test cases of router mode's life.  Owns: a gateway with a policy of a few lines, floods, what may
not arrive.  Knows: RouterCase.  Never: what is tested."""

from __future__ import annotations

from collections.abc import Iterable

from tests.lab.router_case import RouterCase

FAMILIES = (0, 1)
"""IPv4 and IPv6, as indices of the pairs below."""
GOOD = ("203.0.113.7:4001", "[2001:db8:a::7]:4001")
DOUBTED = ("203.0.113.9:4001", "[2001:db8:a::9]:4001")
"""Allowed by the first policy, forbidden by the second."""
BAD = ("118.190.148.38:8000", "[2408:8000::38]:8000")

MEDIA = bytes.fromhex("80600001000000a011223344") + bytes(160)
"""RTP: once its flow is judged the kernel carries it without asking."""

POLICY = """\
policy: first
jurisdictions:
  mainland-china: {networks: [118.190.0.0/16, "2408::/16"]}
  doubted: {networks: [203.0.113.9, "2001:db8:a::9"]}
rules:
- {id: never, when: {to: mainland-china}, action: block}
- {id: named, when: {plaintext: any}, action: {wrap: nearest}}
- {id: rest, when: {to: {not: mainland-china}, plaintext: {not: any}}, action: allow}
"""
STRICTER = POLICY.replace("first", "second").replace(
    "rules:\n", "rules:\n- {id: no-more, when: {to: doubted}, action: block}\n"
)


class LifeCase(RouterCase):
    """A gateway with a policy of a few lines, floods, and what may not arrive."""

    POLICY = POLICY

    def numbers(self, to: str) -> list[int]:
        """Give the numbers of a flood's datagrams that arrived at an endpoint, sorted: one that is
        judged once more is overtaken."""
        media = [octets for octets in self.arrived(to) if len(octets) == len(MEDIA)]
        return sorted(int.from_bytes(octets[-4:], "big") for octets in media)

    def assert_whole(self, to: str, sent: int, but: int = 0) -> None:
        """Wait until every datagram of a flood has arrived, but for so many, and for what a host
        with more to do than processors dropped, and counted, before any rule met it."""

        def lost() -> set[int]:
            return set(range(sent)).difference(self.numbers(to))

        def allowed() -> int:
            return self.lost_elsewhere() + but

        self.wait(lambda: self.count(to) >= sent - allowed() and len(lost()) <= allowed())
        self.assertLessEqual(len(lost()), allowed(), f"of {sent}: {sorted(lost())}")

    def assert_none(self, endpoints: Iterable[str]) -> None:
        """Check that nothing at all passed the uplink to or from these addresses."""
        self.assertEqual(self.uplink.missed, 0)
        self.assertEqual(self.uplink.between(*map(self.host, endpoints)), [])

    def grows(self, to: str, by: int = 100) -> None:
        """Wait until so many more datagrams of a flood have arrived."""
        before = self.count(to)
        self.until(lambda: self.count(to) >= before + by, f"too little arrives at {to}")
