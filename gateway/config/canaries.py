"""The shape of `canaries` in gateway.yaml.  Owns: which flows a gateway judges for itself.
Knows: pydantic.  Never: judging."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gateway.document import Section, readable
from gateway.model import FlowKey, pack


def _hex(text: str) -> str:
    try:
        bytes.fromhex(text)
    except ValueError as error:
        raise ValueError(f"hex: {error}") from error
    return text


class CanaryPayload(Section):
    """What the flow carries."""

    hex: Annotated[str, AfterValidator(_hex)]
    """Octets in hexadecimal, spaces allowed; in quotes."""


class CanaryExpect(Section):
    """What must become of it."""

    action: Literal["block", "wrap"]


class CanaryFlow(Section):
    """One flow that must be held."""

    flow: Annotated[str, readable(FlowKey.parse)]
    """Such as "udp 10.1.0.2:5000 > 118.190.148.38:8000"."""
    payload: CanaryPayload | None = None
    """Omitted: nothing was seen of it yet."""
    names: tuple[str, ...] = ()
    """What the client asked for."""
    expect: CanaryExpect


class Canaries(Section):
    """Flows that the gateway judges for itself, to see that they are still held."""

    every_s: Annotated[float, Field(ge=1)] = 300.0
    sent: bool = True
    """Whether they are also sent, by a client of the gateway's own through each listener."""
    clients: Annotated[tuple[Annotated[str, readable(pack)], ...], Field(max_length=2)] = (
        "192.0.0.8",
        "100::8",
    )
    """Whom router mode sends them from: an address of each family that no client has.  Omitted:
    IPv4's dummy address (RFC 7600), and one of IPv6's discard prefix (RFC 6666)."""
    flows: Annotated[tuple[CanaryFlow, ...], Field(max_length=64)] | None = None
    """Omitted: the cases of the policy in force that expect block or wrap; []: none."""
