"""The table in the kernel.  Owns: applying desired state, reading it back, the difference, removal.
Knows: nft(8).  Never: what the rules say."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.errors import CarryError, DataError
from gateway.kernel import readback, ruleset, table
from gateway.kernel.command import run
from gateway.kernel.router import Router
from gateway.kernel.table import Table

_STATE = re.compile(rb"epoch=(\d+) digest=([0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class Installed:
    """What a table says of itself."""

    epoch: int
    """The next one to use is the one after it: its flows were judged by who knows what policy."""
    digest: str


class Nft:
    """The table of one name.  The lock on the name is the caller's."""

    def __init__(self, name: str = "gateway") -> None:
        self._name = name
        self._applied: tuple[Table, str] | None = None

    def apply(self, router: Router) -> bool:
        """Make the kernel's table the desired one, in one transaction.

        The first time whatever has its name is replaced; later, if nobody else changed a rule,
        only what differs is sent.

        Returns: False if there was nothing to do.
        Raises:  CarryError: nft refused; the table is as it was.  DataError: it is not a gateway's.
        """
        assert router.name == self._name, router.name
        desired = ruleset.render(router)
        change = None
        if self._applied is not None and self.is_untouched():
            change = table.difference(self._applied[0], desired)
        if change == "":
            return False
        # Whether a table of the name is somebody else's must be known before it is replaced.
        if change is None:
            self.installed()
            change = table.install(desired)
        run("nft", "-f", "-", text=change)
        self._applied = desired, readback.fingerprint(self._name)
        return True

    def is_untouched(self) -> bool:
        """Say whether the rules in the kernel are those that `apply` put there last.

        Elements of sets are not compared.
        """
        if self._applied is None or not readback.has_table(self._name):
            return False
        return readback.fingerprint(self._name) == self._applied[1]

    def installed(self) -> Installed | None:
        """Say what is in the kernel under the name; None: nothing.

        Raises:  DataError: a table that is not a gateway's; CarryError: the kernel does not say.
        """
        if not readback.has_table(self._name):
            return None
        found = _STATE.search(readback.comments(self._name, table.STATE))
        if found is None:
            expected = "a gateway's; remove it or choose another name"
            raise DataError(f"table inet {self._name}", "the table is somebody else's", expected)
        return Installed(int(found[1]), found[2].decode())

    def remove(self) -> bool:
        """Remove the table; False if there was none.

        Raises:  DataError: it is not a gateway's; CarryError: nft refused.
        """
        self._applied = None
        if self.installed() is None:
            return False
        run("nft", "-f", "-", text=table.removal(self._name))
        return True


def has_queue() -> bool:
    """Say whether the kernel has nft's queue statement: it is asked, and nothing is changed."""
    return accepts("type filter hook prerouting priority -150;", "meta mark 1 queue num 0")


def has_tproxy() -> bool:
    """Say whether the kernel has nft's tproxy statement."""
    return accepts(
        "type filter hook prerouting priority -140;", "meta l4proto tcp tproxy ip to 127.0.0.1:9"
    )


def accepts(hook: str, rule: str) -> bool:
    """Say whether the kernel would take a rule: nft -c has it checked and thrown away.

    Raises:  CarryError: nft is not installed.
    """
    name = "inet gateway-asks"
    text = f"add table {name}\nadd chain {name} c {{ {hook} }}\nadd rule {name} c {rule}\n"
    try:
        run("nft", "-c", "-f", "-", text=text)
    except CarryError as error:
        if error.what == "the command is not installed":
            raise
        return False
    return True
