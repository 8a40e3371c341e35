"""What a client asks for, by address or by name.  Owns: Name, read_host.
Knows: RFC 1123 section 2.1 (host names).  Never: resolving."""

from __future__ import annotations

import re
from typing import NamedTuple

from gateway.errors import AddressError, WireError
from gateway.model import Endpoint

# Letters, digits, hyphens, and the underscore that real names have; labels of 1 to 63 octets.
_LABELS = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")
# RFC 1035 section 2.3.4, in text form.
_NAME_LEN = 253


class Name(NamedTuple):
    """A destination that is still to be resolved."""

    host: str
    """Lower case, no final dot."""
    port: int


Destination = Endpoint | Name


def read_host(host: bytes, port: int) -> Destination:
    """Read a host as a client writes it: an address without brackets, or a name.

    Raises:  WireError: neither; a name that ends in a number is a misspelt address ("127.1").
    """
    text = host.decode("ascii", "replace").lower().removesuffix(".")
    try:
        return Endpoint.of(text, port)
    except AddressError:
        last = text.rpartition(".")[2]
        if len(text) <= _NAME_LEN and _LABELS.fullmatch(text) and not _is_number(last):
            return Name(text, port)
    raise WireError("host", 0, "an IPv4 or IPv6 address or a host name")


def _is_number(label: str) -> bool:
    """Whether resolvers would read it as part of an address (WHATWG URL, "ends in a number")."""
    return label.isdigit() or re.fullmatch(r"0x[0-9a-f]*", label) is not None
