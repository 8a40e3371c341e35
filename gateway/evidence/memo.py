"""A bounded memory of answers.  Owns: remembering what a function gave.
Never: what the answers mean; functions whose answers change."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Key = TypeVar("Key")
Answer = TypeVar("Answer")


class Memo(dict[Key, Answer]):
    """`memo[key]` is `ask(key)`, asked once while it is remembered.

    A full memory forgets everything: what is still in use is soon there again, and the cost of a
    flood of keys that are never seen twice stays that of asking.
    """

    def __init__(self, ask: Callable[[Key], Answer], most: int) -> None:
        """Remember at most `most` answers."""
        super().__init__()
        self._ask = ask
        self._most = most

    def __missing__(self, key: Key) -> Answer:
        answer = self._ask(key)
        if len(self) >= self._most:
            self.clear()
        self[key] = answer
        return answer
