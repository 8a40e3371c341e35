"""What `gateway init` makes.  Owns: a starter gateway.yaml and exit.yaml, their policies, and a
small certificate authority for both.  Knows: tunnel's authority, config's shape.
Never: overwriting what is there; running anything."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import Path

from gateway import envoy
from gateway.errors import InputError, Problem
from gateway.tunnel.authority import Authority, Role

_DAY = datetime.timedelta(days=1)
# The authority outlives the leaves, so that they can be renewed under it without a visit to each
# gateway.
_AUTHORITY_LIFETIME = 3650 * _DAY
_LEAF_LIFETIME = 825 * _DAY

# Host names (RFC 1123 section 2.1) and addresses; it is written into YAML and into a certificate.
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9a-fA-F:.]{2,45}")

GATEWAY_NAME = "gateway-1"
"""The DNS name in the first gateway's certificate."""

_GATEWAY = """\
# A starter for an app operator: change the exit's address, then `gateway check gateway.yaml`.
policy: policy.yaml
listeners:
  - {{kind: socks5, address: "{socks5}"}}          # TCP and UDP
  - {{kind: http-connect, address: "{http}"}}
exits:
  - name: exit-1
    kind: masque
    url: "https://{exit_host}:{exit_port}/.well-known/masque/udp/{{target_host}}/{{target_port}}/"
    ca: ca.pem
    certificate: gateway.pem
    key: gateway.key
geo:
  sources: [bundled]                                # also {{mmdb: PATH, axis: location}}
  max_age_days: {max_age_days}
{overrides}evidence: {{path: evidence/, required: false}}
"""

_EXIT = """\
# A starter for the exit that the gateway wraps to: run `gateway exit --config exit.yaml` there.
policy: exit-policy.yaml
exit:
  address: "{listen}:{exit_port}"
  certificate: exit.pem
  key: exit.key
  ca: ca.pem
  gateways: [{name}]
geo:
  sources: [bundled]
  max_age_days: {max_age_days}
{overrides}evidence: {{path: exit-evidence/, required: false}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a starter should say."""

    exit_host: str = "exit.example"
    """The name or address at which gateways reach the exit; its certificate is for this."""
    exit_port: int = 4433
    exit_listen: str = "0.0.0.0"
    """The address that the exit listens on."""
    socks5: str = "127.0.0.1:1080"
    http: str = "127.0.0.1:3128"
    max_age_days: int = 120
    envoy: bool = False
    """Also write what makes stock Envoy the exit."""
    overrides: str = ""
    """The `overrides` key of `geo`, indented, ending with a line break; "": none."""


def folder_of_policies() -> Path:
    """Give the folder of the policies that come with the gateway."""
    return Path(__file__).parent / "policies"


def write(directory: Path, plan: Plan, now: datetime.datetime) -> list[Path]:
    """Write a starter into a directory, which is made if it is not there.

    Returns: the files, in the order in which a person reads them.
    Raises:  InputError: a file of that name is there already, or the directory cannot be written.
    """
    if not _HOST.fullmatch(plan.exit_host):
        says = f'"{plan.exit_host}" is neither a host name nor an address'
        raise InputError([Problem("--exit-host", 0, 0, says)])
    policies = folder_of_policies()
    texts = {
        "gateway.yaml": _fill(_GATEWAY, plan),
        "policy.yaml": (policies / "default.yaml").read_text(encoding="utf-8"),
        "policy.cases.yaml": (policies / "default.cases.yaml").read_text(encoding="utf-8"),
        "exit.yaml": _fill(_EXIT, plan),
        "exit-policy.yaml": (policies / "exit.yaml").read_text(encoding="utf-8"),
    }
    if plan.envoy:
        # Not .yaml: commands that look into folders take those for policies.
        texts["envoy.yml"] = envoy.exit_configuration(
            listen=plan.exit_listen, port=plan.exit_port, gateway=GATEWAY_NAME
        )
    keys = [f"{stem}.{kind}" for stem in ("ca", "exit", "gateway") for kind in ("pem", "key")]
    there = [directory / name for name in (*texts, *keys) if (directory / name).exists()]
    if there:
        says = "is there already; it is not overwritten"
        raise InputError(Problem(str(path), 0, 0, says) for path in there)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError([Problem(str(directory), 0, 0, f"{error.strerror}")]) from error
    _write_certificates(directory, plan, now)
    return [directory / name for name in (*texts, *keys)]


def _fill(template: str, plan: Plan) -> str:
    return template.format(
        socks5=plan.socks5,
        http=plan.http,
        exit_host=f"[{plan.exit_host}]" if ":" in plan.exit_host else plan.exit_host,
        exit_port=plan.exit_port,
        listen=plan.exit_listen,
        max_age_days=plan.max_age_days,
        overrides=plan.overrides,
        name=GATEWAY_NAME,
    )


def _write_certificates(directory: Path, plan: Plan, now: datetime.datetime) -> None:
    authority = Authority.create("gateway authority", now=now, lifetime=_AUTHORITY_LIFETIME)
    authority.identity.write(directory, "ca")
    for stem, role, name in (
        ("exit", Role.EXIT, plan.exit_host),
        ("gateway", Role.GATEWAY, GATEWAY_NAME),
    ):
        authority.issue(role, [name], now=now, lifetime=_LEAF_LIFETIME).write(directory, stem)
