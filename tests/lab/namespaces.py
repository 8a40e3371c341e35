"""Network namespaces.  Owns: making, entering, finding and removing named ones; commands in them.
Knows: iproute2, setns(2), ethtool's ioctl.  Never: what is connected to what."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import secrets
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

_FOLDER = Path("/run/netns")
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_COMMANDS = {"ip": "iproute2", "nft": "nftables", "setpriv": "util-linux"}
# lab-PID-START-TOKEN-SPACE: the process that made it, when that started (field 22 of
# /proc/PID/stat, so that a reused pid is not taken for it), which of its labs, and what it is.
_NAME = re.compile(r"lab-(\d+)-(\d+)-[0-9a-f]+-[a-z]+")

_CLONE_NEWNET = 0x40000000
_SIOCETHTOOL = 0x8946
_SIOCGIFFLAGS = 0x8913
_IFF_RUNNING = 0x40
# ETHTOOL_STXCSUM, _SSG, _STSO, _SGSO, _SGRO of linux/ethtool.h.
_OFFLOADS = (0x17, 0x19, 0x1F, 0x24, 0x2C)


def skip_reason() -> str | None:
    """Say why this host cannot have a lab; None if it can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces need root"
    for command, package in _COMMANDS.items():
        if shutil.which(command, path=_PATH) is None:
            return f"the command {command} is missing: install {package}"
    probe = prefix() + "-probe"
    try:
        add(probe)
        remove(probe)
    except RuntimeError as error:
        return f"network namespaces are refused: {error}"
    return None


def prefix() -> str:
    """Give the beginning of the names of one lab of this process."""
    return f"lab-{os.getpid()}-{_started(os.getpid())}-{secrets.token_hex(2)}"


def completed(
    argv: Sequence[str], *, text: str = "", timeout_s: float = 30.0
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end.

    Args:    text: its standard input.
    Raises:  subprocess.TimeoutExpired.
    """
    environment = {**os.environ, "PATH": _PATH}
    return subprocess.run(
        argv, input=text, capture_output=True, text=True, timeout=timeout_s, env=environment
    )


def command(argv: Sequence[str], *, text: str = "") -> str:
    """Run a command; give its standard output.

    Raises:  RuntimeError: it failed; with what it said.
    """
    done = completed(argv, text=text)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def add(name: str) -> None:
    """Make a namespace."""
    command(["ip", "netns", "add", name])


def listed() -> list[str]:
    """Give the names of all namespaces of this host, whoever made them."""
    return sorted(path.name for path in _FOLDER.glob("*"))


def path_of(name: str) -> Path:
    """Give the file that stands for a namespace."""
    return _FOLDER / name


def remove(name: str) -> None:
    """End every process in a namespace of ours, and delete it; nothing, if it is not there."""
    assert _NAME.fullmatch(name), f"{name} is not a lab's"
    try:
        for pid in _pids(name):
            _kill(pid)
        command(["ip", "netns", "delete", name])
    except RuntimeError:
        if path_of(name).exists():
            raise  # otherwise another process has swept it at the same time


def remove_stale() -> list[str]:
    """Remove what labs of dead processes left behind; give the names."""
    stale = [name for name in listed() if _is_stale(name)]
    for name in stale:
        remove(name)
    return stale


def inside(name: str, function: Callable[[], Result]) -> Result:
    """Call a function in a thread of its own that is in a namespace, and give what it returns.

    A socket stays for ever in the namespace it was made in, so what this gives back may be used
    anywhere.  Raises what the function raises.
    """

    def entered() -> Result:
        enter(name)
        return function()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(entered).result()


def enter(name: str) -> None:
    """Move the calling thread into a namespace, for as long as it lives."""
    with open(path_of(name)) as file:
        _setns(file.fileno())


def set_sysctls(settings: Iterable[tuple[str, int]]) -> None:
    """Write kernel settings (slash form, "net/ipv4/ip_forward") of the namespace we are in."""
    for name, value in settings:
        (Path("/proc/sys") / name).write_text(str(value))


def without_offloads(interface: str) -> None:
    """Let the kernel fill in checksums and cut segments before an interface, not behind it.

    Otherwise a capture shows packets that are on no wire: longer than the MTU, with half a
    checksum.  By ioctl, so that the lab needs no ethtool.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        for number in _OFFLOADS:
            value = ctypes.create_string_buffer(struct.pack("=II", number, 0), 8)
            request = struct.pack("16sP", interface.encode(), ctypes.addressof(value))
            fcntl.ioctl(door, _SIOCETHTOOL, request)


def overflowed() -> int:
    """Give how many packets this host has dropped on their way from one interface to the next, in
    all namespaces, for a processor was too busy to take them: before any rule met them.

    It is the second column of softnet_stat: what netdev_max_backlog had no room for.
    """
    lines = Path("/proc/net/softnet_stat").read_text().splitlines()
    return sum(int(line.split()[1], 16) for line in lines)


def wait_running(interface: str, timeout_s: float = 5.0) -> None:
    """Wait until an interface of the namespace we are in carries packets.

    The kernel notices in its own time that the other end is up, and drops what is sent before.
    Raises:  RuntimeError: it does not come up.
    """
    end_s = time.monotonic() + timeout_s
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        request = struct.pack("16sH14x", interface.encode(), 0)
        while not struct.unpack_from("=16xH", fcntl.ioctl(door, _SIOCGIFFLAGS, request))[0] & (
            _IFF_RUNNING
        ):
            if time.monotonic() > end_s:
                raise RuntimeError(f"interface {interface} did not come up")
            time.sleep(0.002)


def _setns(descriptor: int) -> None:
    # os.setns came with Python 3.12.  Before: libc's, which is five lines; pyroute2's netns.setns
    # does the same, but is untyped and asks the compiler where libc is.
    if sys.version_info >= (3, 12):
        os.setns(descriptor, os.CLONE_NEWNET)
    elif ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _started(pid: int) -> int:
    """Give when a process started, in clock ticks since boot; 0 if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(stat.rpartition(")")[2].split()[19])


def _is_stale(name: str) -> bool:
    found = _NAME.fullmatch(name)
    return found is not None and _started(int(found[1])) != int(found[2])


def _pids(name: str) -> list[int]:
    """Give the processes in a namespace, without this one, of which a thread may be there."""
    try:
        found = command(["ip", "netns", "pids", name])
    except RuntimeError:
        return []  # a namespace that its maker did not live to mount: nobody can be in it
    return [pid for pid in map(int, found.split()) if pid != os.getpid()]


def _kill(pid: int) -> None:
    """End a process and wait until it has left its namespace."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)  # readable: it has ended
        poll.poll(5_000)
    except ProcessLookupError:
        pass  # it has ended by itself
    finally:
        os.close(descriptor)
