"""The rules of router mode.  Owns: Router → Table; the lock-down's table.
Knows: nft(8), netfilter's hooks; docs/architecture.md, "Router mode".  Never: applying them.

    prerouting -149  ask      who need not ask: flows judged in this epoch; who dies: denied places;
                              what asks goes to Python; nobody listens: dropped
    prerouting -100  nat      to relays, and to the local proxy
    forward    -151  keep     verdicts are stored, blocks remembered; no verdict, no way; from
                              outside only answers
    input      -150  incoming what of the clients the gateway itself takes
    output     -300  replies  datagrams as from another address are not tracked
    postrouting 100  source   masquerading"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.kernel import asking, leaving
from gateway.kernel.asking import FAMILIES, MANNERS
from gateway.kernel.phrases import hook, shut
from gateway.kernel.router import OWN, Router
from gateway.kernel.table import Chain, Set, Table

# Elements of each set that remembers blocks; a full one forgets nothing, and what does not fit is
# judged again with its next packet.
_MAX_BLOCKED = 65_536
_PORTS = {"places": " . inet_service", "flows": " . inet_service . inet_service", "others": ""}


def render(router: Router) -> Table:
    """Give the table that a desired state means."""
    chains = (*asking.chains(router), *leaving.chains(router))
    return Table(router.name, router.epoch, tuple(_sets(router)), chains, router.policy)


def locked(name: str, clients: Iterable[str], numbers: Iterable[int] = ()) -> Table:
    """Give the table of a host on which no gateway runs: nothing of the clients passes.

    Args:    clients: the interfaces that they are behind; () locks all forwarding.
             numbers: likewise, as Router has them.
    """
    names, also = tuple(clients), tuple(numbers)
    behind = [f'iifname "{one}" ' for one in names] or [""]
    forward = Chain("keep", (*(f"{one}counter drop" for one in behind), *shut("iif", also)),
                    hook("filter", "forward", -150))  # fmt: skip
    # Answers of what was up before would tell of it.
    back = (*(f'oifname "{one}" counter drop' for one in names), *shut("oif", also))
    own = (*leaving.OWN, "icmp type echo-request accept", "icmpv6 type echo-request accept",
           *(f"{transport} dport {port} accept" for transport, port in OWN),
           "ct state established,related accept", "counter drop")  # fmt: skip
    incoming = (*(f'iifname "{one}" goto own' for one in names), *shut("iif", also))
    chains = (forward, Chain("back", back, hook("filter", "forward", -149)), Chain("own", own),
              Chain("incoming", incoming, hook("filter", "input", -150)))  # fmt: skip
    return Table(name, 0, (), chains)


def _sets(router: Router) -> Iterator[Set]:
    for family, _, kind in FAMILIES:
        for denial in asking.denials(router, family):
            octets = 4 if family == 4 else 16
            spec = f"type {kind}_addr; flags interval;"
            yield Set(denial.name, spec, octets, denial.ranges)
        for prefix, _, _, _ in MANNERS:
            for name, ports in _PORTS.items():
                kinds = f"{kind}_addr . {kind}_addr . inet_proto{ports}"
                limits = f"size {_MAX_BLOCKED}; flags dynamic,timeout; timeout {router.block_s}s;"
                spec = f"type {kinds}; {limits}"
                yield Set(f"{prefix}{name}{family}", spec, is_volatile=True)
