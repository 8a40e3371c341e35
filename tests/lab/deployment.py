"""A gateway and its exit in the lab.  Owns: their configuration and processes, what they decided.
Knows: `gateway init`'s starter, `gateway run`, `gateway exit`.  Never: what should be decided."""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path
from typing import Any

from gateway import starter
from gateway.model import Endpoint
from tests.lab.process import Process
from tests.lab.topology import Lab, Space

_COMMAND = Path(sys.executable).with_name("gateway")
_EXIT_PORT = 4433

# The addresses that the captures of this project made up are nobody's jurisdiction: in the lab they
# are in the United States, and so are the lab's own.  The bundled data may be of any age.
_ANY_AGE_DAYS = 36_500
_OVERRIDES = """\
  overrides:
    - {network: 198.51.100.0/24, location: US, operator: US, reason: a stand-in access point}
    - {network: 203.0.113.0/24, location: US, operator: US, reason: a stand-in edge}
    - {network: 192.0.2.0/24, location: US, operator: US, reason: the lab's exit}
    - {network: 10.98.7.0/24, location: US, operator: US, reason: the capture's own resolver}
"""


class Deployment:
    """`gateway run` in the gateway's namespace and `gateway exit` in the exit's."""

    SOCKS5 = Endpoint.of(Lab.GATEWAY[0], 1080)
    """Where the gateway's SOCKS 5 listener is."""
    EXIT = Endpoint.of(Lab.EXIT[0], _EXIT_PORT)
    """Where the exit is."""

    def __init__(self, lab: Lab, folder: Path, policy: Path | None = None) -> None:
        """Write the configuration of both; nothing runs before `start`.

        Args:    folder: does not exist, or is empty.  policy: omitted: the default one.
        """
        self._lab = lab
        self.folder = folder
        plan = starter.Plan(
            exit_host=self.EXIT.host,
            exit_port=self.EXIT.port,
            exit_listen=self.EXIT.host,
            socks5=str(self.SOCKS5),
            http=f"{self.SOCKS5.host}:3128",
            max_age_days=_ANY_AGE_DAYS,
            overrides=_OVERRIDES,
        )
        starter.write(folder, plan, datetime.datetime.now(datetime.UTC))
        if policy is not None:
            path = folder / "gateway.yaml"
            own = f"policy: {json.dumps(str(policy.resolve()))}"
            path.write_text(path.read_text().replace("policy: policy.yaml", own, 1))
        self.gateway: Process
        self.exit: Process

    def start(self) -> None:
        """Start both, and wait until the tunnel between them is up.

        Raises:  TimeoutError: it does not come up; with what the process said.
        """
        self.exit = self._spawn(Space.EXIT, "exit")
        self.exit.wait_for("epoch 1")
        self.gateway = self._spawn(Space.GATEWAY, "run")
        self.gateway.wait_for("exit exit-1: up")

    def decisions(self) -> list[dict[str, Any]]:
        """Give what the gateway's decision log says so far."""
        path = self.folder / "evidence" / "decisions.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def _spawn(self, space: Space, command: str) -> Process:
        name = "exit.yaml" if command == "exit" else "gateway.yaml"
        config = str((self.folder / name).resolve())
        return self._lab.spawn(space, [str(_COMMAND), command, "--config", config])
