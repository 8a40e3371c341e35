"""Life under a service manager.  Owns: telling it that the process is ready, alive, how it does,
and that it stops.  Knows: sd_notify(3); nothing is needed of systemd itself.
Never: deciding whether it is alive: it is told."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, MutableMapping
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

_log = Logger(namespace="gateway.supervised")

# The status line is told anew this often at the latest.
_STATUS_S = 10.0
# A status line; datagrams of a socket have room for far more.
_MAX_STATUS_LEN = 512
_NEVER = float("inf")


class Supervised:
    """Tells a service manager, if there is one, about this process."""

    def __init__(
        self,
        reactor: Any,
        environment: MutableMapping[str, str],
        *,
        is_working: Callable[[], bool],
        sentence: Callable[[], str],
    ) -> None:
        """Say nothing yet; the environment's words for us are taken out of it, since processes that
        this one starts are not meant.

        Args:    is_working: whether the process does what it is for; False: it is not said to be
                 alive, and the manager starts another one.  sentence: how it does.
        """
        self._address = _address(environment.pop("NOTIFY_SOCKET", ""))
        self._is_working = is_working
        self._sentence = sentence
        self._said = ""
        self._failed = False
        # Twice within the time that systemd waits (sd_watchdog_enabled(3)).
        watchdog_s = _watchdog_s(environment)
        self._interval_s = min(watchdog_s / 2, _STATUS_S)
        self._is_watched = watchdog_s != _NEVER
        self._loop = LoopingCall(self._beat)
        self._loop.clock = reactor

    def ready(self) -> None:
        """Say that it serves; from now on it is said to be alive."""
        if self._address is None:
            return
        self._say("READY=1")
        self._loop.start(self._interval_s)

    def stopping(self) -> None:
        """Say that it stops; may be called twice."""
        if self._loop.running:
            self._loop.stop()
        self._say("STOPPING=1")
        self._address = None

    def _beat(self) -> None:
        try:
            is_working = self._is_working()
            self._tell(self._sentence())
        except Exception:  # whatever it is: who cannot say is not said to be alive
            _log.failure("this process cannot say how it does")
            return
        if is_working and self._is_watched:
            self._say("WATCHDOG=1")
        elif not is_working:
            _log.error("flows cannot be judged: the service manager is not told that all is well")

    def _tell(self, sentence: str) -> None:
        line = "".join(one if one.isprintable() else " " for one in sentence)[:_MAX_STATUS_LEN]
        if line != self._said:
            self._said = line
            self._say(f"STATUS={line}")

    def _say(self, text: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(text.encode(), self._address)
        except OSError as error:
            if not self._failed:
                _log.warn("the service manager cannot be told: {reason}", reason=str(error))
            self._failed = True
        else:
            self._failed = False


def _address(name: str) -> str | None:
    """Give a socket's address: a path, or an abstract name."""
    if name.startswith("@"):
        return "\0" + name[1:]
    if name and not name.startswith("/"):
        _log.warn("NOTIFY_SOCKET is {name}: only Unix sockets are known", name=name)
    return name if name.startswith("/") else None


def _watchdog_s(environment: MutableMapping[str, str]) -> float:
    """Give within how many seconds the manager wants to hear; _NEVER: it does not ask."""
    microseconds = environment.pop("WATCHDOG_USEC", "")
    pid = environment.pop("WATCHDOG_PID", "")
    is_meant = pid in ("", str(os.getpid()))
    if not (is_meant and microseconds.isascii() and microseconds.isdigit() and int(microseconds)):
        return _NEVER
    return int(microseconds) / 1e6
