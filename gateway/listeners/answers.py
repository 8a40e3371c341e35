"""What a front door tells the client of a stream.  Owns: Answers, Failing.
Knows: Twisted's connection errors.  Never: how a protocol words it."""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol

from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectionRefusedError as DialRefused
from twisted.internet.error import TimeoutError as DialTimeout

from gateway.errors import CarryError
from gateway.model import Verdict


class Failing(Enum):
    """Why an allowed stream was not connected."""

    NOT_CARRIED = auto()
    """There is no way to carry out its verdict."""
    REFUSED = auto()
    """The destination said no."""
    UNREACHABLE = auto()
    """The network found no path, or the name has no address."""
    TIMED_OUT = auto()


class Answers(Protocol):
    """What the front door says to its client, in its own protocol."""

    def accept(self) -> None:
        """Say that the stream is open."""

    def refuse(self, verdict: Verdict) -> None:
        """Say that the policy forbids it; close."""

    def fail(self, why: Failing) -> None:
        """Say why it could not be connected; close."""


def failing_of(error: BaseException) -> Failing:
    """Name the failure to dial."""
    match error:
        case CarryError():
            return Failing.NOT_CARRIED
        case DialRefused():
            return Failing.REFUSED
        case DialTimeout() | DeferredTimeout():
            return Failing.TIMED_OUT
        case _:
            return Failing.UNREACHABLE
