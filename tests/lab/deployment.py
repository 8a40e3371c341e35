"""A gateway and its exit in the lab.  Owns: their configuration and processes, what they said
and decided.
Knows: `gateway init`'s starter, `gateway run`, `gateway exit`.  Never: what should be decided."""

from __future__ import annotations

import datetime
import json
import os
import signal
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gateway import starter
from gateway.model import Endpoint
from tests.lab.process import Process
from tests.lab.topology import Lab, Space
from tests.support.written import wait_written

CAPABILITIES = frozenset({"CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE"})
"""All that a gateway needs of root's."""
_NOBODY = 65534
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
    - {network: 2001:db8:a::/48, location: US, operator: US, reason: a stand-in edge}
"""
_TRANSPARENT = """\
listeners:
  - {kind: transparent, interface: clients}
"""


# Has a folder of Python's be there for everybody, in a mount namespace of its own: "$1" is the
# first folder on the way to it that is for its owner only, "$2" the folder.
_OPEN = """
held=$(mktemp -d) && mount --bind "$2" "$held" && mount -t tmpfs -o mode=755 tmpfs "$1" &&
mkdir -p "$2" && mount --bind "$held" "$2" && umount "$held" && shift 2 && exec "$@"
"""


def nobody(capabilities: Iterable[str] = CAPABILITIES) -> tuple[str, ...]:
    """Give the words before a command that have it run as nobody, with these capabilities and no
    way to others: as systemd does for User=, AmbientCapabilities= and NoNewPrivileges=."""
    wanted = ",".join(["-all", *(f"+{one.removeprefix('CAP_').lower()}" for one in capabilities)])
    return (
        *_opened(Path(sys.base_prefix)),
        "setpriv",
        *(f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--no-new-privs"),
        *(f"--inh-caps={wanted}", f"--ambient-caps={wanted}", f"--bounding-set={wanted}"),
    )


def _opened(python: Path) -> tuple[str, ...]:
    """Give the words before a command for which Python is there, though it be root's own."""
    on_the_way = reversed((python, *python.parents))
    closed = next((one for one in on_the_way if not one.stat().st_mode & stat.S_IXOTH), None)
    if closed is None:
        return ()
    return ("unshare", "--mount", "sh", "-c", _OPEN, "sh", str(closed), str(python))


class Deployment:
    """`gateway run` in the gateway's namespace and `gateway exit` in the exit's.

    What they say is in gateway.log and exit.log of the folder.
    """

    COMMAND = Path(sys.executable).with_name("gateway")
    SOCKS5 = Endpoint.of(Lab.GATEWAY[0], 1080)
    """Where the gateway's SOCKS 5 listener is."""
    EXIT = Endpoint.of(Lab.EXIT[0], _EXIT_PORT)
    """Where the exit is."""

    def __init__(
        self, lab: Lab, folder: Path, policy: Path | None = None, *, router: str | None = None
    ) -> None:
        """Write the configuration of both; nothing runs before `start`.

        Args:    folder: does not exist, or is empty.  policy: omitted: the default one.
                 router: router mode beside the other listeners, and more lines of gateway.yaml.
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
        if router is not None:
            self.edit("listeners:\n", _TRANSPARENT)
            with (folder / "gateway.yaml").open("a") as file:
                file.write(router)
        self.policy = policy.resolve() if policy is not None else folder / "policy.yaml"
        """The gateway's policy."""
        if policy is not None:
            self.edit("policy: policy.yaml", f"policy: {json.dumps(str(self.policy))}")
        self.decision_log = folder / "evidence" / "decisions.jsonl"
        self.gateway: Process
        self.exit: Process

    def edit(self, old: str, new: str) -> None:
        """Put something in the place of what stands once in gateway.yaml."""
        path = self.folder / "gateway.yaml"
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in:\n{text}"
        path.write_text(text.replace(old, new))

    def start(self) -> None:
        """Start both, and wait until the tunnel between them is up.

        Raises:  TimeoutError: it does not come up; with what the process said.
        """
        self.start_exit()
        self.start_gateway()

    def start_exit(self) -> None:
        """Start the exit alone."""
        self.exit = self._spawn(Space.EXIT, "exit")
        self.exit.wait_for("epoch 1")

    def start_gateway(self, *, unprivileged: bool = False) -> None:
        """Start the gateway alone, and wait until the tunnel to the exit is up."""
        self.gateway = self.spawn_gateway(unprivileged=unprivileged)
        self.gateway.wait_for("exit exit-1: up")

    def spawn_gateway(self, *, unprivileged: bool = False) -> Process:
        """Start a gateway's process.

        Args:    unprivileged: as nobody, with the capabilities of the systemd unit.
        """
        if not unprivileged:
            return self._spawn(Space.GATEWAY, "run")
        self.give_away()
        return self._spawn(Space.GATEWAY, "run", nobody())

    def give_away(self) -> None:
        """Make nobody the owner of the folder."""
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, _NOBODY, _NOBODY)

    def unprivileged_skip_reason(self) -> str | None:
        """Say why nobody cannot run the gateway here; None: it can."""
        # What nobody starts must start others: a shell is in between.
        argv = [*nobody(), "sh", "-c", f'"{self.COMMAND}" --version']
        if self._lab.run(Space.GATEWAY, argv).returncode:
            return "the checkout or its Python is for its owner only"
        return None

    def reload(self) -> None:
        """Have the gateway load its policy again."""
        os.kill(self.gateway.pid, signal.SIGHUP)

    def decisions(self) -> list[dict[str, Any]]:
        """Give what the gateway's decision log says so far, but for what it says of itself."""
        records = map(json.loads, wait_written(self.decision_log).splitlines())
        return [record for record in records if "verdict" in record]

    def decision_counts(self) -> dict[str, int]:
        """Give how many decisions each decision log has, by its name."""
        logs = sorted((self.folder / "evidence").glob("decisions*.jsonl"))
        return {path.name: wait_written(path).count('"verdict":{') for path in logs}

    def _spawn(self, space: Space, command: str, before: tuple[str, ...] = ()) -> Process:
        name = "exit" if command == "exit" else "gateway"
        config = str((self.folder / f"{name}.yaml").resolve())
        argv = [*before, str(self.COMMAND), command, "--config", config]
        return self._lab.spawn(space, argv, copy=self.folder / f"{name}.log")
