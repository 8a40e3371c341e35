"""Any policy, over small worlds.  Owns: three atlases with every gap in their evidence, and
hypothesis's policies that ask for what is in them.  Never: the bundled data."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from gateway.geo import Atlas, Mmdb, Override
from gateway.model import Axis
from tests.geo import worlds

# A world of every gap in the evidence: (location, registration, AS).  64497 and 64498 are run from
# China, nobody knows where 64499 is run from.
_SAID: tuple[worlds.Said, ...] = (
    ("", "", 0),
    ("US", "US", 64496),
    ("CN", "CN", 64497),
    ("HK", "HK", 64498),
    ("US", "", 0),
    ("", "CN", 0),
    ("US", "US", 64499),
    ("US", "US", 0),
    ("CN", "US", 64496),
    ("", "", 64496),
)
_V4 = ((0, _SAID[0]), *((at << 24, said) for at, said in enumerate(_SAID, 1)))
_V6 = ((0, _SAID[0]), *((0x2400 + at << 112, said) for at, said in enumerate(_SAID)))
HOSTS = [f"{at}.2.3.4" for at in range(1, 13)]


@cache
def atlases() -> tuple[Atlas, ...]:
    """Make the world thrice: as it is, with overrides and a NAT64 of its own, with a database."""
    with tempfile.TemporaryDirectory() as name:
        return _atlases(Path(name))  # an open database outlives its file


def _atlases(folder: Path) -> tuple[Atlas, ...]:
    bundle = worlds.bundle(_V4, _V6)
    overrides = [
        Override(network="2.2.0.0/16", location="US", reason="a test"),
        Override(network="2.2.3.0/24", registration="CN", reason="a test"),
        Override(network="2402:1::/32", location="US", reason="a test"),
        Override(network="::/64", location="CN", reason="a test"),
    ]
    own = {
        "2.0.0.0/7": {"country": {"iso_code": "US"}},
        "5.0.0.0/8": _record("CN"),
        "2400::/12": _record("US"),
    }
    file = worlds.write_mmdb(folder / "own.mmdb", own)
    own_as = worlds.write_mmdb(
        folder / "as.mmdb", {"4.0.0.0/6": {"autonomous_system_number": 64499}}
    )
    return (
        worlds.atlas(folder, bundle),
        worlds.atlas(folder, bundle, *overrides, nat64_prefixes=["2401:64::/32", "fd00:64::/96"]),
        worlds.atlas(
            folder,
            bundle,
            databases=[Mmdb(file, Axis.LOCATION), Mmdb(own_as, Axis.OPERATOR)],
            today=datetime.now(UTC).date(),
        ),
    )


def _record(country: str) -> dict[str, Any]:
    return {"country": {"iso_code": country}}


_COUNTRIES = st.lists(st.sampled_from(("CN", "US", "HK")), min_size=1, max_size=2, unique=True)
_ASNS = st.lists(st.sampled_from((64496, 64497, 64499)), min_size=1, max_size=2, unique=True)
_NETWORKS = st.lists(
    st.sampled_from(
        (
            "2.2.3.0/24",
            "2.0.0.0/7",
            "9.0.0.0-11.2.3.4",
            "2400::/14",
            "2402::/17",
            "::/0",
            "0.0.0.0/0",
        )
    ),
    max_size=2,
    unique=True,
)
NAMES = ["*.example.cn"]


@st.composite
def _jurisdiction(draw: st.DrawFn) -> dict[str, Any]:
    axes = draw(st.lists(st.sampled_from(list(Axis)), max_size=3, unique=True))
    section: dict[str, Any] = {str(axis): draw(_COUNTRIES) for axis in axes}
    if draw(st.integers(0, 3)) == 0 or not section:
        section["asns"] = draw(_ASNS)
    if draw(st.integers(0, 3)) == 0:
        section["networks"] = draw(_NETWORKS)
    if draw(st.integers(0, 3)) == 0:
        section["except"] = {"networks": draw(_NETWORKS)}
    if draw(st.integers(0, 2)) == 0:
        section["names"] = NAMES
    if axes and draw(st.integers(0, 2)) == 0:
        section["agreement"] = "all"
    return section


_LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "to": st.lists(st.sampled_from(("a", "b")), min_size=1, max_size=2, unique=True),
    "asn": _ASNS,
    "traffic": st.sampled_from(("ping", "media", "other")),
    "protocol": st.sampled_from(("stun", "unknown", "icmp", "http")),
    "plaintext": st.sampled_from(("any", "user-id")),
    "transport": st.sampled_from(("udp", "icmp", ["udp", "tcp", "icmp", "other"])),
    "port": st.sampled_from((443, "0-65535")),
    "from": st.just("10.1.0.0/16"),
}


@st.composite
def _when(draw: st.DrawFn, blocks: bool, positive: bool = True, depth: int = 2) -> dict[str, Any]:
    may_name = blocks or not positive
    keys = draw(st.lists(st.sampled_from(list(_LEAVES)), max_size=2, unique=True))
    if draw(st.booleans()) and "to" not in keys:
        keys.append("to")
    section: dict[str, Any] = {}
    for key in keys:
        value = draw(_LEAVES[key])
        section[key] = {"not": value} if draw(st.integers(0, 2)) == 0 else value
    if draw(st.integers(0, 5)) == 0:
        # What does not block may rule a name out, and not ask for one.
        section["name"] = NAMES if may_name else {"not": NAMES}
    if depth and draw(st.integers(0, 3)) == 0:
        key = draw(st.sampled_from(("any", "all", "not")))
        if key == "not":
            section[key] = draw(_when(blocks, not positive, depth - 1))
        else:
            section[key] = [draw(_when(blocks, positive, depth - 1)) for _ in range(2)]
    return section


_ACTIONS = ("block", "block", "block", {"block": "refuse"}, "allow", {"wrap": "nearest"})


@st.composite
def _rule(draw: st.DrawFn, at: int, actions: Sequence[Any] = _ACTIONS) -> dict[str, Any]:
    action = draw(st.sampled_from(actions))
    blocks = action == "block" or action == {"block": "refuse"}
    rule = {"id": f"r{at}", "when": draw(_when(blocks)), "action": action}
    match draw(st.integers(0, 9)):
        case 0:
            rule["mode"] = "shadow"
        case 1:
            rule["shadow"] = {"percent": 50}
        case 2 | 3:
            rule["expires"] = "2026-01-01"
    return rule


@st.composite
def policies(draw: st.DrawFn) -> str:
    default = draw(st.sampled_from(("block", "block", "block", {"block": "refuse"}, "allow")))
    return json.dumps(
        {
            "policy": "p",
            "default": default,
            "mode": "shadow" if draw(st.integers(0, 19)) == 0 else "enforce",
            "jurisdictions": {"a": draw(_jurisdiction()), "b": draw(_jurisdiction())},
            "rules": [draw(_rule(at)) for at in range(draw(st.integers(0, 4)))],
        }
    )


@st.composite
def allow_lists(draw: st.DrawFn) -> str:
    """Give a policy that blocks, in one way, all but what is on its lists."""
    block = draw(st.sampled_from(("block", {"block": "refuse"})))
    actions = ("allow", "allow", {"wrap": "nearest"}, block)
    rules = [draw(_rule(at, actions)) for at in range(draw(st.integers(1, 4)))]
    for rule in rules:
        if "to" not in rule["when"] and "not" not in rule["when"]:
            rule["when"]["to"] = draw(st.sampled_from(("a", "b", {"not": "b"})))
    return json.dumps(
        {
            "policy": "p",
            "default": block,
            "jurisdictions": {"a": draw(_jurisdiction()), "b": draw(_jurisdiction())},
            "rules": rules,
        }
    )
