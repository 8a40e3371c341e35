"""Stock Envoy as an exit.  Owns: its configuration.  Knows: Envoy's fields, in envoy.yaml beside;
the registries of special-purpose addresses.  Never: running it, keys."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from string import Template

from gateway.geo import special

_MATCHER = (
    "type.googleapis.com/envoy.extensions.rbac.matchers.upstream_ip_port.v3.UpstreamIpPortMatcher"
)
_PERMISSION = """\
                    - matcher:
                        name: envoy.rbac.matchers.upstream_ip_port
                        typed_config:
                          "@type": $matcher
                          upstream_ip: {address_prefix: "$address", prefix_len: $length}"""
_NAME = re.compile(r"[A-Za-z0-9.-]{1,253}")


def barred() -> tuple[special.Network, ...]:
    """Give what no exit dials: addresses that are in nobody's jurisdiction, or spell others."""
    networks = {one.network for one in special.table()}
    outer = (
        one
        for one in networks
        if not any(
            one != other and one.version == other.version and one.subnet_of(other)  # type: ignore[arg-type]  # versions are equal
            for other in networks
        )
    )
    return tuple(sorted(outer, key=lambda one: (one.version, one)))


def exit_configuration(
    *,
    listen: str,
    port: int,
    gateway: str,
    networks: Iterable[special.Network] | None = None,
    udp_idle_s: int = 120,
    tcp_idle_s: int = 7440,
) -> str:
    """Write the configuration of an Envoy that is an exit.

    Args:    listen: an address; gateway: the DNS name in the certificate of the gateway that may
             come in; networks: what it does not dial; None: barred().
             udp_idle_s, tcp_idle_s: silence that ends a flow (RFC 9298 section 3.1: not under two
             minutes; RFC 5382 section 5: not under 2 h 4 min).
    """
    assert _NAME.fullmatch(gateway), "a DNS name"
    template = Template((Path(__file__).parent / "envoy.yaml").read_text(encoding="utf-8"))
    permissions = [
        Template(_PERMISSION).substitute(
            matcher=_MATCHER, address=one.network_address, length=one.prefixlen
        )
        for one in (barred() if networks is None else networks)
    ]
    return template.substitute(
        listen=listen,
        port=port,
        name=gateway,
        permissions="\n".join(permissions),
        udp_idle_s=udp_idle_s,
        tcp_idle_s=tcp_idle_s,
    )
