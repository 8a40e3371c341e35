"""An nft table as a value.  Owns: Set, Chain, Table; their text as one transaction; the difference
of two.  Knows: nft(8), whose file is one atomic transaction.  Never: what the rules are for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.kernel.ranges import Ranges, spell

STATE = "state"
"""The chain whose comment says which table it is."""


@dataclass(frozen=True, slots=True)
class Set:
    """A named set: ranges that we give, or elements that rules add themselves."""

    name: str
    spec: str
    """What stands between its braces."""
    octets: int = 4
    """Of the addresses in `ranges`: 4 or 16."""
    ranges: Ranges = ()
    is_volatile: bool = False
    """True: rules fill it, and what they filled in is forgotten with every change of the table."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain and its rules, in order."""

    name: str
    rules: tuple[str, ...]
    hook: str = ""
    """"type filter hook forward priority -150; policy accept;"; "" for one that is jumped to."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the inet family."""

    name: str
    epoch: int
    sets: tuple[Set, ...]
    """Those of ranges are never changed: other ranges are a set of another name."""
    chains: tuple[Chain, ...]
    policy: str = ""
    """What its verdicts rest on; hexadecimal."""

    def digest(self) -> str:
        """Give a short hash of everything in it; two tables of one hash are one."""
        names = [(one.name, one.spec) for one in self.sets]
        everything = hashlib.sha256(repr((names, self.chains)).encode())
        return everything.hexdigest()[:32]

    def state(self) -> Chain:
        """Give the chain that says which table this is; nothing jumps to it."""
        said = f"epoch={self.epoch} digest={self.digest()} policy={self.policy}"
        return Chain(STATE, (f'return comment "{said}"',))


def install(table: Table) -> str:
    """Write the transaction that puts a table in the place of whatever has its name.

    Deleting and adding in one transaction leaves no moment without rules: the kernel changes from
    the old generation to the new at once.
    """
    lines = [f"add table inet {table.name}", *_removal(table.name), f"add table inet {table.name}"]
    chains = (table.state(), *table.chains)
    lines += [_add_chain(table, chain) for chain in chains]
    for one in table.sets:
        lines.append(_add_set(table.name, one))
    lines += [line for chain in chains for line in _add_rules(table, chain)]
    return "\n".join(lines) + "\n"


def removal(name: str) -> str:
    """Write the transaction that removes a table, and fails if there is none."""
    return "\n".join(_removal(name)) + "\n"


def loading(old: Table, new: Table) -> str:
    """Write the transaction that loads the sets that a table needs and another has not; "" if there
    are none.  No packet meets them yet."""
    there = {one.name for one in old.sets}
    lines = [_add_set(new.name, one) for one in new.sets if one.name not in there]
    return "".join(f"{line}\n" for line in lines)


def unloading(name: str, sets: Iterable[str]) -> str:
    """Write the transaction that removes sets that no rule refers to."""
    return "".join(f"delete set inet {name} {one}\n" for one in sets)


def difference(old: Table, new: Table) -> str | None:
    """Write the transaction that makes one table another, whose sets are there; "": they are one.

    Returns: None if only `install` can: another name, another kind of set or another hook.
    """
    before = {chain.name: chain for chain in (old.state(), *old.chains)}
    after = {chain.name: chain for chain in (new.state(), *new.chains)}
    specs = {one.name: one.spec for one in old.sets}
    if (
        old.name != new.name
        or any(specs.get(one.name, one.spec) != one.spec for one in new.sets)
        or any(before[name].hook != after[name].hook for name in after if name in before)
        or any(before[name].hook for name in before.keys() - after.keys())
    ):
        return None
    if before == after:
        return ""
    gone = [name for name in before if name not in after]
    changed = [chain for name, chain in after.items() if before.get(name) != chain]
    lines = [_add_chain(new, chain) for chain in changed if chain.name not in before]
    lines += [f"flush chain inet {new.name} {name}" for name in gone]
    lines += [f"flush chain inet {new.name} {one.name}" for one in changed if one.name in before]
    lines += [line for chain in changed for line in _add_rules(new, chain)]
    lines += [f"delete chain inet {new.name} {name}" for name in gone]
    lines += [f"flush set inet {new.name} {one.name}" for one in new.sets if one.is_volatile]
    return "\n".join(lines) + "\n"


def _add_set(table: str, one: Set) -> str:
    # With its elements in one command: for each, nft looks through all that there are, and to add
    # to a set that is there it reads every set of the table first, which takes seconds.
    ranges = ", ".join(spell(first, last, one.octets) for first, last in one.ranges)
    elements = f" elements = {{ {ranges} }}" if ranges else ""
    return f"add set inet {table} {one.name} {{ {one.spec}{elements} }}"


def _add_chain(table: Table, chain: Chain) -> str:
    hook = f" {{ {chain.hook} }}" if chain.hook else ""
    return f"add chain inet {table.name} {chain.name}{hook}"


def _add_rules(table: Table, chain: Chain) -> Iterator[str]:
    return (f"add rule inet {table.name} {chain.name} {rule}" for rule in chain.rules)


def _removal(name: str) -> tuple[str, ...]:
    return (f"delete table inet {name}",)
