"""Tables of tests.  Owns: @rows, one test method a row.  Knows: trial, whose subTest stops at the
first bad row.  Never: anything of the gateway."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Case = TypeVar("Case", bound=type)


def rows(**tables: Mapping[str, tuple[Any, ...]]) -> Callable[[Case], Case]:
    """Make one test method of each row of each table.

    Args:    tables: method name (without "test_") → {row sentence: arguments}.
    The class has a method `check_NAME(self, *arguments)` for each table NAME.
    """

    def decorate(case: Case) -> Case:
        for name, table in tables.items():
            check = getattr(case, f"check_{name}")
            for number, (sentence, arguments) in enumerate(table.items()):
                method = _method(check, arguments)
                slug = re.sub(r"\W+", "_", sentence).strip("_")
                method.__name__ = f"test_{name}_{number:02d}_{slug}"
                method.__qualname__ = f"{case.__qualname__}.{method.__name__}"
                method.__doc__ = f"{check.__doc__ or name} [{sentence}]"
                setattr(case, method.__name__, method)
        return case

    return decorate


def _method(check: Callable[..., Any], arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    def test(self: Any) -> Any:
        return check(self, *arguments)

    return test
