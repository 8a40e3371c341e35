"""The rules behind a verdict.  Owns: the chains that carry it out: to the proxy, to relays, onward;
what comes from outside; what is for the gateway itself.  Knows: marks, nft(8).
Never: the chains that ask."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.kernel.asking import FAMILIES, KEYS, MANNERS, REFUSAL
from gateway.kernel.marks import (
    ANSWER,
    DIRECT,
    EPOCH_MASK,
    JUDGE,
    LOOKS,
    LOOKS_MASK,
    PROVISIONAL,
    QUICK,
    REPLY,
    TARGET_MASK,
    epoch_before,
    mark,
    target_of,
)
from gateway.kernel.phrases import become, by_target, gain, has, hook, lacks, shut, straight
from gateway.kernel.router import Router
from gateway.kernel.table import Chain


def chains(router: Router) -> Iterator[Chain]:
    """Give the chains of forward and of what is around it.  A hook costs every packet something, so
    those that have nothing to do are left out, and the others begin with what fails first."""
    yield from _targets(router)
    for prefix, _, place, flow in MANNERS:
        yield Chain(f"{prefix}remembered", tuple(_remembered(router, prefix, place, flow)))
    if router.relays or router.proxy is not None:
        yield Chain("nat", tuple(_nat(router)), hook("nat", "prerouting", -100))
    yield Chain("outside", tuple(_outside(router)))
    yield Chain("late", tuple(_late(router)))
    yield Chain("provisional", tuple(_provisional(router)))
    yield Chain("leave", tuple(_leave(router)))
    # Before mangle (-150), for the same reason as chain ask is after it.
    yield Chain("keep", tuple(_keep(router)), hook("filter", "forward", -151))
    yield Chain("own", tuple(_own(router)))
    incoming = (f'iifname "{name}" goto own' for name in router.clients)
    own = (*incoming, *shut("iif", router.numbers))
    yield Chain("incoming", own, hook("filter", "input", -150))
    reply = f"{has(TARGET_MASK, mark(0, REPLY))} notrack"
    yield Chain("replies", (reply,), hook("filter", "output", -300))
    if source := tuple(_source(router)):
        yield Chain("source", source, hook("nat", "postrouting", 100))


def clients_of(router: Router) -> str:
    """Write the set of the clients' interfaces."""
    return "{ " + ", ".join(f'"{name}"' for name in router.clients) + " }"


def _targets(router: Router) -> Iterator[Chain]:
    """One chain a target, for its number as a constant."""
    for number in (DIRECT, *router.targets):
        yield Chain(f"remember_{number}", tuple(_remember(mark(router.epoch, number))))
    yield Chain("remember_quick", tuple(_remember(mark(router.epoch, DIRECT, QUICK))))
    for relay in router.relays:
        ways = [
            f"{ip} daddr {at.host} goto remember_{relay.target}"
            for at, ip in ((relay.v4, "ip"), (relay.v6, "ip6"))
            if at
        ]
        yield Chain(f"leave_{relay.target}", (*ways, "counter drop"))
    for one in router.exits:
        way = f'oifname "{one.interface}" goto remember_{one.target}'
        yield Chain(f"leave_{one.target}", (way, "counter drop"))
    if router.proxy is not None:  # what is for the proxy is not forwarded
        yield Chain(f"leave_{router.proxy.target}", ("counter drop",))
    among = (f'oifname "{name}" goto remember_{DIRECT}' for name in router.clients)
    ways = ["meta l4proto udp goto remember_quick", f"goto remember_{DIRECT}"]
    yield Chain(f"leave_{DIRECT}", (*among, *ways))


def _remember(now: int) -> Iterator[str]:
    judged = EPOCH_MASK | TARGET_MASK | PROVISIONAL
    is_new = lacks(judged, now & judged, "ct")
    yield f"{is_new} {lacks(EPOCH_MASK, now & EPOCH_MASK)} accept"  # chain late
    if target_of(now) == DIRECT:  # where NAT has sent it elsewhere, it is not direct
        yield f"{is_new} ct status dnat counter drop"
    yield f"{is_new} {become(now, of='ct')}"
    yield f"{has(LOOKS_MASK, 0)} accept"
    for look in LOOKS:
        yield f"{has(look, look)} {gain(look, 'ct')}"
    yield "accept"


def _remembered(router: Router, prefix: str, place: int, flow: int) -> Iterator[str]:
    """Carry out a block that Python gave, and remember it: the next packets do not ask."""
    yield become(mark(router.epoch, flow), of="ct")
    for family, ip, _ in FAMILIES:
        for name, target in (("places", place), ("flows", flow)):
            key = KEYS[name].format(ip=ip)
            of_ports = f"{has(TARGET_MASK, mark(0, target))} meta l4proto {{ tcp, udp }}"
            yield f"{of_ports} update @{prefix}{name}{family} {{ {key} }}"
        key = KEYS["others"].format(ip=ip)
        yield f"meta l4proto != {{ tcp, udp }} update @{prefix}others{family} {{ {key} }}"
    if prefix:
        yield from REFUSAL
    yield "counter drop"


def _nat(router: Router) -> Iterator[str]:
    behind = f"iifname {clients_of(router)}"
    if router.proxy is not None:
        # Not tproxy: it needs an ip rule, and any makes the kernel look every packet's way up in
        # several tables, and its source's: a quarter of all that it could forward.
        which = f"{has(TARGET_MASK, mark(0, router.proxy.target))} meta l4proto tcp"
        yield f"{which} {behind} redirect to :{router.proxy.port}"
    for relay in router.relays:
        which = f"{has(TARGET_MASK, mark(0, relay.target))} meta l4proto {{ tcp, udp }}"
        for at, ip in ((relay.v4, "ip"), (relay.v6, "ip6")):
            if at is not None:
                yield f"{which} {behind} dnat {ip} to {at}"


def _keep(router: Router) -> Iterator[str]:
    # Nearly all packets: chain ask itself let them go.
    yield f"{straight(router.epoch)} accept"
    for name in router.clients:
        yield f'iifname "{name}" goto leave'
    yield from shut("iif", router.numbers)
    yield "goto outside"


def _leave(router: Router) -> Iterator[str]:
    yield f"{lacks(EPOCH_MASK | JUDGE, mark(router.epoch))} goto late"
    for prefix, _, place, flow in MANNERS:
        for target in (flow, place):
            yield f"{has(TARGET_MASK, mark(0, target))} goto {prefix}remembered"
    yield f"{has(PROVISIONAL, PROVISIONAL)} goto provisional"
    yield from by_target((DIRECT, *router.targets), "meta", "goto", "leave")
    yield "counter drop"


def _late(router: Router) -> Iterator[str]:
    """A packet of an accepted flow that chain ask let go before the epoch changed may go on, and is
    remembered by nobody; Python's own answers of that time may not, for Python may be late."""
    before = mark(epoch_before(router.epoch))
    yield f"{lacks(EPOCH_MASK | JUDGE | PROVISIONAL | ANSWER, before)} counter drop"
    yield f"{has(EPOCH_MASK, 0, 'ct')} counter drop"
    yield from by_target((DIRECT, *router.targets), "meta", "goto", "leave")
    yield "counter drop"


def _provisional(router: Router) -> Iterator[str]:
    """Its answers may pass (a handshake needs them); the flow goes on asking."""
    now = mark(router.epoch, DIRECT, PROVISIONAL)
    yield f"{lacks(TARGET_MASK, 0)} counter drop"
    stored = EPOCH_MASK | TARGET_MASK | PROVISIONAL
    yield f"{lacks(stored, now, 'ct')} {become(now, of='ct')}"
    yield "accept"


def _outside(router: Router) -> Iterator[str]:
    for number in router.numbers:
        yield f"oif {number} oifname != {clients_of(router)} counter drop"
    yield f"oifname != {clients_of(router)} accept"
    for _, _, _, flow in MANNERS:
        yield f"{has(TARGET_MASK, mark(0, flow), 'ct')} counter drop"
    yield f"ct direction reply {lacks(EPOCH_MASK, 0, 'ct')} accept"
    yield "counter drop"


def _own(router: Router) -> Iterator[str]:
    if router.proxy is not None:
        now = mark(router.epoch, router.proxy.target)
        which = has(EPOCH_MASK | TARGET_MASK | JUDGE, now)
        stored = lacks(EPOCH_MASK | TARGET_MASK, now, "ct")
        yield f"{which} {stored} {become(now, of='ct')} accept"
        yield f"{which} accept"
    yield "ct state established,related ct direction reply accept"  # what the gateway asked for
    yield from OWN
    yield "icmp type echo-request accept"
    yield "icmpv6 type echo-request accept"
    for transport, port in router.own:
        yield f"{transport} dport {port} accept"
    yield "counter drop"


OWN = (
    "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, "
    "mld-listener-report, mld2-listener-report, mld-listener-done } accept",
)
"""What keeps a link up (RFC 4861, RFC 3810)."""


def _source(router: Router) -> Iterator[str]:
    clients = clients_of(router)
    for one in router.exits:
        if one.masquerade:
            yield f'iifname {clients} oifname "{one.interface}" masquerade'
    if router.masquerade:
        yield f"iifname {clients} oifname != {clients} masquerade"
