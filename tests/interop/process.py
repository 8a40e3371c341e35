"""Programs that are not ours, run by a test on loopback.  Owns: starting, waiting, ending them.
Knows: trial's reactor.  Never: leaving one behind."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.tunnel.world import World, until


class _Process(Protocol):
    """IProcessTransport."""

    def signalProcess(self, signal: str) -> None: ...


class _Processes(Protocol):
    """IReactorProcess."""

    def spawnProcess(
        self,
        protocol: ProcessProtocol,
        executable: str,
        args: list[str],
        env: dict[str, str],
        path: str | None,
    ) -> _Process: ...


class Program(ProcessProtocol):
    """A running program; remembers its log for whoever must explain a failure."""

    def __init__(self) -> None:
        self.log = bytearray()
        self.ended: Deferred[None] = Deferred()

    def outReceived(self, data: bytes) -> None:
        self.log += data

    def errReceived(self, data: bytes) -> None:
        self.log += data

    def processEnded(self, reason: Failure) -> None:
        assert isinstance(reason.value, ProcessDone | ProcessTerminated)
        self.ended.callback(None)


async def run(
    case: World,
    arguments: list[str],
    is_ready: Callable[[Program], bool],
    folder: Path | None = None,
) -> Program:
    """Run a program until the test's end; wait until it is ready.

    Args:    folder: where it runs; None: here.
    """
    program = Program()
    spawned = cast(_Processes, _reactor).spawnProcess(
        program, arguments[0], arguments, env={}, path=None if folder is None else str(folder)
    )

    def kill() -> Deferred[None]:
        if not program.ended.called:
            spawned.signalProcess("KILL")
        return program.ended

    case.addCleanup(kill)
    await until(lambda: program.ended.called or is_ready(program), arguments[0], 30)
    case.assertFalse(program.ended.called, program.log.decode(errors="replace"))
    return program


def free_port(kind: socket.SocketKind) -> int:
    """Find a port of loopback that is free now."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return cast(int, sock.getsockname()[1])
