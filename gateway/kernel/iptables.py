"""The way to the queue where nft has none.  Owns: one rule in a chain of its own, a family.
Knows: iptables(8), its target NFQUEUE; no --queue-bypass, so nobody listening is a drop.
Never: other chains than that one and the jump to it."""

from __future__ import annotations

from gateway.errors import CarryError
from gateway.kernel.command import run
from gateway.kernel.marks import JUDGE
from gateway.kernel.router import Router

_FAMILIES = ("iptables", "ip6tables")


def chain(name: str) -> str:
    """Give the chain's name."""
    return f"{name}-ask"


def restore(router: Router, has_jump: bool) -> str:
    """Write the chain for iptables-restore --noflush: one transaction a family.

    The jump comes first, so that no other rule of mangle accepts before it; what slips past the
    queue all the same still bears the question, and the nft table drops it.
    """
    name, queues = chain(router.name), router.queues
    target = f"--queue-num {queues.first}"
    if queues.count > 1:
        target = f"--queue-balance {queues.first}:{queues.last}"
    rule = f"-A {name} -m mark --mark {JUDGE:#x}/{JUDGE:#x} -j NFQUEUE {target}"
    jump = [] if has_jump else [f"-I PREROUTING 1 -j {name}"]
    return "\n".join(["*mangle", f":{name} - [0:0]", rule, *jump, "COMMIT", ""])


def apply(router: Router) -> None:
    """Put the rule in place for both families; may be repeated.

    Raises:  CarryError: a command is missing or refused.
    """
    for command in _FAMILIES:
        text = restore(router, _has_jump(command, router.name))
        run(f"{command}-restore", "-w", "--noflush", text=text)


def remove(name: str) -> bool:
    """Remove the chain and the jump to it; False if there was none.

    Raises:  CarryError: a command refused.
    """
    found = False
    for command in _FAMILIES:
        while _has_jump(command, name):
            run(command, "-w", "-t", "mangle", "-D", "PREROUTING", "-j", chain(name))
            found = True
        if f"-N {chain(name)}" in _rules(command):
            run(command, "-w", "-t", "mangle", "-F", chain(name))
            run(command, "-w", "-t", "mangle", "-X", chain(name))
            found = True
    return found


def has_target() -> bool:
    """Say whether both families have the target NFQUEUE: rules are checked, none is made."""
    text = "*mangle\n-A PREROUTING -m mark --mark 0x1/0x1 -j NFQUEUE --queue-num 0\nCOMMIT\n"
    try:
        for command in _FAMILIES:
            run(f"{command}-restore", "-w", "--noflush", "--test", text=text)
    except CarryError:
        return False
    return True


def _has_jump(command: str, name: str) -> bool:
    return f"-A PREROUTING -j {chain(name)}" in _rules(command)


def _rules(command: str) -> list[str]:
    try:
        return run(command, "-w", "-t", "mangle", "-S").splitlines()
    except CarryError as error:
        if error.what == "the command is not installed":
            return []
        raise
