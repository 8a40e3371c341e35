"""The gateway itself.  Owns: its configuration for a trial; starting it, and loading it again.
Knows: gateway.yaml, the default policy, what the process says.  Never: what is measured.

The policy is the default one over the bundled data, with one jurisdiction more that is blocked
outright; the server's documentation addresses are overridden to be American, so that verdicts are
those of the real policy.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from scripts.benchmarks.router.peers import Peer, Reloaded
from scripts.benchmarks.router.stage import Space

_ROOT = Path(__file__).parents[3]
_DEFAULT = _ROOT / "policies" / "default.yaml"
_READY_S = 300.0

STAND_INS = ("192.0.2.0/24", "198.51.100.0/24", "2001:db8:a::/64", "2001:db8:c::/64")
"""The server's networks, which nobody owns: American, for the bench."""

_CONFIGURATION = """\
policy: policy.yaml
listeners:
  - {{kind: transparent, interface: clients}}
geo:
  sources: [bundled]
  max_age_days: 36500
  overrides:
{overrides}evidence: {{path: {evidence}, required: false}}
router: {{{router}}}
"""
_DENIED_RULE = """\
rules:
  - id: bench-denied
    when: {to: bench-denied}
    action: block
    reason: the bench's ranges
    owner: bench

"""


def configuration(*, evidence: str = "evidence/", router: str = "") -> str:
    """Write the trial's gateway.yaml.

    Args:    evidence: where the decision log goes; router: options of router mode.
    """
    claim = 'location: US, operator: US, reason: "the bench\'s server"'
    lines = (f'    - {{network: "{network}", {claim}}}\n' for network in STAND_INS)
    return _CONFIGURATION.format(overrides="".join(lines), evidence=evidence, router=router)


def policy(default: str, denied: Iterable[str]) -> str:
    """Write the trial's policy: the default one, and one rule before its own.

    Raises:  ValueError: the default policy has another shape than this knows.
    """
    if default.count("\njurisdictions:\n") != 1 or default.count("\nrules:\n") != 1:
        raise ValueError("the default policy has no single jurisdictions and rules")
    networks = "".join(f'      - "{network}"\n' for network in denied)
    mine = f"  bench-denied:\n    networks:\n{networks}"
    text = default.replace("\njurisdictions:\n", f"\njurisdictions:\n{mine}")
    return text.replace("\nrules:\n", f"\n{_DENIED_RULE}")


class Gateway(Peer):
    """`gateway run` in router mode, with the real policy and the real data."""

    name = "gateway"
    denies = True
    ready: ClassVar[str] = "router mode: ready"
    evidence: ClassVar[str] = "evidence/"
    """Where the decision log goes."""
    router: ClassVar[str] = ""
    """Options of router mode."""

    def start(self, denied: Iterable[str]) -> None:
        """Peer API."""
        self._write(denied)
        written = configuration(evidence=self.evidence, router=self.router)
        (self.scratch / "gateway.yaml").write_text(written)
        command = str(Path(sys.executable).with_name("gateway"))
        self._run([command, "run", "--config", str(self.scratch / "gateway.yaml")])

    def stop(self) -> None:
        """Peer API."""
        super().stop()
        # The rules outlive the process on purpose; here they must not.
        command = str(Path(sys.executable).with_name("gateway"))
        self.stage.command(Space.GATEWAY, [command, "unlock"])

    def reload(self, denied: Iterable[str]) -> Reloaded:
        """Peer API: in force from the line that says so on."""
        self._write(denied)
        return self._signal()

    def _write(self, denied: Iterable[str]) -> None:
        text = policy(_DEFAULT.read_text(encoding="utf-8"), denied)
        fresh = self.scratch / "policy.new"
        fresh.write_text(text, encoding="utf-8")
        fresh.rename(self.scratch / "policy.yaml")

    def _run(self, argv: list[str]) -> None:
        # No set-up of the host's may steer the process; its core is the stage's business.
        self.process = self.stage.spawn(Space.GATEWAY, argv)
        self.process.wait_for(self.ready, timeout_s=_READY_S)

    def _signal(self) -> Reloaded:
        assert self.process is not None, "it runs"
        before, asked_s = _epochs(self.process.log), time.time()
        os.kill(self.process.pid, signal.SIGHUP)
        while (now := _epochs(self.process.log)) == before:
            if time.time() > asked_s + _READY_S or not self.process.is_running:
                raise RuntimeError(f"no new epoch: {self.process.log[-1000:]}")
            time.sleep(0.002)
        if "refused" in now[-1]:
            raise RuntimeError(f"the policy is refused: {now[-1]}")
        return Reloaded(asked_s, time.time())


class FastGateway(Gateway):
    """The same, with a fast path."""

    name = "fast"
    router = "fast_path: [uplink]"


class Toy(Gateway):
    """The kernel room's parts with a toy policy (tests/kernel/toy.py): what the rules cost alone.

    It denies what it likes: the ranges are not its own.
    """

    name = "toy"
    ready = "ready"
    first_octet = 255  # it wraps all media

    def start(self, denied: Iterable[str]) -> None:
        """Peer API."""
        self._run(
            [sys.executable, str(_ROOT / "tests" / "kernel" / "toy.py"), '{"spot_check": 1000}']
        )

    def reload(self, denied: Iterable[str]) -> Reloaded:
        """Peer API; the first epoch comes again only with a new process."""
        if any(one.startswith(f"{self.places.newly_denied}/") for one in denied):
            return self._signal()
        asked_s = time.time()
        self.stop()
        self.start(denied)
        return Reloaded(asked_s, time.time())


def _epochs(log: str) -> list[str]:
    """Give the lines that tell of an epoch: a new one, or that the old one stays."""
    return [line for line in log.splitlines() if re.search(r"\bepoch,? \d+", line)]


class Unlogged(Gateway):
    """The same without a decision log: what the log costs."""

    name = "unlogged"
    evidence = "/dev/null/none"  # which is no folder: the gateway says so, and writes none
