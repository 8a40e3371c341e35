"""What a host lacks.  Owns: the sentences that say what router mode misses here, and how to get it.
Knows: capabilities(7), /proc/sys/net.  Never: changing anything."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from gateway.errors import CarryError
from gateway.kernel import bpf_calls, compat, nft

_CAP_NET_ADMIN = 12
_CAP_NET_RAW = 13
_CAP_BPF = 39
_FAST_PATH = (6, 6)
_SYSCTL = Path("/proc/sys")
_FORWARDING = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")


def has_capability(number: int, status: Path = Path("/proc/self/status")) -> bool:
    """Say whether this process has a capability in effect."""
    for line in status.read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def missing(
    clients: Iterable[str] = (),
    exits: Iterable[str] = (),
    uplinks: Iterable[str] = (),
    *,
    sysctl: Path = _SYSCTL,
) -> list[str]:
    """Say in sentences what this host lacks for router mode; []: nothing.

    Args:    clients, exits: the interfaces that the configuration names; uplinks: those that the
             fast path shall be to.
    """
    wanted = tuple(uplinks)
    found = list(_settings((*clients, *wanted), tuple(exits), sysctl))
    if wanted and (reason := no_fast_path()) is not None:
        found.append(reason)
    if not has_capability(_CAP_NET_ADMIN):
        found.append(
            "this process may not change the network: run it as root, or give it CAP_NET_ADMIN "
            "(AmbientCapabilities= in a systemd unit)"
        )
        return found
    return [*found, *_kernel()]


def no_fast_path() -> str | None:
    """Say in a sentence why this host has no fast path; None: it has."""
    release = tuple(int(one) for one in re.findall(r"\d+", os.uname().release)[:2])
    if release < _FAST_PATH:
        return f"no fast path: the kernel is {os.uname().release}, expected 6.6 or newer"
    if not has_capability(_CAP_BPF) or not has_capability(_CAP_NET_ADMIN):
        return "no fast path: it needs CAP_BPF (AmbientCapabilities= in a systemd unit), or root"
    try:
        os.close(bpf_calls.create_map(bpf_calls.ARRAY, 4, 4, 1))
    except CarryError as error:
        return f"no fast path: the kernel, or who guards its calls, refuses it: {error}"
    return None


def _kernel() -> Iterator[str]:
    path = "/usr/sbin:/sbin:/usr/bin:/bin"
    if shutil.which("nft", path=path) is None and shutil.which("nft") is None:
        yield "nft is not installed: install the package nftables, 1.0.6 or newer"
        return
    try:
        queue, redirect = nft.has_queue() or compat.has_target(), nft.has_redirect()
    except CarryError as error:
        yield f"nft does not work: {error}"
        return
    if not queue:
        yield (
            "no way to the queue: the kernel has neither nft's queue statement (CONFIG_NFT_QUEUE, "
            "module nft_queue) nor the target NFQUEUE for nft (CONFIG_NFT_COMPAT and "
            "CONFIG_NETFILTER_XT_TARGET_NFQUEUE, modules nft_compat and xt_NFQUEUE)"
        )
    if not redirect:
        yield (
            "the kernel has no nft redirect statement (CONFIG_NFT_REDIR, module nft_redir): TCP "
            "flows cannot be wrapped"
        )


def _settings(clients: tuple[str, ...], exits: tuple[str, ...], sysctl: Path) -> Iterator[str]:
    for name in _FORWARDING:
        value = _read(sysctl / name)
        if value is None:
            yield f"the kernel has no {name}: it does not speak that protocol"
        elif value == "0":
            yield f"forwarding is off: sysctl -w {name.replace('/', '.')}=1"
    for one in (*clients, *exits):
        # An interface that is not there has no settings; ".", in a name, is "/" in sysctl's own.
        if _read(sysctl / f"net/ipv4/conf/{one}/rp_filter") is None:
            yield f"there is no interface {one}"
    for one in exits:
        values = [_read(sysctl / f"net/ipv4/conf/{name}/rp_filter") for name in ("all", one)]
        if max(int(value or 0) for value in values) == 1:
            yield (
                f"answers through {one} would be dropped by the strict reverse path filter: "
                f"sysctl -w net.ipv4.conf.{one}.rp_filter=2"
            )


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
