"""The net under the canaries.  Owns: a table of its own that lets no packet of theirs leave the
host, and says which tried to.  Knows: nft(8).  Never: the gateway's rules, which it is held
against: it stands where packets leave, behind all that judges them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from gateway.errors import CarryError
from gateway.kernel import readback
from gateway.kernel.command import run

TABLE = "gateway-canaries"
# Behind every chain that filters, and before addresses are translated (srcnat, 100): ports are the
# sender's own.
_PRIORITY = 99
_MAX_ESCAPED = 1_024


@dataclass(frozen=True, slots=True)
class Escaped:
    """Packets that the net caught."""

    interface: str
    """By which they would have left."""
    protocol: str
    """As nft calls it: "udp", "tcp", "icmp", "ipv6-icmp"."""
    port: int
    """The sender's; of protocols without ports, the first two octets behind the IP header."""


class Net:
    """Catches what came in by one interface and is about to leave by another."""

    def __init__(self, name: str = TABLE) -> None:
        self._name = name

    def spread(self, number: int) -> None:
        """Put it there, for an interface of this number; blocks for milliseconds.

        Raises:  CarryError: nft refused.
        """
        # It stays while a gateway runs: the kernel drops what waits in queues when a hook goes.
        run("nft", "-f", "-", text=f"add table inet {self._name}\n{_rules(self._name, number)}")

    def is_spread(self) -> bool:
        """Say whether it is there, whole; raises CarryError."""
        return readback.has_table(self._name) and bool(readback.drops(self._name))

    def caught(self) -> tuple[Escaped, ...]:
        """Give what it caught since it was last emptied.

        Raises:  CarryError: it is not there, or nft's answer cannot be read.
        """
        said = run("nft", "-j", "list", "set", "inet", self._name, "escaped")
        try:
            elements = [
                one["elem"]["val"]["concat"]
                for item in json.loads(said)["nftables"]
                if "set" in item
                for one in item["set"].get("elem", ())
            ]
            return tuple(Escaped(str(a), str(b), int(c)) for a, b, c in elements)
        except (KeyError, TypeError, ValueError) as error:
            raise CarryError(self._name, "nft's answer cannot be read") from error

    def empty(self) -> None:
        """Forget what it caught; raises CarryError."""
        run("nft", "-f", "-", text=f"flush set inet {self._name} escaped\n")

    def remove(self) -> bool:
        """Take it away; False if it was not there.

        Raises:  CarryError: nft refused.
        """
        if not readback.has_table(self._name):
            return False
        run("nft", "-f", "-", text=f"delete table inet {self._name}\n")
        return True


def _rules(name: str, number: int) -> str:
    kind = "type ifname . inet_proto . inet_service"
    hook = f"type filter hook postrouting priority {_PRIORITY}; policy accept;"
    leaves = f"iif {number} oif != {number}"
    limits = f"size {_MAX_ESCAPED}; flags dynamic; counter;"
    key = "oifname . meta l4proto . th sport"
    return "\n".join(
        (
            f"add set inet {name} escaped {{ {kind}; {limits} }}",
            f"add chain inet {name} net {{ {hook} }}",
            f"flush chain inet {name} net",
            f"add rule inet {name} net {leaves} update @escaped {{ {key} }}",
            f"add rule inet {name} net {leaves} counter drop",
            "",
        )
    )
