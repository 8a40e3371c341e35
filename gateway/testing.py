"""Cases as tests.  Owns: a policy file → a class of tests for trial, one test a case.
Knows: trial.  Never: judging; a case runs as by `gateway test`."""

from __future__ import annotations

import datetime
import io
import re
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from gateway import config, show
from gateway.errors import GatewayError
from gateway.flow.cases import CaseResult, run_case, run_cases, unreached
from gateway.flow.epoch import Epoch
from gateway.geo import Atlas
from gateway.policy import Case
from gateway.sources import load_atlas, load_policy

_Test = Callable[[SynchronousTestCase], None]


def cases_of(
    policy_path: str | Path,
    *,
    config_path: str | Path | None = None,
    today: datetime.date | None = None,
    atlas: Atlas | None = None,
    name: str | None = None,
) -> type[SynchronousTestCase]:
    """Make a class with one test method for each case of a policy, and one that asks for a case
    that each rule decides.

    In a module of tests: `PolicyTests = cases_of("policies/default.yaml")`, or
    `class PolicyTests(cases_of("policies/default.yaml"))` with tests of its own.

    Args:    config_path: a gateway.yaml, for its data; omitted: the bundled data.
             today: the day on which expiry and the age of data are judged; omitted: today, UTC.
             atlas: data that are loaded already, instead of config_path.
             name: where the class stands, f"{__name__}.PolicyTests": by it the processes of
             `trial -j` find its tests.
    Returns: a class; of a policy, or data, that cannot be loaded one whose only test fails with
             every fault.
    """
    day = today or datetime.datetime.now(datetime.UTC).date()
    try:
        epoch = _epoch(Path(policy_path), config_path, day, atlas)
    except GatewayError as error:
        return _class(policy_path, name, {"test_it_can_be_loaded": _failing(str(error))})
    methods: dict[str, _Test] = {
        f"test_{at:03d}_{_slug(case)}": _testing(epoch, case)
        for at, case in enumerate(epoch.policy.cases, 1)
    }
    return _class(policy_path, name, {**methods, "test_each_rule_has_a_case": _reaching(epoch)})


def _epoch(
    path: Path, config_path: str | Path | None, day: datetime.date, atlas: Atlas | None
) -> Epoch:
    if atlas is None:
        named = config.built_in(path) if config_path is None else config.load(str(config_path))
        atlas = load_atlas(named, day)
    return Epoch(0, load_policy(path, day), atlas)


def _class(
    path: str | Path, name: str | None, methods: dict[str, _Test]
) -> type[SynchronousTestCase]:
    if name is None:
        words = re.sub(r"\W+", "_", Path(path).stem).strip("_").title().replace("_", "")
        name = f"{__name__}.{words}Cases"
    module, _, short = name.rpartition(".")
    namespace = {"__doc__": f"The cases of {path}.", "__module__": module, **methods}
    return type(short, (SynchronousTestCase,), namespace)


def _slug(case: Case) -> str:
    """Make a case's title the tail of a method's name; umlauts and hanzi stay."""
    return re.sub(r"\W+", "_", case.place.sentence).strip("_")[:100]


def _failing(faults: str) -> _Test:
    def test(self: SynchronousTestCase) -> None:
        """The policy can be loaded."""
        self.fail(faults)

    return test


def _testing(epoch: Epoch, case: Case) -> _Test:
    def test(self: SynchronousTestCase) -> None:
        result = run_case(epoch, case)
        if result.failure:
            self.fail(_explained(result))

    test.__doc__ = f"{case.place.sentence} [{case.place.file}:{case.place.line}]"
    return test


def _reaching(epoch: Epoch) -> _Test:
    def test(self: SynchronousTestCase) -> None:
        """Each rule decides at least one case."""
        missing = unreached(epoch, tuple(run_cases(epoch)))
        if missing:
            self.fail(f"no case reaches {', '.join(missing)}")

    return test


def _explained(result: CaseResult) -> str:
    """Give what `gateway test` prints of a failed case, as plain text."""
    console = Console(file=io.StringIO(), highlight=False, no_color=True, width=140)
    with console.capture() as captured:
        show.failed_case(console, result)
    return captured.get()
