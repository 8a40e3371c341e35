"""The table in the kernel.  Owns: applying desired state, reading it back, the difference, removal.
Knows: nft(8).  Never: what the rules say."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.errors import CarryError, DataError
from gateway.kernel import asking, compat, readback, ruleset, table
from gateway.kernel.command import run
from gateway.kernel.router import Queues, Router
from gateway.kernel.table import Table

_STATE = re.compile(rb"epoch=(\d+) digest=([0-9a-f]+) policy=([0-9a-f]*)")


@dataclass(frozen=True, slots=True)
class Installed:
    """What a table says of itself."""

    epoch: int
    """The next one to use is the one after it: its flows were judged by who knows what policy.
    0: a lock."""
    digest: str
    policy: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A table whose sets are loaded, and which is not in force yet."""

    table: Table
    router: Router
    change: str | None
    """What differs from the table in force, as one transaction; None: only a whole one will do."""


class Nft:
    """The table of one name.  The lock on the name is the caller's."""

    def __init__(self, name: str = "gateway") -> None:
        self._name = name
        self._applied: tuple[Prepared, str] | None = None
        """What was put into force last, and the kernel's rules as they were then."""
        self._locked = ""
        """The kernel's rules as they were when the lock-down was put there."""
        self._coming = ""
        """The digest of the table that is being put there."""

    def apply(self, router: Router) -> bool:
        """Make the kernel's table the desired one; False if there was nothing to do.

        The first time, and where somebody else changed a rule, whatever has its name is replaced.

        Raises:  CarryError: nft refused; the table is as it was.  DataError: it is not a gateway's.
        """
        prepared = self.prepare(router)
        if not self.commit(prepared):
            return False
        self.tidy()
        return True

    def prepare(self, router: Router) -> Prepared:
        """Load what a table needs beside what is in use: no packet notices.  It takes seconds for
        hundreds of thousands of ranges, and belongs in a thread.

        Raises:  as apply.
        """
        assert router.name == self._name, router.name
        desired = ruleset.render(router)
        if self._applied is None:
            # Whether a table of the name is somebody else's must be known before it is replaced;
            # once ours was there, whatever has the name is what somebody made of it.
            self.installed()
            return Prepared(desired, router, None)
        there, change = self._applied[0], None
        # A rule that netlink has put in is no text: other queues need another table.
        if _way(there.router) == _way(router):
            change = table.difference(there.table, desired)
        if change is not None and self.is_untouched():
            self.tidy()
            if loading := table.loading(there.table, desired):
                run("nft", "-f", "-", text=loading)
        return Prepared(desired, router, change)

    def commit(self, prepared: Prepared) -> bool:
        """Put a prepared table into force, in one transaction; False if it was already.

        It takes milliseconds, but where a whole table has to be put there: the first time, and
        after somebody else changed a rule.

        Raises:  CarryError: nft refused, and the table is as it was; or somebody else put another
                 in its place at that moment.
        """
        change = prepared.change
        self._coming = prepared.table.digest()
        try:
            if change is None or not self.is_untouched():
                self._install(prepared)
            elif change == "":
                assert self._applied is not None
                self._applied = prepared, self._applied[1]
                return False
            else:
                run("nft", "-f", "-", text=change)
            self._applied = prepared, self._put_there(prepared.table)
        finally:
            self._coming = ""
        return True

    def _put_there(self, desired: Table) -> str:
        """Give the fingerprint of what has just been put there."""
        fingerprint = readback.fingerprint(self._name)
        if self._digest() != desired.digest():
            raise CarryError(f"table inet {self._name}", "somebody else replaced it meanwhile")
        return fingerprint

    def _install(self, prepared: Prepared) -> None:
        run("nft", "-f", "-", text=table.install(prepared.table))
        if not prepared.router.has_nft_queue:
            # Until both are there, what asks is dropped.
            queues = prepared.router.queues
            compat.insert(self._name, asking.ASKING, queues)
            compat.insert(self._name, asking.SAMPLED, queues, bypass=True)

    def tidy(self) -> None:
        """Remove the sets that nothing refers to: those of what was in force before, or was
        prepared and will not be; it may take long, and belongs in a thread.

        Raises:  CarryError: nft refused.
        """
        if self._applied is None:
            return
        wanted = {one.name for one in self._applied[0].table.sets}
        left = [name for name in readback.sets(self._name) if name not in wanted]
        if left:
            run("nft", "-f", "-", text=table.unloading(self._name, left))

    def lock(self, clients: tuple[str, ...], numbers: tuple[int, ...] = ()) -> None:
        """Put the lock-down in the place of whatever has the name.

        Args:    clients: the interfaces that the clients are behind; () locks all forwarding.
                 numbers: likewise, as Router has them.
        Raises:  CarryError: nft refused.  DataError: the table is not a gateway's.
        """
        if self._applied is None:
            self.installed()
        run("nft", "-f", "-", text=table.install(ruleset.locked(self._name, clients, numbers)))
        self._locked = readback.fingerprint(self._name)

    def is_closed(self) -> bool:
        """Say whether nothing passes by somebody else's doing: the rules in the kernel are ours,
        the lock-down's, or those that are being put there at this moment.

        Raises:  CarryError: the kernel does not say.
        """
        if not readback.has_table(self._name):
            return False
        if self._coming and self._digest() == self._coming:
            return True
        known = (self._locked, self._applied[1] if self._applied else "")
        return readback.fingerprint(self._name) in known

    def is_untouched(self) -> bool:
        """Say whether the rules in the kernel are those that were put there last.

        Elements of sets are not compared.
        """
        if self._applied is None or not readback.has_table(self._name):
            return False
        return readback.fingerprint(self._name) == self._applied[1]

    def is_applied(self, router: Router) -> bool:
        """Say whether this very desired state was put into force last."""
        return self._applied is not None and self._applied[0].router is router

    def installed(self) -> Installed | None:
        """Say what is in the kernel under the name; None: nothing.

        Raises:  DataError: a table that is not a gateway's; CarryError: the kernel does not say.
        """
        if not readback.has_table(self._name):
            return None
        found = self._state()
        if found is None:
            expected = "a gateway's; remove it or choose another name"
            raise DataError(f"table inet {self._name}", "the table is somebody else's", expected)
        return Installed(int(found[1]), found[2].decode(), found[3].decode())

    def _state(self) -> re.Match[bytes] | None:
        return _STATE.search(readback.comments(self._name, table.STATE))

    def _digest(self) -> str:
        found = self._state()
        return found[2].decode() if found else ""

    def remove(self) -> bool:
        """Remove the table; False if there was none.

        Raises:  DataError: it is not a gateway's; CarryError: nft refused.
        """
        self._applied = None
        if self.installed() is None:
            return False
        run("nft", "-f", "-", text=table.removal(self._name))
        return True


def _way(router: Router) -> tuple[Queues, bool]:
    return router.queues, router.has_nft_queue


def has_queue() -> bool:
    """Say whether the kernel has nft's queue statement: it is asked, and nothing is changed."""
    return accepts("meta mark 1 queue num 0")


def has_redirect() -> bool:
    """Say whether the kernel has nft's redirect statement."""
    return accepts("meta l4proto tcp redirect to :9")


def accepts(rule: str) -> bool:
    """Say whether the kernel would take a rule: nft -c has it checked and thrown away.

    Its chain has no hook: the kernel takes even one that is only checked away again, and with any
    hook it drops all that waits in any queue (nf_queue_nf_hook_drop).

    Raises:  CarryError: nft is not installed.
    """
    name = "inet gateway-asks"
    text = f"add table {name}\nadd chain {name} c\nadd rule {name} c {rule}\n"
    try:
        run("nft", "-c", "-f", "-", text=text)
    except CarryError as error:
        if error.what == "the command is not installed":
            raise
        return False
    return True
