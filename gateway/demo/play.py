"""The demo as a command.  Owns: the reactor's run, the progress bar.  Knows: rich.
Never: what is played."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gateway.core import World
from gateway.demo.report import Result
from gateway.demo.run import CAPTURE, run_demo


def play(world: World, capture: Path | None, *, fast: bool, quiet: bool) -> Result:
    """Run the demo in this process's reactor, with a progress bar on standard error.

    Raises:  DataError, CarryError, InputError: as run_demo.
    """
    from twisted.internet import reactor  # installed on first import

    ended: list[Result | Failure] = []
    bar = _bar(quiet)
    path = capture or CAPTURE
    task = bar.add_task(path.name, total=None)

    def start() -> None:
        running: Deferred[Any] = run_demo(
            reactor,
            world,
            path,
            fast=fast,
            begin=lambda total: bar.update(task, total=total),
            progress=lambda said: bar.update(task, completed=said),
        )
        running.addBoth(ended.append)
        running.addBoth(lambda _: twisted_reactor.stop())

    twisted_reactor: Any = reactor
    twisted_reactor.callWhenRunning(start)
    with bar:
        twisted_reactor.run()
    if not ended:
        raise KeyboardInterrupt
    if isinstance(ended[0], Failure):
        ended[0].raiseException()
    assert isinstance(ended[0], Result)
    return ended[0]


def _bar(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet,
    )
