"""The paths that canaries are sent by.  Owns: what a path is, and what was seen of a canary on it.
Knows: canaries.  Never: a socket, an outcome's wording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import Deferred

from gateway.canaries.bench import Asked
from gateway.model import Action, Verdict


@dataclass(frozen=True, slots=True)
class Canary:
    """One flow that must be held."""

    asked: Asked
    expected: Action
    note: str = ""
    """What its case says of it."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of a canary that was sent."""

    went_in: bool = True
    """Whether anybody took it: where not, nothing is known."""
    verdict: Verdict | None = None
    """What it met; None: it was not judged one by one (the kernel denied it)."""
    carried: str | None = None
    """By which way it was about to leave; None: it was not."""
    error: str | None = None
    """Why it could not be sent."""


class Path(Protocol):
    """A way into the gateway for a real packet, or connection."""

    @property
    def name(self) -> str:
        """What a record calls it: "router", "socks5 127.0.0.1:1080"."""

    def asked(self, canary: Canary, at: int) -> Asked | None:
        """Give a canary's flow as it is sent here, by this path's client.

        Args:    at: its number, from 0.
        Returns: None: no such flow can come this way.
        """

    def send(self, flows: Sequence[Asked]) -> Deferred[list[Sight]]:
        """Send flows, as `asked` gave them; fires with what was seen of each, in order."""

    def close(self) -> None:
        """Let go of everything that is kept between rounds."""
