"""What router mode shall be, as a value.  Owns: Router and its parts; refusing what is impossible.
Knows: the kernel's interface names (15 octets).  Never: nft's syntax."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gateway.errors import AddressError, DataError
from gateway.kernel import marks
from gateway.kernel.ranges import Ranges, merge
from gateway.model import Endpoint, Transport
from gateway.wire import SIGNATURES, Signature

# IFNAMSIZ is 16 with the final NUL.  The kernel allows more characters; a name goes into nft's text
# in quotes, so none that mean something there ("*" at the end is nft's wildcard).
_INTERFACE = re.compile(r"[A-Za-z0-9_.@:+-]{1,15}")
_HEXADECIMAL = re.compile(r"[0-9a-f]{0,64}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,22}")


def interface(name: str) -> str:
    """Give back a network interface's name.

    Raises:  AddressError: it cannot be one.
    """
    if not _INTERFACE.fullmatch(name) or name in (".", ".."):
        raise AddressError(name, "a network interface's name, 1..15 of A-Z a-z 0-9 _ . @ : + -")
    return name


@dataclass(frozen=True, slots=True)
class Relay:
    """An endpoint that stands in for others, by family; one without an address blocks it."""

    target: int
    v4: Endpoint | None = None
    v6: Endpoint | None = None

    @property
    def octets(self) -> frozenset[int]:
        """The families that it can carry, as octets of an address."""
        return frozenset(n for n, at in ((4, self.v4), (16, self.v6)) if at is not None)


@dataclass(frozen=True, slots=True)
class InterfaceExit:
    """A network interface that flows leave by."""

    target: int
    interface: str
    masquerade: bool = True
    """False: the far side knows the way back to the clients' own addresses."""


@dataclass(frozen=True, slots=True)
class LocalProxy:
    """Where TCP flows go that the gateway carries itself: a port of its own."""

    target: int
    port: int


@dataclass(frozen=True, slots=True)
class Queues:
    """The queues that what asks is spread over, by flow."""

    first: int
    count: int = 1
    """One a worker."""

    @property
    def last(self) -> int:
        """The last queue's number."""
        return self.first + self.count - 1


MTU = 1500
"""Of an interface of which no other is known (RFC 894)."""
# RFC 791; clients' interfaces may have less than IPv6 needs.
_MIN_MTU, _MAX_MTU = 68, 65_535

CANARIES = "rtc-canary"
"""The interface that the gateway's own canaries come in by (kernel.tun)."""

OWN = (
    (Transport.UDP, 67),  # DHCP
    (Transport.UDP, 547),  # DHCPv6
)
"""What the gateway itself is asked for by default, besides neighbour discovery and echo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """Desired state of router mode."""

    clients: tuple[str, ...]
    """The interfaces behind which the clients are."""
    numbers: tuple[int, ...] = ()
    """The kernel's numbers of these interfaces, and of bridges that they are ports of: what comes
    or goes by one of them, and by none of `clients`, goes nowhere.  So a renamed one is shut."""
    mtus: tuple[int, ...] = ()
    """Of each of `clients`, in octets; (): MTU each.  A longer UDP packet may be several datagrams,
    of which only the first would be looked at, so it asks, whatever its flow is."""
    epoch: int
    """1..255, as in marks."""
    name: str = "gateway"
    """Of the nft table, and of the lock: one gateway a name."""
    marks_pieces: bool = False
    """Whether UDP packets that are several datagrams come with both flags of a question, however
    long they are (fast path)."""
    queues: Queues = Queues(8700)
    has_nft_queue: bool = True
    """False: the way to the queue is the target NFQUEUE (compat)."""
    denied4: Ranges = ()
    """Where nothing goes, whatever it carries: dropped by the kernel, unasked."""
    denied6: Ranges = ()
    refused4: Ranges = ()
    """Likewise, and the client is told."""
    refused6: Ranges = ()
    signatures: tuple[Signature, ...] = field(default=SIGNATURES, repr=False)
    spot_check: int = 1000
    """One of so many packets of judged flows is judged again; 0: none."""
    relays: tuple[Relay, ...] = ()
    exits: tuple[InterfaceExit, ...] = ()
    proxy: LocalProxy | None = None
    masquerade: bool = False
    """True: clients leave by the gateway's own address (`snat: true`)."""
    policy: str = ""
    """A short hash of what verdicts rest on, hexadecimal; the table says it of itself."""
    block_s: int = 10
    """How long the kernel remembers a block, in seconds after Python gave it: packets that die of
    it do not prolong it, so that what the flow says later is looked at, too."""
    own: tuple[tuple[Transport, int], ...] = OWN
    """What clients may ask the gateway itself: transport and port."""

    canaries: tuple[bytes, ...] = ()
    """Addresses that nobody has but what comes in by CANARIES, which may be one of `clients`."""

    @property
    def mtu_by_client(self) -> dict[str, int]:
        """The MTU of each of `clients`."""
        return dict(zip(self.clients, self.mtus or (MTU,) * len(self.clients), strict=True))

    @property
    def targets(self) -> tuple[int, ...]:
        """Every target that a flow can have, besides DIRECT."""
        relays = (one.target for one in self.relays)
        exits = (one.target for one in self.exits)
        return *relays, *exits, *((self.proxy.target,) if self.proxy else ())

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:  AddressError: a name; DataError: a range, a target, an epoch or a queue number.
        """
        for one in (*self.clients, *(an_exit.interface for an_exit in self.exits)):
            interface(one)
        if not _NAME.fullmatch(self.name):
            raise AddressError(self.name, "a table's name, 1..23 of A-Z a-z 0-9 _ -")
        for which, octets in (("denied4", 4), ("denied6", 16), ("refused4", 4), ("refused6", 16)):
            object.__setattr__(self, which, merge(getattr(self, which), octets))
        targets = self.targets
        last = marks.LAST_TARGET
        families = all(
            (one.v4 is None or len(one.v4.address) == 4)
            and (one.v6 is None or len(one.v6.address) == 16)
            for one in self.relays
        )
        for what, holds, expected in (
            ("relays", families, "v4 with 4 octets, v6 with 16"),
            ("client interfaces", bool(self.clients), "at least one"),
            ("policy", bool(_HEXADECIMAL.fullmatch(self.policy)), "hexadecimal digits"),
            ("epoch", 1 <= self.epoch <= marks.EPOCHS, f"1..{marks.EPOCHS}"),
            ("queue numbers", 0 <= self.queues.first <= self.queues.last <= 65535, "0..65535"),
            ("spot check", 0 <= self.spot_check < 1 << 31, "one of 0..2147483647"),
            ("block_s", 1 <= self.block_s <= 86400, "1..86400 seconds"),
            ("targets", all(1 <= one <= last for one in targets), f"numbers 1..{last}"),
            ("targets", len(set(targets)) == len(targets), "each number once"),
            ("interface numbers", all(0 < one < 1 << 31 for one in self.numbers), "above 0"),
            ("MTUs", len(self.mtus) in (0, len(self.clients)), "one for each interface"),
            ("MTUs", all(_MIN_MTU <= one <= _MAX_MTU for one in self.mtus), "68..65535"),
            ("own ports", all(0 < port < 65536 for _, port in self.own), "1..65535"),
        ):
            if not holds:
                raise DataError("router mode", f"{what} that cannot be", expected)
