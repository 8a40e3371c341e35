"""Facts for tests.  Owns: short ways to write flows, places and policies.
Knows: the words of model.  Never: sockets."""

from __future__ import annotations

import datetime

from gateway.document import parse
from gateway.model import (
    Axis,
    Content,
    Facts,
    FlowKey,
    Identifier,
    IdentifierKind,
    Place,
    Protocol,
    Traffic,
)
from gateway.policy import Policy, compile_policy

TODAY = datetime.date(2026, 11, 23)
USER = Identifier(IdentifierKind.USER_ID, 10, 4)

CHINA = Place(dict.fromkeys(Axis, ("CN",)), asns=(37963,))
AMERICA = Place(dict.fromkeys(Axis, ("US",)), asns=(16509,))
HONG_KONG = Place({Axis.LOCATION: ("HK",), Axis.REGISTRATION: ("CN",), Axis.OPERATOR: ("US",)})
NOBODY = Place({}, doubts=("a private address (RFC 1918)",))


def facts(
    place: Place = AMERICA,
    traffic: Traffic | None = Traffic.PING,
    plaintext: tuple[Identifier, ...] | None = (),
    *,
    flow: str = "udp 10.1.0.2:5000 > 192.0.2.1:8000",
    protocol: Protocol = Protocol.AGORA,
    names: tuple[str, ...] = (),
    seen: bool = True,
) -> Facts:
    """Make facts; `seen=False`: no payload yet."""
    content = Content(protocol, "", traffic, plaintext) if seen else None
    return Facts(FlowKey.parse(flow), place, content, names)


def policy(text: str, today: datetime.date = TODAY) -> Policy:
    """Compile policy text, called policy.yaml in problems."""
    return compile_policy(parse(text, "policy.yaml"), today)
