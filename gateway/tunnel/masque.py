"""What is asked of an exit and how it answers.  Owns: CONNECT and CONNECT-UDP requests, refusals,
URI templates.  Knows: RFC 9298, RFC 9114 (4.4), RFC 6570, RFC 9209 (Proxy-Status).
Never: sockets, QUIC, policy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes, urlsplit

from gateway.errors import AddressError
from gateway.model import Endpoint, Transport

Headers = list[tuple[bytes, bytes]]

# RFC 9298 section 2: the default template, the one that our exit serves.
WELL_KNOWN = "/.well-known/masque/udp/{target_host}/{target_port}/"
_PATH = re.compile(rb"/\.well-known/masque/udp/([^/?]+)/([0-9]{1,5})/")

# Of RFC 6570, RFC 9298 section 2 admits simple expansion, "?" and "&", and no others.
_EXPRESSION = re.compile(r"\{([?&]?)([A-Za-z0-9_.,%]*)\}")
_TEMPLATE = "a URI template such as https://exit.example:4433" + WELL_KNOWN


@dataclass(frozen=True, slots=True)
class ExitAddress:
    """Where an exit is and how it is asked.

    Raises:  AddressError: the URL is no template that RFC 9298 section 2 admits.
    """

    name: str
    """What the configuration calls it."""
    url: str
    """https://HOST[:PORT]/PATH with {target_host} and {target_port} in path or query."""

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            port = 443 if parts.port is None else parts.port
        except ValueError:
            raise AddressError(self.url, _TEMPLATE) from None
        names = {
            n for _, names in _EXPRESSION.findall(self.path_template) for n in names.split(",")
        }
        if not (
            parts.scheme == "https"
            and parts.hostname
            and port
            and "@" not in parts.netloc
            and re.fullmatch(r"[\x21-\x7e]+", self.url)
            and self.path_template.startswith("/")
            and not parts.fragment
            and {"target_host", "target_port"} <= names
            and not re.search(r"[{}]", _EXPRESSION.sub("", self.path_template))
        ):
            raise AddressError(self.url, _TEMPLATE)

    @property
    def host(self) -> str:
        """Name or address, without brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """UDP port; 443 if the URL names none."""
        return urlsplit(self.url).port or 443

    @property
    def authority(self) -> bytes:
        """Host and port as the URL has them."""
        return urlsplit(self.url).netloc.encode()

    @property
    def path_template(self) -> str:
        """Path and query, not expanded."""
        parts = urlsplit(self.url)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    def path(self, destination: Endpoint) -> bytes:
        """Give :path for a destination; an IPv6 address has its colons as %3A (RFC 9298)."""
        values = {"target_host": destination.host, "target_port": str(destination.port)}

        def expand(found: re.Match[str]) -> str:
            operator, names = found.groups()
            known = [(n, quote(values[n], safe="")) for n in names.split(",") if n in values]
            if not operator:
                return ",".join(value for _, value in known)
            pairs = "&".join(f"{name}={value}" for name, value in known)
            return operator + pairs if pairs else ""

        return _EXPRESSION.sub(expand, self.path_template).encode()


def connect_udp(exit_address: ExitAddress, destination: Endpoint) -> Headers:
    """Ask for a UDP flow (RFC 9298 section 3.4)."""
    return [
        (b":method", b"CONNECT"),
        (b":protocol", b"connect-udp"),
        (b":scheme", b"https"),
        (b":authority", exit_address.authority),
        (b":path", exit_address.path(destination)),
        (b"capsule-protocol", b"?1"),
    ]


def connect_tcp(destination: Endpoint) -> Headers:
    """Ask for a TCP flow (RFC 9114 section 4.4): no scheme, no path."""
    return [(b":method", b"CONNECT"), (b":authority", str(destination).encode())]


@dataclass(frozen=True, slots=True)
class Request:
    """What a gateway wants reached."""

    transport: Transport
    destination: Endpoint


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served."""

    status: int
    error: str
    """RFC 9209 section 2.3: the type of error."""
    details: str
    """One sentence; what is not printable ASCII is shown as "?"."""

    def headers(self, by: str) -> Headers:
        """Give the response; `by` names the exit in Proxy-Status (RFC 9209 section 2)."""
        status = f"{_token(by)}; error={self.error}; details={_string(self.details)}"
        return [(b":status", str(self.status).encode()), (b"proxy-status", status.encode())]


def accepted(transport: Transport) -> Headers:
    """Give the response to a request that is served."""
    headers = [(b":status", b"200")]
    if transport is Transport.UDP:
        headers.append((b"capsule-protocol", b"?1"))
    return headers


def read_request(headers: Headers) -> Request | Refusal:
    """Read the headers of a request; whatever they are, the answer is one of the two."""
    fields = dict(headers)
    if fields.get(b":method") != b"CONNECT":
        return Refusal(405, "http_request_error", "an exit serves CONNECT only")
    match fields.get(b":protocol"):
        case b"connect-udp":
            return _read_connect_udp(fields.get(b":path", b""))
        case None:
            return _read_connect(fields.get(b":authority", b""))
        case _:
            return Refusal(501, "http_request_error", "of upgrades an exit serves connect-udp only")


def _read_connect_udp(path: bytes) -> Request | Refusal:
    found = _PATH.fullmatch(path)
    if found is None:
        return Refusal(404, "http_request_error", f"the path is not {WELL_KNOWN}")
    try:
        host = unquote_to_bytes(found[1]).decode("ascii")
        destination = Endpoint.of(host, int(found[2]))
    except (UnicodeDecodeError, AddressError):
        return _no_address()
    return _reachable(Transport.UDP, destination)


def _read_connect(authority: bytes) -> Request | Refusal:
    try:
        destination = Endpoint.parse(authority.decode("ascii"))
    except (UnicodeDecodeError, AddressError):
        return _no_address()
    return _reachable(Transport.TCP, destination)


def _reachable(transport: Transport, destination: Endpoint) -> Request | Refusal:
    return Request(transport, destination) if destination.port else _no_address()


def _no_address() -> Refusal:
    # A name would be resolved here, and the gateway could not judge what it came to.
    return Refusal(400, "http_request_error", "the target is not an IP address and a port")


def read_status(headers: Headers) -> tuple[int, str]:
    """Give the status of a response and the exit's own words about it ("" if it has none)."""
    fields = dict(headers)
    details = fields.get(b"proxy-status", b"").decode("ascii", "replace")
    return int(fields.get(b":status", b"0")), details


def _token(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._*-]", "-", text) if text[:1].isalpha() else "exit"


def _string(text: str) -> str:
    """Write an sf-string (RFC 8941 section 3.3.3)."""
    printable = re.sub(r"[^\x20-\x7e]", "?", text)
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'
